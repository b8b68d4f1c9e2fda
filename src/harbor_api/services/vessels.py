"""Vessels: what may be registered, and how one is shown."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from harbor_api.domain.entities import Actor, Vessel, VesselDetails, VesselOnMap
from harbor_api.domain.errors import Fault, ValidationFailed
from harbor_api.domain.identifiers import is_imo_number, is_mmsi, is_name
from harbor_api.services import audit
from harbor_api.services.positions import is_stale
from harbor_api.services.versions import demand

if TYPE_CHECKING:
    from harbor_api.database import UnitOfWork

_COORDINATE_DECIMALS = 6
_SHOWN_MOTION = ("sog", "cog", "heading", "nav_status", "accuracy_m")


def register(unit_of_work: "UnitOfWork", details: VesselDetails, *, actor: Actor) -> Vessel:
    """Register a vessel.

    ValidationFailed where a number is not one, Conflict where it is on another vessel in service.
    """
    _check(details)
    vessel = unit_of_work.vessels.add(details)
    audit.note(unit_of_work, actor, "vessel.created", _subject(vessel), after=_state(vessel))
    return vessel


def ensure(unit_of_work: "UnitOfWork", details: VesselDetails, *, actor: Actor) -> Vessel:
    """Return the vessel in service with this MMSI, registering it where there is none.

    AIS repeats whatever IMO number a crew typed in: one that another vessel has already is left out.
    """
    found = unit_of_work.vessels.find(imo=None, mmsi=details.mmsi)
    if found is not None:
        return found
    if details.imo is not None and unit_of_work.vessels.find(imo=details.imo, mmsi=None):
        details = replace(details, imo=None)
    return register(unit_of_work, details, actor=actor)


def change(
    unit_of_work: "UnitOfWork",
    vessel_id: int,
    members: Mapping[str, Any],
    *,
    versions: Collection[int] | None,
    actor: Actor,
) -> Vessel:
    """Change members of a vessel's details.

    PreconditionFailed unless its version is one of ``versions`` (None: whatever it is); NotFound,
    ValidationFailed and Conflict as with ``register``.
    """
    before = unit_of_work.vessels.lock(vessel_id)
    demand(before.version, versions)
    details = replace(before.details, **members)
    _check(details)
    if details == before.details:
        return before
    after = unit_of_work.vessels.replace(vessel_id, details)
    audit.note(
        unit_of_work, actor, "vessel.changed", _subject(after), before=_state(before), after=_state(after)
    )
    return after


def retire(unit_of_work: "UnitOfWork", vessel_id: int, *, actor: Actor) -> Vessel:
    """Take a vessel off the map; its history stays. One that is retired stays as it is."""
    before = unit_of_work.vessels.lock(vessel_id)
    if before.retired_at is not None:
        return before
    after = unit_of_work.vessels.retire(vessel_id)
    audit.note(
        unit_of_work, actor, "vessel.retired", _subject(after), before=_state(before), after=_state(after)
    )
    return after


def restore(unit_of_work: "UnitOfWork", vessel_id: int, *, actor: Actor) -> Vessel:
    """Put a retired vessel on the map again; Conflict where one of its numbers is taken by now."""
    before = unit_of_work.vessels.lock(vessel_id)
    if before.retired_at is None:
        return before
    after = unit_of_work.vessels.restore(vessel_id)
    audit.note(
        unit_of_work, actor, "vessel.restored", _subject(after), before=_state(before), after=_state(after)
    )
    return after


def _check(details: VesselDetails) -> None:
    faults = []
    if not is_name(details.name):
        faults.append(Fault("Must not be empty, nor hold control characters.", pointer="#/name"))
    if details.imo is not None and not is_imo_number(details.imo):
        faults.append(Fault("Not an IMO number: 7 digits, the last a check digit.", pointer="#/imo"))
    if details.mmsi is not None and not is_mmsi(details.mmsi):
        faults.append(Fault("Not an MMSI: 9 digits.", pointer="#/mmsi"))
    if faults:
        raise ValidationFailed("The vessel cannot be registered like this", faults=faults)


def _subject(vessel: Vessel) -> str:
    return f"vessels/{vessel.id}"


def _state(vessel: Vessel) -> dict[str, Any]:
    return {**asdict(vessel.details), "retired_at": vessel.retired_at}


def as_feature(shown: VesselOnMap, *, now: datetime, stale_after: timedelta) -> dict[str, Any]:
    """Return a vessel as a GeoJSON Feature (RFC 7946): [longitude, latitude], 6 decimals."""
    latest = shown.latest
    recorded_at = latest.recorded_at if latest else None
    return {
        "type": "Feature",
        "id": shown.vessel.id,
        "geometry": None
        if latest is None
        else {
            "type": "Point",
            "coordinates": [
                round(latest.motion.lon, _COORDINATE_DECIMALS),
                round(latest.motion.lat, _COORDINATE_DECIMALS),
            ],
        },
        "properties": {
            **asdict(shown.vessel.details),
            "recorded_at": recorded_at,
            "received_at": latest and latest.received_at,
            "retired_at": shown.vessel.retired_at,
            "stale": is_stale(recorded_at, now=now, stale_after=stale_after),
            **{name: latest and getattr(latest.motion, name) for name in _SHOWN_MOTION},
        },
    }


def as_collection(fleet: Iterable[VesselOnMap], *, now: datetime, stale_after: timedelta) -> dict[str, Any]:
    """Return vessels as a GeoJSON FeatureCollection, in the order given."""
    return {
        "type": "FeatureCollection",
        "features": [as_feature(each, now=now, stale_after=stale_after) for each in fleet],
    }
