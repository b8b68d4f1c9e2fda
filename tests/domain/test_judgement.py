"""The judgement of a fix: each rule by example."""

import math
from bisect import bisect, insort
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import itemgetter

import pytest

from harbor_api.domain import judgement
from harbor_api.domain.errors import NoFix
from harbor_api.domain.judgement import Neighbour, Thresholds, contradict, distance_m
from harbor_api.domain.positions import Motion
from harbor_api.schemas.positions import FixSchema

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ERA = timedelta(weeks=1024)
THRESHOLDS = Thresholds()
RADIUS_M = 6_371_008.8
METRES_PER_SECOND = THRESHOLDS.max_speed_kn * 1852 / 3600
DEGREE_M = math.radians(RADIUS_M)
# Then by place, as two trackers may tell one time.
BY_TIME = itemgetter(0, 1, 2)


def at(seconds: float, lat: float = 0.5, lon: float = 0.5, accuracy_m: float | None = None) -> Neighbour:
    return Neighbour(START + timedelta(seconds=seconds), lat, lon, accuracy_m)


def judge(
    one: Neighbour,
    before: Sequence[Neighbour] = (),
    after: Sequence[Neighbour] = (),
    held: Iterable[Neighbour] = (),
    *,
    now: datetime | None = None,
    thresholds: Thresholds = THRESHOLDS,
) -> str | None:
    """Return the reason to hold a fix, none for a jump that the held ones confirm."""
    nearest = next(iter(before), None), next(iter(after), None)
    reason = judgement.judge(
        one, now=now or one.recorded_at, thresholds=thresholds, before=nearest[0], after=nearest[1]
    )
    jumps = sorted(held, key=BY_TIME)
    if reason == "impossible_jump" and judgement.is_confirmed(one, *nearest, jumps, thresholds):
        return None
    return reason


def moved(lat: float, lon: float, bearing: float, metres: float) -> tuple[float, float]:
    """Return where a great circle leads, over a pole or the antimeridian if need be."""
    angle, phi, theta = metres / RADIUS_M, math.radians(lat), math.radians(bearing)
    sine = math.sin(phi) * math.cos(angle) + math.cos(phi) * math.sin(angle) * math.cos(theta)
    sine = max(-1.0, min(1.0, sine))
    east = math.atan2(
        math.sin(theta) * math.sin(angle) * math.cos(phi), math.cos(angle) - math.sin(phi) * sine
    )
    return math.degrees(math.asin(sine)), (lon + math.degrees(east) + 180) % 360 - 180


class Track:
    """A vessel's fixes as a caller keeps them: what is stored, and what is held for an impossible jump."""

    def __init__(self, thresholds: Thresholds = THRESHOLDS) -> None:
        self.thresholds = thresholds
        self.stored: list[Neighbour] = []
        self.held: list[Neighbour] = []

    def arrive(self, one: Neighbour) -> str | None:
        if one in self.stored or one in self.held:
            return "duplicate"
        place = bisect(self.stored, BY_TIME(one), key=BY_TIME)
        before, after = self.stored[max(0, place - 1) : place], self.stored[place : place + 1]
        reason = judge(one, before, after, self.held, thresholds=self.thresholds)
        confirmed = reason is None and judge(one, before, after, thresholds=self.thresholds) is not None
        insort(self.stored if reason is None else self.held, one, key=BY_TIME)
        if confirmed:
            self._revise(one, before, after)
        return reason

    def _revise(self, one: Neighbour, before: Sequence[Neighbour], after: Sequence[Neighbour]) -> None:
        place = self.stored.index(one)
        wrong = []
        for nearest, beside in ((before, self.stored[:place][::-1]), (after, self.stored[place + 1 :])):
            if nearest and contradict(one, nearest[0], self.thresholds):
                wrong += judgement.outvoted(one, beside, self.thresholds)
        self.stored = [each for each in self.stored if each not in wrong]
        for each in judgement.believed_anew(one.recorded_at, self.held, self.stored, self.thresholds):
            self.held.remove(each)
            insort(self.stored, each, key=BY_TIME)
        self.held = sorted(self.held + wrong, key=BY_TIME)


def track_of(fixes: Iterable[Neighbour], **how) -> Track:
    track = Track(**how)
    for each in fixes:
        track.arrive(each)
    return track


# The table


def test_each_code_stands_once_and_the_held_ones_are_the_reasons():
    codes = [rule.code for rule in judgement.RULES]
    assert len(set(codes)) == len(codes)
    assert list(judgement.REASONS) == [
        *("null_island", "future", "clock_reset", "week_rollover", "too_old", "impossible_jump"),
        *("outvoted", "withdrawn"),
    ]


def test_what_the_table_says_of_the_schema_is_what_the_schema_does():
    outcomes = {rule.code: rule.outcome for rule in judgement.RULES}
    body = {"recorded_at": "2026-01-02T03:04:05Z", "lat": 59.9, "lon": 10.7}
    assert outcomes[NoFix.code] == "refused"
    for nowhere in ({"lat": 91}, {"lon": 181}):
        with pytest.raises(NoFix):
            FixSchema().load(body | nowhere)
    assert outcomes["not_available"] == "set_to_null"
    motion = FixSchema().load(body | {"sog": 102.3, "cog": 360, "heading": 511, "nav_status": 15}).motion
    assert motion == Motion(lat=59.9, lon=10.7)


# Place and time


@pytest.mark.parametrize(
    ("lat", "lon", "code"),
    [(0, 0, "null_island"), (-0.0, 0.0, "null_island"), (0, 1e-6, None), (1e-6, 0, None), (0, 180, None)],
)
def test_null_island_is_exactly_zero(lat, lon, code):
    assert judge(at(0, lat, lon)) == code


@pytest.mark.parametrize(
    ("ahead", "code"),
    [
        (timedelta(minutes=5), None),
        (timedelta(minutes=5, microseconds=1), "future"),
        (ERA, "future"),
        (datetime.max.replace(tzinfo=UTC) - START, "future"),
    ],
)
def test_the_future_begins_after_the_tolerance(ahead, code):
    assert judge(Neighbour(START + ahead, 1, 1), now=START) == code


@pytest.mark.parametrize(
    ("age", "retention", "code"),
    [
        (timedelta(days=90), timedelta(days=90), None),
        (timedelta(days=90, microseconds=1), timedelta(days=90), "too_old"),
        (timedelta(days=365 * 19), None, None),
        (timedelta(days=365 * 100), None, None),
        (START - datetime.min.replace(tzinfo=UTC), None, None),
    ],
)
def test_a_fix_is_too_old_only_where_positions_are_not_kept_for_ever(age, retention, code):
    assert judge(Neighbour(START - age, 1, 1), now=START, thresholds=Thresholds(retention=retention)) == code


@pytest.mark.parametrize(
    ("retention", "age"),
    [
        *((None, age) for age in (timedelta(0), timedelta(days=100), timedelta(days=7000))),
        *((timedelta(days=90), age) for age in (timedelta(days=-1), timedelta(0), timedelta(days=90))),
        (timedelta(days=365 * 100), timedelta(days=7000)),
    ],
)
@pytest.mark.parametrize("eras", [1, 2])
def test_a_lost_count_of_weeks_is_told_for_as_long_as_a_fix_may_be_late(eras, age, retention):
    thresholds = Thresholds(retention=retention, future_tolerance=timedelta(days=1))
    recorded_at = START - age - eras * ERA
    assert judge(Neighbour(recorded_at, 1, 1), now=START, thresholds=thresholds) == "week_rollover"


@pytest.mark.parametrize("age", [ERA - timedelta(minutes=6), 3 * ERA + timedelta(days=1)])
def test_other_ages_are_merely_old(age):
    assert judge(Neighbour(START - age, 1, 1), now=START) is None


@pytest.mark.parametrize(
    "age", [ERA - timedelta(minutes=6), ERA + timedelta(days=91), 2 * ERA - timedelta(minutes=6), 3 * ERA]
)
def test_other_ages_are_too_old_where_positions_are_not_kept(age):
    old = Neighbour(START - age, 1, 1)
    assert judge(old, now=START, thresholds=Thresholds(retention=timedelta(days=90))) == "too_old"


@pytest.mark.parametrize("retention", [None, timedelta(days=90)])
@pytest.mark.parametrize(
    ("recorded_at", "code"),
    [
        ("1970-01-01T00:00:00", "clock_reset"),
        ("1970-01-01T23:59:59.999999", "clock_reset"),
        ("1969-12-31T12:00:00", "clock_reset"),
        ("1980-01-06T00:00:17", "clock_reset"),
        ("1980-01-08T03:04:05", "clock_reset"),
        ("1999-08-22T00:00:00", "clock_reset"),
        ("2000-01-01T00:00:00", "clock_reset"),
        ("1999-12-31T10:00:00", "clock_reset"),
        ("2000-01-07T23:59:59", "clock_reset"),
        ("1970-02-01T00:00:00", None),
        ("1980-02-06T00:00:00", None),
        ("2000-01-08T00:00:00", None),
        ("2009-01-01T00:00:00", None),
    ],
)
def test_what_clocks_tell_after_a_reset_is_known(recorded_at, code, retention):
    told = judge(
        Neighbour(datetime.fromisoformat(recorded_at).replace(tzinfo=UTC), 1, 1),
        now=START,
        thresholds=Thresholds(retention=retention),
    )
    assert (told == "clock_reset") is (code is not None)


def test_of_several_reasons_the_first_in_the_table_is_told():
    thresholds = Thresholds(retention=timedelta(days=1))
    elsewhere = [at(0, 50, 50)]
    assert judge(at(0, 0, 0), elsewhere, now=START - ERA, thresholds=thresholds) == "null_island"
    assert judge(at(0), elsewhere, now=START - ERA, thresholds=thresholds) == "future"
    assert judge(at(0), elsewhere, now=START + ERA, thresholds=thresholds) == "week_rollover"
    assert judge(at(0), elsewhere, now=START + timedelta(days=2), thresholds=thresholds) == "too_old"
    assert judge(at(0), elsewhere, now=START, thresholds=thresholds) == "impossible_jump"


# Jumps


@pytest.mark.parametrize(
    ("here", "there", "degrees"),
    [
        ((10, 20), (10, 20), 0),
        ((10, 20), (11, 20), 1),
        ((0, 179.5), (0, -179.5), 1),
        ((10, 180), (10, -180), 0),
        ((89.5, 0), (89.5, 180), 1),
        ((-90, 0), (-90, 123), 0),
        ((90, 0), (-90, 77), 180),
        ((0, -90), (0, 90), 180),
        ((45, 10), (-45, -170), 180),
        # 60 degrees north, where a degree of longitude is half as long: a chord of half of sin(45).
        ((60, 0), (60, 90), math.degrees(2 * math.asin(math.sin(math.radians(45)) / 2))),
    ],
)
def test_distances_are_great_circles(here, there, degrees):
    assert distance_m(*here, *there) == pytest.approx(degrees * DEGREE_M, abs=1e-3)
    assert distance_m(*there, *here) == pytest.approx(degrees * DEGREE_M, abs=1e-3)


# Ten minutes at 60 knots are ten nautical miles; two radii of 250 m are added to them.
TEN_MINUTES_M = 10 * 1852 + 500


@pytest.mark.parametrize(("lat", "lon"), [(59.9, 10.7), (0, 180), (0, -179.95), (89.95, 0), (-90, 0)])
def test_a_jump_is_impossible_beyond_the_limit_of_speed_and_two_radii(lat, lon):
    here = at(0, lat, lon)
    for bearing in (0, 45, 90, 135, 180, 270):
        for metres, code in ((TEN_MINUTES_M - 1, None), (TEN_MINUTES_M + 1, "impossible_jump")):
            there = at(600, *moved(lat, lon, bearing, metres))
            assert judge(there, before=[here]) == code
            assert judge(here, after=[there]) == code


@pytest.mark.parametrize(
    ("accuracies", "allowed"),
    [
        ((None, None), 500),
        ((0, 4), 500),
        ((1_000, None), 1_250),
        ((1_000, 3_000), 4_000),
        ((1_000_000, 0), 10_250),
    ],
)
def test_a_receiver_is_allowed_its_own_doubt_up_to_a_cap(accuracies, allowed):
    for metres, doubted in ((allowed - 1, False), (allowed + 1, True)):
        one = at(0, 0.5, 0.5, accuracies[0])
        other = at(0, 0.5 + metres / DEGREE_M, 0.5, accuracies[1])
        assert contradict(one, other, THRESHOLDS) is doubted


def test_limits_are_a_vessels_own():
    here, there = at(0), at(600, 0.5 + 14 * 1852 / DEGREE_M)
    assert judge(there, [here]) == "impossible_jump"
    assert judge(there, [here], thresholds=replace(THRESHOLDS, max_speed_kn=90)) is None
    assert judge(there, [here], thresholds=replace(THRESHOLDS, noise_m=5_000)) is None
    assert judge(there, [here], thresholds=replace(THRESHOLDS, accuracy_cap_m=0)) == "impossible_jump"


def test_one_impossible_side_is_enough():
    # She is an hour from one place to the other; a second after the first she cannot be at the second.
    here, there = at(0), at(3600, 0.9)
    assert judge(there, [here]) is None
    assert judge(at(1, 0.9), [here], [there]) == "impossible_jump"
    assert judge(at(3599), [here], [there]) == "impossible_jump"
    assert judge(at(1800, 0.7), [here], [there]) is None


def test_beside_a_break_one_possible_side_is_enough():
    here, there = at(0), at(60, 20)
    assert judge(at(20), [here], [there]) is None
    assert judge(at(40, 20), [here], [there]) is None
    assert judge(at(30, 10), [here], [there]) == "impossible_jump"


def test_fixes_of_two_trackers_at_one_time_are_judged_too():
    other_end = at(0, 0.5 + 400 / DEGREE_M)
    assert judge(at(0), [other_end]) is None
    assert judge(at(0), after=[other_end]) is None
    assert judge(at(0, 1.5), [other_end]) == "impossible_jump"


def test_beyond_the_reach_nothing_contradicts():
    reach = THRESHOLDS.reach.total_seconds()
    assert THRESHOLDS.reach == pytest.approx(timedelta(hours=180), rel=1e-2)
    assert not contradict(at(0, 90), at(reach, -90), THRESHOLDS)
    assert contradict(at(0, 90), at(reach - 60, -90), THRESHOLDS)


# The old one that was wrong


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("wrongs", [1, 2, 3])
def test_after_three_that_agree_the_fourth_is_believed_with_them_and_not_the_first(direction, wrongs):
    wrong = [at(-direction * second, 40, 40) for second in range(wrongs)]
    right = [at(direction * 60 * minute) for minute in range(1, 6)]
    track = track_of(wrong)
    assert [track.arrive(each) for each in right[:3]] == ["impossible_jump"] * 3
    assert track.stored == sorted(wrong)
    assert track.arrive(right[3]) is None
    assert track.stored == sorted(right[:4])
    assert track.arrive(right[4]) is None
    assert track.arrive(at(direction * 210)) is None
    assert track.stored == sorted([*right, at(direction * 210)])
    assert track.held == sorted(wrong)


def test_those_on_the_other_side_of_the_wrong_one_are_released_with_them():
    wrong, earlier = at(0, 40, 40), [at(-60 * minute) for minute in (1, 2, 3)]
    track = track_of([wrong, *earlier])
    assert (track.stored, track.held) == ([wrong], sorted(earlier))
    later = [at(60 * minute) for minute in (1, 2, 3, 4)]
    for each in later:
        track.arrive(each)
    assert (track.stored, track.held) == (sorted(earlier + later), [wrong])


def test_with_three_on_each_side_the_first_to_come_stays():
    track = track_of([at(0, 40, 40), *(at(60 * minute) for minute in (-3, -2, -1, 1, 2, 3))])
    assert track.stored == [at(0, 40, 40)]


def test_an_older_track_is_where_the_wrong_one_ends():
    """She was at rest for long; the last fix is wrong, and she is still there."""
    old, wrong = [at(-3600 * hour) for hour in range(2, 50)], at(0, 5)
    track = track_of([*old, at(-60, 0.51), wrong])
    assert track.held == [wrong]
    track = track_of([*old, at(0, 2.0), *(at(60 * minute) for minute in range(1, 5))])
    assert track.stored == sorted([*old, *(at(60 * minute) for minute in range(1, 5))])
    assert track.held == [at(0, 2.0)]


def test_a_track_that_goes_on_elsewhere_has_a_break_and_is_believed_whole():
    here = [at(60 * minute) for minute in range(5)]
    there = [at(60 * minute, 20) for minute in range(5, 10)]
    track = track_of(here + there)
    assert track.stored == here + there
    assert track.held == []


def test_wrong_fixes_that_do_not_agree_are_never_believed():
    right, wrong = at(0), [at(60 * minute, 5 * minute, 40) for minute in range(1, 10)]
    track = track_of([right, *wrong])
    assert track.stored == [right]


def test_wrong_fixes_between_do_not_keep_the_right_ones_out():
    wrong = [at(60 * minute, 5 * minute, 40) for minute in range(0, 12, 2)]
    right = [at(60 * minute) for minute in range(1, 13, 2)]
    track = track_of(sorted(wrong + right))
    assert track.stored == right
    assert track.held == wrong


def test_two_that_take_turns_stay_apart():
    """A tracker on another ship sends for this one: the first to speak is believed, the other never."""
    here = [at(60 * minute) for minute in range(0, 40, 2)]
    there = [at(60 * minute, 20) for minute in range(1, 41, 2)]
    track = track_of(sorted(here + there))
    assert track.stored == here
    assert track.held == there


@pytest.mark.parametrize("number", [1, 2, 3])
def test_up_to_three_wrong_ones_in_a_row_are_held_even_where_they_agree(number):
    before, after = ([at(60 * minute) for minute in minutes] for minutes in (range(4), range(10, 14)))
    wrong = [at(60 * minute, 20) for minute in range(4, 4 + number)]
    track = track_of(before + wrong + after)
    assert track.stored == before + after
    assert track.held == wrong
