"""/api/v1/quarantine: what could not be believed is listed, released or rejected, and never lost."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from tests.support.checked_client import CheckedClient
from tests.support.factories import SigningTracker, World, a_fix

from harbor_api.database import Database
from harbor_api.domain.judgement import REASONS

URL, POSITIONS, VESSELS, AUDIT = (
    "/api/v1/quarantine",
    "/api/v1/positions",
    "/api/v1/vessels",
    "/api/v1/audit",
)
NOWHERE = {"lat": 0, "lon": 0}
DECISIONS = {"release": "released", "reject": "rejected"}


@pytest.fixture
def operator(world: World) -> dict[str, str]:
    """Return the headers of a key that decides about the quarantine and reads everything else."""
    return world.bearer("quarantine:read", "quarantine:write", "audit:read", "vessels:read")


def _post(client: CheckedClient, tracker: SigningTracker, fix: Mapping[str, Any]) -> dict[str, Any]:
    answer: Any = client.post(POSITIONS, **tracker.signed(fix)).json
    assert isinstance(answer, dict)
    return answer


def _list(client: CheckedClient, headers: Mapping[str, str], **query: Any) -> list[dict[str, Any]]:
    answer = client.get(URL, query_string=query, headers=headers)
    assert answer.status_code == 200, answer.json
    found: list[dict[str, Any]] = answer.json["quarantine"]
    return found


def _decide(client: CheckedClient, headers: Mapping[str, str], held_id: int, what: str) -> Any:
    return client.post(f"{URL}/{held_id}/{what}", headers=headers)


def _hold(client: CheckedClient, tracker: SigningTracker, seconds: float = 0, **members: Any) -> None:
    """Post a fix that is held for where it is."""
    answer = _post(client, tracker, a_fix(seconds, **{**NOWHERE, **members}))
    assert answer["verdict"] == "quarantined"


def _on_map(client: CheckedClient, headers: Mapping[str, str]) -> dict[int, tuple[Any, Any]]:
    """Return where each vessel is shown, and from when."""
    features = client.get(VESSELS, headers=headers).json["features"]
    return {
        each["id"]: (
            each["geometry"] and each["geometry"]["coordinates"],
            each["properties"]["recorded_at"],
        )
        for each in features
    }


def _history(database: Database) -> list[tuple[str, float, Any]]:
    """Return time, latitude and speed of the stored fixes, in order of time."""
    with database.statement() as unit_of_work:
        rows = unit_of_work._connection.execute(
            text("SELECT recorded_at, lat, sog FROM positions ORDER BY recorded_at, tracker_id")
        )
        return [(row.recorded_at.isoformat().replace("+00:00", "Z"), row.lat, row.sog) for row in rows]


class TestTheList:
    def test_shows_a_fix_as_it_was_sent(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        sent = a_fix(
            **NOWHERE, sog=102.3, cog=360, heading=511, nav_status=15, accuracy_m=4.123456, number=7
        ) | {"recorded_at": "2026-01-02T04:04:05.250+01:00"}
        _post(client, tracker, sent)

        [held] = _list(client, operator)

        received_at = held.pop("received_at")
        assert held == {
            "id": held["id"],
            "vessel_id": tracker.tracker.vessel_id,
            "tracker_id": tracker.tracker.id,
            "reason": "null_island",
            "state": "held",
            "recorded_at": "2026-01-02T03:04:05.250000Z",
            "decided_at": None,
            "lat": 0,
            "lon": 0,
            "raw": sent,
        }
        assert received_at > held["recorded_at"]

    def test_shows_an_item_of_a_batch_as_it_was_sent(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        fixes = [a_fix(n, **NOWHERE, sog=102.3, number=n) for n in range(3)]
        client.post(f"{POSITIONS}/batch", **tracker.signed({"fixes": [fixes[1], {}, fixes[0], fixes[2]]}))

        held = _list(client, operator)

        assert sorted((each["raw"] for each in held), key=lambda raw: raw["number"]) == fixes

    def test_is_in_the_order_of_arrival(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        arrivals = [50, 10, 40, 20, 30]
        for seconds in arrivals:
            _hold(client, tracker, seconds)

        held = _list(client, operator)

        assert [each["recorded_at"] for each in held] == [a_fix(n)["recorded_at"] for n in arrivals]
        assert [each["id"] for each in held] == sorted(each["id"] for each in held)

    def test_holds_a_fix_that_is_sent_again_once(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        for sog in (1, 1, 2):
            _hold(client, tracker, sog=sog)
        [held] = _list(client, operator)
        assert held["raw"]["sog"] == 1

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
    def test_comes_in_pages(self, client: CheckedClient, world: World, operator, limit):
        tracker = world.tracker()
        for seconds in range(7):
            _hold(client, tracker, seconds)
        whole = _list(client, operator)
        assert len(whole) == 7

        pages = []
        url: str | None = f"{URL}?limit={limit}&reason=null_island"
        while url is not None:
            answer = client.get(url, headers=operator)
            pages.append(answer.json["quarantine"])
            url = answer.json["links"]["next"]
            assert answer.headers.get("Link") == (None if url is None else f'<{url}>; rel="next"')

        assert [each for page in pages for each in page] == whole
        assert {len(page) for page in pages[:-1]} <= {limit}
        assert 0 < len(pages[-1]) <= limit

    def test_a_page_that_is_followed_misses_nothing_that_comes_meanwhile(
        self, client: CheckedClient, world: World, operator
    ):
        tracker = world.tracker()
        for seconds in (10, 20, 30):
            _hold(client, tracker, seconds)
        first = client.get(f"{URL}?limit=2", headers=operator).json
        _hold(client, tracker, 5)
        _decide(client, operator, first["quarantine"][0]["id"], "reject")
        rest = client.get(first["links"]["next"], headers=operator).json["quarantine"]
        assert [each["recorded_at"] for each in rest] == [a_fix(n)["recorded_at"] for n in (30, 5)]

    def test_is_filtered(self, client: CheckedClient, world: World, operator):
        fleet = [world.tracker() for _ in range(2)]
        for tracker in fleet:
            _post(client, tracker, a_fix(0))
            _hold(client, tracker, 10)
            _hold(client, tracker, 20)
            _hold(client, tracker, 30, lat=20)
        everything = _list(client, operator)
        for place, what in ((0, "reject"), (1, "release"), (3, "release")):
            assert _decide(client, operator, everything[place]["id"], what).status_code == 200
        everything = _list(client, operator)
        assert len(everything) == 6

        vessel_ids = [tracker.tracker.vessel_id for tracker in fleet]
        for vessel_id in (None, *vessel_ids, 999):
            for reason in (None, *REASONS):
                for state in (None, "held", "released", "rejected"):
                    wanted = {"vessel_id": vessel_id, "reason": reason, "state": state}
                    query = {name: value for name, value in wanted.items() if value is not None}
                    assert _list(client, operator, **query) == [
                        each for each in everything if query.items() <= each.items()
                    ]

    @pytest.mark.parametrize(
        "query",
        ["state=gone", "reason=x", "vessel_id=0", "vessel_id=x", "cursor=x", "limit=0", "limit=1001", "x=1"],
    )
    def test_refuses_what_it_does_not_know(self, client: CheckedClient, operator, query):
        answer = client.get(f"{URL}?{query}", headers=operator)
        assert (answer.status_code, answer.json["code"]) == (400, "invalid_parameter")
        assert [each["parameter"] for each in answer.json["errors"]] == [query.partition("=")[0]]


class TestWhoMay:
    @pytest.mark.parametrize("scopes", [("vessels:read",), ("trackers:write", "vessels:write", "keys:write")])
    def test_a_key_without_the_scope_reads_and_decides_nothing(
        self, client: CheckedClient, world: World, operator, scopes
    ):
        _hold(client, world.tracker())
        [held] = _list(client, operator)
        stranger = world.bearer(*scopes)

        answers = [
            client.get(URL, headers=stranger),
            *(_decide(client, stranger, held["id"], what) for what in DECISIONS),
            *(_decide(client, stranger, 999, what) for what in DECISIONS),
        ]

        assert {(each.status_code, each.json["code"]) for each in answers} == {(403, "scope_missing")}
        assert _list(client, operator) == [held]

    def test_who_may_read_may_not_decide(self, client: CheckedClient, world: World, operator):
        _hold(client, world.tracker())
        [held] = _list(client, operator)
        reader = world.bearer("quarantine:read")
        assert _list(client, reader) == [held]
        for what in DECISIONS:
            assert _decide(client, reader, held["id"], what).status_code == 403

    def test_nobody_may_without_a_key(self, client: CheckedClient):
        for answer in (client.get(URL), client.post(f"{URL}/1/release"), client.post(f"{URL}/1/reject")):
            assert (answer.status_code, answer.json["code"]) == (401, "key_missing")


class TestRelease:
    def test_puts_a_fix_in_its_place_and_leaves_a_newer_latest(
        self, client: CheckedClient, world: World, operator
    ):
        tracker = world.tracker()
        for seconds in (0, 60):
            _post(client, tracker, a_fix(seconds))
        _hold(client, tracker, 30, sog=102.3)
        before = _on_map(client, operator)
        [held] = _list(client, operator)

        released = _decide(client, operator, held["id"], "release")

        assert released.status_code == 200
        assert released.json["decided_at"] is not None
        assert released.json == {**held, "state": "released", "decided_at": released.json["decided_at"]}
        assert _list(client, operator) == [released.json]
        assert _on_map(client, operator) == before
        times = [a_fix(n)["recorded_at"] for n in (0, 30, 60)]
        # What AIS means by 102.3 is stored as it would have been without the doubt.
        assert _history(world.database) == list(zip(times, (59.9, 0, 59.9), (8.4, None, 8.4), strict=True))

    def test_moves_the_latest_where_it_is_the_newest(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        _post(client, tracker, a_fix(0))
        _hold(client, tracker, 30)
        [held] = _list(client, operator)
        vessel_id = tracker.tracker.vessel_id
        assert _on_map(client, operator)[vessel_id] == ([10.7, 59.9], a_fix(0)["recorded_at"])

        _decide(client, operator, held["id"], "release")

        assert _on_map(client, operator)[vessel_id] == ([0, 0], a_fix(30)["recorded_at"])

    @pytest.mark.parametrize("reason", ["null_island", "future", "impossible_jump"])
    def test_is_what_brings_a_fix_on_the_map(self, client: CheckedClient, world: World, operator, reason):
        tracker = world.tracker()
        _post(client, tracker, a_fix(0))
        doubtful = {
            "null_island": a_fix(60, **NOWHERE),
            "future": a_fix(recorded_at="2999-01-01T00:00:00Z"),
            "impossible_jump": a_fix(60, lat=20),
        }[reason]
        before = _on_map(client, operator)
        assert _post(client, tracker, doubtful)["reason"] == reason
        assert _on_map(client, operator) == before
        [held] = _list(client, operator, reason=reason)

        _decide(client, operator, held["id"], "release")

        assert _on_map(client, operator) == {
            tracker.tracker.vessel_id: ([doubtful["lon"], doubtful["lat"]], doubtful["recorded_at"])
        }

    def test_makes_it_a_duplicate_when_it_is_sent_again(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        _hold(client, tracker)
        [held] = _list(client, operator)
        _decide(client, operator, held["id"], "release")

        same, other = (_post(client, tracker, a_fix(**NOWHERE, **more)) for more in ({}, {"sog": 1}))

        assert same == {"verdict": "duplicate", "latest": True, "differs": False}
        assert other == {"verdict": "duplicate", "latest": True, "differs": True}
        assert len(_history(world.database)) == 1

    def test_of_a_jump_lets_the_next_ones_follow_it(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        _post(client, tracker, a_fix(0))
        assert _post(client, tracker, a_fix(60, lat=20))["verdict"] == "quarantined"
        [held] = _list(client, operator)
        _decide(client, operator, held["id"], "release")
        assert _post(client, tracker, a_fix(120, lat=20)) == {"verdict": "stored", "latest": True}


class TestRejection:
    def test_keeps_a_fix_off_the_map_for_good(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        _hold(client, tracker)
        [held] = _list(client, operator)

        rejected = _decide(client, operator, held["id"], "reject")

        assert rejected.status_code == 200
        assert rejected.json["decided_at"] is not None
        assert rejected.json == {**held, "state": "rejected", "decided_at": rejected.json["decided_at"]}
        # Sent again it stays where it is, whatever else it says.
        for more in ({}, {"sog": 1}, {"lat": 59.9}):
            assert _post(client, tracker, a_fix(**{**NOWHERE, **more})) == {
                "verdict": "quarantined",
                "latest": False,
                "reason": "null_island",
            }
        assert _list(client, operator) == [rejected.json]
        assert _history(world.database) == []
        assert _on_map(client, operator) == {tracker.tracker.vessel_id: (None, None)}

    def test_of_jumps_takes_away_their_say(self, client: CheckedClient, world: World, operator):
        """Three that are held and agree make the next one believed; rejected ones are known to be wrong."""
        tracker = world.tracker()
        _post(client, tracker, a_fix(0))
        for seconds in (60, 120, 180):
            _post(client, tracker, a_fix(seconds, lat=20))
        held = _list(client, operator)
        assert len(held) == 3
        _decide(client, operator, held[1]["id"], "reject")
        assert _post(client, tracker, a_fix(240, lat=20))["verdict"] == "quarantined"
        # Three are left that agree.
        assert _post(client, tracker, a_fix(300, lat=20))["verdict"] == "stored"


class TestDecisions:
    @pytest.mark.parametrize("what", DECISIONS)
    def test_may_be_repeated(self, client: CheckedClient, world: World, operator, what):
        _hold(client, world.tracker())
        [held] = _list(client, operator)
        answers = [_decide(client, operator, held["id"], what) for _ in range(3)]
        assert {each.status_code for each in answers} == {200}
        assert answers[0].json == answers[1].json == answers[2].json
        assert len(self._audited(client, operator, held["id"])) == 1

    @pytest.mark.parametrize(("first", "second"), [("release", "reject"), ("reject", "release")])
    def test_are_not_turned_round(self, client: CheckedClient, world: World, operator, first, second):
        _hold(client, world.tracker())
        [held] = _list(client, operator)
        decided = _decide(client, operator, held["id"], first).json
        history = _history(world.database)

        answer = _decide(client, operator, held["id"], second)

        assert (answer.status_code, answer.json["code"]) == (409, "conflict")
        assert _list(client, operator) == [decided]
        assert _history(world.database) == history
        assert len(self._audited(client, operator, held["id"])) == 1

    @pytest.mark.parametrize("id", ["999", "0", "x", "-1", "01", "2147483648"])
    @pytest.mark.parametrize("what", DECISIONS)
    def test_are_404_where_there_is_no_such_fix(
        self, client: CheckedClient, world: World, operator, id, what
    ):
        _hold(client, world.tracker())
        answer = client.post(f"{URL}/{id}/{what}", headers=operator)
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")
        assert [each["state"] for each in _list(client, operator)] == ["held"]

    @pytest.mark.parametrize(("what", "state"), DECISIONS.items())
    def test_are_audited(self, client: CheckedClient, world: World, what, state):
        key, secret = world.key("quarantine:read", "quarantine:write", "audit:read")
        headers = {"Authorization": f"Bearer {secret}"}
        _hold(client, world.tracker())
        [held] = _list(client, headers)
        assert self._audited(client, headers, held["id"]) == []

        answer = _decide(client, headers, held["id"], what)

        [entry] = self._audited(client, headers, held["id"])
        assert (entry["action"], entry["api_key_id"]) == (f"quarantine.{state}", key.id)
        assert entry["request_id"] == answer.headers["X-Request-Id"]
        assert entry["before"] == {"state": "held", "decided_at": None}
        assert entry["after"]["state"] == state

    @staticmethod
    def _audited(client: CheckedClient, headers: Mapping[str, str], held_id: int) -> list[dict[str, Any]]:
        answer = client.get(AUDIT, query_string={"subject": f"quarantine/{held_id}"}, headers=headers)
        found: list[dict[str, Any]] = answer.json["audit"]
        return found

    @pytest.mark.parametrize(
        "decisions", [("release", "reject"), ("reject", "release"), ("release", "release"), ("reject",) * 2]
    )
    def test_of_two_at_once_one_is_made(
        self, app: Flask, client: CheckedClient, world: World, operator, decisions: Sequence[str]
    ):
        _hold(client, world.tracker())
        [held] = _list(client, operator)
        answers: list[Any] = []

        def decide(what: str) -> None:
            answers.append((what, _decide(CheckedClient(app), operator, held["id"], what)))

        threads = [threading.Thread(target=decide, args=(what,)) for what in decisions]
        # Both have begun before either can decide.
        with world.database.unit_of_work() as unit_of_work:
            unit_of_work.quarantine.lock(held["id"])
            for thread in threads:
                thread.start()
            _wait_for_waiting(world.database, len(threads))
        for thread in threads:
            thread.join()

        [decided] = _list(client, operator)
        [entry] = self._audited(client, operator, held["id"])
        assert entry["action"] == f"quarantine.{decided['state']}"
        for what, answer in answers:
            if DECISIONS[what] == decided["state"]:
                assert (answer.status_code, answer.json) == (200, decided)
            else:
                assert (answer.status_code, answer.json["code"]) == (409, "conflict")
        assert len(_history(world.database)) == (decided["state"] == "released")


def _wait_for_waiting(database: Database, count: int) -> None:
    """Wait until so many connections to the database wait for a lock."""
    deadline = time.monotonic() + 4
    waiting = -1
    while waiting < count:
        assert time.monotonic() < deadline, f"{waiting} wait, not {count}"
        with database.statement() as unit_of_work:
            waiting = unit_of_work._connection.execute(
                text(
                    "SELECT count(*) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
            ).scalar_one()
        time.sleep(0.01)


def _prune(database: Database, *arguments: str) -> "subprocess.CompletedProcess[str]":
    url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    return subprocess.run(
        [sys.executable, "-m", "harbor_api.cli", "prune", *arguments],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("HARBOR_")},
            "HARBOR_DATABASE_URL": url,
        },
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


class TestPruning:
    def test_deletes_what_came_long_ago_decided_or_not(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        _post(client, tracker, a_fix(0))
        for seconds in range(1, 7):
            _hold(client, tracker, seconds)
        ids = [each["id"] for each in _list(client, operator)]
        for place, what in ((0, "release"), (1, "reject"), (3, "release"), (4, "reject")):
            _decide(client, operator, ids[place], what)
        with world.database.unit_of_work() as unit_of_work:
            unit_of_work._connection.execute(
                text(
                    "UPDATE quarantine SET received_at = now() - "
                    "CASE WHEN id <= :third THEN interval '31 days' ELSE interval '29 days' END"
                ),
                {"third": ids[2]},
            )
        history = _history(world.database)

        done = _prune(world.database, "--quarantine-days", "30")

        assert (done.returncode, done.stdout) == (0, "3 fixes deleted from quarantine\n"), done.stderr
        assert [each["id"] for each in _list(client, operator)] == ids[3:]
        # Nothing that was released leaves the history, and one that was rejected is judged anew.
        assert _history(world.database) == history
        _hold(client, tracker, 2)
        assert [each["state"] for each in _list(client, operator)][-1] == "held"
        again = _prune(world.database, "--quarantine-days", "30")
        assert again.stdout == "0 fixes deleted from quarantine\n"

    @pytest.mark.parametrize("arguments", [(), ("--quarantine-days", "0"), ("--quarantine-days", "x")])
    def test_must_be_told_a_time(self, client: CheckedClient, world: World, operator, arguments):
        _hold(client, world.tracker())
        assert _prune(world.database, *arguments).returncode == 2
        assert len(_list(client, operator)) == 1


def test_what_is_held_survives_as_text(client: CheckedClient, world: World, operator):
    """Each number comes back as the very one that was sent."""
    tracker = world.tracker()
    for place, digits in enumerate(("0.1", "1e-7", "179.99999999999997", "5e-324", "-0.0", "12")):
        body = json.dumps(a_fix(place, **NOWHERE) | {"accuracy_m": 0}).replace(
            '"accuracy_m": 0', f'"accuracy_m": {digits}'
        )
        assert client.post(POSITIONS, **tracker.signed(body.encode())).status_code == 202
        assert _list(client, operator)[-1]["raw"]["accuracy_m"] == float(digits)
