"""What was stored can be withdrawn: history and fleet are as if it had never come, and the order tells."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from tests.resources.quarantine.held_fixes import decide_on, history_of, hold, listed, on_map, post
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import SigningTracker, World, a_fix
from tests.support.partitions import far_ahead
from tests.support.urls import AUDIT, QUARANTINE, VESSELS

URL = f"{QUARANTINE}/withdraw"
WRONG = "Clock of the tracker was wrong"


def _withdraw(
    client: CheckedClient, headers: Mapping[str, str], tracker: SigningTracker, **members: Any
) -> Any:
    body = {"vessel_id": tracker.tracker.vessel_id, "note": WRONG, **members}
    return client.post(URL, json=body, headers=headers)


def _etag(client: CheckedClient, headers: Mapping[str, str], tracker: SigningTracker) -> str:
    tag: str = client.get(f"{VESSELS}/{tracker.tracker.vessel_id}", headers=headers).headers["ETag"]
    return tag


class TestWithdrawal:
    def test_of_the_latest_moves_it_back(self, client: CheckedClient, world: World, operator):
        tracker, bystander = world.tracker(), world.tracker()
        for one in (tracker, bystander):
            post(client, one, a_fix(0))
        seen, others = on_map(client, operator), _etag(client, operator, bystander)
        history = history_of(world.database)
        post(client, tracker, a_fix(60))
        tag = _etag(client, operator, tracker)

        answer = _withdraw(client, operator, tracker, recorded_at=a_fix(60)["recorded_at"])

        assert answer.status_code == 200, answer.json
        assert answer.json == {
            "id": answer.json["id"],
            "vessel_id": tracker.tracker.vessel_id,
            "tracker_id": tracker.tracker.id,
            "reason": "withdrawn",
            "state": "withdrawn",
            "recorded_at": a_fix(60)["recorded_at"],
            "decided_at": answer.json["decided_at"],
            "decided_by": answer.json["decided_by"],
            "note": WRONG,
        }
        assert answer.json["decided_by"].startswith("key ")
        assert on_map(client, operator) == seen
        assert history_of(world.database) == history
        assert _etag(client, operator, tracker) != tag
        assert _etag(client, operator, bystander) == others
        [kept] = listed(client, operator)
        assert kept == {
            **answer.json,
            "lat": 59.9,
            "lon": 10.7,
            "raw": None,
            "received_at": kept["received_at"],
        }

    def test_of_the_only_one_leaves_a_vessel_that_was_never_seen(
        self, client: CheckedClient, world: World, operator
    ):
        tracker = world.tracker()
        never = client.get(f"{VESSELS}/{tracker.tracker.vessel_id}", headers=operator)
        post(client, tracker, a_fix(0))

        _withdraw(client, operator, tracker, recorded_at=a_fix(0)["recorded_at"])

        again = client.get(f"{VESSELS}/{tracker.tracker.vessel_id}", headers=operator)
        assert again.json == never.json
        assert on_map(client, operator) == {tracker.tracker.vessel_id: (None, None)}

    def test_of_one_in_the_midst_leaves_the_latest(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        for seconds in (0, 30, 60):
            post(client, tracker, a_fix(seconds))
        seen = on_map(client, operator)
        _withdraw(client, operator, tracker, recorded_at=a_fix(30)["recorded_at"])
        assert on_map(client, operator) == seen
        assert [time for time, *_ in history_of(world.database)] == [a_fix(n)["recorded_at"] for n in (0, 60)]

    def test_of_a_released_one_frees_the_map(self, client: CheckedClient, world: World, operator):
        """Once an operator could release a fix of 2038, and it stayed on the map until then."""
        tracker = world.tracker()
        post(client, tracker, a_fix(0))
        seen = on_map(client, operator)
        future = "2038-01-19T03:14:07Z"
        hold(client, tracker, lat=59.9, lon=10.7, recorded_at=future)
        with far_ahead(world.database):
            sql.run(
                world.database,
                "UPDATE quarantine SET state = 'released', decided_at = now(), decided_by = 'key 1 (ops)'",
            )
            for table in ("positions", "latest_positions"):
                sql.run(
                    world.database,
                    f"UPDATE {table} SET recorded_at = :at, seq = nextval('fleet_order')",
                    at=future,
                )
            sql.run(
                world.database,
                "INSERT INTO positions SELECT vessel_id, :first, tracker_id, received_at, lat, lon, sog, "
                "cog, heading, nav_status, accuracy_m, battery_v, seq - 1 FROM positions",
                first=a_fix(0)["recorded_at"],
            )
            assert on_map(client, operator) != seen

            answer = _withdraw(client, operator, tracker, recorded_at=future)

            assert (answer.status_code, answer.json["reason"]) == (200, "future")
            assert on_map(client, operator) == seen
            [kept] = listed(client, operator)
            assert (kept["state"], kept["note"], kept["raw"]["recorded_at"]) == ("withdrawn", WRONG, future)

    def test_is_told_by_the_order(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        post(client, tracker, a_fix(0))
        post(client, tracker, a_fix(60))
        newest = sql.value(world.database, "SELECT max(seq) FROM positions")
        _withdraw(client, operator, tracker, recorded_at=a_fix(60)["recorded_at"])
        [told] = sql.run(world.database, "SELECT * FROM withdrawals")
        assert (told.vessel_id, told.tracker_id) == (tracker.tracker.vessel_id, tracker.tracker.number)
        assert told.recorded_at == datetime.fromisoformat(a_fix(60)["recorded_at"])
        assert told.seq > newest
        # Who has read the fleet up to then finds what is shown instead beyond that.
        assert sql.value(world.database, "SELECT seq FROM latest_positions") > told.seq

    def test_is_answered_to_the_tracker_as_held(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        post(client, tracker, a_fix(0))
        _withdraw(client, operator, tracker, recorded_at=a_fix(0)["recorded_at"])
        for _ in range(2):
            assert post(client, tracker, a_fix(0)) == {
                "verdict": "quarantined",
                "latest": False,
                "reason": "withdrawn",
            }
        assert on_map(client, operator) == {tracker.tracker.vessel_id: (None, None)}

    def test_may_be_repeated(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        post(client, tracker, a_fix(0))
        named = {"recorded_at": a_fix(0)["recorded_at"]}
        first = _withdraw(client, operator, tracker, **named)
        again = _withdraw(client, operator, tracker, **named, note="Another", tracker_id=tracker.tracker.id)
        assert (again.status_code, again.json) == (200, first.json)
        [entry] = self._audited(client, operator, first.json["id"])
        assert entry["action"] == "quarantine.withdrawn"
        told = entry["after"]
        assert (told["state"], told["note"], told["tracker_id"]) == ("withdrawn", WRONG, tracker.tracker.id)
        assert len(sql.run(world.database, "SELECT * FROM withdrawals")) == 1

    @staticmethod
    def _audited(client: CheckedClient, headers: Mapping[str, str], held_id: int) -> list[dict[str, Any]]:
        query = {"subject": f"quarantine/{held_id}"}
        found: list[dict[str, Any]] = client.get(AUDIT, query_string=query, headers=headers).json["audit"]
        return found

    def test_is_undone_by_a_release(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        post(client, tracker, a_fix(0))
        post(client, tracker, a_fix(60, sog=1.1, accuracy_m=12.5, nav_status=5))
        seen, history = on_map(client, operator), history_of(world.database)
        withdrawn = _withdraw(client, operator, tracker, recorded_at=a_fix(60)["recorded_at"]).json
        assert decide_on(client, operator, withdrawn["id"], "reject").status_code == 409

        released = decide_on(client, operator, withdrawn["id"], "release")

        assert (released.status_code, released.json["state"], released.json["note"]) == (
            200,
            "released",
            None,
        )
        assert on_map(client, operator) == seen
        assert history_of(world.database) == history
        assert post(client, tracker, a_fix(60, sog=1.1, accuracy_m=12.5, nav_status=5))["differs"] is False
        assert decide_on(client, operator, withdrawn["id"], "reject").json["code"] == "conflict"
        assert _withdraw(client, operator, tracker, recorded_at=a_fix(60)["recorded_at"]).status_code == 200

    def test_releases_what_was_held_because_of_it(self, client: CheckedClient, world: World, operator):
        """Two right ones: too few to outvote the wrong one by themselves."""
        tracker = world.tracker()
        post(client, tracker, a_fix(0, lat=20))
        for seconds in (60, 120):
            assert post(client, tracker, a_fix(seconds))["reason"] == "impossible_jump"
        hold(client, tracker, 90)

        _withdraw(client, operator, tracker, recorded_at=a_fix(0)["recorded_at"])

        assert [at for at, *_ in history_of(world.database)] == [a_fix(n)["recorded_at"] for n in (60, 120)]
        states = {each["recorded_at"]: each["state"] for each in listed(client, operator)}
        assert states == {
            a_fix(0)["recorded_at"]: "withdrawn",
            **{a_fix(n)["recorded_at"]: "released" for n in (60, 120)},
            a_fix(90)["recorded_at"]: "held",
        }
        assert {each["decided_by"] for each in listed(client, operator, state="released")} == {"judgement"}

    def test_of_two_at_one_time_wants_the_tracker(self, client: CheckedClient, world: World, operator):
        vessel = world.vessel()
        one, other = world.tracker(vessel), world.tracker(vessel)
        for tracker in (one, other):
            post(client, tracker, a_fix(0))
        named = {"recorded_at": a_fix(0)["recorded_at"]}
        answer = _withdraw(client, operator, one, **named)
        assert (answer.status_code, answer.json["code"]) == (409, "conflict")
        assert one.tracker.id in answer.json["detail"]
        assert _withdraw(client, operator, one, **named, tracker_id=other.tracker.id).status_code == 200
        assert sql.column(world.database, "SELECT tracker_id FROM positions") == [one.tracker.number]
        assert sql.column(world.database, "SELECT tracker_id FROM latest_positions") == [one.tracker.number]

    @pytest.mark.parametrize("what", ["release", "reject", None])
    def test_is_only_of_what_is_in_the_history(self, client: CheckedClient, world: World, operator, what):
        tracker = world.tracker()
        hold(client, tracker)
        [held] = listed(client, operator)
        if what:
            decide_on(client, operator, held["id"], what)
        answer = _withdraw(client, operator, tracker, recorded_at=held["recorded_at"])
        if what == "release":
            assert (answer.status_code, answer.json["reason"]) == (200, "null_island")
        else:
            assert (answer.status_code, answer.json["code"]) == (409, "conflict")
            assert str(held["id"]) in answer.json["detail"]

    @pytest.mark.parametrize(
        "other", [{"recorded_at": "2026-01-02T03:04:06Z"}, {"vessel_id": 999}, {"tracker_id": "trk_0999"}]
    )
    def test_is_404_where_there_is_no_such_fix(self, client: CheckedClient, world: World, operator, other):
        tracker = world.tracker()
        post(client, tracker, a_fix(0))
        answer = _withdraw(client, operator, tracker, **{"recorded_at": a_fix(0)["recorded_at"], **other})
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")
        assert len(history_of(world.database)) == 1

    @pytest.mark.parametrize(
        ("member", "value"),
        [
            ("note", ""),
            ("note", "\u200b"),
            ("note", "x" * 501),
            ("note", None),
            ("recorded_at", "2026-01-02T03:04:05"),
            ("tracker_id", "trk_1"),
            ("vessel_id", 0),
            ("vessel", 1),
        ],
    )
    def test_refuses_what_is_no_withdrawal(
        self, client: CheckedClient, world: World, operator, member, value
    ):
        tracker = world.tracker()
        post(client, tracker, a_fix(0))
        body = {"recorded_at": a_fix(0)["recorded_at"], member: value}
        answer = _withdraw(client, operator, tracker, **body)
        assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, f"#/{member}")
        assert len(history_of(world.database)) == 1

    def test_is_for_whoever_may_decide(self, client: CheckedClient, world: World):
        tracker = world.tracker()
        post(client, tracker, a_fix(0))
        named = {"recorded_at": a_fix(0)["recorded_at"]}
        stranger = world.bearer("quarantine:read", "vessels:write", "vessels:read")
        assert _withdraw(client, stranger, tracker, **named).json["code"] == "scope_missing"
        # And that scope alone is told nothing of where it was.
        answer = _withdraw(client, world.bearer("quarantine:write"), tracker, **named)
        assert answer.status_code == 200
        assert not {"lat", "lon", "raw"} & answer.json.keys()
