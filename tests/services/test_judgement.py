"""The judgement of a fix: each rule by example, its promises by property, and what it makes of real ships."""

import itertools
import math
import random
from bisect import bisect, insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harbor_api.clients import ais
from harbor_api.entities import Motion
from harbor_api.errors import NoFix
from harbor_api.schemas.positions import FixSchema
from harbor_api.services import judgement
from harbor_api.services.judgement import Neighbour, Thresholds, contradict, distance_m

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
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
    nearest = {"before": next(iter(before), None), "after": next(iter(after), None)}
    return judgement.judge(one, now=now or one.recorded_at, thresholds=thresholds, held=held, **nearest)


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
        insort(self.stored if reason is None else self.held, one, key=BY_TIME)
        return reason


def track_of(fixes: Iterable[Neighbour], **how) -> Track:
    track = Track(**how)
    for each in fixes:
        track.arrive(each)
    return track


# The table


def test_each_code_stands_once_and_the_held_ones_are_the_reasons():
    codes = [rule.code for rule in judgement.RULES]
    assert len(set(codes)) == len(codes)
    assert list(judgement.REASONS) == ["null_island", "future", "week_rollover", "too_old", "impossible_jump"]


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


@pytest.mark.parametrize("retention", [None, timedelta(days=90)])
@pytest.mark.parametrize("eras", [1, 2])
@pytest.mark.parametrize("age", [timedelta(days=-1), timedelta(0), timedelta(minutes=-5), timedelta(days=7)])
def test_a_lost_count_of_weeks_is_told_from_old_age(eras, age, retention):
    thresholds = Thresholds(retention=retention, future_tolerance=timedelta(days=1))
    recorded_at = START - age - eras * ERA
    assert judge(Neighbour(recorded_at, 1, 1), now=START, thresholds=thresholds) == "week_rollover"


@pytest.mark.parametrize(
    "age",
    [ERA - timedelta(minutes=6), ERA + timedelta(days=8), 3 * ERA, 2 * ERA - timedelta(minutes=6)],
)
def test_other_ages_are_merely_old(age):
    old = Neighbour(START - age, 1, 1)
    assert judge(old, now=START) is None
    assert judge(old, now=START, thresholds=Thresholds(retention=timedelta(days=90))) == "too_old"


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
def test_after_three_that_agree_the_fourth_is_believed_and_nothing_else_moves(direction):
    wrong = at(0, 40, 40)
    right = [at(direction * 60 * minute) for minute in range(1, 6)]
    track = track_of([wrong])
    assert [track.arrive(each) for each in right[:3]] == ["impossible_jump"] * 3
    assert track.stored == [wrong]
    assert track.arrive(right[3]) is None
    # From now on a fix only has to fit one side of the break.
    assert track.arrive(right[4]) is None
    assert track.arrive(at(direction * 210)) is None
    assert track.stored == sorted([wrong, *right[3:], at(direction * 210)])
    assert track.held == sorted(right[:3])


def test_a_track_that_goes_on_elsewhere_has_a_break_and_three_are_held_there():
    here = [at(60 * minute) for minute in range(5)]
    there = [at(60 * minute, 20) for minute in range(5, 10)]
    track = track_of(here + there)
    assert track.stored == here + there[3:]
    assert track.held == there[:3]


def test_wrong_fixes_that_do_not_agree_are_never_believed():
    right, wrong = at(0), [at(60 * minute, 5 * minute, 40) for minute in range(1, 10)]
    track = track_of([right, *wrong])
    assert track.stored == [right]


def test_wrong_fixes_between_do_not_keep_the_right_ones_out():
    wrong = [at(60 * minute, 5 * minute, 40) for minute in range(0, 12, 2)]
    right = [at(60 * minute) for minute in range(1, 13, 2)]
    track = track_of(sorted(wrong + right))
    # The first to speak stays; of the right ones three are held before the fourth is believed.
    assert track.stored == [wrong[0], *right[3:]]
    assert track.held == sorted(wrong[1:] + right[:3])


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


# Properties

repeatable = settings(derandomize=True, database=None, deadline=None)
places = st.tuples(
    st.one_of(st.floats(-90, 90), st.sampled_from([0.0, 89.99, -90.0])),
    st.one_of(st.floats(-180, 180), st.sampled_from([180.0, -179.99])),
)
bearings = st.floats(0, 360)
# Not quite the whole limit and the whole radius, for the rounding of what makes up the track.
nearly = st.floats(0, 0.999)


@st.composite
def neighbours(draw):
    lat, lon = draw(places)
    return at(draw(st.integers(-100_000, 100_000)), lat, lon, draw(st.none() | st.floats(0, 20_000)))


@st.composite
def plausible_tracks(draw, least=1, most=12, longest_pause=20_000):
    """Draw what a vessel within the limit of speed sends by receivers that are wrong within their radius."""
    lat, lon = draw(places)
    seconds, track = 0, []
    for _ in range(draw(st.integers(least, most))):
        pause = draw(st.integers(1, longest_pause))
        seconds += pause
        lat, lon = moved(lat, lon, draw(bearings), draw(nearly) * pause * METRES_PER_SECOND)
        accuracy_m = draw(st.none() | st.floats(0, 10_000))
        radius = max(THRESHOLDS.noise_m, accuracy_m or 0)
        track.append(at(seconds, *moved(lat, lon, draw(bearings), draw(nearly) * radius), accuracy_m))
    assume(all((each.lat, each.lon) != (0, 0) for each in track))
    return track


@given(plausible_tracks(), st.randoms(use_true_random=False))
@repeatable
def test_a_plausible_track_is_believed_whole_in_any_order_and_overlap(track, chance):
    arriving = track + chance.sample(track, len(track) // 2)
    chance.shuffle(arriving)
    arrived = track_of(arriving)
    assert arrived.stored == track
    assert arrived.held == []


@given(neighbours(), st.integers(-100_000, 100_000), bearings, st.floats(1.001, 3))
@repeatable
def test_a_far_jump_is_doubted_on_either_side(here, seconds, bearing, times):
    doubt_m = max(THRESHOLDS.noise_m, min(here.accuracy_m or 0, THRESHOLDS.accuracy_cap_m))
    metres = times * (abs(seconds) * METRES_PER_SECOND + doubt_m + THRESHOLDS.noise_m)
    # There is nothing further than half way around the Earth.
    assume(metres < 179 * DEGREE_M)
    moment = here.recorded_at + timedelta(seconds=seconds)
    there = Neighbour(moment, *moved(here.lat, here.lon, bearing, metres))
    assume((there.lat, there.lon) != (0, 0))
    assert judge(there, before=[here]) == judge(there, after=[here]) == "impossible_jump"


@given(
    places,
    st.lists(st.tuples(st.integers(0, 600), bearings, nearly), min_size=2, max_size=20),
    st.none() | st.floats(0, 10_000),
)
@repeatable
def test_the_noise_of_a_vessel_at_rest_is_never_held(berth, samples, accuracy_m):
    """Even within one second, and even where the receiver says that it is better than it is."""
    radius = max(THRESHOLDS.noise_m, accuracy_m or 0)
    fixes = [
        at(seconds, *moved(*berth, bearing, share * radius), accuracy_m)
        for seconds, bearing, share in samples
    ]
    assume(all((each.lat, each.lon) != (0, 0) for each in fixes))
    assert track_of(fixes).held == []


def mirrored(fixes: Iterable[Neighbour]) -> list[Neighbour]:
    return [each._replace(recorded_at=START - (each.recorded_at - START)) for each in fixes]


@given(neighbours(), neighbours(), neighbours(), st.lists(neighbours(), max_size=8))
@repeatable
def test_the_judgement_is_the_same_backwards_in_time(one, two, three, held):
    before, here, after = sorted([one, two, three], key=BY_TIME)
    assume(len({each.recorded_at for each in (before, here, after, *held)}) == 3 + len(held))
    for known in itertools.product(([], [before]), ([], [after])):
        previous, following = known
        assert judge(here, previous, following, held) == judge(
            *mirrored([here]), mirrored(following), mirrored(previous), mirrored(held)
        )


@given(neighbours(), neighbours())
@repeatable
def test_a_contradiction_is_mutual(one, other):
    assert contradict(one, other, THRESHOLDS) == contradict(other, one, THRESHOLDS)


@given(neighbours(), plausible_tracks(least=4), st.randoms(use_true_random=False))
@repeatable
def test_the_rule_for_the_old_one_ends(wrong, track, chance):
    """Whatever stands there first, three of a plausible track are held, and then no more."""
    assume((wrong.lat, wrong.lon) != (0, 0))
    # All on one side of the wrong one, where they meet it and not each other.
    shift = max(timedelta(0), wrong.recorded_at - track[0].recorded_at) + timedelta(seconds=1)
    track = [each._replace(recorded_at=each.recorded_at + shift) for each in track]
    assume(all(contradict(wrong, each, THRESHOLDS) for each in track))
    chance.shuffle(track)
    arrived = track_of([wrong])
    reasons = [arrived.arrive(each) for each in track]
    assert reasons == ["impossible_jump"] * 3 + [None] * len(reasons[3:])
    assert arrived.stored == sorted([wrong, *track[3:]], key=BY_TIME)
    assert arrived.held == sorted(track[:3], key=BY_TIME)


# So far apart that no two of them are within a day of each other, nor of the track below.
FAR_PLACES = [(lat, lon) for lat in (-60, -20, 20, 60) for lon in (-150, -90, -30, 30, 90, 150)]


@given(
    st.integers(8, 20),
    st.lists(st.sampled_from(FAR_PLACES), unique=True, min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
@repeatable
def test_in_any_order_only_the_very_first_fix_can_be_believed_wrongly(number, far_places, chance):
    right = [at(60 * minute, 0.5, 0.5 + 0.005 * minute) for minute in range(number)]
    wrong = [at(chance.uniform(-60, 60 * number), *place) for place in far_places]
    arriving = right + wrong
    chance.shuffle(arriving)
    arrived = track_of(arriving)
    first = arriving[0]
    assert set(arrived.stored) - set(right) == {first} - set(right)
    lost = set(right) - set(arrived.stored)
    if first in right:
        assert not lost
    else:
        # Before it and after it three each are held until the next one is believed.
        assert sum(each < first for each in lost) <= 3
        assert sum(each > first for each in lost) <= 3


# Real ships


@pytest.fixture(scope="module")
def ships() -> dict[str, list[Neighbour]]:
    """Return what each ship sent, as published: with repeats, and some with another place at one time."""
    files = [DATA / "ais-denmark-2026-04-26.csv", DATA / "ais-us-2014-01-01.csv"]
    if not all(file.exists() for file in files):
        pytest.skip("the AIS data is not beside the checkout, in ../shared/data")
    rows: dict[str, list[Neighbour]] = defaultdict(list)
    for file in files:
        for item in ais.read(file):
            # Latitude 91 or longitude 181 is no fix.
            if isinstance(item, ais.AisRow) and item.lat not in {None, 91} and item.lon not in {None, 181}:
                rows[item.mmsi].append(Neighbour(item.recorded_at, item.lat, item.lon))
    return rows


def test_no_two_fixes_of_a_real_ship_contradict_each_other(ships):
    """And so no order in which they arrive can hold any of them: the promise of the default radius."""
    assert sum(map(len, ships.values())) == 18_711
    narrow = Thresholds(noise_m=45)
    for fixes in ships.values():
        assert not any(contradict(*pair, narrow) for pair in itertools.combinations(set(fixes), 2))


def test_without_a_radius_real_ships_would_be_held_and_the_order_would_decide_which(ships):
    bare, chance = Thresholds(noise_m=0), random.Random(1)
    differing = held = 0
    for fixes in ships.values():
        in_order = track_of(sorted(set(fixes)), thresholds=bare)
        shuffled = sorted(set(fixes))
        chance.shuffle(shuffled)
        differing += track_of(shuffled, thresholds=bare).held != in_order.held
        held += len(in_order.held)
    assert held > 0
    assert differing > 0


def test_real_ships_end_in_one_state_from_shuffled_and_overlapping_batches(ships):
    chance = random.Random(2)
    for fixes in ships.values():
        arriving = fixes + chance.sample(fixes, len(fixes) // 2)
        chance.shuffle(arriving)
        arrived = track_of(arriving)
        assert arrived.stored == sorted(set(fixes))
        assert arrived.held == []


def test_wrong_fixes_among_real_ones_are_found_in_any_order_after_a_right_one(ships):
    """One in twenty is thrown 20 to 1,000 km away, each elsewhere."""
    chance = random.Random(3)
    thrown = 0
    for fixes in ships.values():
        right, wrong = sorted(set(fixes)), []
        if not 12 <= len(right) <= 40:
            continue
        for each in right[:]:
            if chance.random() < 0.05:
                right.remove(each)
                metres = 10 ** chance.uniform(4.3, 6)
                lat, lon = moved(each.lat, each.lon, chance.uniform(0, 360), metres)
                wrong.append(each._replace(lat=lat, lon=lon))
        if not wrong:
            continue
        thrown += len(wrong)
        for _ in range(4):
            first = chance.choice(right)
            others = [each for each in right + wrong if each is not first]
            chance.shuffle(others)
            arrived = track_of([first, *others])
            assert arrived.stored == right
            assert arrived.held == wrong
    assert thrown > 50
