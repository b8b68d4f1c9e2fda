"""Who speaks for a jump: the nearest held fixes on each side, however many others are held."""

import random
from collections.abc import Iterable, Sequence
from datetime import timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.domain.test_judgement import BY_TIME, START, THRESHOLDS, at, judge
from tests.support.examples import many

from harbor_api.domain import judgement
from harbor_api.domain.judgement import NEAREST, Thresholds, contradict
from harbor_api.domain.positions import Neighbour

# She is some minutes from one of these to the next, and days from the others.
ROW = [(0.5 + n / 20, 0.5) for n in range(4)]
FAR = [(20.0, 40.0), (-40.0, 80.0), (60.0, -120.0), (-60.0, -60.0)]
# Where she is stored, days from all of them.
NOWHERE = (10.0, 170.0)
SPAN_S = 900
ENOUGH = THRESHOLDS.confirmations

seconds = st.integers(-SPAN_S, SPAN_S)
fixes = st.builds(lambda second, place: at(second, *place), seconds, st.sampled_from(ROW + FAR))
stored = st.none() | st.integers(0, SPAN_S)
thorough = settings(derandomize=True, database=None, deadline=None, max_examples=many(200))


@st.composite
def crowds(draw):
    """Draw held fixes, in order. So many are drawn by a seed: one by one takes Hypothesis a second."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    likely = draw(st.lists(st.sampled_from(ROW + FAR), min_size=1))
    moments = chance.sample(range(-SPAN_S, SPAN_S), draw(st.integers(0, 120)))
    return [at(second, *chance.choice(likely)) for second in sorted(moments)]


def beside(one: Neighbour, earlier_s: int | None, later_s: int | None) -> tuple[list[Neighbour], ...]:
    """Return the stored fixes so long before and after one, which both contradict it."""
    before, after = (
        [] if span is None else [Neighbour(one.recorded_at + sign * timedelta(seconds=span), *NOWHERE)]
        for sign, span in ((-1, earlier_s), (1, later_s))
    )
    return before, after


def between(held: Iterable[Neighbour], before: Sequence[Neighbour], after: Sequence[Neighbour]):
    """Return the held fixes that are no earlier and no later than the stored ones."""
    return [
        each
        for each in held
        if all(one.recorded_at <= each.recorded_at for one in before)
        and all(each.recorded_at <= one.recorded_at for one in after)
    ]


def sides_of(one: Neighbour, held: Sequence[Neighbour]) -> tuple[Sequence[Neighbour], Sequence[Neighbour]]:
    """Return the held fixes before one, and those that are not, each outwards."""
    earlier = [each for each in held if each.recorded_at < one.recorded_at]
    return earlier[::-1], held[len(earlier) :]


def agreeing(one: Neighbour, side: Iterable[Neighbour]) -> list[bool]:
    """Tell of each held fix of a side whether it agrees with the last one that did: without a bound."""
    agree = []
    for each in side:
        agree.append(not contradict(one, each, THRESHOLDS))
        one = each if agree[-1] else one
    return agree


@given(fixes, stored, stored, crowds(), st.randoms(use_true_random=False))
@thorough
def test_it_is_the_same_whether_all_are_handed_over_or_the_nearest(here, earlier_s, later_s, held, chance):
    before, after = beside(here, earlier_s, later_s)
    told = judge(here, before, after, held)
    nearest = [each for side in sides_of(here, between(held, before, after)) for each in side[:NEAREST]]
    assert judge(here, before, after, nearest) == told
    # And any others, those beyond the stored ones included.
    others = [each for each in held if each in nearest or chance.random() < 0.5]
    assert judge(here, before, after, others) == told
    # Those that are further than the nearest ones could be anything.
    instead = [each if each in nearest else each._replace(lat=here.lat, lon=here.lon) for each in held]
    assert judge(here, before, after, instead) == told


@given(fixes, stored, stored, crowds())
@thorough
def test_it_is_as_if_all_were_asked_where_few_disagree(here, earlier_s, later_s, held):
    before, after = beside(here, earlier_s, later_s)
    assume(judge(here, before, after) is not None)
    sides = [agreeing(here, side) for side in sides_of(here, between(held, before, after))]
    assume(all(side.count(False) <= NEAREST - ENOUGH for side in sides))
    believed = sum(side.count(True) for side in sides) >= ENOUGH
    assert judge(here, before, after, held) == (None if believed else "impossible_jump")


@given(fixes, stored, stored, crowds())
@thorough
def test_what_is_held_never_makes_a_jump(here, earlier_s, later_s, held):
    before, after = beside(here, earlier_s, later_s)
    assert judge(here, before, after, held) in {None, judge(here, before, after)}


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (0, None),
        (NEAREST - ENOUGH, None),
        (NEAREST - ENOUGH + 1, "impossible_jump"),
        (500, "impossible_jump"),
    ],
)
def test_as_many_wrong_ones_may_lie_nearer_as_leave_room_for_those_that_must_agree(direction, wrong, told):
    right = [at(-direction * second) for second in (10_001, 10_002, 10_003)]
    # Two places in turn, so fast that no two of them agree.
    between = [at(-direction * (1 + second), *FAR[second % 2]) for second in range(wrong)]
    # Those of one place agree with each other and not with this one.
    assert judge(at(0), [at(-20_000, *NOWHERE)], [at(20_000, *NOWHERE)], right + between) == told


@pytest.fixture
def measured(monkeypatch) -> list[tuple[Neighbour, Neighbour]]:
    """Return the pairs that are measured from now on."""
    pairs = []

    def measure(one: Neighbour, other: Neighbour, thresholds: Thresholds) -> bool:
        pairs.append((one, other))
        return contradict(one, other, thresholds)

    monkeypatch.setattr(judgement, "contradict", measure)
    return pairs


@pytest.mark.parametrize("held", [0, 100, 10_000])
def test_what_a_judgement_measures_does_not_grow_with_what_is_held(measured, held):
    chance = random.Random(held)
    crowd = [
        Neighbour(START + timedelta(seconds=chance.uniform(-10_000, 10_000)), *chance.choice(FAR))
        for _ in range(held)
    ]
    assert judge(at(0), [at(-11_000, *NOWHERE)], [at(11_000, *NOWHERE)], crowd) == "impossible_jump"
    # Each of the stored ones and those with each other, and the nearest ones.
    assert 2 <= len(measured) <= 3 + 2 * NEAREST


def test_the_search_ends_with_the_last_one_that_is_needed(measured):
    company = [at(-60 * minute) for minute in range(1, 100)]
    assert judge(at(0), [at(-7_000, *NOWHERE)], [], company) is None
    assert len(measured) == 1 + ENOUGH


def test_what_is_beyond_the_reach_does_not_speak_for_a_jump():
    """It agrees with everything, so it says nothing."""
    reach_s = int(THRESHOLDS.reach.total_seconds())
    company = [at(-reach_s - 60 * minute, *FAR[0]) for minute in range(1, 20)]
    assert judge(at(0), [], [at(60, *NOWHERE)], company) == "impossible_jump"
    assert judge(at(0), [], [at(60, *NOWHERE)], [at(-60 * minute) for minute in range(1, 4)]) is None


@pytest.mark.parametrize(("confirmations", "told"), [(0, None), (1, None), (2, "impossible_jump")])
def test_how_many_must_agree_is_the_callers(confirmations, told):
    thresholds = Thresholds(confirmations=confirmations)
    assert judge(at(0), [at(-600, *NOWHERE)], [], [at(-60)], thresholds=thresholds) == told


@pytest.mark.parametrize("tracker_id", [1, 3])
def test_those_of_the_very_same_time_speak_for_it(tracker_id):
    here = at(0)._replace(tracker_id=2)
    held = sorted([at(0)._replace(tracker_id=tracker_id), at(-60), at(60)], key=BY_TIME)
    assert judge(here, [at(-600, *NOWHERE)], [at(600, *NOWHERE)], held) is None
    # A stored one of that time bounds only the other side.
    assert judge(here, [at(0, *NOWHERE)], [], [*held, at(120)]) is None
    assert judge(here, [at(0, *NOWHERE)], [], [*held, at(-120)]) == "impossible_jump"


def test_those_of_the_very_same_time_are_among_the_later_ones():
    right = [at(-10_000 - second) for second in range(ENOUGH)]
    wrong = [at(-1 - second, *FAR[second % 2]) for second in range(NEAREST - ENOUGH)]
    assert judge(at(0), [at(-20_000, *NOWHERE)], [], [*right, *wrong, at(0, *FAR[2])]) is None
    assert judge(at(0), [at(-20_000, *NOWHERE)], [], [*right, *wrong, at(-0.5, *FAR[2])]) == "impossible_jump"
