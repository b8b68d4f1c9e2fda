"""What maintenance leaves is what each vessel's own rule keeps, and nothing is told twice or not at all."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cli import commands
from tests.conftest import NewDatabase
from tests.support import sql
from tests.support.factories import ACTOR, World
from tests.support.partitions import partitions_of, split

from harbor_api.database import Database
from harbor_api.domain.changes import ANY, Edit
from harbor_api.domain.errors import Conflict
from harbor_api.domain.months import Month
from harbor_api.postgres.tables import KEEPING_LOCK
from harbor_api.services import erasure, expiry, keeping, maintenance

_NOW = datetime.now(UTC)
_MONTHS = 6
_VESSELS = 4
_HELD = "held"
Rule = int | str | None
Row = tuple[int, datetime]

_STORE = """
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
SELECT vessel, at, :tracker, received, 59.9, 10.7, nextval('fleet_order')
FROM unnest(CAST(:vessels AS integer[]), CAST(:times AS timestamptz[]), CAST(:received AS timestamptz[]))
    WITH ORDINALITY AS fix (vessel, at, received, place)
ORDER BY received, place
"""


@dataclass(frozen=True)
class Fleet:
    """Vessels of which something may be said, and how old what is stored of each is, in days."""

    keep_days: int
    rules: list[Rule]
    ages: list[list[tuple[int, bool]]]


# Of halves of days, so that no run is too slow for what was just kept.
_ages = st.lists(
    st.tuples(st.sampled_from([0, 3, 20, 45, 70, 80, 99, 110, 140, 170, 250, 400]), st.booleans()),
    max_size=6,
    unique_by=lambda each: each[0],
)
_fleets = st.builds(
    Fleet,
    st.sampled_from([0, 60, 100]),
    st.lists(
        st.sampled_from([None, None, _HELD, 0, 5, 40, 90, 120, 3650]), min_size=_VESSELS, max_size=_VESSELS
    ),
    st.lists(_ages, min_size=_VESSELS, max_size=_VESSELS),
)


@pytest.fixture(scope="module", autouse=True)
def _few_at_once() -> Iterator[None]:
    """Have all be done in steps that few vessels are too many for."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(expiry, "_ASKED", 2)
        patched.setattr(expiry, "AT_ONCE", 3)
        patched.setattr(expiry, "AT_ONCE_TOLD", 2)
        yield


@pytest.fixture(scope="module")
def url(new_database: NewDatabase) -> str:
    return new_database()


@pytest.fixture(scope="module")
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    world = World(database)
    for _ in range(_VESSELS):
        world.vessel()
    yield database
    database.dispose()


def _emptied(database: Database) -> None:
    sql.run(database, "TRUNCATE positions, withdrawals, quarantine, feed_floor, vessel_keeping")
    for each in partitions_of(database)[:-4]:
        database.drop_partition(each.name)
    # What is older than the first one that is left.
    first = Month.of(_NOW).begin
    sql.run(
        database,
        f"CREATE TABLE positions_before PARTITION OF positions FOR VALUES FROM (MINVALUE) TO ('{first}')",
    )
    split(database, months=_MONTHS)


def _store(database: Database, rows: list[tuple[int, datetime, datetime]], *, tracker: int = 1) -> None:
    vessels, times, received = zip(*rows, strict=True) if rows else ((), (), ())
    sql.run(
        database,
        _STORE,
        vessels=list(vessels),
        times=list(times),
        received=list(received),
        tracker=tracker,
    )


def _say(database: Database, vessel_id: int, rule: Rule) -> None:
    members = {"hold_reason": "Court order"} if rule == _HELD else {"keep_positions_days": rule}
    with database.unit_of_work() as unit_of_work:
        keeping.change(unit_of_work, vessel_id, Edit(members), versions=ANY, actor=ACTOR)


def _stored(database: Database, tracker: int = 1) -> dict[Row, int]:
    rows = sql.run(
        database,
        "SELECT vessel_id, recorded_at, seq FROM positions WHERE tracker_id = :tracker",
        tracker=tracker,
    )
    return {(vessel_id, at): seq for vessel_id, at, seq in rows}


def _is_kept(row: Row, rule: Rule, keep_days: int) -> bool:
    _, at = row
    if rule == _HELD:
        return True
    if rule is not None:
        return not rule or at >= _NOW - timedelta(days=int(rule))
    before = _NOW - timedelta(days=keep_days)
    if not keep_days or at >= before:
        return True
    # Months go whole, and of what is older than all of them what is too old.
    month, oldest = Month.of(at), Month.of(_NOW).after(-_MONTHS)
    return month >= oldest and month.end > before


@contextmanager
def _writing(database: Database, vessel_id: int) -> Iterator[list[int]]:
    """Store a fix of now after the other, as a second tracker."""
    ended, stored = threading.Event(), [0]

    def write() -> None:
        while not ended.is_set():
            at = _NOW + timedelta(seconds=stored[0])
            _store(database, [(vessel_id, at, at)], tracker=2)
            stored[0] += 1

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        try:
            yield stored
        finally:
            ended.set()
            writing.result()


def _maintain(url: str, keep_days: int, *arguments: str) -> str:
    result = commands.run(
        "maintain", "--leave-behind", *arguments, database=url, HARBOR_KEEP_POSITIONS_DAYS=str(keep_days)
    )
    assert result.exit_code == 0, result.output + result.stderr
    return result.output


@settings(max_examples=20, deadline=None)
@given(fleet=_fleets)
def test_what_is_left_is_what_each_vessels_own_rule_keeps(url: str, database: Database, fleet: Fleet):
    _emptied(database)
    rows = []
    for number, ages in enumerate(fleet.ages, 1):
        for days, is_late in ages:
            at = _NOW - timedelta(days=days, hours=12)
            rows.append((number, at, _NOW - timedelta(days=2) if is_late else at))
    _store(database, rows)
    for number, rule in enumerate(fleet.rules, 1):
        _say(database, number, rule)
    before = _stored(database)
    kept = {row for row in before if _is_kept(row, fleet.rules[row[0] - 1], fleet.keep_days)}
    with _writing(database, 1) as stored:
        _maintain(url, fleet.keep_days)
    assert set(_stored(database)) == kept
    assert len(_stored(database, tracker=2)) == stored[0]
    # All that went and that followers may still be told of they are told, and of nothing else.
    floor = sql.column(database, "SELECT number FROM feed_floor")
    told = {
        (vessel_id, at)
        for vessel_id, at in sql.run(database, "SELECT vessel_id, recorded_at FROM withdrawals")
    }
    assert told == {
        row for row, number in before.items() if row not in kept and number > (floor[0] if floor else 0)
    }
    names = [each.name for each in partitions_of(database)]
    again = _maintain(url, fleet.keep_days)
    assert set(_stored(database)) == kept
    assert sql.count(database, "withdrawals") <= len(told)
    assert "dropped" not in again
    # Gaps are closed once, and are not opened again.
    _maintain(url, fleet.keep_days)
    assert [each.name for each in partitions_of(database)] == sorted(
        {*names, *(each.name for each in partitions_of(database))},
        key=lambda name: (not name.startswith("positions_before"), name),
    )


def test_what_was_recorded_at_the_very_moment_is_kept(database: Database):
    """PostgreSQL and Python say the same, in days of 24 hours whatever the clocks of a zone do."""
    _emptied(database)
    at = _NOW - timedelta(days=40)
    just_before = at - timedelta(microseconds=1)
    _store(database, [(1, just_before, at), (1, at, at)])
    _say(database, 1, 40)
    name = database.engine.url.database
    sql.run(database, f"ALTER DATABASE {name} SET timezone = 'Europe/Oslo'")
    database.dispose()
    try:
        assert list(expiry.trim_own(database, now=_NOW, number=2**62)) == [(1, 1)]
        with database.autocommit() as unit_of_work:
            month = Month.of(at)
            kept = unit_of_work.keeping.kept(month.begin, month.end, now=_NOW)
    finally:
        sql.run(database, f"ALTER DATABASE {name} RESET timezone")
        database.dispose()
    assert kept == [1]
    assert set(_stored(database)) == {(1, at)}


def _a_month_ago(database: Database) -> Any:
    month = Month.of(_NOW).after(-4)
    [found] = [each for each in partitions_of(database) if each.name == f"positions_{month}"]
    return found


class TestHold:
    """What is said while maintenance is under way holds once it is said."""

    def test_a_hold_waits_for_the_step_that_is_under_way(self, database: Database):
        _emptied(database)
        with ThreadPoolExecutor(1) as pool:
            with database.sharing(KEEPING_LOCK):
                saying = pool.submit(_say, database, 1, _HELD)
                with pytest.raises(TimeoutError):
                    saying.result(timeout=0.3)
                with database.autocommit() as unit_of_work:
                    assert not unit_of_work.keeping.find(1).is_held
            saying.result(timeout=10)
        with database.autocommit() as unit_of_work:
            assert unit_of_work.keeping.find(1).is_held

    def test_a_month_that_was_to_go_stays_where_a_vessel_comes_under_hold(self, database: Database):
        _emptied(database)
        month = _a_month_ago(database)
        at = month.since + timedelta(days=3)
        _store(database, [(1, at, at), (2, at, at)])
        with database.autocommit() as unit_of_work:
            found = expiry.plan(unit_of_work, timedelta(days=60), future_tolerance=timedelta(minutes=5))
        assert month.name in {each.name for each in found.to_drop}
        _say(database, 1, _HELD)
        dropped = expiry.drop(database, month, now=found.now, number=0)
        assert dropped == expiry.Dropped(0, is_gone=False)
        assert set(_stored(database)) == {(1, at), (2, at)}
        assert expiry.trim(database, month, before=found.before, now=found.now, number=0) == 1
        assert set(_stored(database)) == {(1, at)}

    def test_what_is_decided_on_is_asked_again_in_each_step(self, database: Database):
        _emptied(database)
        at = _NOW - timedelta(days=70)
        _store(database, [(1, at, at)])
        _say(database, 1, 30)
        with database.autocommit() as unit_of_work:
            expired = unit_of_work.keeping.expired(0, now=_NOW, most=9)
        assert expired == [(1, at)]
        _say(database, 1, 0)
        assert list(expiry.trim_own(database, now=_NOW, number=2**62)) == []
        assert set(_stored(database)) == {(1, at)}

    def test_nothing_of_hers_is_erased_nor_pruned(self, database: Database):
        _emptied(database)
        at = _NOW - timedelta(days=70)
        _store(database, [(1, at, at), (2, at, at)])
        sql.run(
            database,
            "INSERT INTO quarantine (vessel_id, recorded_at, tracker_id, received_at, reason, fix) "
            "SELECT n, :at, 1, :at, 'future', '{}' FROM generate_series(1, 2) AS n",
            at=at,
        )
        sql.run(database, "UPDATE audit SET at = :at", at=at)
        _say(database, 1, _HELD)
        with pytest.raises(Conflict, match=r"legal hold since .*, by test: Court order"):
            erasure.erase(database, 1, at, _NOW, actor=ACTOR)
        before = _NOW - timedelta(days=1)
        assert maintenance.prune_quarantine(database, before) == 1
        maintenance.prune_audit(database, before)
        assert sql.column(database, "SELECT vessel_id FROM quarantine") == [1]
        old = "SELECT DISTINCT subject FROM audit WHERE at < :before"
        assert sql.column(database, old, before=before) == ["vessels/1"]
        assert erasure.erase(database, 2, at, _NOW, actor=ACTOR).stored == 1
        sql.run(database, "TRUNCATE vessel_keeping")
        assert erasure.erase(database, 1, at, _NOW, actor=ACTOR) == erasure.Erased(stored=1, held=1)

    def test_a_hold_ends_an_erasure_that_is_under_way(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ):
        _emptied(database)
        first = _NOW - timedelta(days=70)
        rows = [(1, first + timedelta(seconds=n), first) for n in range(12)]
        _store(database, rows)
        monkeypatch.setattr(erasure, "AT_ONCE_TOLD", 5)
        steps = erasure.in_steps

        def held_after_one(database: Database, work: Any, **rest: Any) -> int:
            def one(unit_of_work: Any, most: int) -> int:
                done = int(work(unit_of_work, most))
                holding.append(pool.submit(_say, database, 1, _HELD))
                return done

            with database.unit_of_work() as unit_of_work:
                one(unit_of_work, 5)
            holding[0].result(timeout=10)
            return steps(database, work, **rest)

        holding: list[Any] = []
        monkeypatch.setattr(erasure, "in_steps", held_after_one)
        with ThreadPoolExecutor(1) as pool, pytest.raises(Conflict):
            erasure.erase(database, 1, first, _NOW, actor=ACTOR)
        assert len(_stored(database)) == 7
