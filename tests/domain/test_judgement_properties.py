"""The judgement of a fix: its promises by property."""

import itertools
from collections.abc import Iterable
from datetime import timedelta

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.domain.test_judgement import (
    BY_TIME,
    DEGREE_M,
    METRES_PER_SECOND,
    START,
    THRESHOLDS,
    at,
    judge,
    moved,
    track_of,
)

from harbor_api.domain.judgement import Neighbour, contradict

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
    """Whatever stands there first, three of a plausible track are held, and with the next all is right."""
    assume((wrong.lat, wrong.lon) != (0, 0))
    # All on one side of the wrong one, where they meet it and not each other.
    shift = max(timedelta(0), wrong.recorded_at - track[0].recorded_at) + timedelta(seconds=1)
    track = [each._replace(recorded_at=each.recorded_at + shift) for each in track]
    assume(all(contradict(wrong, each, THRESHOLDS) for each in track))
    chance.shuffle(track)
    arrived = track_of([wrong])
    reasons = [arrived.arrive(each) for each in track]
    assert reasons == ["impossible_jump"] * 3 + [None] * len(reasons[3:])
    assert arrived.stored == sorted(track, key=BY_TIME)
    assert arrived.held == [wrong]


# So far apart that no two of them are within a day of each other, nor of the track below.
FAR_PLACES = [(lat, lon) for lat in (-60, -20, 20, 60) for lon in (-150, -90, -30, 30, 90, 150)]


@given(
    st.integers(7, 20),
    st.lists(st.sampled_from(FAR_PLACES), unique=True, min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
@repeatable
def test_in_any_order_the_right_ones_are_believed_and_the_wrong_ones_held(number, far_places, chance):
    """Seven of the right ones: so there are four on one side, wherever the first wrong one lies."""
    right = [at(60 * minute, 0.5, 0.5 + 0.005 * minute) for minute in range(number)]
    wrong = [at(chance.uniform(-60, 60 * number), *place) for place in far_places]
    arriving = right + wrong
    chance.shuffle(arriving)
    arrived = track_of(arriving)
    assert arrived.stored == right
    assert arrived.held == sorted(wrong, key=BY_TIME)
