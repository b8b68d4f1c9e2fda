"""What becomes of fixes that trackers send: each is stored once, or held back with a reason."""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from itertools import accumulate, groupby, islice
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harbor_api.database import UnitOfWork
from harbor_api.domain.columns import moment
from harbor_api.domain.judgement import (
    IMPOSSIBLE_JUMP,
    JUDGEMENT,
    NEAREST,
    OUTVOTED,
    Thresholds,
    believed_anew,
    contradict,
    is_confirmed,
    judge,
    outvoted,
)
from harbor_api.domain.positions import (
    FixKey,
    NamedFix,
    Neighbour,
    Receipt,
    ReceivedFix,
    Stretch,
    Submission,
    Surroundings,
    Verdict,
    Vicinity,
    stretches_of,
)
from harbor_api.domain.received_columns import ReceivedColumns
from harbor_api.ingest import columns
from harbor_api.ingest.known_trackers import TrackerChanged
from harbor_api.postgres.statements import Statement
from harbor_api.repositories.positions import admission, look, versions_in
from harbor_api.repositories.revisions import OUTVOTED_BY_OTHERS

# What may become of a fix, beside the reasons to hold it.
_NEW, _KNOWN = "new", "known"
# What becomes of one more with the same key, where it is not the same.
_AGAIN = {_NEW: _KNOWN}
_STORED = {latest: Verdict(verdict="stored", latest=latest) for latest in (False, True)}
_DUPLICATE = {latest: Verdict(verdict="duplicate", latest=latest) for latest in (False, True)}
_vessel = attrgetter("vessel_id")
_named = attrgetter("key")


def settle(
    unit_of_work: UnitOfWork, submissions: Sequence[Submission], *, thresholds: Thresholds
) -> list[Receipt]:
    """Store or hold all fixes of some submissions, and return what became of each, in order.

    The order of the fixes and repeats among them do not matter to the outcome: they are judged in order
    of time, and of two that differ only in content the same one is always the first. Durable once the
    unit of work is committed; until then nobody else stores fixes of the same vessels.

    TrackerChanged where a tracker is not any more what its signature was checked against.
    """
    by_column = columns.ranked(submissions)
    if by_column is None:
        each_alone = _in_order([received for submission in submissions for received in submission.fixes])
        stretches = stretches_of(each_alone.fixes)
    else:
        stretches = [*by_column.stretches()]
    around = _admit(unit_of_work, submissions, stretches)
    # Before the lock of the order, which is held to the end.
    numbers = [(each.tracker_id, number) for each in submissions for number in each.numbers]
    missing = unit_of_work.arrived_numbers.note(numbers) if numbers else {}
    if by_column is None:
        verdicts = _settled_each(unit_of_work, each_alone, around, thresholds)
    else:
        verdicts = _settled_by_column(unit_of_work, by_column, around, thresholds)
    ends = [*accumulate(len(each.fixes) for each in submissions)]
    return [
        Receipt(
            verdicts=tuple(verdicts[end - len(each.fixes) : end]),
            missing=missing.get(each.tracker_id, ()) if each.numbers else (),
        )
        for each, end in zip(submissions, ends, strict=True)
    ]


def _admit(
    unit_of_work: UnitOfWork, submissions: Sequence[Submission], stretches: Sequence[Stretch]
) -> Mapping[int, Surroundings]:
    """Lock the vessels, and return what is known around their fixes; TrackerChanged as with ``settle``."""
    signed = {
        (each.tracker_id, each.tracker_version) for each in submissions if each.tracker_version is not None
    }
    vessel_ids = [vessel_id for vessel_id, _ in stretches]
    first = [admission(vessel_ids, (tracker_id for tracker_id, _ in signed))]
    if stretches:
        first.append(look(stretches))
    admitted, *seen = unit_of_work.run_first(first)
    if not signed <= versions_in(admitted).items():
        raise TrackerChanged
    return unit_of_work.positions.around(stretches, seen=seen[0]) if seen else {}


def _settled_by_column(
    unit_of_work: UnitOfWork,
    ranked: columns.Ranked,
    around: Mapping[int, Surroundings],
    thresholds: Thresholds,
) -> list[Verdict]:
    """Store or hold fixes of which some came by the column, and return their verdicts."""
    found = columns.believed(ranked, around, thresholds)
    verdicts = [_STORED[False]] * len(ranked.places)
    for place in found.latest:
        verdicts[ranked.places[place]] = _STORED[True]
    if not found.doubtful:
        unit_of_work.run_last(unit_of_work.positions.addition(ranked.received, late=found.late))
        return verdicts
    left = [each for run in found.doubtful for each in ranked.one_by_one(run)]
    believed = _Addition(ranked.received.at(found.is_stored), found.late[found.is_stored])
    places, fixes = zip(*left, strict=True)
    at = moment(int(ranked.received.received_at[0]))
    judged = _settled_each(unit_of_work, _in_order(fixes), around, thresholds, at=at, beside=believed)
    for place, verdict in zip(places, judged, strict=True):
        verdicts[place] = verdict
    return verdicts


class _Addition(NamedTuple):
    """Fixes that are to be stored, and which of them are late."""

    received: ReceivedColumns
    late: NDArray[np.bool_]

    def with_others(self, received: ReceivedColumns, late: NDArray[np.bool_]) -> "_Addition":
        """Return these together with those of other vessels, in order."""
        joined = ReceivedColumns.joined([self.received, received])
        places = np.argsort(joined.vessel_id, kind="stable")
        return _Addition(joined.at(places), np.concatenate([self.late, late])[places])


class _InOrder(NamedTuple):
    """Fixes in order of vessel and time, and of their content where that is all; and where each came."""

    fixes: list[ReceivedFix]
    places: list[int]


def _settled_each(
    unit_of_work: UnitOfWork,
    ranked: _InOrder,
    around: Mapping[int, Surroundings],
    thresholds: Thresholds,
    *,
    at: datetime | None = None,
    beside: _Addition | None = None,
) -> list[Verdict]:
    """Judge fixes one by one, store or hold them, and return their verdicts as they came.

    Where they are a part of a group, ``at`` is when the first of that came, and ``beside`` what is stored of
    others.
    """
    if not ranked.fixes:
        return []
    judgings = _judged(unit_of_work, ranked.fixes, around, thresholds)
    found = _settled(unit_of_work, judgings, at=at or ranked.fixes[0].received_at, beside=beside)
    by_place = dict(zip(ranked.places, found, strict=True))
    return [by_place[place] for place in range(len(found))]


def _in_order(fixes: Sequence[ReceivedFix]) -> _InOrder:
    keys = [_key(received) for received in fixes]
    if len(set(keys)) == len(keys):
        places = sorted(range(len(keys)), key=keys.__getitem__)
    else:
        places = sorted(range(len(keys)), key=lambda place: (*keys[place], repr(fixes[place].fix.motion)))
    return _InOrder([fixes[place] for place in places], places)


def _key(received: ReceivedFix) -> tuple[int, datetime, int]:
    return received.vessel_id, received.fix.recorded_at, received.tracker_id


def _settled(
    unit_of_work: UnitOfWork, judgings: Sequence["_Judging"], *, at: datetime, beside: _Addition | None
) -> list[Verdict]:
    """Store and hold what was judged, vessel by vessel, and return the verdicts."""
    added: list[ReceivedFix] = []
    late: list[bool] = []
    held: list[tuple[ReceivedFix, str]] = []
    repeats: list[ReceivedFix] = []
    verdicts: list[Verdict] = []
    for judging in judgings:
        for received, key, outcome in judging.outcomes:
            latest = key == judging.newest
            if outcome is _NEW:
                late.append(judging.newest_before is not None and key < judging.newest_before)
                added.append(received)
                verdicts.append(_STORED[latest])
            elif outcome is _KNOWN:
                repeats.append(received)
                verdicts.append(_DUPLICATE[latest])
            else:
                verdicts.append(Verdict(verdict="quarantined", reason=outcome))
        held += judging.held
    if held:
        unit_of_work.quarantine.hold(held)
    for statement in _revision(unit_of_work, judgings, at=at):
        unit_of_work.run_last(statement, now=bool(repeats))
    addition = beside
    if added:
        own = _Addition(ReceivedColumns.of(added), np.array(late))
        addition = own if beside is None else beside.with_others(*own)
    if addition is not None and len(addition.late):
        statement = unit_of_work.positions.addition(addition.received, late=addition.late)
        unit_of_work.run_last(statement, now=bool(repeats))
    if repeats:
        differs = iter(unit_of_work.positions.differ(repeats))
        verdicts = [
            replace(verdict, differs=next(differs)) if verdict.verdict == "duplicate" else verdict
            for verdict in verdicts
        ]
    return verdicts


def _revision(
    unit_of_work: UnitOfWork, judgings: Iterable["_Judging"], *, at: datetime
) -> Iterator[Statement]:
    """Yield what changes the decisions on fixes that were stored or held before."""
    outvoted, released = (
        [NamedFix(each.vessel_id, *key) for each in judgings for key in sorted(getattr(each, what))]
        for what in ("outvoted", "released")
    )
    if outvoted:
        yield from unit_of_work.revisions.taking_back(outvoted, OUTVOTED_BY_OTHERS, at=at)
    if released:
        yield unit_of_work.revisions.releasing(released, by=JUDGEMENT, at=at)


def _judged(
    unit_of_work: UnitOfWork,
    ranked: Sequence[ReceivedFix],
    around: Mapping[int, Surroundings],
    thresholds: Thresholds,
) -> list["_Judging"]:
    """Return the judgement of the fixes of each vessel, in order of vessel and time. Nothing is written."""
    own = _kept_otherwise(unit_of_work, ranked, thresholds)
    judgings = [
        _Judging(list(run), around[vessel_id], own.get(vessel_id, thresholds))
        for vessel_id, run in groupby(ranked, key=_vessel)
    ]
    doubtful = [each for each in judgings if not each.go_on()]
    if doubtful:
        # Rarely: only now is it worth asking which jumps are held already, once for all vessels.
        moments = {each.vessel_id: each.moments() for each in doubtful}
        jumps = unit_of_work.quarantine.near(moments, most=NEAREST)
        for each in doubtful:
            each.go_on(jumps.get(each.vessel_id, []))
        _revise([each for each in doubtful if each.confirmed], unit_of_work, thresholds)
    return judgings


def _kept_otherwise(
    unit_of_work: UnitOfWork, fixes: Iterable[ReceivedFix], thresholds: Thresholds
) -> Mapping[int, Thresholds]:
    """Return what fixes of vessels are judged by of which it is said that theirs are kept for longer.

    Only of those that have one that is older than others' are kept: that is asked rarely. Where theirs are
    kept for less all is as with others, whatever a fix comes together with: it goes with the next
    maintenance.
    """
    usual = thresholds.retention
    if usual is None:
        return {}
    old = {each.vessel_id for each in fixes if each.received_at - each.fix.recorded_at > usual}
    if not old:
        return {}
    return {
        vessel_id: thresholds.keeping(keeping.age)
        for vessel_id, keeping in unit_of_work.keeping.of(old).items()
        if keeping.age is None or keeping.age > usual
    }


def _revise(judgings: Sequence["_Judging"], unit_of_work: UnitOfWork, thresholds: Thresholds) -> None:
    """Decide anew on what lies about the jumps that were confirmed, once for all vessels."""
    jumps = [NamedFix(each.vessel_id, *jump.key) for each in judgings for jump, _ in each.confirmed]
    if jumps:
        found = iter(unit_of_work.revisions.about(jumps, stored=thresholds.confirmations + 1))
        for each in judgings:
            each.revise([next(found) for _ in each.confirmed])


class _Judging:
    """The judgement of one vessel's fixes, which come in order of time and tracker.

    What was believed and held so far counts for the fixes that follow. ``confirmed`` are the jumps that were
    believed, each with the stored ones that it contradicts; ``revise`` finds by them what is ``outvoted`` of
    what was stored before the run, and what is ``released`` of what was held.
    """

    def __init__(self, run: Sequence[ReceivedFix], around: Surroundings, thresholds: Thresholds) -> None:
        self.vessel_id = run[0].vessel_id
        self.newest = self.newest_before = around.newest
        self.outcomes: list[tuple[ReceivedFix, FixKey, str]] = []
        self.held: list[tuple[ReceivedFix, str]] = []
        self.confirmed: list[tuple[Neighbour, Sequence[Neighbour]]] = []
        self.outvoted: set[FixKey] = set()
        self.released: set[FixKey] = set()
        self._run = run
        self._held_before = around.held
        self._thresholds = thresholds
        if around.max_speed_kn is not None:
            self._thresholds = replace(thresholds, max_speed_kn=around.max_speed_kn)
        self._ahead = deque(around.stored)
        # The last one that was stored or believed.
        self._before: Neighbour | None = None
        # Those of the run, in order.
        self._believed: list[Neighbour] = []
        # Those that are held before the run and those of it, in order; None until they are known.
        self._jumps: list[Neighbour] | None = None

    def go_on(self, jumps: list[Neighbour] | None = None) -> bool:
        """Judge the fixes that are left, each into ``outcomes``; tell whether none is left.

        Where ``jumps`` are not known this ends before the first fix that is one. They are those that are
        held near the ``moments`` that were left then, and are added to.
        """
        self._jumps = jumps
        last, told = self.outcomes[-1][1:] if self.outcomes else (None, "")
        for received in islice(self._run, len(self.outcomes), None):
            key = received.key
            # Of several with one key the first was judged.
            outcome = _AGAIN.get(told, told) if key == last else self._outcome(received, key)
            if outcome is None:
                return False
            self.outcomes.append((received, key, outcome))
            last, told = key, outcome
        return True

    def moments(self) -> list[tuple[datetime | None, datetime, datetime | None]]:
        """Return the moments of the fixes that are left, each between what comes before and after it.

        Only jumps that are held between two stored fixes count for those between them. Each stretch between
        two that are left is asked about once, from its ends: so the nearest jumps around each are found, and
        those that are nearest to many are not found many times.
        """
        left = {received.fix.recorded_at for received in islice(self._run, len(self.outcomes), None)}
        bounds = {each.recorded_at for each in self._ahead}
        if self._before is not None:
            bounds.add(self._before.recorded_at)
        points = [None, *sorted(left | bounds), None]
        return [
            (since, at, until)
            for since, at, until in zip(points, points[1:], points[2:], strict=False)
            if at in left
        ]

    def _outcome(self, received: ReceivedFix, key: FixKey) -> str | None:
        """Return _NEW for a fix to store, _KNOWN for one that is stored, or the reason to hold it.

        None for a jump where it is not known which others are held; it can be asked again.
        """
        ahead = self._ahead
        while ahead and ahead[0].key < key:
            self._before = _later(self._before, ahead.popleft())
        if ahead and ahead[0].key == key:
            # One that was held and released is stored.
            return _KNOWN
        if key in self._held_before:
            return self._held_before[key]
        here = Neighbour.of(received.fix, received.tracker_id)
        before, after = self._before, ahead[0] if ahead else None
        reason = judge(
            here, now=received.received_at, thresholds=self._thresholds, before=before, after=after
        )
        if reason == IMPOSSIBLE_JUMP:
            if self._jumps is None:
                return None
            if is_confirmed(here, before, after, self._jumps, self._thresholds):
                reason = None
                against = [
                    each
                    for each in (before, after)
                    if each is not None and contradict(here, each, self._thresholds)
                ]
                self.confirmed.append((here, against))
            else:
                insort(self._jumps, here, key=_named)
        if reason is not None:
            self.held.append((received, reason))
            return reason
        self._believed.append(here)
        self._before = here
        if self.newest is None or key > self.newest:
            self.newest = key
        return _NEW

    def revise(self, vicinities: Sequence[Vicinity]) -> None:
        """Decide anew on what lies about each confirmed jump, of which the vicinities tell what there was."""
        wrong: set[FixKey] = set()
        right: dict[FixKey, Neighbour] = {}
        seen: set[FixKey] = set()
        for (jump, against), about in zip(self.confirmed, vicinities, strict=True):
            known = {each.key: each for each in (*about.stored, *self._believed)} | right
            for nearest in against:
                stored = [known[key] for key in sorted(known.keys() - wrong)]
                for each in self._outvoted(jump, nearest, stored):
                    if each.key not in about.kept:
                        # One that was only just released stays held.
                        wrong |= set() if right.pop(each.key, None) else {each.key}
                        del known[each.key]
            stored = [each for each in known.values() if each.key not in wrong]
            jumps = {each.key: each for each in (*about.held, *(self._jumps or ()))}
            held = [jumps[key] for key in sorted(jumps.keys() - right.keys()) if about.spans(key)]
            place = bisect_left(held, jump.key, key=_named)
            nearby = held[max(0, place - NEAREST) : place + NEAREST]
            for each in believed_anew(jump.recorded_at, nearby, stored, self._thresholds):
                right[each.key] = each
            seen |= known.keys() | right.keys()
        self._tell(wrong, right.keys())
        remaining = (seen | ({self.newest} if self.newest else set())) - wrong
        self.newest = max(remaining, default=None)

    def _outvoted(self, jump: Neighbour, nearest: Neighbour, stored: Sequence[Neighbour]) -> list[Neighbour]:
        """Return which of the stored fixes were wrong from the nearest one outwards."""
        if nearest.key < jump.key:
            beside = [each for each in reversed(stored) if each.key <= nearest.key]
        else:
            beside = [each for each in stored if each.key >= nearest.key]
        return outvoted(jump, beside, self._thresholds)

    def _tell(self, wrong: AbstractSet[FixKey], right: AbstractSet[FixKey]) -> None:
        """Change what became of the fixes that were decided on anew."""
        added = {key for _, key, outcome in self.outcomes if outcome is _NEW}
        jumped = {received.key for received, _ in self.held}
        self.outvoted, self.released = set(wrong - added), set(right - jumped)
        self.held = [each for each in self.held if each[0].key not in right]
        stored = set(self.released)
        for place, (received, key, outcome) in enumerate(self.outcomes):
            if key in wrong:
                if outcome is _NEW:
                    self.held.append((received, OUTVOTED))
                self.outcomes[place] = received, key, OUTVOTED
            elif key in right:
                # One that was held before is stored by now: it has come again, as has any after the first.
                self.outcomes[place] = received, key, _KNOWN if key in stored else _NEW
                stored.add(key)


def _later(one: Neighbour | None, other: Neighbour) -> Neighbour:
    return other if one is None or one.key < other.key else one
