"""What an operator does with a tracker."""

from collections.abc import Container, Mapping
from datetime import datetime, timedelta
from typing import Any

from harbor_api.database import UnitOfWork
from harbor_api.domain import values
from harbor_api.domain.audit import Actor
from harbor_api.domain.changes import Edit, demand, demand_rotatable
from harbor_api.domain.errors import (
    Conflict,
    NotFound,
)
from harbor_api.domain.times import rfc3339
from harbor_api.domain.trackers import RULES, Tracker
from harbor_api.domain.vessels import Vessel
from harbor_api.services import audit
from harbor_api.services.audit import Trail

# Nothing undoes an assignment but the next one, which must be later.
_FURTHEST_AHEAD = timedelta(days=30)
_REFUSED = "The tracker's details are not valid"


def ensure(unit_of_work: UnitOfWork, vessel: Vessel, *, label: str, actor: Actor) -> Tracker:
    """Return the vessel's tracker with this label, registering it where there is none."""
    for tracker in unit_of_work.trackers.of_vessel(vessel.id):
        if tracker.label == label and tracker.vessel_id == vessel.id:
            return tracker
    return register(unit_of_work, vessel_id=vessel.id, label=label, actor=actor)


def register(
    unit_of_work: UnitOfWork, *, vessel_id: int, label: str, test: bool = False, actor: Actor
) -> Tracker:
    """Register a tracker for a vessel in service.

    ValidationFailed where its label breaks the rule, Conflict where there is no vessel with this id.
    """
    values.demand(RULES, {"label": label}, told=_REFUSED)
    _demand_in_service(unit_of_work, vessel_id)
    tracker = unit_of_work.trackers.add(vessel_id=vessel_id, label=label, test=test)
    _trail.note(unit_of_work, actor, "created", tracker)
    return tracker


def reassign(
    unit_of_work: UnitOfWork,
    number: int,
    *,
    vessel_id: int,
    starts_at: datetime,
    now: datetime,
    versions: Container[int] | None,
    actor: Actor,
) -> Tracker:
    """Let a tracker's fixes belong to another vessel from a moment on.

    What is stored stays where it is, and older fixes that are still to come go to the vessel that they
    were taken on. Conflict where a fix of that moment or later is stored already, where another
    assignment starts then or later, or where the vessel has too many fixes since then to tell;
    PreconditionFailed and NotFound as with all changes.
    """
    before = unit_of_work.trackers.lock(number)
    demand(before.version, versions)
    _demand_in_service(unit_of_work, vessel_id)
    newest = unit_of_work.trackers.newest_fix(before, since=starts_at)
    if newest is not None:
        raise Conflict(f"A fix of {rfc3339(newest)} is stored already; begin after it")
    if starts_at > now + _FURTHEST_AHEAD:
        raise Conflict(f"A tracker is assigned no more than {_FURTHEST_AHEAD.days} days ahead")
    if starts_at <= before.assignments[-1].starts_at:
        raise Conflict("The tracker is assigned anew at that moment or later already")
    unit_of_work.trackers.assign(number, vessel_id, starts_at=starts_at)
    after = unit_of_work.trackers.change(number, {})
    audit.note(
        unit_of_work,
        actor,
        "tracker.reassigned",
        _subject(after),
        before={"vessel_id": before.vessel_id},
        after={"vessel_id": vessel_id, "starts_at": starts_at},
    )
    return after


def change(
    unit_of_work: UnitOfWork,
    number: int,
    edit: Edit[Tracker],
    *,
    versions: Container[int] | None,
    actor: Actor,
) -> Tracker:
    """Change a tracker's label or whether it is under test; errors as with all changes."""
    values.demand(RULES, edit.members, told=_REFUSED)
    before = unit_of_work.trackers.lock(number)
    demand(before.version, versions)
    if all(getattr(before, name) == value for name, value in edit.members.items()):
        return before
    return _changed(unit_of_work, before, "changed", edit.members, actor=actor)


def disable(unit_of_work: UnitOfWork, number: int, *, now: datetime, actor: Actor) -> Tracker:
    """Refuse what a tracker signs from now on; one that is disabled stays as it is."""
    before = unit_of_work.trackers.lock(number)
    if before.disabled_at is not None:
        return before
    return _changed(unit_of_work, before, "disabled", {"disabled_at": now}, actor=actor)


def enable(unit_of_work: UnitOfWork, number: int, *, actor: Actor) -> Tracker:
    """Let a tracker post again."""
    before = unit_of_work.trackers.lock(number)
    if before.disabled_at is None:
        return before
    return _changed(unit_of_work, before, "enabled", {"disabled_at": None}, actor=actor)


def rotate(
    unit_of_work: UnitOfWork, number: int, *, grace: timedelta, now: datetime, actor: Actor
) -> Tracker:
    """Give a tracker its next secret; the one it has holds for the grace time.

    Conflict while the grace time of an earlier rotation lasts: a second one would end the secret that
    the tracker still signs with. Without any grace all earlier secrets end at once, which is for a
    secret that got into wrong hands.
    """
    before = unit_of_work.trackers.lock(number)
    demand_rotatable(before.previous_valid_until, grace=grace, now=now)
    members = {"generation": before.generation + 1, "previous_valid_until": now + grace if grace else None}
    return _changed(unit_of_work, before, "rotated", members, actor=actor)


def _changed(
    unit_of_work: UnitOfWork, before: Tracker, what: str, members: Mapping[str, Any], *, actor: Actor
) -> Tracker:
    after = unit_of_work.trackers.change(before.number, members)
    _trail.note(unit_of_work, actor, what, after, before=before)
    return after


def _demand_in_service(unit_of_work: UnitOfWork, vessel_id: int) -> None:
    try:
        vessel = unit_of_work.vessels.lock(vessel_id)
    except NotFound:
        raise Conflict(f"There is no vessel {vessel_id}") from None
    if vessel.retired_at is not None:
        raise Conflict(f"The vessel {vessel_id} is retired")


def _subject(tracker: Tracker) -> str:
    return f"trackers/{tracker.id}"


def _state(tracker: Tracker) -> dict[str, Any]:
    return {
        "vessel_id": tracker.vessel_id,
        **{name: getattr(tracker, name) for name in ("label", "test", "generation")},
        **{name: getattr(tracker, name) for name in ("previous_valid_until", "disabled_at")},
    }


_trail = Trail("tracker", _subject, _state)
