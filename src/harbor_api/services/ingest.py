"""What becomes of fixes that trackers send: each is stored once, or held back with a reason."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from harbor_api.entities import Arrival, Delivery, Neighbour, Receipt, Surroundings, Verdict
from harbor_api.services.judgement import IMPOSSIBLE_JUMP, Thresholds, judge

if TYPE_CHECKING:
    from harbor_api.database import UnitOfWork

Key = tuple[int, Any, int]
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, tzinfo=UTC)


def settle(
    unit_of_work: "UnitOfWork", deliveries: Sequence[Delivery], *, thresholds: Thresholds
) -> list[Receipt]:
    """Store or hold all fixes of some deliveries, and return what became of each, in order.

    The order of the fixes and repeats among them do not matter to the outcome: they are judged in order
    of time, and of two that differ only in content the same one is always the first. Durable once the
    unit of work is committed; until then nobody else stores fixes of the same vessels.
    """
    arrivals = [arrival for delivery in deliveries for arrival in delivery.arrivals]
    places = _in_order(arrivals)
    verdicts: list[Verdict | None] = [None] * len(arrivals)
    if arrivals:
        ranked = [arrivals[place] for place in places]
        for place, verdict in zip(places, _settled(unit_of_work, ranked, thresholds), strict=True):
            verdicts[place] = verdict
    numbers = [(each.tracker_id, number) for each in deliveries for number in each.numbers]
    missing = unit_of_work.arrived_numbers.note(numbers) if numbers else {}
    following = iter(verdicts)
    return [
        Receipt(
            verdicts=tuple(verdict for _, verdict in zip(each.arrivals, following, strict=False) if verdict),
            missing=missing.get(each.tracker_id, ()) if each.numbers else (),
        )
        for each in deliveries
    ]


def _in_order(arrivals: Sequence[Arrival]) -> list[int]:
    """Return the places of fixes in order of vessel and time, and of their content where that is all."""
    keys = [_key(arrival) for arrival in arrivals]
    if len(set(keys)) == len(keys):
        return sorted(range(len(keys)), key=keys.__getitem__)
    return sorted(range(len(keys)), key=lambda place: (*keys[place], repr(arrivals[place].fix.motion)))


def _key(arrival: Arrival) -> Key:
    return arrival.vessel_id, arrival.fix.recorded_at, arrival.tracker_id


def _settled(unit_of_work: "UnitOfWork", ranked: Sequence[Arrival], thresholds: Thresholds) -> list[Verdict]:
    """Return the verdicts of fixes that are in order of vessel and time."""
    unit_of_work.positions.lock_vessels(arrival.vessel_id for arrival in ranked)
    judging = _Judging(unit_of_work, thresholds)
    surroundings = unit_of_work.positions.around(ranked)
    reasons = [judging.reason(*each) for each in zip(ranked, surroundings, strict=True)]
    believed = [arrival for arrival, reason in zip(ranked, reasons, strict=True) if reason is None]
    held: dict[Key, tuple[Arrival, str]] = {}
    for arrival, reason in zip(ranked, reasons, strict=True):
        if reason is not None:
            # Of several with one key the first was judged.
            held.setdefault(_key(arrival), (arrival, reason))
    if held:
        unit_of_work.quarantine.hold(held.values())
    recorded = iter(unit_of_work.positions.record(believed) if believed else ())
    return [
        next(recorded) if reason is None else Verdict(verdict="quarantined", reason=reason)
        for reason in reasons
    ]


class _Judging:
    """The judgement of one group: what it has believed and held so far counts for the fixes that follow."""

    def __init__(self, unit_of_work: "UnitOfWork", thresholds: Thresholds) -> None:
        self._unit_of_work = unit_of_work
        self._thresholds = thresholds
        self._known: dict[Key, str | None] = {}
        # The newest fix of each vessel among those believed, and those held for a jump.
        self._newest: dict[int, Neighbour] = {}
        self._jumped: dict[int, list[Neighbour]] = defaultdict(list)

    def reason(self, arrival: Arrival, around: Surroundings) -> str | None:
        """Return the reason to hold a fix, None for one to store or one that is stored.

        Fixes of one vessel come in order of time.
        """
        key = _key(arrival)
        if key not in self._known:
            here = Neighbour.of(arrival.fix, arrival.tracker_id)
            # One that was held and released is stored.
            reason = None if around.is_stored else around.held_for
            if not around.is_stored and reason is None:
                reason = self._judge(arrival, around)
                if reason == IMPOSSIBLE_JUMP:
                    self._jumped[arrival.vessel_id].append(here)
            if reason is None:
                self._newest[arrival.vessel_id] = here
            self._known[key] = reason
        return self._known[key]

    def _judge(self, arrival: Arrival, around: Surroundings) -> str | None:
        thresholds = self._thresholds
        if around.max_speed_kn is not None:
            thresholds = replace(thresholds, max_speed_kn=around.max_speed_kn)
        before, after = around.before, around.after
        earlier = self._newest.get(arrival.vessel_id)
        if earlier is not None and (before is None or _moment(earlier) > _moment(before)):
            before = earlier
        sides = {"before": [before] if before else [], "after": [after] if after else []}
        reason = judge(arrival.fix, now=arrival.received_at, thresholds=thresholds, **sides)
        if reason != IMPOSSIBLE_JUMP:
            return reason
        # Rarely: only now is it worth asking whether others that are held say the same.
        moment, reach = arrival.fix.recorded_at, thresholds.reach
        held = self._unit_of_work.quarantine.between(
            arrival.vessel_id, _shifted(moment, -reach), _shifted(moment, reach), reason=IMPOSSIBLE_JUMP
        )
        held += self._jumped[arrival.vessel_id]
        return judge(arrival.fix, now=arrival.received_at, thresholds=thresholds, held=held, **sides)


def _moment(one: Neighbour) -> tuple[datetime, int]:
    return one.recorded_at, one.tracker_id


def _shifted(moment: datetime, by: timedelta) -> datetime:
    """Return a moment earlier or later, or the first or the last that there is."""
    try:
        return moment + by
    except OverflowError:
        return _FIRST if by < timedelta(0) else _LAST
