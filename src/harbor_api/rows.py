"""How rows become entities and entities rows, where two repositories do the same."""

from typing import Any

from sqlalchemy import Row

from harbor_api.entities import Arrival, Vessel, VesselDetails

DETAILS = (
    "name",
    "imo",
    "mmsi",
    "call_sign",
    "flag",
    "kind",
    "length_m",
    "beam_m",
    "draught_m",
    "max_speed_kn",
)
MOTION = ("lat", "lon", "sog", "cog", "heading", "nav_status", "accuracy_m", "battery_v")


def vessel_of(row: Row[Any]) -> Vessel:
    """Return the vessel in a row that holds all columns of ``vessels``."""
    return Vessel(
        id=row.id,
        details=VesselDetails(**{name: getattr(row, name) for name in DETAILS}),
        version=row.version,
        retired_at=row.retired_at,
    )


def row_of(arrival: Arrival) -> dict[str, Any]:
    """Return a fix as a row of ``positions`` without its number in the order."""
    fix = arrival.fix
    motion = fix.motion
    # Written out: this is done for every fix, and a loop over the names takes twice as long.
    return {
        "vessel_id": arrival.vessel_id,
        "recorded_at": fix.recorded_at,
        "tracker_id": arrival.tracker_id,
        "received_at": arrival.received_at,
        "lat": motion.lat,
        "lon": motion.lon,
        "sog": motion.sog,
        "cog": motion.cog,
        "heading": motion.heading,
        "nav_status": motion.nav_status,
        "accuracy_m": motion.accuracy_m,
        "battery_v": motion.battery_v,
    }
