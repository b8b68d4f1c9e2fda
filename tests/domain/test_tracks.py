"""Tracks: their parts, what simplifying leaves, and that what it leaves out lies where the line says."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.geojson import Part, parts_of

from harbor_api.domain.columns import Columns
from harbor_api.domain.errors import TrackTooLong
from harbor_api.domain.judgement import Thresholds, contradict, distance_m
from harbor_api.domain.positions import Neighbour
from harbor_api.domain.times import rfc3339
from harbor_api.domain.track_times import WIDTH, rfc3339_column
from harbor_api.domain.tracks import MOST_PARTS, Track, jumps, track_of
from harbor_api.schemas.tracks import as_geojson

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START = 1_767_225_600_000_000
THRESHOLDS = Thresholds()
# One that nothing jumps by, so that hostile tracks are one part.
LENIENT = Thresholds(max_speed_kn=1e9, noise_m=3e7)
Fix = tuple[float, float, float]
"""Seconds since the first, latitude, longitude."""


def columns(fixes: list[Fix], *, sog: list[float] | None = None, cog: list[float] | None = None) -> Columns:
    nothing = [math.nan] * len(fixes)
    return Columns(
        recorded_at=np.array([START + round(at * 1e6) for at, _, _ in fixes], dtype=np.int64),
        lat=np.array([lat for _, lat, _ in fixes], dtype=np.float64),
        lon=np.array([lon for _, _, lon in fixes], dtype=np.float64),
        sog=np.array(nothing if sog is None else sog),
        cog=np.array(nothing if cog is None else cog),
        accuracy_m=np.array(nothing),
    )


def track(fixes: list[Fix], *, gap_s: float = 1800, thresholds: Thresholds = LENIENT, **more: Any) -> Track:
    return track_of(columns(fixes), gap_s=gap_s, thresholds=thresholds, **more)


def told(of: Track) -> list[Part]:
    return parts_of(as_geojson(of, vessel_id=1, gap_s=1800))


def shown(of: Track) -> list[tuple[str, list[list[Fix]]]]:
    start = EPOCH + timedelta(microseconds=START)
    return [
        (
            part.kind,
            [[((at - start).total_seconds(), lat, lon) for at, lat, lon in line] for line in part.lines],
        )
        for part in told(of)
    ]


def walked(steps: list[tuple[float, float, float]], lat: float, lon: float) -> list[Fix]:
    at, fixes = 0.0, []
    for wait, north, east in steps:
        at, lat, lon = at + wait, min(90.0, max(-90.0, lat + north)), (lon + east + 180) % 360 - 180
        fixes.append((round(at, 6), round(lat, 6) + 0.0, round(lon, 6) + 0.0))
    return fixes


_waits = st.sampled_from([0.0, 0.000001, 0.5, 1.0, 10.0, 10.0, 600.0])
_small = st.floats(-0.01, 0.01, allow_subnormal=False)
_any = st.one_of(st.just(0.0), _small, _small, st.floats(-1, 1), st.floats(-200, 200))
_walks = st.builds(
    walked,
    st.lists(st.tuples(_waits, _any, _any), max_size=40),
    st.sampled_from([0.0, 59.9, -17.0, 89.9999, -90.0]),
    st.sampled_from([0.0, 10.7, 179.999, -179.999, 180.0, -180.0]),
)
_snapped = _walks.map(
    lambda fixes: [
        (at, lat, 180.0 if lon > 179.5 else -180.0 if lon < -179.5 else lon) for at, lat, lon in fixes
    ]
)
_tracks = st.one_of(_walks, _walks, _snapped)


def within(line: list[tuple[datetime, float, float]], at: datetime) -> list[tuple[float, float]]:
    """Return where a line says that the ship was at a time: by itself, not by the code under test."""
    found = []
    for (begins, lat, lon), (ends, other_lat, other_lon) in pairwise(line):
        if begins <= at <= ends:
            share = (at - begins) / (ends - begins) if ends > begins else 0.0
            found.append((lat + share * (other_lat - lat), lon + share * (other_lon - lon)))
    return found


def assert_bound(fixes: list[Fix], of: Track) -> None:
    lines = [line for part in told(of) if part.kind == "track" for line in part.lines]
    left = {position for line in lines for position in line}
    for seconds, lat, lon in fixes:
        at = EPOCH + timedelta(microseconds=START + round(seconds * 1e6))
        if {(at, lat, lon), (at, lat, -lon)} & left:
            continue
        places = [place for line in lines for place in within(line, at)]
        assert min(distance_m(lat, lon, *place) for place in places) <= of.tolerance_m
        # Whichever fix of that very time the line goes through.
        for time, *place in left:
            if time == at and abs(place[1]) != 180:
                assert distance_m(lat, lon, *place) <= of.tolerance_m


@given(_tracks, st.sampled_from([0.05, 1.0, 10.0, 500.0, 20_000.0]))
def test_each_fix_that_is_left_out_is_where_the_line_says_the_ship_was(fixes, tolerance_m):
    simplified = track(fixes, tolerance_m=tolerance_m)
    assert simplified.tolerance_m == (tolerance_m if fixes else 0)
    assert simplified.fixes == len(fixes)
    assert_bound(fixes, simplified)


@given(_tracks, st.integers(2, 30))
def test_a_budget_is_kept_by_the_least_tolerance_that_does(fixes, most):
    found = track(fixes, most=most)
    assert_bound(fixes, found)
    again = track(fixes, tolerance_m=found.tolerance_m)
    assert told(again) == told(found)
    kept_anyway = len(track(fixes, tolerance_m=1e9).line.times)
    assert len(found.line.times) <= max(most, kept_anyway)
    if found.tolerance_m > 0.001:
        assert len(track(fixes, tolerance_m=found.tolerance_m - 0.001).line.times) > most


@given(_tracks)
def test_nothing_is_left_out_where_nobody_asked(fixes):
    for whole in (track(fixes), track(fixes, tolerance_m=0.0), track(fixes, most=100)):
        assert whole.tolerance_m == 0
        assert len(whole.line.times) == whole.fixes == len(fixes)
        told(whole)


@given(_tracks, st.sampled_from([5.0, 100.0]))
def test_parts_are_split_where_the_judgement_sees_a_jump_and_where_nothing_came(fixes, gap_s):
    of = track(fixes, gap_s=gap_s, thresholds=THRESHOLDS)
    expected = []
    for one, other in pairwise(fixes):
        if contradict(neighbour(one), neighbour(other), THRESHOLDS):
            expected.append("jump")
        elif other[0] - one[0] > gap_s + 1e-9:
            expected.append("gap")
    assert [part.kind for part in told(of) if part.kind != "track"] == expected


def neighbour(fix: Fix, accuracy_m: float | None = None) -> Neighbour:
    at, lat, lon = fix
    return Neighbour(EPOCH + timedelta(microseconds=START + round(at * 1e6)), lat, lon, accuracy_m)


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e6).map(lambda seconds: round(seconds, 6)),
            st.floats(-90, 90).map(lambda degrees: round(degrees, 6)),
            st.floats(-180, 180).map(lambda degrees: round(degrees, 6)),
            st.one_of(st.none(), st.floats(0, 20_000)),
        ),
        min_size=2,
    ),
    st.floats(1, 100_000),
)
def test_a_jump_is_what_the_judgement_calls_one(rows, max_speed_kn):
    rows.sort(key=lambda row: row[:3])
    thresholds = Thresholds(max_speed_kn=max_speed_kn)
    fixes = replace(
        columns([row[:3] for row in rows]),
        accuracy_m=np.array([math.nan if row[3] is None else row[3] for row in rows]),
    )
    expected = [
        contradict(neighbour(one[:3], one[3]), neighbour(other[:3], other[3]), thresholds)
        for one, other in pairwise(rows)
    ]
    assert jumps(fixes, thresholds).tolist() == expected


def test_a_track_of_nothing_has_no_parts():
    assert shown(track([])) == []
    assert track([], tolerance_m=5).tolerance_m == track([], most=2).tolerance_m == 0


def test_a_track_of_one_fix_is_a_point():
    assert shown(track([(0, 59.9, 10.7)], most=2)) == [("track", [[(0, 59.9, 10.7)]])]


def test_two_fixes_of_one_time_and_place_make_a_line():
    fix = (0.0, 59.9, 10.7)
    assert shown(track([fix, fix])) == [("track", [[fix, fix]])]


def test_a_gap_and_a_jump_lie_between_parts():
    fixes = [(0, 59.0, 10.0), (10, 59.0, 10.0), (3600, 59.1, 10.0), (3610, 60.0, 10.0), (3620, 60.0, 10.001)]
    assert shown(track(fixes, thresholds=THRESHOLDS)) == [
        ("track", [fixes[:2]]),
        ("gap", [fixes[1:3]]),
        ("track", [[fixes[2]]]),
        ("jump", [fixes[2:4]]),
        ("track", [fixes[3:]]),
    ]


def test_as_long_as_the_gap_is_no_gap():
    assert len(told(track([(0, 1, 1), (1800, 1, 1), (3600.000001, 1, 1)]))) == 3


CROSSINGS = {
    "eastward": ([(0, -17, 179.9), (10, -18, -179.9)], [[179.9, 180], [-180, -179.9]], [(5, -17.5)]),
    "westward": ([(0, -17, -179.9), (10, -18, 179.9)], [[-179.9, -180], [180, 179.9]], [(5, -17.5)]),
    "nearer one side": ([(0, 0, 179.9), (4, 4, -179.7)], [[179.9, 180], [-180, -179.7]], [(1, 1)]),
    "at a fix": ([(0, 0, 179.9), (1, 1, 180), (2, 2, -179.9)], [[179.9, 180], [-180, -179.9]], [(1, 1)]),
    "at a fix that says -180": (
        [(0, 0, 179.9), (1, 1, -180), (2, 2, -179.9)],
        [[179.9, 180], [-180, -179.9]],
        [(1, 1)],
    ),
    "there and back": (
        [(0, 0, 179.9), (2, 2, -179.9), (4, 4, 179.9)],
        [[179.9, 180], [-180, -179.9, -180], [180, 179.9]],
        [(1, 1), (3, 3)],
    ),
    "along it and over": (
        [(0, 0, 179.9), (1, 1, -180), (2, 2, 180), (3, 3, -179.9)],
        [[179.9, 180, 180], [-180, -179.9]],
        [(2, 2)],
    ),
}


@pytest.mark.parametrize(("fixes", "lons", "meetings"), CROSSINGS.values(), ids=CROSSINGS)
def test_a_track_across_180_degrees_touches_them_on_both_sides(fixes, lons, meetings):
    [(kind, lines)] = shown(track(fixes))
    assert kind == "track"
    assert [[lon for _, _, lon in line] for line in lines] == lons
    assert [line[-1][:2] for line in lines[:-1]] == meetings
    # And a gap is drawn the same way.
    if len(fixes) == 2:
        [_, (kind, gap), _] = shown(track(fixes, gap_s=1))
        assert (kind, gap) == ("gap", lines)


@pytest.mark.parametrize(
    ("lons", "drawn"),
    [
        ([179.9, 180.0, 179.9], [179.9, 180.0, 179.9]),
        ([179.9, -180.0, 179.9], [179.9, 180.0, 179.9]),
        ([-179.9, 180.0, -180.0, -179.8], [-179.9, -180.0, -180.0, -179.8]),
        ([180.0, -180.0, -180.0], [180.0, 180.0, 180.0]),
        ([-180.0, 180.0], [-180.0, -180.0]),
        ([180.0, -179.9], [-180.0, -179.9]),
    ],
)
def test_a_track_that_touches_180_degrees_is_one_line_on_its_side(lons, drawn):
    [(_, lines)] = shown(track([(number, 10.0, lon) for number, lon in enumerate(lons)]))
    assert [[lon for _, _, lon in line] for line in lines] == [drawn]


def test_the_pole_is_a_place_like_others():
    fixes = [(0, 89.999, 10.0), (600, 90.0, 0.0), (1200, 89.999, -170.0), (1800, 89.998, -170.0)]
    [(kind, [line])] = shown(track(fixes, thresholds=THRESHOLDS))
    assert (kind, line) == ("track", fixes)
    around = [(60 * number, 89.9, (number * 30 + 180) % 360 - 180) for number in range(40)]
    assert_bound(around, track(around, tolerance_m=50_000))


def test_a_way_around_the_earth_is_not_cut_short():
    around = [(600 * number, 0.0, (number * 30 + 180) % 360 - 180) for number in range(13)]
    assert_bound(around, track(around, tolerance_m=100_000))


def test_a_position_on_the_meridian_is_rounded_within_the_tolerance():
    fixes = [(0, 0.0, 179.999998), (1, 0.0, 179.999999), (2, 0.000001, -179.999999)]
    assert_bound(fixes, track(fixes, tolerance_m=0.09))


# Ten knots to the north, a fix each ten seconds.
STEP = 10 * 10 / 3600 / 60


def test_ends_of_parts_stops_and_turns_stay_whatever_the_tolerance():
    north = [(10 * number, 10 + STEP * number, 20.0) for number in range(61)]
    east = [(610 + 10 * number, north[-1][1], 20 + STEP * (number + 1)) for number in range(60)]
    rest = [(1210 + 10 * number, *east[-1][1:]) for number in range(60)]
    fixes = [*north, *east, *rest, *[(3 * 3600 + 10 * number, *rest[-1][1:]) for number in range(10)]]
    sog = [10.0] * 121 + [0.1] * 60 + [5.0] * 10
    cog = [0.0] * 61 + [90.0] * 130
    left = track_of(columns(fixes, sog=sog, cog=cog), gap_s=1800, thresholds=THRESHOLDS, tolerance_m=1e5)
    at = [(time - START) // 1_000_000 for time in left.line.times.tolist()]
    assert at == [0, 600, 610, 1210, 1800, 10_800, 10_890]
    # What has to stay may be more than what is asked for.
    few = track_of(columns(fixes, sog=sog, cog=cog), gap_s=1800, thresholds=THRESHOLDS, most=2)
    assert len(few.line.times) == 7


def test_stops_and_turns_are_seen_without_speed_and_course():
    out = [(60 * number, 10 + 6 * STEP * number, 20.0) for number in range(11)]
    back = [(660 + 60 * number, out[-1][1], 20 + 6 * STEP * (number + 1)) for number in range(10)]
    rest = [(1260 + 60 * number, *back[-1][1:]) for number in range(10)]
    left = track([*out, *back, *rest], tolerance_m=1e5)
    at = [(time - START) // 1_000_000 for time in left.line.times.tolist()]
    assert at == [0, 600, 660, 1260, 1800]


def test_a_gradual_turn_keeps_its_sharpest_step():
    course = [0.0] * 20 + [5.0, 12.0, 40.0, 60.0] + [60.0] * 20
    fixes = [(5 * number, 10.0 + number * 1e-6, 20.0) for number in range(len(course))]
    left = track_of(
        columns(fixes, sog=[8.0] * len(course), cog=course), gap_s=60, thresholds=LENIENT, tolerance_m=1e5
    )
    assert [(time - START) // 5_000_000 for time in left.line.times.tolist()] == [0, 21, 22, 43]


def test_a_slow_or_short_change_is_no_event():
    count = 100
    for sog, cog in (
        ([2.0] * count, [float(number * 40 % 360) for number in range(count)]),
        ([9.0] * count, [number * 2.0 for number in range(count)]),
        ([0.1 if number % 50 < 20 else 9.0 for number in range(count)], [0.0] * count),
    ):
        fixes = [(10 * number, 10.0, 20.0) for number in range(count)]
        left = track_of(columns(fixes, sog=sog, cog=cog), gap_s=60, thresholds=LENIENT, tolerance_m=1e5)
        assert len(left.line.times) == 2


def test_two_trackers_far_apart_are_both_kept_and_near_ones_are_not():
    fixes = [(10 * (number // 2), 10.0 + number % 2 * 1e-3, 20.0) for number in range(100)]
    assert len(track(fixes, tolerance_m=100).line.times) == 100
    assert len(track(fixes, tolerance_m=120).line.times) == 2


def test_a_ship_at_rest_becomes_two_fixes():
    assert len(track([(10 * number, 10.0, 20.0) for number in range(1000)], most=999).line.times) == 2


def test_a_track_that_was_made_to_be_divided_at_its_ends_is_bounded_all_the_same():
    fixes = [(number, round(80 * 0.97**number, 6), 0.0) for number in range(800)]
    assert_bound(fixes, track(fixes, tolerance_m=1.0))
    assert_bound(fixes, track(fixes, most=50))


def test_more_parts_than_an_answer_holds_are_refused():
    fixes = [(10 * number, 10.0, 20.0) for number in range(MOST_PARTS + 1)]
    assert len(list(track(fixes[:-1], gap_s=5).parts())) == 2 * MOST_PARTS - 1
    with pytest.raises(TrackTooLong, match="longer gap"):
        track(fixes, gap_s=5)


@given(st.lists(st.datetimes().map(lambda moment: moment.replace(tzinfo=UTC))))
def test_a_column_of_times_is_written_as_each_of_them_is(moments):
    column = np.array([(moment - EPOCH) // timedelta(microseconds=1) for moment in moments], dtype=np.int64)
    text = rfc3339_column(column).decode()
    assert [text[at : at + WIDTH] for at in range(0, len(text), WIDTH)] == [rfc3339(each) for each in moments]


@pytest.mark.slow
@settings(max_examples=20_000, deadline=None)
@given(_tracks, st.floats(0.01, 1e5), st.integers(2, 40))
def test_the_bound_holds_for_very_many_tracks(fixes, tolerance_m, most):
    assert_bound(fixes, track(fixes, tolerance_m=tolerance_m))
    assert_bound(fixes, track(fixes, most=most))
