"""How rows become entities where two repositories read the same."""

from typing import Any

from sqlalchemy import Row

from harbor_api.entities import Vessel, VesselDetails

DETAILS = ("name", "imo", "mmsi", "call_sign", "flag", "kind", "length_m", "beam_m", "draught_m")
MOTION = ("lat", "lon", "sog", "cog", "heading", "nav_status", "accuracy_m", "battery_v")


def vessel_of(row: Row[Any]) -> Vessel:
    """Return the vessel in a row that holds all columns of ``vessels``."""
    return Vessel(
        id=row.id,
        details=VesselDetails(**{name: getattr(row, name) for name in DETAILS}),
        version=row.version,
        retired_at=row.retired_at,
    )
