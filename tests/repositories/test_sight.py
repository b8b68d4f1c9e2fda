"""What a key sees of positions, against a plain model of it: by delay, by steps of time, by stretches."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.support import sql
from tests.support.examples import many
from tests.support.factories import EVERYTHING, FUTURE_TOLERANCE, World, rolled_back

from harbor_api.database import UnitOfWork
from harbor_api.domain.order import Horizon, step_of_delay
from harbor_api.domain.positions import FixKey
from harbor_api.domain.vessels import floored
from harbor_api.postgres import statements
from harbor_api.postgres.sight import SEEN, Sight, stretch
from harbor_api.postgres.statements import Statement

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
_ADD = """
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, released_at, lat, lon, seq)
VALUES (:vessel, :recorded_at, :tracker, :received_at, :released_at, 59.9, 10.7, :seq)
"""


@dataclass(frozen=True)
class Stored:
    """What decides about a stored fix whether it is seen."""

    recorded_at: datetime
    tracker: int
    received_at: datetime
    seq: int
    released_at: datetime | None = None

    @property
    def key(self) -> FixKey:
        return self.recorded_at, self.tracker

    @property
    def due(self) -> datetime:
        return max(self.recorded_at, self.received_at)


def _store(unit_of_work: UnitOfWork, vessel: int, fixes: list[Stored]) -> None:
    for fix in fixes:
        sql.run(unit_of_work, _ADD, vessel=vessel, **vars(fix))


def _model(fixes: list[Stored], horizon: Horizon | None, step: timedelta | None) -> list[FixKey]:
    """Return what is seen, oldest first."""
    seen = sorted(
        fix.key
        for fix in fixes
        if horizon is None or (fix.seq <= horizon.number and fix.recorded_at <= horizon.moment)
    )
    if step is None:
        return seen
    first: dict[datetime, FixKey] = {}
    for key in seen:
        first.setdefault(floored(key[0], step), key)
    return list(first.values())


def _read(
    unit_of_work: UnitOfWork, sight: Sight, ends: dict[str, object], *, descending: bool, most: int
) -> list[FixKey]:
    text = f"SELECT recorded_at, tracker_id FROM {SEEN[sight.is_coarse, descending]} AS seen LIMIT %(most)s"
    values = {"vessel_id": 1, **sight.bounded(), **ends, "most": most}
    return statements.rows(sql.connection_of(unit_of_work), Statement(text.encode(), values))


_seconds = st.integers(0, 3_000)
_fixes = st.lists(st.tuples(_seconds, st.integers(1, 2)), min_size=0, max_size=25, unique=True)


@given(
    told=_fixes,
    decimals=st.sampled_from([6, 3, 2]),
    ends=st.tuples(_seconds, _seconds),
    late=st.none() | st.tuples(_seconds, st.integers(0, 30)),
    descending=st.booleans(),
    page=st.integers(1, 5),
)
@settings(
    max_examples=many(60),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_pages_show_what_is_seen_once_and_in_order(
    world: World, told, decimals, ends, late, descending, page
):
    fixes = [
        Stored(BEGAN + timedelta(seconds=at), tracker, BEGAN, seq)
        for seq, (at, tracker) in enumerate(told, start=1)
    ]
    horizon = late and Horizon(moment=BEGAN + timedelta(seconds=late[0]), number=late[1])
    sight = Sight.of(replace(EVERYTHING, coordinate_decimals=decimals), horizon)
    since, until = (BEGAN + timedelta(seconds=each) for each in ends)
    step = sight.step if sight.is_coarse else None

    expected = [
        key
        for key in _model(fixes, horizon, step)
        if since <= (floored(key[0], step) if step else key[0]) < until
    ]
    found: list[FixKey] = []
    with rolled_back(world.database) as unit_of_work:
        _store(unit_of_work, 1, fixes)
        while True:
            beyond = found[-1] if found else None
            where = stretch(sight, since, until, beyond=beyond, descending=descending)
            read = _read(unit_of_work, sight, where, descending=descending, most=page)
            found += read
            if not read:
                break
    assert found == (expected[::-1] if descending else expected)


def _in_order(chance: random.Random, now: datetime) -> list[Stored]:
    """Return fixes as they come in: nearly in order of reception, some of them ahead, late or released."""
    fixes = []
    came = now - timedelta(hours=chance.choice([2, 30]))
    seq = chance.randrange(1, 1_000)
    while came < now and len(fixes) < 400:
        came += timedelta(seconds=chance.choice([0, 1, 5, 60, 600]))
        seq += chance.choice([1, 1, 1, 7])
        received = came - timedelta(seconds=chance.uniform(0, 60))
        recorded = received + timedelta(seconds=chance.choice([-86_400 * 9, -3_600, -5, -1, 0, 200, 299]))
        released = None
        if chance.random() < 0.1:
            received, released = received - timedelta(days=chance.randrange(1, 9)), received
        recorded += timedelta(microseconds=seq)
        fixes.append(Stored(recorded, 1, received, seq, released))
    return fixes


@contextmanager
def _ordered(world: World, fixes: list[Stored]) -> Iterator[UnitOfWork]:
    with rolled_back(world.database) as unit_of_work:
        sql.run(unit_of_work, "DELETE FROM vessels")
        _store(unit_of_work, 1, fixes)
        yield unit_of_work


@pytest.mark.parametrize("seed", range(12))
def test_a_delayed_key_sees_up_to_the_first_fix_that_is_not_due(world: World, seed):
    chance = random.Random(seed)
    fixes = _in_order(chance, datetime.now(UTC))
    with _ordered(world, fixes) as unit_of_work:
        for delay in (timedelta(seconds=1), timedelta(minutes=30), timedelta(hours=1), timedelta(days=400)):
            horizon = unit_of_work.order.horizon(delay, future_tolerance=FUTURE_TOLERANCE)
            not_due = [fix.seq for fix in fixes if fix.due > horizon.moment]
            assert horizon.number == (min(not_due) - 1 if not_due else max(fix.seq for fix in fixes))
            now = unit_of_work.order.standing().moment
            assert timedelta() <= now - delay - horizon.moment < step_of_delay(delay)
            assert floored(horizon.moment, step_of_delay(delay)) == horizon.moment


def test_where_nothing_is_stored_nothing_is_missing(world: World):
    with _ordered(world, []) as unit_of_work:
        horizon = unit_of_work.order.horizon(timedelta(hours=1), future_tolerance=FUTURE_TOLERANCE)
        assert horizon.number == unit_of_work.order.standing().number == 0


@pytest.mark.parametrize("bounded", [None, 5])
def test_a_page_is_bound_to_the_number_that_the_first_has_shown(bounded):
    late = Sight.of(replace(EVERYTHING, delay_s=60), Horizon(moment=BEGAN, number=7))
    assert late.bounded(bounded)["number"] == (bounded or 7)
    assert late.bounded(9)["number"] == 7
    assert Sight.of(EVERYTHING, None).bounded(bounded)["number"] == (bounded or 2**63 - 1)


def test_ends_beyond_all_times_are_taken():
    coarse = Sight.of(replace(EVERYTHING, coordinate_decimals=0), None)
    ends = stretch(coarse, datetime.min.replace(tzinfo=UTC), LAST)
    assert ends["before_at"] == LAST
