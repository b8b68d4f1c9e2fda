"""What a key knows of vessels around a moment, against a plain model of it."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import sql
from tests.support.examples import many
from tests.support.factories import ACTOR, EVERYTHING, World, rolled_back

from harbor_api.database import UnitOfWork
from harbor_api.domain.api_keys import KeyTerms
from harbor_api.domain.order import Horizon
from harbor_api.domain.vessels import VesselDetails, floored
from harbor_api.postgres.sight import Sight
from harbor_api.services import api_keys, vessels

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_ADD = """
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, accuracy_m, seq)
VALUES (:vessel, :recorded_at, :tracker, :received_at, :lat, :lon, :sog, :accuracy_m, :seq)
"""


@dataclass(frozen=True)
class Stored:
    vessel: int
    recorded_at: datetime
    tracker: int
    seq: int

    @property
    def key(self) -> tuple[datetime, int]:
        return self.recorded_at, self.tracker

    @property
    def lat(self) -> float:
        return 50 + self.seq / 1_000


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def _store(unit_of_work: UnitOfWork, fixes: list[Stored]) -> None:
    for fix in fixes:
        rest = {"received_at": BEGAN, "lat": fix.lat, "lon": 10.7, "sog": 8.4, "accuracy_m": 4}
        sql.run(unit_of_work, _ADD, **vars(fix), **rest)


def _model(fixes: list[Stored], vessel: int, moment: datetime, sight: Sight, number: int, gap: timedelta):
    """Return the numbers of the fix before and the one after, and the time that is shown of the former."""
    late = sight.horizon
    seen = sorted(
        (
            fix
            for fix in fixes
            if fix.vessel == vessel
            and fix.seq <= number
            and (late is None or (fix.seq <= late.number and fix.recorded_at <= late.moment))
        ),
        key=lambda fix: fix.key,
    )
    if sight.is_coarse:
        whole = [fix for fix in seen if fix.recorded_at < floored(moment, sight.step)]
        steps = [floored(fix.recorded_at, sight.step) for fix in whole]
        return (whole[steps.index(steps[-1])].seq, None, steps[-1]) if whole else None
    before = [fix for fix in seen if fix.recorded_at <= moment]
    if not before:
        return None
    last = before[-1]
    after = next((fix for fix in seen if fix.recorded_at > moment), None)
    is_told = after is not None and last.recorded_at < moment and after.recorded_at - last.recorded_at <= gap
    return last.seq, after.seq if after is not None and is_told else None, last.recorded_at


_seconds = st.integers(0, 3_000)


@given(
    told=st.lists(st.tuples(st.integers(1, 2), _seconds, st.integers(1, 2)), max_size=25, unique=True),
    moment=_seconds,
    gap=st.integers(1, 2_000),
    decimals=st.sampled_from([6, 3, 2]),
    late=st.none() | st.tuples(_seconds, st.integers(0, 30)),
    number=st.integers(0, 30) | st.just(99),
)
@settings(max_examples=many(80), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_known_around_a_moment(world: World, told, moment, gap, decimals, late, number):
    fixes = [Stored(vessel, at(when), tracker, seq) for seq, (vessel, when, tracker) in enumerate(told, 1)]
    # No key is answered for a moment that is later than it sees.
    horizon = late and Horizon(moment=at(max(late[0], moment)), number=late[1])
    sight = Sight.of(replace(EVERYTHING, coordinate_decimals=decimals), horizon)
    longest = timedelta(seconds=gap)
    with rolled_back(world.database) as unit_of_work:
        _store(unit_of_work, fixes)
        found = unit_of_work.moments(sight, at(moment), number=number).fixes([2, 1, 3], gap=longest)
    expected = {
        vessel: known
        for vessel in (1, 2)
        if (known := _model(fixes, vessel, at(moment), sight, number, longest))
    }
    assert {
        vessel: (known.before.number, known.after_number, known.before.recorded_at)
        for vessel, known in found.items()
    } == expected
    for known in found.values():
        assert known.before.lat == round(50 + known.before.number / 1_000, sight.decimals)
        assert (known.after is None) == (known.after_number is None)


def test_a_backfill_beyond_the_horizon_is_walked_over(world: World):
    fixes = [Stored(1, at(0), 1, 1), *(Stored(1, at(n), 1, 1 + n) for n in range(1, 40))]
    sight = Sight.of(EVERYTHING, Horizon(moment=at(5_000), number=1))
    with rolled_back(world.database) as unit_of_work:
        _store(unit_of_work, fixes)
        found = unit_of_work.moments(sight, at(4_000)).fixes([1], gap=timedelta(minutes=30))
    assert (found[1].before.number, found[1].after) == (1, None)


@pytest.mark.parametrize("sees_all", [True, False])
def test_vessels_are_those_in_service_then_that_the_key_sees(world: World, sees_all):
    with rolled_back(world.database) as unit_of_work:
        names = ("in service", "retired before", "retired later", "of others", "retired then")
        ids = {
            name: vessels.register(unit_of_work, VesselDetails(name=name), actor=ACTOR).id for name in names
        }
        for name, seconds in (("retired before", -1), ("retired later", 1), ("retired then", 0)):
            sql.run(
                unit_of_work,
                "UPDATE vessels SET retired_at = :at WHERE id = :id",
                at=at(seconds),
                id=ids[name],
            )
        granted = frozenset(set(ids.values()) - {ids["of others"]})
        terms = KeyTerms(name="a partner", vessel_ids=None if sees_all else granted)
        key, _ = api_keys.issue(unit_of_work, terms, actor=ACTOR)
        sight = Sight.of(replace(EVERYTHING, id=key.id, all_vessels=sees_all), None)
        past = unit_of_work.moments(sight, at(0))

        def found(**wanted):
            return [each.name for each in past.vessels(**wanted, most=100)]

        others = ["of others"] if sees_all else []
        assert found(retired=False) == ["in service", "retired later", *others]
        assert found(retired=True) == ["retired before", "retired then"]
        assert found() == ["in service", "retired before", "retired later", *others, "retired then"]
        assert found(retired=False, vessel_ids=[ids["of others"], ids["retired then"], 999]) == others
        assert found(vessel_ids=[]) == []
        first = past.vessels(most=2)
        assert first == past.vessels(most=100)[:2]
        assert past.vessels(behind=first[-1].id, most=100) == past.vessels(most=100)[2:]
