"""Columns of fixes, against rows that Core reads and the same rules one fix at a time."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import sql
from tests.support.examples import many
from tests.support.factories import EVERYTHING, World, rolled_back

from harbor_api.database import UnitOfWork
from harbor_api.domain.columns import Columns
from harbor_api.domain.errors import NotFound
from harbor_api.domain.order import Horizon
from harbor_api.domain.positions import Motion
from harbor_api.domain.vessels import LatestPosition, coarsened
from harbor_api.postgres.sight import Sight

BEGAN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAMES = ("recorded_at", "lat", "lon", "sog", "cog", "accuracy_m")
MANY = 1_000
_ADD = """
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, cog, accuracy_m, seq)
VALUES (:vessel, :recorded_at, :tracker, :recorded_at, :lat, :lon, :sog, :cog, :accuracy_m, :seq)
"""
Seen = tuple[float | None, ...]


def _store(unit_of_work: UnitOfWork, vessel: int, fixes: list[dict[str, object]]) -> None:
    for seq, fix in enumerate(fixes, start=1):
        sql.run(unit_of_work, _ADD, vessel=vessel, seq=seq, **fix)


@contextmanager
def _ship(
    world: World, fixes: list[dict[str, object]], **details: object
) -> Iterator[tuple[UnitOfWork, int]]:
    vessel = world.vessel(**details).id
    with rolled_back(world.database) as unit_of_work:
        _store(unit_of_work, vessel, fixes)
        yield unit_of_work, vessel


def _sight(decimals: int | None = None, horizon: Horizon | None = None) -> Sight:
    return Sight.of(replace(EVERYTHING, coordinate_decimals=decimals), horizon)


def _rows(fixes: Columns) -> list[Seen]:
    columns = [getattr(fixes, name).tolist() for name in NAMES]
    return [tuple(None if value != value else value for value in row) for row in zip(*columns, strict=True)]


def _micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def _whole(fix: dict[str, object]) -> Seen:
    return (_micros(fix["recorded_at"]), *(fix[name] for name in NAMES[1:]))


def _shown(fix: dict[str, object], decimals: int) -> Seen:
    lat, lon = (
        float(Decimal(str(fix[name])).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP))
        for name in ("lat", "lon")
    )
    rest = {name: fix[name] for name in ("sog", "cog", "accuracy_m")}
    latest = LatestPosition(
        recorded_at=fix["recorded_at"],
        received_at=None,
        motion=Motion(lat=lat, lon=lon, **rest),
    )
    seen = coarsened(latest, decimals)
    motion = seen.motion
    return _micros(seen.recorded_at), motion.lat, motion.lon, motion.sog, motion.cog, motion.accuracy_m


def _decimals(least: int, most: int, places: int) -> st.SearchStrategy[float]:
    return st.integers(least * 10**places, most * 10**places).map(lambda whole: whole / 10**places)


_fixes = st.lists(
    st.fixed_dictionaries(
        {
            "recorded_at": st.integers(0, 40).map(lambda at: BEGAN + timedelta(seconds=100 * at)),
            "tracker": st.integers(1, 3),
            "lat": _decimals(-90, 90, 6),
            "lon": _decimals(-180, 180, 6),
            "sog": st.none() | _decimals(0, 102, 3),
            "cog": st.none() | _decimals(0, 359, 3),
            "accuracy_m": st.none() | _decimals(0, 9_999, 3) | _decimals(10_000, 999_999, 1),
        }
    ),
    max_size=30,
    unique_by=lambda fix: (fix["recorded_at"], fix["tracker"]),
)


@given(
    fixes=_fixes,
    decimals=st.sampled_from([None, 6, 3, 2, 1]),
    number=st.none() | st.integers(0, 30),
    most=st.integers(1, 5),
)
@settings(max_examples=many(60), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_columns_hold_what_is_seen_once_and_in_order_whole_and_in_chunks(
    world: World, fixes, decimals, number, most
):
    in_order = sorted(
        (fix for seq, fix in enumerate(fixes, start=1) if number is None or seq <= number),
        key=lambda fix: (fix["recorded_at"], fix["tracker"]),
    )
    if decimals in {None, 6}:
        expected = [_whole(fix) for fix in in_order]
    else:
        first: dict[float, Seen] = {}
        for fix in in_order:
            shown = _shown(fix, decimals)
            first.setdefault(shown[0], shown)
        expected = list(first.values())

    with _ship(world, fixes) as (unit_of_work, vessel):
        tracks = unit_of_work.tracks(_sight(decimals))
        whole = tracks.columns(vessel, most=MANY, number=number)
        assert _rows(whole.fixes) == expected
        assert whole.last is None
        found = []
        beyond = None
        while beyond is not None or not found:
            chunk = tracks.columns(vessel, most=most, beyond=beyond, number=number)
            assert len(chunk.fixes) <= most
            found += _rows(chunk.fixes)
            beyond = chunk.last
            if not expected:
                break
        assert found == expected


def _at(seconds: float) -> dict[str, object]:
    moment = BEGAN + timedelta(seconds=seconds)
    unknown = {"sog": None, "cog": None, "accuracy_m": None}
    return {"recorded_at": moment, "tracker": 1, "lat": 59.9, "lon": 10.7} | unknown


def test_a_stretch_has_its_beginning_and_not_its_end(world: World):
    with _ship(world, [_at(each) for each in range(5)]) as (unit_of_work, vessel):
        ends = BEGAN + timedelta(seconds=1), BEGAN + timedelta(seconds=3)
        found = unit_of_work.tracks(_sight()).columns(vessel, *ends, most=2)
    assert [found.fixes.moment(each) for each in range(2)] == [ends[0], ends[0] + timedelta(seconds=1)]
    assert found.last is None


def test_what_is_beyond_the_most_is_told(world: World):
    with _ship(world, [_at(each) for each in range(3)]) as (unit_of_work, vessel):
        found = unit_of_work.tracks(_sight()).columns(vessel, most=2)
    assert len(found.fixes) == 2
    assert found.last == (BEGAN + timedelta(seconds=1), 1)


def test_a_delayed_key_sees_up_to_its_horizon(world: World):
    horizon = Horizon(moment=BEGAN + timedelta(seconds=3), number=3)
    with _ship(world, [_at(each) for each in (0, 9, 2, 1)]) as (unit_of_work, vessel):
        found = unit_of_work.tracks(_sight(horizon=horizon)).columns(vessel, most=9)
    assert [found.fixes.moment(each).second for each in range(len(found.fixes))] == [5, 7]


def test_who_she_is_comes_with_them(world: World):
    with _ship(world, [], name="Ægir 'of' Øst", max_speed_kn=33.3) as (unit_of_work, vessel):
        found = unit_of_work.tracks(_sight()).columns(vessel, most=9)
    assert (found.name, found.max_speed_kn) == ("Ægir 'of' Øst", 33.3)
    assert len(found.fixes) == 0
    assert found.last is None


@pytest.mark.parametrize("decimals", [None, 2])
def test_who_may_not_see_her_does_not_learn_that_she_is(world: World, decimals):
    with _ship(world, [_at(0)]) as (unit_of_work, vessel):
        stranger = replace(_sight(decimals), all_vessels=False)
        for sight, number in ((stranger, vessel), (_sight(decimals), 2**31 - 1)):
            with pytest.raises(NotFound, match=f"^There is no vessel {number}$"):
                unit_of_work.tracks(sight).columns(number, most=9)


def test_measures_are_the_decimals_that_were_sent(world: World):
    told = {"sog": 12.3, "cog": 359.999, "accuracy_m": 999_999.9}
    with _ship(world, [_at(0) | told]) as (unit_of_work, vessel):
        fixes = unit_of_work.tracks(_sight()).columns(vessel, most=9).fixes
    assert {name: getattr(fixes, name)[0] for name in told} == told
    assert not any(math.isnan(getattr(fixes, name)[0]) for name in told)


@pytest.mark.parametrize("decimals", [None, 2])
def test_speed_and_course_are_left_out_where_nobody_asks_for_them(world: World, decimals):
    with _ship(world, [_at(each) | {"sog": 12.3, "cog": 9.0} for each in range(3)]) as (unit_of_work, vessel):
        tracks = unit_of_work.tracks(_sight(decimals))
        whole, bare = (tracks.columns(vessel, most=2, with_motion=each) for each in (True, False))
    assert bare.last == whole.last
    assert [row[:3] + row[5:] for row in _rows(bare.fixes)] == [
        row[:3] + row[5:] for row in _rows(whole.fixes)
    ]
    assert {row[3:5] for row in _rows(bare.fixes)} == {(None, None)}
