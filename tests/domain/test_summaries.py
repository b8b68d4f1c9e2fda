"""Summaries, against a loop over the fixes one at a time."""

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harbor_api.domain.columns import Columns
from harbor_api.domain.judgement import Thresholds, contradict, distance_m
from harbor_api.domain.positions import Neighbour
from harbor_api.domain.summaries import Summary, Tally, Totals

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KNOT = 1852 / 3600
NONE = Totals(
    distance_m=0,
    stopped_distance_m=0,
    gap_distance_m=0,
    under_way_s=0,
    stopped_s=0,
    gap_s=0,
    top_speed_kn=None,
    fixes=0,
    first_at=None,
    last_at=None,
)


class Told(NamedTuple):
    """What a tracker tells, at some seconds after the beginning."""

    at: float
    lat: float = 59.9
    lon: float = 10.7
    sog: float | None = None
    accuracy_m: float | None = None

    @property
    def moment(self) -> datetime:
        return BEGAN + timedelta(seconds=self.at)

    @property
    def seen(self) -> Neighbour:
        return Neighbour(self.moment, self.lat, self.lon, self.accuracy_m)


def _columns(fixes: Sequence[Told]) -> Columns:
    def column(name: str) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        return np.array([getattr(fix, name) for fix in fixes], dtype=np.float64)

    micros = [(fix.moment - EPOCH) // timedelta(microseconds=1) for fix in fixes]
    return Columns(
        recorded_at=np.array(micros, dtype=np.int64),
        lat=column("lat"),
        lon=column("lon"),
        sog=column("sog"),
        cog=np.full(len(fixes), np.nan),
        accuracy_m=column("accuracy_m"),
    )


def _summary(*chunks: Sequence[Told], gap_s: float = 1800, **limits: float) -> Summary:
    tally = Tally(gap_s=gap_s, thresholds=Thresholds(**limits))
    for chunk in chunks:
        tally.add(_columns(chunk))
    return tally.summary()


def _whole(fixes: Sequence[Told], **rest: float) -> Totals:
    return _summary(fixes, **rest).whole


def _metres(one: Told, other: Told) -> float:
    return distance_m(one.lat, one.lon, other.lat, other.lon)


def _by_hand(fixes: Sequence[Told], *, gap_s: float, thresholds: Thresholds) -> dict[date, dict[str, float]]:
    """Return the sums of each day: each way is cut at every midnight, each piece counted alone."""
    days: dict[date, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for before, after in pairwise(fixes):
        seconds = (after.moment - before.moment).total_seconds()
        metres = _metres(before, after)
        speed = before.sog
        if speed is None:
            speed = metres / seconds / KNOT if seconds else math.inf
        if contradict(before.seen, after.seen, thresholds):
            kind = "jump"
        elif seconds > gap_s:
            kind = "gap"
        else:
            kind = "stopped" if speed < 0.5 else "under_way"
        if not seconds:
            days[before.moment.date()][f"{kind}_m"] += metres
        at = before.moment
        while at < after.moment:
            midnight = datetime(at.year, at.month, at.day, tzinfo=UTC) + timedelta(days=1)
            until = min(midnight, after.moment)
            part = (until - at).total_seconds()
            days[at.date()][f"{kind}_s"] += part
            days[at.date()][f"{kind}_m"] += metres * part / seconds
            at = until
    for fix in fixes:
        days[fix.moment.date()]["fixes"] += 1
    return days


_steps = st.integers(0, 5) | st.integers(0, 3_000) | st.sampled_from([1800, 1801, 90_000, 400_000])
_moves = st.floats(-0.002, 0.002) | st.floats(-0.3, 0.3)
_voyages = st.lists(
    st.tuples(
        _steps,
        _moves,
        _moves,
        st.none() | st.sampled_from([0.0, 0.4, 0.5, 8.4, 20.0, 70.0]),
        st.none() | st.sampled_from([4.0, 5_000.0, 90_000.0]),
    ),
    max_size=40,
)


@st.composite
def _fixes(draw: st.DrawFn) -> list[Told]:
    at, lat, lon = 0.0, draw(st.sampled_from([59.9, 0.0, 89.9, -16.5])), draw(st.sampled_from([10.7, 179.99]))
    fixes = []
    for step, north, east, sog, accuracy_m in draw(_voyages):
        at += step
        lat = max(-90.0, min(90.0, lat + north))
        lon = (lon + east + 180) % 360 - 180
        fixes.append(Told(at, lat, lon, sog, accuracy_m))
    return fixes


@given(fixes=_fixes(), gap_s=st.sampled_from([1, 1800, 100_000]), max_speed_kn=st.sampled_from([30.0, 60.0]))
def test_each_day_is_the_sum_over_its_fixes_and_all_days_are_the_whole(fixes, gap_s, max_speed_kn):
    thresholds = Thresholds(max_speed_kn=max_speed_kn)
    expected = _by_hand(fixes, gap_s=gap_s, thresholds=thresholds)
    found = _summary(fixes, gap_s=gap_s, max_speed_kn=max_speed_kn)
    assert list(found.days) == sorted(expected)
    for day, totals in found.days.items():
        sums = expected[day]
        assert totals.fixes == sums["fixes"]
        assert totals.under_way_s == pytest.approx(sums["under_way_s"], abs=1e-6)
        assert totals.stopped_s == pytest.approx(sums["stopped_s"], abs=1e-6)
        assert totals.gap_s == pytest.approx(sums["gap_s"] + sums["jump_s"], abs=1e-6)
        assert totals.distance_m == pytest.approx(sums["under_way_m"] + sums["stopped_m"], abs=1e-3)
        assert totals.stopped_distance_m == pytest.approx(sums["stopped_m"], abs=1e-3)
        assert totals.gap_distance_m == pytest.approx(sums["gap_m"], abs=1e-3)
    whole, days = found.whole, found.days.values()
    for name in ("distance_m", "stopped_distance_m", "gap_distance_m", "under_way_s", "stopped_s", "gap_s"):
        assert getattr(whole, name) == pytest.approx(sum(getattr(each, name) for each in days), abs=1e-3)
    assert whole.fixes == sum(each.fixes for each in days) == len(fixes)
    tops = [each.top_speed_kn for each in days if each.top_speed_kn is not None]
    assert whole.top_speed_kn == max(tops, default=None)
    if fixes:
        assert (whole.first_at, whole.last_at) == (fixes[0].moment, fixes[-1].moment)
        span = (fixes[-1].moment - fixes[0].moment).total_seconds()
        assert whole.under_way_s + whole.stopped_s + whole.gap_s == pytest.approx(span)


@given(fixes=_fixes(), cuts=st.lists(st.integers(0, 40), max_size=6))
def test_it_does_not_matter_in_which_chunks_fixes_come(fixes, cuts):
    edges = [0, *sorted(min(cut, len(fixes)) for cut in cuts), len(fixes)]
    chunked = _summary(*(fixes[first:end] for first, end in pairwise(edges)))
    at_once = _summary(fixes)
    assert list(chunked.days) == list(at_once.days)
    for one, other in zip(
        [chunked.whole, *chunked.days.values()], [at_once.whole, *at_once.days.values()], strict=True
    ):
        for name in Totals.__slots__:
            expected = getattr(other, name)
            if isinstance(expected, float):
                expected = pytest.approx(expected)
            assert getattr(one, name) == expected


def test_nothing_is_nothing():
    found = _summary([])
    assert found == Summary(whole=NONE, days={})
    assert found.whole.mean_speed_kn is None


def test_one_fix_is_no_way_but_tells_its_speed():
    found = _summary([Told(0, sog=8.4)])
    assert found.whole == Totals(
        **{name: getattr(NONE, name) for name in Totals.__slots__}
        | {"top_speed_kn": 8.4, "fixes": 1, "first_at": BEGAN, "last_at": BEGAN}
    )
    assert found.days == {BEGAN.date(): found.whole}


def test_a_way_over_midnight_is_of_both_days_by_the_time():
    midnight_s = (datetime(2026, 1, 3, tzinfo=UTC) - BEGAN).total_seconds()
    fixes = [Told(midnight_s - 100, 59.9, sog=8.4), Told(midnight_s + 300, 59.904, sog=8.4)]
    metres = _metres(*fixes)
    before, after = _summary(fixes).days.values()
    assert (before.under_way_s, after.under_way_s) == (100, 300)
    assert before.distance_m == pytest.approx(metres / 4)
    assert after.distance_m == pytest.approx(metres * 3 / 4)
    assert (before.fixes, after.fixes) == (1, 1)


def test_what_ends_at_midnight_is_of_the_day_before():
    midnight_s = (datetime(2026, 1, 3, tzinfo=UTC) - BEGAN).total_seconds()
    before, after = _summary([Told(midnight_s - 100, sog=8.4), Told(midnight_s, sog=9)]).days.values()
    assert (before.under_way_s, after.under_way_s) == (100, 0)
    assert (before.top_speed_kn, after.top_speed_kn) == (8.4, 9)


def test_a_silence_of_days_is_unknown_on_each_of_them():
    days = _summary([Told(0), Told(3 * 86_400, 60.9)]).days
    assert [totals.fixes for totals in days.values()] == [1, 0, 0, 1]
    assert [totals.gap_s for totals in days.values()][1:3] == [86_400, 86_400]
    assert sum(totals.gap_distance_m for totals in days.values()) == pytest.approx(111_195, abs=1)
    assert all(totals.distance_m == 0 for totals in days.values())


@pytest.mark.parametrize(("seconds", "is_gap"), [(1800, False), (1801, True)])
def test_a_gap_is_longer_than_what_is_allowed(seconds, is_gap):
    whole = _whole([Told(0), Told(seconds, 59.95)])
    assert (whole.gap_s, whole.under_way_s) == ((seconds, 0) if is_gap else (0, seconds))


def test_a_jump_is_no_way_at_all():
    whole = _whole([Told(0), Told(60, 61), Told(120, 61.001, sog=8.4)])
    assert whole.gap_s == 60
    assert whole.gap_distance_m == 0
    assert whole.distance_m == pytest.approx(111, abs=1)


def test_the_limit_is_the_vessels_own():
    fixes = [Told(0), Told(600, 60.05)]
    assert _whole(fixes).gap_s == 0
    assert _whole(fixes, max_speed_kn=30).gap_s == 600


def test_the_way_across_180_degrees_is_the_short_one():
    assert _whole([Told(0, 0, 179.99), Told(600, 0, -179.99)]).distance_m == pytest.approx(2224, abs=1)


class TestSpeed:
    def test_mean_is_of_the_time_under_way(self):
        # 0.05 degrees in half an hour, 30 m in the next.
        fixes = [Told(0, 59.9, sog=6), Told(1800, 59.95, sog=0.4), Told(3600, 59.95027, sog=0.1)]
        whole = _whole(fixes)
        assert (whole.under_way_s, whole.stopped_s) == (1800, 1800)
        assert whole.mean_speed_kn == pytest.approx(_metres(*fixes[:2]) / 1800 / KNOT)
        assert whole.stopped_distance_m == pytest.approx(30, abs=0.1)

    def test_top_is_what_was_told(self):
        assert _whole([Told(0, sog=8.4), Told(10, sog=12.3), Told(20)]).top_speed_kn == 12.3

    @pytest.mark.parametrize("step_s", [10, 60])
    def test_top_is_no_single_one_that_stands_out(self, step_s):
        fixes = [Told(step_s * number, sog=8.4) for number in range(5)]
        for stands_out in (18.5, 59.0, 102.2):
            fixes[2] = fixes[2]._replace(sog=stands_out)
            assert _whole(fixes).top_speed_kn == 8.4
        fixes[2] = fixes[2]._replace(sog=18.4)
        assert _whole(fixes).top_speed_kn == 18.4
        # Two are no mistake.
        fixes[2] = fixes[1] = fixes[1]._replace(sog=30)
        assert _whole(fixes).top_speed_kn == 30

    def test_top_may_stand_out_where_there_was_time_for_it(self):
        assert _whole([Told(0, sog=5), Told(61, sog=30), Told(122, sog=5)]).top_speed_kn == 30

    def test_top_is_within_the_vessels_limit(self):
        fixes = [Told(0, sog=8.4), Told(10, sog=35), Told(20, sog=35)]
        assert _whole(fixes).top_speed_kn == 35
        assert _whole(fixes, max_speed_kn=30).top_speed_kn == 8.4

    def test_top_is_of_the_ways_where_nobody_tells(self):
        fixes = [Told(0, 59.9), Told(600, 59.92), Told(1200, 59.93)]
        assert _whole(fixes).top_speed_kn == pytest.approx(0.02 * 111_195 / 600 / KNOT, abs=0.01)

    @pytest.mark.parametrize("fixes", [[Told(0, 59.9), Told(5, 59.9001)], [Told(0, 59.9), Told(10, 59.904)]])
    def test_top_is_not_of_a_way_that_is_mostly_noise(self, fixes):
        assert _whole(fixes).top_speed_kn is None
