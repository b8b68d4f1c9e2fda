"""Vessels: what may be registered, and how one is shown."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from harbor_api.entities import Vessel, VesselDetails, VesselOnMap
from harbor_api.errors import Fault, ValidationFailed
from harbor_api.services.identifiers import is_imo_number, is_mmsi
from harbor_api.services.positions import is_stale

if TYPE_CHECKING:
    from harbor_api.database import UnitOfWork

_COORDINATE_DECIMALS = 6
_SHOWN_MOTION = ("sog", "cog", "heading", "nav_status", "accuracy_m")


def register(unit_of_work: "UnitOfWork", details: VesselDetails) -> Vessel:
    """Register a vessel.

    ValidationFailed where a number is not one, Conflict where it is on another vessel in service.
    """
    faults = []
    if not details.name.strip():
        faults.append(Fault("Must not be empty.", pointer="#/name"))
    if details.imo is not None and not is_imo_number(details.imo):
        faults.append(Fault("Not an IMO number: 7 digits, the last a check digit.", pointer="#/imo"))
    if details.mmsi is not None and not is_mmsi(details.mmsi):
        faults.append(Fault("Not an MMSI: 9 digits.", pointer="#/mmsi"))
    if faults:
        raise ValidationFailed("The vessel cannot be registered like this", faults=faults)
    return unit_of_work.vessels.add(details)


def ensure(unit_of_work: "UnitOfWork", details: VesselDetails) -> Vessel:
    """Return the vessel in service with this MMSI, registering it where there is none.

    AIS repeats whatever IMO number a crew typed in: one that another vessel has already is left out.
    """
    found = unit_of_work.vessels.find(imo=None, mmsi=details.mmsi)
    if found is not None:
        return found
    if details.imo is not None and unit_of_work.vessels.find(imo=details.imo, mmsi=None):
        details = replace(details, imo=None)
    return register(unit_of_work, details)


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
