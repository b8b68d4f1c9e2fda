"""The daily job, where more is to go than one transaction takes, and while somebody decides or follows."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import World
from tests.support.urls import FEEDS, POSITIONS

from harbor_api.cli import prune
from harbor_api.database import Database
from harbor_api.domain.times import rfc3339
from harbor_api.services import feed_floor

_AT_ONCE = 10


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "_AT_ONCE", _AT_ONCE)


def _hold(world: World, count: int, *, days: int) -> list[int]:
    """Hold fixes that came some days ago, and return their ids."""
    vessel = world.vessel().id
    with world.database.unit_of_work() as unit_of_work:
        sql.run(
            unit_of_work,
            "INSERT INTO quarantine (vessel_id, recorded_at, tracker_id, received_at, reason, fix) "
            f"SELECT {vessel}, now() - n * interval '1 second', 1, now() - interval '{days} days', 'future', "
            f"""'{{"lat": 1, "lon": 1}}' FROM generate_series(1, {count}) AS n""",
        )
        page = unit_of_work.quarantine.search(after=0, limit=count, vessel_id=vessel)
    return [each.id for each in page]


def _prune(database: Database, *arguments: str) -> Result:
    url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    others = {name: None for name in os.environ if name.startswith("HARBOR_")}
    runner = CliRunner(env={**others, "HARBOR_DATABASE_URL": url})
    asked = arguments or ("--quarantine-days", "30")
    return runner.invoke(prune.command, asked, catch_exceptions=False)


def _left(database: Database) -> list[int]:
    with database.autocommit() as unit_of_work:
        return [each.id for each in unit_of_work.quarantine.search(after=0, limit=1000)]


@pytest.mark.parametrize("count", [0, 9, 10, 11, 25])
def test_all_that_is_too_old_goes_however_much_it_is(database: Database, world: World, count):
    kept = _hold(world, 3, days=29)
    _hold(world, count, days=31)
    assert _prune(database).output == f"{count} fixes deleted from quarantine\n"
    assert _left(database) == kept


def test_what_is_being_decided_on_is_passed_over_and_not_waited_for(database: Database, world: World):
    old = _hold(world, 25, days=31)
    with database.unit_of_work() as unit_of_work:
        unit_of_work.quarantine.lock(old[3])
        began = datetime.now(UTC)
        assert _prune(database).output == "24 fixes deleted from quarantine\n"
        assert datetime.now(UTC) - began < timedelta(seconds=4)
    assert _left(database) == [old[3]]
    assert _prune(database).output == "1 fixes deleted from quarantine\n"


_STORE = """
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
SELECT :vessel, now() - :days * interval '1 day' + number * interval '1 ms', 1,
    now() - :days * interval '1 day', 59.9, 10.7, nextval('fleet_order')
FROM generate_series(1, :count) AS number
"""
_WITHDRAW = """
INSERT INTO withdrawals
SELECT nextval('fleet_order'), :vessel, now(), 1, now() - :days * interval '1 day'
FROM generate_series(1, :count)
"""


def _store(world: World, vessel: int, *, days: float, count: int = 1, what: str = _STORE) -> None:
    sql.run(world.database, what, vessel=vessel, days=days, count=count)


def _read(client: CheckedClient, bearer: dict[str, str], status: int = 200, **query: Any) -> Any:
    answer = client.get(POSITIONS, query_string={"limit": 1_000, **query}, headers=bearer)
    assert answer.status_code == status, answer.text
    return answer.json


def _floor(database: Database) -> tuple[int, datetime] | None:
    with database.autocommit() as unit_of_work:
        return unit_of_work.feed_floor.find()


def test_what_came_long_ago_is_told_no_more_and_who_is_behind_is_said(
    client: CheckedClient, world: World
) -> None:
    vessel, (key, secret) = world.vessel().id, world.key()
    bearer = {"Authorization": f"Bearer {secret}"}
    for name in ("slow", "quick"):
        client.put(f"{FEEDS}/{name}", json={}, headers=bearer)
    ended, other = world.key()
    client.put(f"{FEEDS}/ended", json={}, headers={"Authorization": f"Bearer {other}"})
    sql.run(world.database, "UPDATE api_keys SET expires_at = now() WHERE id = :key", key=ended.id)
    late, _ = world.key(delay_s=40 * 86_400)
    begun = _read(client, bearer, **{"from": "now"})["next"]
    _store(world, vessel, days=40, count=3)
    _store(world, vessel, days=40, count=25, what=_WITHDRAW)
    _store(world, vessel, days=20, count=2)
    page = _read(client, bearer, cursor=begun, limit=28)
    client.put(f"{FEEDS}/quick", json={"cursor": page["next"]}, headers=bearer)
    told = [
        f"behind: consumer slow of key {key.id} (a partner), never seen",
        f"key {late.id} (a partner) sees 40 days late: by then it can be told nothing",
    ]

    rehearsed = _prune(world.database, "--feed-days", "30", "--dry-run").output.splitlines()
    assert rehearsed[:2] == told
    assert rehearsed[2].startswith("followers would be told what came in at ")
    assert (_floor(world.database), sql.count(world.database, "withdrawals")) == (None, 25)
    assert len(_read(client, bearer, cursor=begun)["items"]) == 30

    pruned = _prune(world.database, "--feed-days", "30").output.splitlines()
    assert pruned[:2] == told
    assert pruned[2].startswith("followers are told what came in at ")
    # The last one stays: without it the order would go back.
    assert pruned[3:] == ["24 withdrawals deleted"]
    assert sql.count(world.database, "positions") == 5
    expired = _read(client, bearer, 410, cursor=begun)
    assert len(_read(client, bearer, cursor=expired["oldest"])["items"]) == 2
    assert len(_read(client, bearer, cursor=page["next"])["items"]) == 2
    assert _read(client, bearer, **{"from": expired["oldest_at"]})["next"]
    assert _read(client, bearer, 410, **{"from": "2020-01-01T00:00:00Z"})["oldest"] == expired["oldest"]
    shown = client.get(FEEDS, headers=bearer).json["feeds"]
    assert [(each["name"], each["expired"]) for each in shown] == [("quick", False), ("slow", True)]

    # It never falls, whatever is asked for, and stays where nothing has come.
    floor = _floor(world.database)
    for days in ("35", "36500", "30"):
        _prune(world.database, "--feed-days", days)
        assert _floor(world.database) == floor
    assert _prune(world.database, "--feed-days", "10").exit_code == 0
    raised = _floor(world.database)
    assert floor is not None
    assert raised is not None
    assert raised[0] > floor[0]
    assert raised[1] > floor[1]
    # Nothing is kept but the last withdrawal, and who has all goes on.
    last = _read(client, bearer, **{"from": "now"})["next"]
    assert _read(client, bearer, cursor=last)["items"] == []
    _store(world, vessel, days=0)
    assert len(_read(client, bearer, cursor=last)["items"]) == 1


def test_the_order_does_not_go_back_where_a_withdrawal_is_the_last_of_it(
    client: CheckedClient, world: World
) -> None:
    bearer, vessel = world.bearer(), world.vessel().id
    _store(world, vessel, days=40)
    _store(world, vessel, days=40, what=_WITHDRAW)
    last = _read(client, bearer, **{"from": "now"})["next"]
    for _ in range(2):
        assert _prune(world.database, "--feed-days", "1").exit_code == 0
        assert _read(client, bearer, cursor=last)["items"] == []
    assert sql.count(world.database, "withdrawals") == 1
    # Where one was withdrawn and deleted, and no fix is of that time, a part would be missing.
    _store(world, vessel, days=39, what=_WITHDRAW)
    _store(world, vessel, days=0)
    _prune(world.database, "--feed-days", "30")
    since = rfc3339(datetime.now(UTC) - timedelta(days=39, hours=1))
    assert _read(client, bearer, 410, **{"from": since})["oldest_at"]


def test_where_nothing_came_so_long_ago_nothing_changes(world: World) -> None:
    told = "followers are told all: nothing came in so long ago\n"
    for days in (None, 1):
        if days is not None:
            _store(world, world.vessel().id, days=days)
        for more in ([], ["--dry-run"]):
            assert _prune(world.database, "--feed-days", "30", *more).output == told
    assert _floor(world.database) is None


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--dry-run"],
        ["--dry-run", "--quarantine-days", "30"],
        ["--dry-run", "--quarantine-days", "30", "--feed-days", "30"],
        ["--feed-days", "0"],
        ["--feed-days", "36501"],
    ],
)
def test_what_is_to_go_must_be_said(arguments: list[str]) -> None:
    result = CliRunner().invoke(prune.command, arguments)
    assert result.exit_code == 2


def test_both_are_pruned_in_one_run(world: World) -> None:
    _hold(world, 3, days=31)
    _store(world, world.vessel().id, days=31)
    lines = _prune(world.database, "--quarantine-days", "30", "--feed-days", "30").output.splitlines()
    assert lines[0] == "3 fixes deleted from quarantine"
    assert lines[1].startswith("followers are told ")


def test_a_slow_follower_is_told_all_or_that_something_is_missing(app: Flask, world: World) -> None:
    """While the floor rises under it: never a page with a hole."""
    bearer, vessel = world.bearer(), world.vessel().id
    client = CheckedClient(app)
    begun = _read(client, bearer, **{"from": "now"})["next"]
    for number in range(3):
        client.put(f"{FEEDS}/{number}", json={}, headers=bearer)
    for day in range(60, 20, -1):
        _store(world, vessel, days=day, count=2)
        _store(world, vessel, days=day, what=_WITHDRAW)
    whole = [each["recorded_at"] for each in _read(client, bearer, cursor=begun)["items"]]
    assert len(whole) == 3 * 40
    started = threading.Barrier(7)

    def follow(number: int) -> int:
        """Read page by page, again and again from the beginning on, until a part is missing."""
        reader, place, rounds = CheckedClient(app), f"{FEEDS}/{number}", 0
        is_kept = number < 3
        started.wait()
        while True:
            told, cursor, has_more = list[str](), begun, True
            while has_more:
                if is_kept and reader.put(place, json={"cursor": cursor}, headers=bearer).status_code == 410:
                    return rounds
                query: dict[str, Any] = {"limit": 2 + number} | ({} if is_kept else {"cursor": cursor})
                url = f"{place}/positions" if is_kept else POSITIONS
                answer = reader.get(url, query_string=query, headers=bearer)
                if answer.status_code == 410:
                    return rounds
                told += [each["recorded_at"] for each in answer.json["items"]]
                cursor, has_more = answer.json["next"], answer.json["has_more"]
                assert told == whole[: len(told)]
            assert told == whole
            rounds += 1

    def rise() -> None:
        started.wait()
        for days in range(60, 20, -1):
            with world.database.unit_of_work() as unit_of_work:
                floor = feed_floor.after(unit_of_work, timedelta(days=days - 0.5))
                feed_floor.prune(unit_of_work, floor, most=2)

    with ThreadPoolExecutor(7) as pool:
        followers = [pool.submit(follow, number) for number in range(6)]
        pool.submit(rise).result()
        assert all(each.result() >= 0 for each in followers)
    assert _read(client, bearer, 410, cursor=begun)["oldest"]
