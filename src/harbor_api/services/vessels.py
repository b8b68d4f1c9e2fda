"""What an operator does with a vessel."""

from collections.abc import Container
from dataclasses import asdict, replace
from typing import Any

from harbor_api.database import UnitOfWork
from harbor_api.domain import values
from harbor_api.domain.audit import Actor
from harbor_api.domain.changes import ANY, Edit, demand
from harbor_api.domain.vessels import RULES, Vessel, VesselDetails
from harbor_api.services.audit import Trail


def register(unit_of_work: UnitOfWork, details: VesselDetails, *, actor: Actor) -> Vessel:
    """Register a vessel.

    ValidationFailed where a member breaks its rule, Conflict where a number is on another vessel in service.
    """
    _check(details)
    vessel = unit_of_work.vessels.add(details)
    _trail.note(unit_of_work, actor, "created", vessel)
    return vessel


def ensure(unit_of_work: UnitOfWork, details: VesselDetails, *, actor: Actor) -> Vessel:
    """Return the vessel in service with this MMSI, registering it where there is none.

    What is not known of it yet is filled in; what somebody has entered stays. AIS repeats whatever IMO number
    a crew typed in: one that another vessel has already is left out.
    """
    found = unit_of_work.vessels.find(imo=None, mmsi=details.mmsi)
    if details.imo is not None and (found is None or found.details.imo is None):
        bearer = unit_of_work.vessels.find(imo=details.imo, mmsi=None)
        if bearer is not None:
            details = replace(details, imo=None)
    if found is None:
        return register(unit_of_work, details, actor=actor)
    if not _missing(found.details, details):
        return found
    # What somebody enters between the two is theirs.
    before = unit_of_work.vessels.lock(found.id)
    edit: Edit[VesselDetails] = Edit(_missing(before.details, details))
    return change(unit_of_work, found.id, edit, versions=ANY, actor=actor)


def unnamed(mmsi: str) -> str:
    """Return what a vessel is called that has not told its name."""
    return f"MMSI {mmsi}"


def _missing(known: VesselDetails, told: VesselDetails) -> dict[str, Any]:
    is_unnamed = known.mmsi is not None and known.name == unnamed(known.mmsi)
    return {
        name: value
        for name, value in asdict(told).items()
        if value is not None
        and (getattr(known, name) is None or (name == "name" and is_unnamed and value != known.name))
    }


def change(
    unit_of_work: UnitOfWork,
    vessel_id: int,
    edit: Edit[VesselDetails],
    *,
    versions: Container[int] | None,
    actor: Actor,
) -> Vessel:
    """Change members of a vessel's details.

    PreconditionFailed unless its version is one of ``versions`` (None: whatever it is); NotFound,
    ValidationFailed and Conflict as with ``register``.
    """
    before = unit_of_work.vessels.lock(vessel_id)
    demand(before.version, versions)
    details = edit.of(before.details)
    _check(details)
    if details == before.details:
        return before
    after = unit_of_work.vessels.replace(vessel_id, details)
    _trail.note(unit_of_work, actor, "changed", after, before=before)
    return after


def retire(unit_of_work: UnitOfWork, vessel_id: int, *, actor: Actor) -> Vessel:
    """Take a vessel off the map; its history stays. One that is retired stays as it is."""
    before = unit_of_work.vessels.lock(vessel_id)
    if before.retired_at is not None:
        return before
    after = unit_of_work.vessels.retire(vessel_id)
    _trail.note(unit_of_work, actor, "retired", after, before=before)
    return after


def restore(unit_of_work: UnitOfWork, vessel_id: int, *, actor: Actor) -> Vessel:
    """Put a retired vessel on the map again; Conflict where one of its numbers is taken by now."""
    before = unit_of_work.vessels.lock(vessel_id)
    if before.retired_at is None:
        return before
    after = unit_of_work.vessels.restore(vessel_id)
    _trail.note(unit_of_work, actor, "restored", after, before=before)
    return after


def _check(details: VesselDetails) -> None:
    values.demand(RULES, asdict(details), told="The vessel's details are not valid")


def _subject(vessel: Vessel) -> str:
    return f"vessels/{vessel.id}"


def _state(vessel: Vessel) -> dict[str, Any]:
    return {**asdict(vessel.details), "retired_at": vessel.retired_at}


_trail = Trail("vessel", _subject, _state)
