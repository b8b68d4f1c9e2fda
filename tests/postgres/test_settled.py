"""Months that are settled: whoever reads by number passes over them, and misses nothing that comes late."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import NewDatabase
from tests.support import sql
from tests.support.examples import many
from tests.support.factories import EVERYTHING, World, fleet_of, rolled_back
from tests.support.partitions import partitions_of, split

from harbor_api.database import Database, UnitOfWork
from harbor_api.domain.errors import Unavailable
from harbor_api.domain.months import Month
from harbor_api.postgres.order import NEWEST
from harbor_api.postgres.sight import Sight
from harbor_api.postgres.tables import TAKE_ORDER

_MONTHS = 6
_SIGHT = Sight.of(EVERYTHING, None)
_NOW = datetime.now(UTC)
_BEGAN = _NOW - timedelta(days=2)
# As whoever stores fixes does it that knows nothing of what is settled.
_STORE = f"""
WITH turn AS MATERIALIZED (SELECT {TAKE_ORDER}), stored AS (
    INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
    SELECT :vessel, CAST(:at AS timestamptz) + n * interval '1 ms', 1,
        CAST(:received AS timestamptz), 59.9, 10.7, nextval('fleet_order')
    FROM turn, generate_series(1, :many) AS n
    RETURNING *
)
INSERT INTO latest_positions AS latest (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
SELECT vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq
FROM stored ORDER BY recorded_at DESC LIMIT 1
ON CONFLICT (vessel_id) DO UPDATE SET recorded_at = excluded.recorded_at, seq = excluded.seq
WHERE latest.recorded_at < excluded.recorded_at
"""
_NOTHING = "UPDATE order_settled SET since = '-infinity', until = '-infinity'"


class Fleet:
    """A vessel whose fixes come in one after the other, whenever they were recorded."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.vessel = World(database).vessel().id
        self._numbers = count(1)

    def begin(self) -> None:
        """Have nothing but a partition for each of the last months, and one of all that is older."""
        sql.run(self.database, "TRUNCATE positions, latest_positions")
        sql.run(self.database, f"{_NOTHING}, number = 0")
        for each in partitions_of(self.database):
            if each.until is not None and each.until < _NOW:
                self.database.drop_partition(each.name)
        sql.run(self.database, "UPDATE order_settled SET since = '-infinity'")
        oldest = partitions_of(self.database)[0]
        if oldest.since is not None:
            self.database.make_partitions(up_to=_NOW, holding=oldest.since - timedelta(days=1))
        split(self.database, months=_MONTHS)

    def store(self, months_ago: int, many: int = 1) -> None:
        number = next(self._numbers)
        values = {
            "vessel": self.vessel,
            "at": Month.of(_NOW).after(-months_ago).begin + timedelta(seconds=number),
            "received": _BEGAN + timedelta(seconds=number),
            "many": many,
        }
        self.database.transact(lambda unit: sql.run(unit, _STORE, **values))

    def settle(self, months_ago: int) -> None:
        self.database.settle_partitions(before=Month.of(_NOW).after(-months_ago).begin)

    def drop(self) -> None:
        """Drop the oldest partition; in its place one is made with the next fix that is as old."""
        first = partitions_of(self.database)[0]
        if first.until is not None and first.until < _NOW:
            self.database.drop_partition(first.name)

    def number(self) -> int:
        """Return up to which number what is recorded in settled months may be."""
        return int(sql.value(self.database, "SELECT number FROM order_settled"))


@pytest.fixture
def fleet(new_database: NewDatabase) -> Iterator[Fleet]:
    database = Database(new_database(), pool_size=8)
    fleet = Fleet(database)
    fleet.begin()
    yield fleet
    database.dispose()


def _answers(unit: UnitOfWork) -> Iterator[Any]:
    """Yield what everybody is told who reads by number."""
    yield unit.order.standing().number
    feed = unit.feed(_SIGHT, item_key=b"key")
    numbers = sql.column(unit, "SELECT seq FROM positions ORDER BY seq")
    for after in (0, *numbers):
        for limit in (1, 1_000):
            page = feed.page(after, limit=limit)
            yield page.items, page.next, page.has_more
        yield feed.came_at(after)
        news = fleet_of(unit, EVERYTHING).news(after)
        yield news.number, news.tops, [(each.vessel.id, each.number) for each in news.vessels or ()]
    for seconds in range(0, 40, 3):
        moment = _BEGAN + timedelta(seconds=seconds)
        yield feed.since(moment)
        yield unit.order.horizon(_NOW - moment, future_tolerance=timedelta()).number


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.integers(0, _MONTHS + 2), st.integers(1, 3)),
        st.tuples(st.just("settle"), st.integers(0, _MONTHS)),
        st.tuples(st.just("drop")),
    ),
    min_size=2,
    max_size=12,
)


def test_everybody_is_told_the_same_as_if_nothing_was_settled(fleet: Fleet):
    @settings(max_examples=many(10), deadline=None, derandomize=True)
    @given(_STEPS)
    def check(steps):
        fleet.begin()
        for what, *values in steps:
            getattr(fleet, what)(*values)
            with rolled_back(fleet.database) as unit_of_work:
                told = [*_answers(unit_of_work)]
                greatest = sql.value(unit_of_work, "SELECT coalesce(max(seq), 0) FROM positions")
                sql.run(unit_of_work, _NOTHING)
                assert told == [*_answers(unit_of_work)]
                assert told[0] >= greatest

    check()


def test_a_late_fix_is_read_by_whoever_had_read_all_before(fleet: Fleet):
    for months_ago in (4, 3, 1, 0):
        fleet.store(months_ago)
    fleet.settle(1)
    settled = fleet.number()
    with fleet.database.autocommit() as unit_of_work:
        head = unit_of_work.order.standing().number
        assert settled < head
        fleet.store(3, many=2)
        page = unit_of_work.feed(_SIGHT, item_key=b"key").page(head, limit=10)
        assert (page.count, page.next) == (2, head + 2)
        assert unit_of_work.order.standing().number == head + 2 == fleet.number()
        fleet.store(0)
        assert fleet.number() == head + 2


def test_what_is_settled_is_not_opened(fleet: Fleet):
    for months_ago in range(_MONTHS, -1, -1):
        fleet.store(months_ago)
    fleet.settle(1)
    with fleet.database.unit_of_work() as unit_of_work:
        sql.run(unit_of_work, "SET LOCAL plan_cache_mode = force_generic_plan")
        plan = "\n".join(
            sql.column(unit_of_work, f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT {NEWEST}")
        )
    read = [line for line in plan.splitlines() if "on positions_" in line and "never executed" not in line]
    # The month before this one, this one and those to come.
    assert 2 <= len(read) <= 6
    assert plan.count("never executed") == _MONTHS


def test_followers_miss_nothing_while_months_are_settled_and_late_fixes_come(fleet: Fleet):
    over = threading.Event()
    failed: list[BaseException] = []

    def write(months: list[int]) -> None:
        try:
            for number in range(60):
                fleet.store(months[number % len(months)])
        except BaseException as error:
            failed.append(error)

    def settle() -> None:
        while not over.is_set():
            for months_ago in range(_MONTHS, -1, -1):
                # Where somebody stores in it for longer than a moment the same again goes on.
                with suppress(Unavailable):
                    fleet.settle(months_ago)
            sql.run(fleet.database, "UPDATE order_settled SET until = since")

    def follow(told: list[int]) -> None:
        number = 0
        while True:
            # What is read last was begun when all was stored.
            is_last = over.is_set()
            with fleet.database.autocommit() as unit_of_work:
                scan = unit_of_work.feed(_SIGHT, item_key=b"key").scan(number, limit=5)
            told += [row.number for row in scan.rows]
            number = scan.next
            if is_last and number == scan.bound:
                return

    told: list[list[int]] = [[], []]
    writers = [
        threading.Thread(target=write, args=(months,)) for months in ([0], [0, 3], [5, 1, 0, 2], [8, 0])
    ]
    others = [
        threading.Thread(target=settle),
        *(threading.Thread(target=follow, args=(one,)) for one in told),
    ]
    for each in (*writers, *others):
        each.start()
    for each in writers:
        each.join()
    over.set()
    for each in others:
        each.join()
    assert not failed
    stored = sql.column(fleet.database, "SELECT seq FROM positions ORDER BY seq")
    assert len(stored) == 240
    assert told == [stored, stored]
