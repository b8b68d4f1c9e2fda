"""How rows become entities and entities rows, where two repositories do the same."""

from typing import Any

from sqlalchemy import Row

from harbor_api.domain.positions import Motion
from harbor_api.domain.vessels import Vessel, VesselDetails

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

_MOTION = ", ".join(MOTION)
MOVED = f"vessel_id, recorded_at, tracker_id, received_at, {_MOTION}, seq"


def move_forward(newest: str) -> str:
    """Return what moves the latest positions of vessels forward, to what a SELECT of ``MOVED`` has of each.

    The WHERE is evaluated against the row as it is once its lock is held: no writer can move a vessel back.
    """
    return f"""
INSERT INTO latest_positions AS latest ({MOVED})
{newest}
ON CONFLICT (vessel_id) DO UPDATE SET
    (recorded_at, tracker_id, received_at, {_MOTION}, seq) =
    (excluded.recorded_at, excluded.tracker_id, excluded.received_at,
        {", ".join(f"excluded.{name}" for name in MOTION)}, excluded.seq)
WHERE (excluded.recorded_at, excluded.tracker_id) > (latest.recorded_at, latest.tracker_id)
"""


def vessel_of(row: Row[Any]) -> Vessel:
    """Return the vessel in a row that holds all columns of ``vessels``."""
    return Vessel(
        id=row.id,
        details=VesselDetails(**{name: getattr(row, name) for name in DETAILS}),
        version=row.version,
        retired_at=row.retired_at,
    )


def measures_of(motion: Motion) -> dict[str, Any]:
    """Return the columns of a motion that are not null."""
    # Written out: this is done for every fix, and a loop over the names takes twice as long.
    lat, lon, sog, cog, heading, nav_status, accuracy_m, battery_v = motion
    columns = {"lat": lat, "lon": lon}
    if sog is not None:
        columns["sog"] = sog
    if cog is not None:
        columns["cog"] = cog
    if heading is not None:
        columns["heading"] = heading
    if nav_status is not None:
        columns["nav_status"] = nav_status
    if accuracy_m is not None:
        columns["accuracy_m"] = accuracy_m
    if battery_v is not None:
        columns["battery_v"] = battery_v
    return columns
