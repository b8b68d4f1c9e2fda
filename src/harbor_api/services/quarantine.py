"""What an operator decides about fixes: that they are believed after all, never will be, or are no longer.

Each holds the lock of the vessel first, as whoever stores her fixes does, so that a decision of the judgement
and one of an operator never wait for each other.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal

from harbor_api.database import UnitOfWork
from harbor_api.domain.audit import Actor
from harbor_api.domain.errors import Conflict, NotFound
from harbor_api.domain.judgement import JUDGEMENT, WITHDRAWN, Thresholds, believed_anew
from harbor_api.domain.positions import HeldFix, NamedFix
from harbor_api.domain.quarantine import (
    MOST_AT_ONCE,
    MOST_COUNTED,
    RULES,
    Decided,
    Selection,
    Withdrawal,
    demand_past,
)
from harbor_api.domain.trackers import tracker_id
from harbor_api.domain.values import demand
from harbor_api.repositories.revisions import Decision
from harbor_api.services import audit
from harbor_api.services.audit import Trail


def release(
    unit_of_work: UnitOfWork, held_id: int, *, now: datetime, tolerance: timedelta, actor: Actor
) -> HeldFix:
    """Let a fix enter history in its place, and become the latest only if it is the newest.

    One that is released stays as it is, one that was withdrawn is stored again; Conflict for one that is
    rejected, StillInTheFuture for one that is from the future by more than the tolerance.
    """
    before = _locked(unit_of_work, held_id)
    if before.state == "released":
        return before
    if before.state == "rejected":
        raise Conflict("The fix is rejected")
    demand_past(before.received.fix.recorded_at, now=now, tolerance=tolerance)
    unit_of_work.run_last(
        unit_of_work.revisions.releasing([_name(before)], by=actor.name, at=now, withdrawn=True)
    )
    return _decided(unit_of_work, actor, "released", before)


def reject(unit_of_work: UnitOfWork, held_id: int, *, now: datetime, actor: Actor) -> HeldFix:
    """Keep a fix off the map for good; it stays in quarantine for as long as that is kept.

    One that is rejected stays as it is; Conflict for one that is or was in the history.
    """
    before = _locked(unit_of_work, held_id)
    if before.state == "rejected":
        return before
    if before.state == "released":
        raise Conflict("The fix is released: withdraw it")
    if before.state == "withdrawn":
        raise Conflict("The fix is withdrawn, so it is off the map")
    unit_of_work.revisions.reject([_name(before)], by=actor.name, at=now)
    return _decided(unit_of_work, actor, "rejected", before)


def withdraw(
    unit_of_work: UnitOfWork,
    withdrawal: Withdrawal,
    *,
    now: datetime,
    thresholds: Thresholds,
    actor: Actor,
) -> HeldFix:
    """Take a stored fix out of history, as if it had never come, and keep it as withdrawn.

    The latest position moves back to the newest that is left. Jumps that were held because of it are judged
    once more. One that is withdrawn stays as it is. NotFound where nothing is stored of that time; Conflict
    where several trackers have a fix of it and none is named, or where it is held or rejected.
    """
    demand(RULES, {"note": withdrawal.note}, told="The withdrawal is not valid")
    unit_of_work.positions.admit([withdrawal.vessel_id], [])
    vessel = unit_of_work.vessels.lock(withdrawal.vessel_id)
    if vessel.details.max_speed_kn is not None:
        thresholds = replace(thresholds, max_speed_kn=vessel.details.max_speed_kn)
    number = _stored(unit_of_work, withdrawal)
    if number is None:
        return _withdrawn_before(unit_of_work, withdrawal)
    name = NamedFix(withdrawal.vessel_id, withdrawal.recorded_at, number)
    [about] = unit_of_work.revisions.about([name], stored=1 + thresholds.confirmations)
    decision = Decision(reason=WITHDRAWN, state="withdrawn", decided_by=actor.name, note=withdrawal.note)
    for statement in unit_of_work.revisions.taking_back([name], decision, at=now):
        unit_of_work.run_last(statement)
    believed = believed_anew(
        name.recorded_at,
        [each for each in about.held if about.spans(each.key)],
        [each for each in about.stored if each.key != name[1:]],
        thresholds,
    )
    if believed:
        names = [NamedFix(vessel.id, *each.key) for each in believed]
        unit_of_work.run_last(unit_of_work.revisions.releasing(names, by=JUDGEMENT, at=now))
    [after] = [
        each
        for each in unit_of_work.quarantine.at(name.vessel_id, name.recorded_at)
        if each.received.tracker_id == number
    ]
    audit.note(
        unit_of_work,
        actor,
        "quarantine.withdrawn",
        _subject(after),
        after={
            **_state(after),
            "vessel_id": vessel.id,
            "recorded_at": name.recorded_at,
            "tracker_id": tracker_id(number),
            "note": after.note,
            "released": len(believed),
        },
    )
    return after


def decide_all(
    unit_of_work: UnitOfWork,
    selection: Selection,
    state: Literal["released", "rejected"],
    *,
    now: datetime,
    tolerance: timedelta,
    actor: Actor,
    is_rehearsal: bool,
) -> Decided:
    """Release or reject the fixes of a selection that nobody has decided on, up to MOST_AT_ONCE of them.

    Those with the earliest times first. Nothing is done in a rehearsal. What may not be released yet is left.
    One entry tells the audit trail how many they were; where there are none, nothing is told.
    ValidationFailed where the selection is not valid.
    """
    selection.demand_some()
    quarantine = unit_of_work.quarantine
    too_early = 0
    if state == "released":
        horizon = now + tolerance + timedelta(microseconds=1)
        since, until = selection.since or horizon, selection.until or horizon
        too_early = quarantine.count(replace(selection, since=max(since, horizon)), most=MOST_COUNTED)
        selection = replace(selection, until=min(until, horizon))
    matched = quarantine.count(selection, most=MOST_COUNTED)
    if is_rehearsal or not matched:
        return Decided(matched=matched, decided=0, left=matched, too_early=too_early)
    vessels = {each.vessel_id for each in quarantine.selected(selection, most=MOST_AT_ONCE)}
    unit_of_work.positions.admit(vessels, [])
    # Only now nobody else decides on them.
    names = [each for each in quarantine.selected(selection, most=MOST_AT_ONCE) if each.vessel_id in vessels]
    if state == "released":
        unit_of_work.run_last(unit_of_work.revisions.releasing(names, by=actor.name, at=now))
    else:
        unit_of_work.revisions.reject(names, by=actor.name, at=now)
    if names:
        _note_all(unit_of_work, actor, selection, state, len(names))
    left = quarantine.count(selection, most=MOST_COUNTED)
    return Decided(matched=matched, decided=len(names), left=left, too_early=too_early)


def _note_all(unit_of_work: UnitOfWork, actor: Actor, selection: Selection, state: str, count: int) -> None:
    number = selection.tracker_id
    audit.note(
        unit_of_work,
        actor,
        f"quarantine.{state}",
        "quarantine/selection",
        after={
            "count": count,
            "reason": selection.reason,
            "vessel_id": selection.vessel_id,
            "tracker_id": None if number is None else tracker_id(number),
            "from": selection.since,
            "to": selection.until,
        },
    )


def _locked(unit_of_work: UnitOfWork, held_id: int) -> HeldFix:
    """Return a held fix on which nobody else decides before this transaction ends."""
    vessel_id = unit_of_work.quarantine.get(held_id).received.vessel_id
    unit_of_work.positions.admit([vessel_id], [])
    return unit_of_work.quarantine.lock(held_id)


def _decided(unit_of_work: UnitOfWork, actor: Actor, what: str, before: HeldFix) -> HeldFix:
    after = unit_of_work.quarantine.get(before.id)
    _trail.note(unit_of_work, actor, what, after, before=before)
    return after


def _stored(unit_of_work: UnitOfWork, withdrawal: Withdrawal) -> int | None:
    """Return the number of the tracker whose stored fix is meant, None where there is no such fix."""
    stored = unit_of_work.positions.trackers_at(withdrawal.vessel_id, withdrawal.recorded_at)
    if withdrawal.tracker_id is not None:
        return withdrawal.tracker_id if withdrawal.tracker_id in stored else None
    if len(stored) > 1:
        several = ", ".join(map(tracker_id, stored))
        raise Conflict(f"Several trackers have a fix of that time, say which one: {several}")
    return stored[0] if stored else None


def _withdrawn_before(unit_of_work: UnitOfWork, withdrawal: Withdrawal) -> HeldFix:
    """Return the fix that is meant where it is withdrawn already, or raise why it cannot be."""
    kept = [
        each
        for each in unit_of_work.quarantine.at(withdrawal.vessel_id, withdrawal.recorded_at)
        if withdrawal.tracker_id in {None, each.received.tracker_id}
    ]
    for each in kept:
        if each.state == "withdrawn":
            return each
    if kept:
        raise Conflict(f"The fix is not in the history: it is {kept[0].state}, as {kept[0].id} in quarantine")
    raise NotFound("The vessel has no stored fix of that time")


def _name(held: HeldFix) -> NamedFix:
    return NamedFix(held.received.vessel_id, *held.received.key)


def _subject(held: HeldFix) -> str:
    return f"quarantine/{held.id}"


def _state(held: HeldFix) -> dict[str, Any]:
    return {"state": held.state, "decided_at": held.decided_at}


_trail = Trail("quarantine", _subject, _state)
