"""Where a vessel was at a moment: between two fixes, never beyond them, and where nobody knows it says so."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harbor_api.domain.judgement import Thresholds, contradict, distance_m
from harbor_api.domain.moments import GAP, Place, between, place_at
from harbor_api.domain.positions import Neighbour

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LIMITS = Thresholds()
# What is kept of a degree, and rounding in the last places of a double.
TOLERANCE_M = 0.05


def fix(seconds: float, lat: float, lon: float, **rest: float) -> Neighbour:
    return Neighbour(BEGAN + timedelta(seconds=seconds), lat, lon, **rest)


def at(seconds: float, before: Neighbour | None, after: Neighbour | None, *, gap=GAP, limits=LIMITS):
    return place_at(BEGAN + timedelta(seconds=seconds), before, after, gap=gap, limits=limits)


def distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    return distance_m(*one, *other)


FIRST, LAST = fix(0, 59.90, 10.70), fix(600, 59.94, 10.62)
TIMES = (FIRST.recorded_at, LAST.recorded_at)


@pytest.mark.parametrize(
    ("moment", "before", "after", "expected"),
    [
        (0, None, None, None),
        # What came later says nothing of a vessel that nobody had seen.
        (0, None, LAST, None),
        (0, FIRST, LAST, Place(59.90, 10.70, "measured")),
        (600, LAST, None, Place(59.94, 10.62, "measured")),
        (600, LAST, fix(700, 59.95, 10.6), Place(59.94, 10.62, "measured")),
        (150, FIRST, None, Place(59.90, 10.70, "last_known")),
        (150, FIRST, LAST, Place(59.91, 10.68, "interpolated", TIMES)),
        (300, FIRST, LAST, Place(59.92, 10.66, "interpolated", TIMES)),
    ],
)
def test_a_place_by_the_fixes_around_a_moment(moment, before, after, expected):
    found = at(moment, before, after)
    assert (found and found[2:]) == (expected and expected[2:])
    assert (found and found[:2]) == (expected and pytest.approx(expected[:2], abs=1e-9))


def test_nothing_is_interpolated_across_a_gap():
    assert at(300, FIRST, LAST, gap=timedelta(seconds=600)).basis == "interpolated"
    assert at(300, FIRST, LAST, gap=timedelta(seconds=599)) == Place(59.90, 10.70, "last_known")
    # A fix at the very moment is one, however long the silence after it.
    assert at(0, FIRST, LAST, gap=timedelta(seconds=1)).basis == "measured"


def test_nothing_is_interpolated_across_a_jump():
    # 28 km in ten minutes are 90 knots.
    there = fix(600, 60.15, 10.70)
    assert at(300, FIRST, there) == Place(59.90, 10.70, "last_known")
    fast = replace(LIMITS, max_speed_kn=100)
    assert at(300, FIRST, there, limits=fast).basis == "interpolated"
    slow = replace(LIMITS, max_speed_kn=5)
    assert at(300, FIRST, LAST, limits=slow).basis == "last_known"


def test_what_a_receiver_doubts_is_no_jump():
    assert at(300, FIRST, fix(600, 60.15, 10.70, accuracy_m=9_500)).basis == "interpolated"


def test_two_trackers_at_the_same_time_do_not_divide_by_nothing():
    other = fix(0, 59.901, 10.70, tracker_id=2)
    assert at(0, other, LAST) == Place(59.901, 10.70, "measured")
    assert at(0, FIRST, other) == Place(59.90, 10.70, "measured")


@pytest.mark.parametrize(
    ("start", "end", "middle"),
    [
        # Across 180 degrees the short way, in both directions, and touching it.
        ((-17.0, 179.9), (-17.2, -179.7), (-17.1, -179.9)),
        ((-17.0, -179.9), (-17.2, 179.7), (-17.1, 179.9)),
        ((-17.0, 180.0), (-17.0, -179.8), (-17.0, -179.9)),
        ((-17.0, -180.0), (-17.0, 179.8), (-17.0, 179.9)),
        ((-17.0, 180.0), (-17.2, -180.0), (-17.1, 180.0)),
        ((0.0, -0.2), (0.0, 0.2), (0.0, 0.0)),
        # Over the pole, and beside it.
        ((89.9, 0.0), (89.9, 180.0), (90.0, None)),
        ((-89.9, 10.0), (-89.9, -170.0), (-90.0, None)),
        ((89.9, 0.0), (89.9, 90.0), (89.929289, 45.0)),
        ((90.0, 77.0), (89.8, -20.0), (89.9, -20.0)),
        ((90.0, 0.0), (90.0, 120.0), (90.0, None)),
    ],
)
def test_the_middle_of_a_way(start, end, middle):
    lat, lon = between(start, end, 0.5)
    assert lat == pytest.approx(middle[0], abs=1e-6)
    # At the pole any longitude will do.
    assert middle[1] is None or lon == pytest.approx(middle[1], abs=1e-6)


_degrees = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
_near = st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
_shares = st.floats(0, 1)


@st.composite
def _ways(draw):
    """Return two places that lie no further apart than a vessel goes in an hour, all over the Earth."""
    lat, lon = draw(_degrees)
    north, east = draw(_near)
    other_lat = max(-90.0, min(90.0, lat + north))
    # Near a pole they lie all around it.
    other_lon = draw(st.floats(-180, 180)) if abs(lat) > 89 else (lon + east + 180) % 360 - 180
    return (lat, lon), (other_lat, other_lon)


@given(way=_ways(), share=_shares)
def test_a_place_lies_between_the_two(way, share):
    start, end = way
    there = between(start, end, share)
    assert -90 <= there[0] <= 90
    assert -180 <= there[1] <= 180
    whole = distance(start, end)
    # The straight line in degrees is longer than the great circle by little.
    assert distance(start, there) + distance(there, end) <= whole * 1.001 + TOLERANCE_M
    assert distance(start, there) == pytest.approx(whole * share, rel=0.02, abs=TOLERANCE_M)


@given(way=_ways(), share=_shares)
def test_the_way_back_is_the_same_way(way, share):
    start, end = way
    assert distance(between(start, end, share), between(end, start, 1 - share)) < TOLERANCE_M


@given(way=_ways())
def test_a_way_begins_and_ends_where_the_fixes_are(way):
    start, end = way
    assert distance(between(start, end, 0), start) < TOLERANCE_M
    assert distance(between(start, end, 1), end) < TOLERANCE_M


@given(way=_ways(), seconds=st.integers(1, 1_800), moment=_shares, later=st.floats(0, 0.01))
def test_a_vessel_goes_on_without_a_leap(way, seconds, moment, later):
    (lat, lon), (other_lat, other_lon) = way
    before, after = fix(0, lat, lon), fix(seconds, other_lat, other_lon)
    assume(not contradict(before, after, LIMITS))
    one, other = (at(seconds * share, before, after) for share in (moment, min(1.0, moment + later)))
    if one.basis == "measured":
        return
    # No faster than the limit, but for the radius in which each fix may be.
    allowed = seconds * later * 60 * 1852 / 3600 + 2 * LIMITS.noise_m * later
    assert distance(one[:2], other[:2]) <= allowed * 1.02 + TOLERANCE_M
