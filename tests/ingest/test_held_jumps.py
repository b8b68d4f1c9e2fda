"""What is held costs nobody time: jumps are settled by the few held ones that are nearest, read at once.

Counted, never timed; and against a model that reads everything, for each fix anew.
"""

import itertools
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import sql
from tests.support.examples import many
from tests.support.factories import EPOCH, rolled_back
from tests.support.signed_posts import register_fleet

from harbor_api.database import Database, UnitOfWork
from harbor_api.domain import judgement
from harbor_api.domain.judgement import NEAREST, Thresholds, contradict, judge
from harbor_api.domain.positions import Fix, FixKey, Motion, NamedFix, Neighbour, ReceivedFix, Submission
from harbor_api.ingest import settling
from harbor_api.postgres import statements
from harbor_api.postgres.statements import Statement
from harbor_api.repositories import quarantine

JUMP, OUTVOTED = "impossible_jump", "outvoted"
THRESHOLDS = Thresholds()
ENOUGH = THRESHOLDS.confirmations
# She is some minutes from one of the first four to the next, and days from the others.
PLACES = [*((59.9 + n / 20, 10.7) for n in range(4)), (20.0, -30.0), (-40.0, 60.0), (0.0, 0.0)]
_thorough = settings(
    derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _at(seconds: float) -> Any:
    return EPOCH + timedelta(seconds=seconds)


def _received_fix(
    vessel: int, seconds: float, lat: float, lon: float, tracker: int = 1, **motion: Any
) -> ReceivedFix:
    return ReceivedFix(
        vessel,
        tracker,
        _at(0) + timedelta(days=30),
        Fix(_at(seconds), Motion(lat, lon, **motion)),
        {"lat": lat},
    )


def _told(unit_of_work: UnitOfWork, received_fixes: Sequence[ReceivedFix]) -> list[str]:
    """Settle received_fixes in one group; return a word for each, of a quarantined one the reason."""
    submission = Submission(tracker_id=1, fixes=tuple(received_fixes))
    [receipt] = settling.settle(unit_of_work, [submission], thresholds=THRESHOLDS)
    return [each.reason or each.verdict for each in receipt.verdicts]


@pytest.fixture
def fleet(database: Database) -> Database:
    """Return a database with five vessels."""
    register_fleet(database, 5)
    return database


# Against a model


@dataclass
class Model:
    """One vessel, said plainly: each fix by itself, and everything at hand that is stored and held.

    ``passed_over`` is the most held fixes that did not agree on one side of a jump, of the ``nearest`` ones,
    and ``judged_anew`` the most that were on one side of a jump that was believed.
    """

    nearest: int | None = None
    stored: dict[FixKey, Neighbour] = field(default_factory=dict)
    held: dict[FixKey, str] = field(default_factory=dict)
    jumps: dict[FixKey, Neighbour] = field(default_factory=dict)
    confirmed: list[tuple[Neighbour, list[Neighbour]]] = field(default_factory=list)
    passed_over: int = 0
    judged_anew: int = 0

    def settle(self, group: Sequence[ReceivedFix]) -> list[str]:
        """Tell what becomes of fixes in order of time, and decide anew once all have been judged."""
        stored, held, self.confirmed = set(self.stored), set(self.held), []
        told = [self.tell(each) for each in group]
        for jump, against in self.confirmed:
            self._revise(jump, against, sorted(stored))
        known = set(stored | (held & self.stored.keys()))
        for place, key in enumerate(each.key for each in group):
            if key in self.stored and told[place] == JUMP:
                told[place] = "duplicate" if key in known else "stored"
                known.add(key)
            elif key not in self.stored and told[place] in {"stored", "duplicate"}:
                told[place] = OUTVOTED
        return told

    def tell(self, received_fix: ReceivedFix) -> str:
        key, here = received_fix.key, Neighbour.of(received_fix.fix, received_fix.tracker_id)
        if key in self.stored:
            return "duplicate"
        if key in self.held:
            return self.held[key]
        before = self.stored.get(max((each for each in self.stored if each < key), default=key))
        after = self.stored.get(min((each for each in self.stored if each > key), default=key))
        reason = judge(here, now=received_fix.received_at, thresholds=THRESHOLDS, before=before, after=after)
        if reason == JUMP and self._agreeing(here, before, after) >= ENOUGH:
            reason = None
            against = [each for each in (before, after) if each and contradict(here, each, THRESHOLDS)]
            self.confirmed.append((here, against))
        if reason is None:
            self.stored[key] = here
            return "stored"
        self.held[key] = reason
        if reason == JUMP:
            self.jumps[key] = here
        return reason

    def _revise(self, jump: Neighbour, against: Sequence[Neighbour], before: Sequence[FixKey]) -> None:
        """Decide anew about a jump that was believed; ``before`` names what was stored before the group."""
        for nearest in against:
            is_earlier = nearest.key < jump.key
            beside = sorted(
                (each for key, each in self.stored.items() if (key < jump.key) == is_earlier),
                key=lambda each: each.key,
                reverse=is_earlier,
            )
            while beside and beside[0].key != nearest.key:
                outer = beside.pop(0)
                if (outer.key < nearest.key) == is_earlier:
                    # It was wrong itself by now.
                    beside = [outer, *beside]
                    break
            row = list(itertools.takewhile(lambda each: contradict(jump, each, THRESHOLDS), beside))
            for each in row if len(row) <= ENOUGH else ():
                del self.stored[each.key]
                if each.key not in self.jumps:
                    self.jumps[each.key] = each
                self.held.setdefault(each.key, OUTVOTED)
        # As far as four stored ones on each side reach.
        since = [key for key in before if key < jump.key][-ENOUGH - 1 :]
        until = [key for key in before if key > jump.key][: ENOUGH + 1]
        near = [
            key
            for key in sorted(self.jumps)
            if (len(since) <= ENOUGH or key >= since[0]) and (len(until) <= ENOUGH or key <= until[-1])
        ]
        earlier = [key for key in near if key < jump.key]
        self.judged_anew = max(self.judged_anew, len(earlier), len(near) - len(earlier))
        most = self.nearest or len(near)
        sides = [*earlier[max(0, len(earlier) - most) :], *near[len(earlier) : len(earlier) + most]]
        for key in sorted(sides, key=lambda key: (abs(key[0] - jump.recorded_at), key)):
            one = self.jumps[key]
            previous = self.stored.get(max((each for each in self.stored if each < key), default=key))
            following = self.stored.get(min((each for each in self.stored if each > key), default=key))
            if (
                judge(one, now=one.recorded_at, thresholds=THRESHOLDS, before=previous, after=following)
                is None
            ):
                self.stored[key] = self.jumps.pop(key)

    def _agreeing(self, here: Neighbour, before: Neighbour | None, after: Neighbour | None) -> int:
        since = max(here.recorded_at - THRESHOLDS.reach, before.recorded_at if before else _at(-1e7))
        until = min(here.recorded_at + THRESHOLDS.reach, after.recorded_at if after else _at(1e7))
        gap = [self.jumps[key] for key in sorted(self.jumps) if since <= key[0] <= until]
        earlier = [each for each in gap if each.recorded_at < here.recorded_at]
        agreeing = 0
        for side in (earlier[::-1], gap[len(earlier) :]):
            nearer, passed_over = here, 0
            for each in side[: self.nearest]:
                if contradict(nearer, each, THRESHOLDS):
                    passed_over += 1
                else:
                    nearer = each
                    agreeing += 1
            self.passed_over = max(self.passed_over, passed_over)
        return agreeing

    def reject(self, key: FixKey) -> None:
        del self.jumps[key]


class Models:
    """A model of each vessel, which takes groups as they are settled."""

    def __init__(self, nearest: int | None = None) -> None:
        self.models: dict[int, Model] = defaultdict(lambda: Model(nearest))

    def settle(self, group: Sequence[ReceivedFix]) -> list[str]:
        places = sorted(
            range(len(group)), key=lambda place: (group[place].key, repr(group[place].fix.motion))
        )
        told: dict[int, str] = {}
        for vessel in {each.vessel_id for each in group}:
            mine = [place for place in places if group[place].vessel_id == vessel]
            words = self.models[vessel].settle([group[place] for place in mine])
            told.update(zip(mine, words, strict=True))
        return [told[place] for place in range(len(group))]


@st.composite
def _groups(draw: Any) -> list[list[ReceivedFix]]:
    """Draw the fixes of two vessels, in groups that overlap; by a seed, as one by one it takes too long."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    likely = draw(st.lists(st.sampled_from(PLACES), min_size=1))
    moments = draw(st.integers(1, 40))
    sent = [
        _received_fix(
            chance.choice([1, 1, 1, 2]),
            chance.choice([30, 30, 1800]) * chance.randrange(moments),
            *chance.choice(likely),
            chance.choice([1, 1, 2]),
            sog=chance.choice([None, 1.0]),
        )
        for _ in range(draw(st.integers(1, 80)))
    ]
    if draw(st.booleans()):
        sent.sort(key=lambda each: each.key)
    ends = [
        0,
        *sorted(chance.sample(range(len(sent) + 1), min(len(sent), draw(st.integers(0, 6))))),
        len(sent),
    ]
    groups = [sent[first:last] for first, last in pairwise(ends)]
    return groups + groups[: draw(st.integers(0, 1))]


def _reject_one(unit_of_work: UnitOfWork, kinds: Iterable[Models]) -> None:
    """Have an operator reject the jump that was held first."""
    found = unit_of_work.quarantine.search(after=0, limit=1, vessel_id=1, reason=JUMP, state="held")
    for held in found:
        unit_of_work.revisions.reject([NamedFix(1, *held.received.key)], by="somebody", at=EPOCH)
        for kind in kinds:
            kind.models[1].reject(held.received.key)


@settings(_thorough, max_examples=many(150))
@given(groups=_groups(), nearest=st.sampled_from([2, 3, 5, NEAREST]), rejects=st.booleans())
def test_settling_tells_what_reading_everything_tells(fleet: Database, groups, nearest, rejects):
    """In any groups; and without a bound, as long as few disagree."""
    bounded, unbounded, few_disagree = Models(nearest), Models(), True
    with pytest.MonkeyPatch.context() as patch, rolled_back(fleet) as unit_of_work:
        patch.setattr(judgement, "NEAREST", nearest)
        patch.setattr(settling, "NEAREST", nearest)
        for group in groups:
            told = _told(unit_of_work, group)
            assert told == bounded.settle(group)
            everything = unbounded.settle(group)
            few_disagree &= all(
                each.passed_over <= nearest - ENOUGH and each.judged_anew <= nearest
                for each in unbounded.models.values()
            )
            if few_disagree:
                assert told == everything
            if rejects:
                _reject_one(unit_of_work, [bounded, unbounded] if few_disagree else [bounded])


# What is read of those that are held

_seconds = st.integers(1, 12)


@st.composite
def _spans(draw: Any) -> list[tuple[int | None, int, int | None]]:
    """Draw moments in order, between some that are not asked about; the first and the last are open."""
    points = [None, *sorted(draw(st.sets(_seconds, min_size=1))), None]
    spans = list(zip(points, points[1:], points[2:], strict=False))
    return [span for span in spans if draw(st.integers(0, 3))] or spans


_kinds = st.sampled_from([(JUMP, "held")] * 4 + [(JUMP, "rejected"), (JUMP, "released"), ("future", "held")])


@settings(_thorough, max_examples=many(150))
@given(
    held=st.dictionaries(st.tuples(_seconds, st.integers(1, 3)), _kinds),
    asked=st.lists(_spans(), min_size=1, max_size=3),
    most=st.integers(1, 4),
    together=st.integers(1, 3),
)
def test_the_nearest_jumps_before_and_after_each_moment_are_found(
    database: Database, held, asked, most, together
):
    """Of the first two vessels the same are held, of the third none."""
    received_fixes = {
        (vessel, *key): _received_fix(vessel, key[0], key[0] / 7, 10.7, key[1], accuracy_m=key[0] / 3 or None)
        for key in held
        for vessel in (1, 2)
    }
    moments = dict(enumerate(asked, start=1))
    with pytest.MonkeyPatch.context() as patch, rolled_back(database) as unit_of_work:
        patch.setattr(quarantine, "_TOGETHER", together)
        if received_fixes:
            unit_of_work.quarantine.hold((received_fixes[name], held[name[1:]][0]) for name in received_fixes)
        for each in unit_of_work.quarantine.search(after=0, limit=1_000):
            key = (each.received.fix.recorded_at - EPOCH).seconds, each.received.tracker_id
            if held[key][1] != "held":
                sql.run(
                    unit_of_work,
                    "UPDATE quarantine SET state = :state WHERE id = :id",
                    state=held[key][1],
                    id=each.id,
                )
        found = unit_of_work.quarantine.near(
            {
                vessel: [(since and _at(since), _at(at), until and _at(until)) for since, at, until in spans]
                for vessel, spans in moments.items()
            },
            most=most,
        )
    jumps = sorted(key for key, how in held.items() if how == (JUMP, "held"))
    expected: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for vessel, spans in moments.items():
        for since, at, until in spans if vessel < 3 else ():
            expected[vessel].update(
                [key for key in jumps if (-1 if since is None else since) <= key[0] < at][-most:],
                [key for key in jumps if at <= key[0] <= (99 if until is None else until)][:most],
            )
    assert found == {
        vessel: [Neighbour.of(received_fixes[vessel, *key].fix, key[1]) for key in sorted(keys)]
        for vessel, keys in expected.items()
        if keys
    }


# What it costs


@dataclass
class Cost:
    """The statements of some work with the rows that each returned, and how often fixes were compared."""

    statements: list[tuple[str, int]] = field(default_factory=list)
    comparisons: int = 0

    @property
    def of_held_ones(self) -> list[int]:
        """The rows of each statement that looked for held jumps."""
        return [
            count for statement, count in self.statements if statement.lstrip().startswith("WITH stretch")
        ]


@contextmanager
def _counted() -> Iterator[Cost]:
    """Count what is sent to the database, on whichever way, and what is compared."""
    cost = Cost()
    execute = psycopg.Cursor.execute

    def sent(cursor: Any, query: Any, *rest: Any, **how: Any) -> Any:
        result = execute(cursor, query, *rest, **how)
        words = query.decode() if isinstance(query, bytes) else str(query)
        cost.statements.append((words, cursor.rowcount if cursor.description else 0))
        return result

    def compared(*args: Any) -> bool:
        cost.comparisons += 1
        return contradict(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", sent)
        patch.setattr(judgement, "contradict", compared)
        yield cost


def _hold(database: Database, count: int, *, first_s: float, step_s: float) -> None:
    """Hold jumps of the first vessel by her second tracker, at a place of its own each."""
    # In parts: no statement may take as long as all of it.
    for start in range(0, count, 10_000):
        sql.run(
            database,
            "INSERT INTO quarantine (vessel_id, recorded_at, tracker_id, received_at, reason, fix) "
            "SELECT 1, :first + n * :step, 2, now(), 'impossible_jump', "
            "json_build_object('lat', mod(n, 60) - 30, 'lon', 100 + mod(n, 50)) "
            "FROM generate_series(:start, least(:start + 10000, :count) - 1) AS n ON CONFLICT DO NOTHING",
            first=_at(first_s),
            step=timedelta(seconds=step_s),
            start=start,
            count=count,
        )


def _jumps(step_s: float, *, first_s: float = 0) -> list[ReceivedFix]:
    """Return a hundred fixes of which no two agree, nor any with one that is held."""
    return [_received_fix(1, first_s + step_s * n, n - 50, -170 + n / 2) for n in range(100)]


@pytest.fixture
def sea(fleet: Database) -> Database:
    """Return a database with five vessels, each of which has been in one place a while ago."""
    with fleet.unit_of_work() as unit_of_work:
        _told(unit_of_work, [_received_fix(vessel, -90_000, 59.9, 10.7) for vessel in range(1, 6)])
    return fleet


def _cost_of(database: Database, received_fixes: Sequence[ReceivedFix], told: Mapping[str, int]) -> Cost:
    with rolled_back(database) as unit_of_work, _counted() as cost:
        words = _told(unit_of_work, received_fixes)
    assert {word: words.count(word) for word in words} == told
    return cost


def test_a_hundred_jumps_take_the_same_beside_any_number_that_are_held(sea: Database):
    costs = []
    for held in (0, 3_000, 60_000):
        _hold(sea, held // 2, first_s=-60_000, step_s=1)
        _hold(sea, held // 2, first_s=1_000, step_s=1)
        costs.append(_cost_of(sea, _jumps(5), {JUMP: 100}))
    nothing, *others = costs
    for cost in others:
        assert [each for each, _ in cost.statements] == [each for each, _ in nothing.statements]
        assert cost.of_held_ones == [2 * NEAREST]
        assert sum(count for _, count in cost.statements) <= 2 * NEAREST + 10
        # Each with the stored one on either side, those two with each other, and the nearest held ones.
        assert cost.comparisons <= 100 * (3 + 2 * NEAREST)


@pytest.mark.parametrize("held", [3_000, 60_000])
def test_a_hundred_jumps_far_apart_among_those_that_are_held_read_the_nearest_of_each(sea: Database, held):
    _hold(sea, held, first_s=-500, step_s=60_000 / held)
    cost = _cost_of(sea, _jumps(590), {JUMP: 100})
    [count] = cost.of_held_ones
    assert count <= 100 * 2 * NEAREST
    assert cost.comparisons <= 100 * (3 + 2 * NEAREST)


def test_those_beyond_the_stored_neighbours_are_not_read(sea: Database):
    """A tracker that is registered for the wrong vessel takes turns with the right one, for two days."""
    with sea.unit_of_work() as unit_of_work:
        _told(unit_of_work, [_received_fix(1, 60 * n, 59.9, 10.7) for n in range(3_000)])
    _hold(sea, 3_000, first_s=30, step_s=60)
    assert _cost_of(sea, _jumps(1_800, first_s=15), {JUMP: 100}).of_held_ones == [100]
    # Of those the last one is after all that is stored.
    assert _cost_of(sea, _jumps(10, first_s=180_000), {JUMP: 100}).of_held_ones == [1]


def test_held_ones_are_asked_for_once_in_a_group_and_only_where_there_is_a_jump(sea: Database):
    quiet = [_received_fix(vessel, n, 59.9, 10.7) for vessel in range(1, 6) for n in range(3)]
    assert _cost_of(sea, quiet, {"stored": 15}).of_held_ones == []
    jumps = [_received_fix(vessel, 60 + n, 20 + vessel * n, 10.7) for vessel in (2, 4) for n in range(1, 3)]
    cost = _cost_of(sea, quiet + jumps, {"stored": 15, JUMP: 4})
    assert cost.of_held_ones == [0]
    known = [_received_fix(1, n, 0, 0) for n in range(3)]
    assert _cost_of(sea, known, {"null_island": 3}).of_held_ones == []


def test_jumps_that_are_sent_again_are_not_judged_again(sea: Database):
    with sea.unit_of_work() as unit_of_work:
        assert set(_told(unit_of_work, _jumps(5))) == {JUMP}
    cost = _cost_of(sea, _jumps(5), {JUMP: 100})
    assert cost.of_held_ones == []
    assert cost.comparisons == 0


def test_each_of_a_thousand_jumps_in_a_group_is_compared_with_the_nearest_of_them(sea: Database):
    """Those of the same group count like those that were held before, and are no more to go through."""
    jumps = [_received_fix(1, n, (n * 37) % 120 - 60, (n * 101) % 360 - 180) for n in range(1_000)]
    with rolled_back(sea) as unit_of_work, _counted() as cost:
        words = _told(unit_of_work, jumps)
    assert words.count(JUMP) > 900
    assert cost.comparisons <= 1_000 * (3 + 2 * NEAREST)


def test_to_find_held_ones_is_no_work_for_which_a_plan_would_be_compiled(sea: Database):
    """PostgreSQL compiles what it takes for much work, which takes a hundred times as long as these do."""
    _hold(sea, 60_000, first_s=-500, step_s=1)
    with rolled_back(sea) as unit_of_work:
        sql.run(unit_of_work, "ANALYZE quarantine")
        values = {"stretches": "[]", "moments": "[]", "most": NEAREST}
        explain = Statement(b"EXPLAIN (FORMAT JSON) " + quarantine._NEAR, values)
        [([explained],)] = statements.rows(sql.connection_of(unit_of_work), explain)
        above = sql.value(unit_of_work, "SELECT current_setting('jit_above_cost')::float8")
    assert explained["Plan"]["Total Cost"] < above / 10
