"""harbor-api vessels keep, hold and lift, and what maintain and erase make of what was said."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import Result
from tests.cli import commands
from tests.conftest import NewDatabase
from tests.support import sql
from tests.support.factories import World
from tests.support.partitions import split

from harbor_api.database import Database
from harbor_api.domain.months import Month

_NOW = datetime.now(UTC)
_MONTH = Month.of(_NOW).after(-5)
_STORE = """
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
SELECT vessel, CAST(:at AS timestamptz) + n * interval '1 min', 1, :at, 59.9, 10.7, nextval('fleet_order')
FROM generate_series(1, 3) AS vessel, generate_series(1, 20) AS n
"""
Run = Callable[..., Result]


@pytest.fixture
def database(new_database: NewDatabase) -> Iterator[Database]:
    database = Database(new_database())
    split(database, months=6)
    world = World(database)
    for name in ("Skagerrak Trader", "Fjordbrev", "Vesterhav"):
        world.vessel(name)
    for at in (_MONTH.begin + timedelta(days=9), _NOW - timedelta(days=10)):
        sql.run(database, _STORE, at=at)
    yield database
    database.dispose()


@pytest.fixture
def run(database: Database) -> Run:
    url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)

    def run(name: str, *arguments: str, **settings: str) -> Result:
        return commands.run(name, *arguments, database=url, **settings)

    return run


def _counts(database: Database) -> dict[int, int]:
    found = sql.run(database, "SELECT vessel_id, count(*) FROM positions GROUP BY vessel_id")
    return dict(map(tuple, found))


def test_one_is_held_one_keeps_less_and_all_others_go_as_set(database: Database, run: Run):
    assert run("vessels hold", "1", "--reason", "Court order 12").exit_code == 0
    assert run("vessels keep", "2", "--days", "5").exit_code == 0
    world = World(database)
    for vessels in (None, frozenset({1, 2}), frozenset({3})):
        world.key(delay_s=6 * 86_400, vessel_ids=vessels)
    days = {"HARBOR_KEEP_POSITIONS_DAYS": "60"}
    rehearsed = run("maintain", "--dry-run", **days)
    lines = rehearsed.output.splitlines()
    [emptied] = [line for line in lines if line.startswith("empty ")]
    assert emptied.startswith(f"empty positions_{_MONTH}, from ")
    assert emptied.endswith("; kept of vessel 1")
    assert any(
        line.startswith("vessel 1 (Skagerrak Trader) is under a legal hold since ")
        and line.endswith(": Court order 12")
        for line in lines
    )
    [less] = [line for line in lines if line.startswith("vessel 2 ")]
    assert less.startswith("vessel 2 (Fjordbrev): 40 positions recorded before ")
    assert less.endswith(" UTC go, 5 days are kept")
    late = "(a partner) sees 6 days late: by then it can be told nothing of vessel 2"
    assert [line for line in lines if line.startswith("key ")] == [f"key 1 {late}", f"key 2 {late}"]
    assert _counts(database) == {1: 40, 2: 40, 3: 40}
    result = run("maintain", **days)
    assert result.exit_code == 0, result.output
    assert "40 positions of vessel 2 deleted" in result.output
    assert f"20 positions deleted from positions_{_MONTH}" in result.output
    assert _counts(database) == {1: 40, 3: 20}
    refused = commands.told(
        run(
            "positions erase", "1", "--from", "2020-01-01T00:00:00Z", "--to", "2100-01-01T00:00:00Z", "--yes"
        ),
        1,
    )
    assert "Vessel 1 is under a legal hold since " in refused
    assert refused.endswith("Nothing of hers is erased until it is lifted")
    listed = json.loads(run("vessels list", "--json").output)
    assert [(each["kept_days"], each["hold_reason"]) for each in listed] == [
        (None, "Court order 12"),
        (5, None),
        (None, None),
    ]
    assert run("vessels lift", "1").exit_code == 0
    assert f"dropped positions_{_MONTH}" in run("maintain", **days).output
    assert _counts(database) == {1: 20, 3: 20}


def test_one_keeps_all_where_others_do_not(database: Database, run: Run):
    assert run("vessels keep", "3", "--days", "0").exit_code == 0
    days = {"HARBOR_KEEP_POSITIONS_DAYS": "60"}
    assert "vessel 3 (Vesterhav): all of hers is kept" in run("maintain", "--dry-run", **days).output
    assert run("maintain", **days).exit_code == 0
    assert _counts(database) == {1: 20, 2: 20, 3: 40}
    assert run("vessels keep", "3", "--as-others").exit_code == 0
    assert run("maintain", **days).exit_code == 0
    assert _counts(database) == {1: 20, 2: 20, 3: 20}


def test_a_month_that_was_on_its_way_out_stays_for_a_hold(database: Database, run: Run):
    """As where maintenance was killed between letting go of it and dropping it."""
    name = f"positions_{_MONTH}"
    sql.run(database, f"COMMENT ON TABLE {name} IS 'harbor-api: to be dropped'")
    sql.run(database, f"ALTER TABLE positions DETACH PARTITION {name}")
    assert run("vessels hold", "2", "--reason", "Court order 12").exit_code == 0
    days = {"HARBOR_KEEP_POSITIONS_DAYS": "60"}
    result = run("maintain", **days)
    assert f"{name}: detached, and something in it is of a vessel" in commands.told(result, 4)
    assert sql.count(database, name) == 60
    bounds = f"FOR VALUES FROM ('{_MONTH.begin}') TO ('{_MONTH.end}')"
    sql.run(database, f"ALTER TABLE positions ATTACH PARTITION {name} {bounds}")
    assert f"40 positions deleted from {name}" in run("maintain", **days).output
    assert _counts(database) == {1: 20, 2: 40, 3: 20}


def test_what_is_said_of_one_needs_no_setting(database: Database, run: Run):
    assert run("vessels keep", "2", "--days", "60").exit_code == 0
    assert run("maintain").exit_code == 0
    assert _counts(database) == {1: 40, 2: 20, 3: 40}


@pytest.mark.parametrize("arguments", [[], ["--days", "3", "--as-others"], ["--days", "-1"]])
def test_either_days_or_as_others(run: Run, arguments: list[str]):
    assert run("vessels keep", "1", *arguments).exit_code == 2
