"""What becomes of fixes that trackers send: each is stored once, or held back with a reason."""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from harbor_api.entities import Arrival, Delivery, Key, Neighbour, Receipt, Surroundings, Verdict
from harbor_api.errors import TrackerChanged
from harbor_api.services.judgement import IMPOSSIBLE_JUMP, Thresholds, judge

if TYPE_CHECKING:
    from harbor_api.database import UnitOfWork

# What may become of a fix, beside the reasons to hold it.
_NEW, _KNOWN = "new", "known"
_STORED = {latest: Verdict(verdict="stored", latest=latest) for latest in (False, True)}
_DUPLICATE = {latest: Verdict(verdict="duplicate", latest=latest) for latest in (False, True)}
_vessel = attrgetter("vessel_id")
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, tzinfo=UTC)


def settle(
    unit_of_work: "UnitOfWork", deliveries: Sequence[Delivery], *, thresholds: Thresholds
) -> list[Receipt]:
    """Store or hold all fixes of some deliveries, and return what became of each, in order.

    The order of the fixes and repeats among them do not matter to the outcome: they are judged in order
    of time, and of two that differ only in content the same one is always the first. Durable once the
    unit of work is committed; until then nobody else stores fixes of the same vessels.

    TrackerChanged where a tracker is not any more what its signature was checked against.
    """
    arrivals = [arrival for delivery in deliveries for arrival in delivery.arrivals]
    _admit(unit_of_work, deliveries, arrivals)
    # Before the lock of the order, which is held to the end.
    numbers = [(each.tracker_id, number) for each in deliveries for number in each.numbers]
    missing = unit_of_work.arrived_numbers.note(numbers) if numbers else {}
    places = _in_order(arrivals)
    verdicts: list[Verdict | None] = [None] * len(arrivals)
    if arrivals:
        ranked = [arrivals[place] for place in places]
        for place, verdict in zip(places, _settled(unit_of_work, ranked, thresholds), strict=True):
            verdicts[place] = verdict
    following = iter(verdicts)
    return [
        Receipt(
            verdicts=tuple(verdict for _, verdict in zip(each.arrivals, following, strict=False) if verdict),
            missing=missing.get(each.tracker_id, ()) if each.numbers else (),
        )
        for each in deliveries
    ]


def _admit(unit_of_work: "UnitOfWork", deliveries: Sequence[Delivery], arrivals: Sequence[Arrival]) -> None:
    signed = {
        (each.tracker_id, each.tracker_version) for each in deliveries if each.tracker_version is not None
    }
    versions = unit_of_work.positions.admit(
        (arrival.vessel_id for arrival in arrivals), (tracker_id for tracker_id, _ in signed)
    )
    if not signed <= versions.items():
        raise TrackerChanged


def _in_order(arrivals: Sequence[Arrival]) -> list[int]:
    """Return the places of fixes in order of vessel and time, and of their content where that is all."""
    keys = [_key(arrival) for arrival in arrivals]
    if len(set(keys)) == len(keys):
        return sorted(range(len(keys)), key=keys.__getitem__)
    return sorted(range(len(keys)), key=lambda place: (*keys[place], repr(arrivals[place].fix.motion)))


def _key(arrival: Arrival) -> tuple[int, datetime, int]:
    return arrival.vessel_id, arrival.fix.recorded_at, arrival.tracker_id


def _settled(unit_of_work: "UnitOfWork", ranked: Sequence[Arrival], thresholds: Thresholds) -> list[Verdict]:
    """Return the verdicts of fixes that are in order of vessel and time."""
    around = unit_of_work.positions.around(ranked)
    added: list[Arrival] = []
    held: list[tuple[Arrival, str]] = []
    repeats: list[Arrival] = []
    verdicts: list[Verdict] = []
    for vessel_id, run in groupby(ranked, key=_vessel):
        judging = _Judging(unit_of_work, vessel_id, around[vessel_id], thresholds)
        outcomes = [(arrival, arrival.key, judging.outcome(arrival)) for arrival in run]
        for arrival, key, outcome in outcomes:
            latest = key == judging.newest
            if outcome is _NEW:
                added.append(arrival)
                verdicts.append(_STORED[latest])
            elif outcome is _KNOWN:
                repeats.append(arrival)
                verdicts.append(_DUPLICATE[latest])
            else:
                verdicts.append(Verdict(verdict="quarantined", reason=outcome))
        held += judging.held
    if held:
        unit_of_work.quarantine.hold(held)
    if added:
        unit_of_work.run_last(unit_of_work.positions.addition(added), now=bool(repeats))
    if repeats:
        differs = iter(unit_of_work.positions.differ(repeats))
        verdicts = [
            replace(verdict, differs=next(differs)) if verdict.verdict == "duplicate" else verdict
            for verdict in verdicts
        ]
    return verdicts


class _Judging:
    """The judgement of one vessel's fixes, which come in order of time and tracker.

    What was believed and held so far counts for the fixes that follow.
    """

    def __init__(
        self, unit_of_work: "UnitOfWork", vessel_id: int, around: Surroundings, thresholds: Thresholds
    ) -> None:
        self.newest = around.newest
        self.held: list[tuple[Arrival, str]] = []
        self._unit_of_work = unit_of_work
        self._vessel_id = vessel_id
        self._held_before = around.held
        self._thresholds = thresholds
        if around.max_speed_kn is not None:
            self._thresholds = replace(thresholds, max_speed_kn=around.max_speed_kn)
        self._ahead = deque(around.stored)
        # The last one that was stored or believed, and the last one that was asked about.
        self._before: Neighbour | None = None
        self._last: tuple[Key, str] | None = None
        self._jumped: list[Neighbour] = []

    def outcome(self, arrival: Arrival) -> str:
        """Return _NEW for a fix to store, _KNOWN for one that is stored, or the reason to hold it."""
        key = arrival.key
        if self._last is not None and self._last[0] == key:
            # Of several with one key the first was judged.
            outcome = self._last[1]
            return _KNOWN if outcome is _NEW else outcome
        outcome = self._outcome(arrival, key)
        self._last = key, outcome
        return outcome

    def _outcome(self, arrival: Arrival, key: Key) -> str:
        ahead = self._ahead
        while ahead and ahead[0].key < key:
            self._before = _later(self._before, ahead.popleft())
        if ahead and ahead[0].key == key:
            # One that was held and released is stored.
            return _KNOWN
        if key in self._held_before:
            return self._held_before[key]
        here = Neighbour.of(arrival.fix, arrival.tracker_id)
        after = ahead[0] if ahead else None
        reason = judge(
            here, now=arrival.received_at, thresholds=self._thresholds, before=self._before, after=after
        )
        if reason == IMPOSSIBLE_JUMP:
            # Rarely: only now is it worth asking whether others that are held say the same.
            reason = judge(
                here,
                now=arrival.received_at,
                thresholds=self._thresholds,
                before=self._before,
                after=after,
                held=[*self._held_around(here), *self._jumped],
            )
            if reason is not None:
                self._jumped.append(here)
        if reason is not None:
            self.held.append((arrival, reason))
            return reason
        self._before = here
        if self.newest is None or key > self.newest:
            self.newest = key
        return _NEW

    def _held_around(self, here: Neighbour) -> list[Neighbour]:
        reach = self._thresholds.reach
        since, until = _shifted(here.recorded_at, -reach), _shifted(here.recorded_at, reach)
        return self._unit_of_work.quarantine.between(self._vessel_id, since, until, reason=IMPOSSIBLE_JUMP)


def _later(one: Neighbour | None, other: Neighbour) -> Neighbour:
    return other if one is None or one.key < other.key else one


def _shifted(moment: datetime, by: timedelta) -> datetime:
    """Return a moment earlier or later, or the first or the last that there is."""
    try:
        return moment + by
    except OverflowError:
        return _FIRST if by < timedelta(0) else _LAST
