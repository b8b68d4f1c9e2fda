"""Vessels and the fleet: vessels with their latest positions."""

from collections.abc import Iterable

from sqlalchemy import Connection, Row, bindparam, func, insert, select
from sqlalchemy.exc import IntegrityError

from harbor_api.entities import LatestPosition, Motion, Vessel, VesselDetails, VesselOnMap
from harbor_api.errors import Conflict, NotFound
from harbor_api.tables import FLEET_ORDER_LOCK, fleet_order, latest_positions, vessels

_DETAILS = (
    "name",
    "imo",
    "mmsi",
    "call_sign",
    "flag",
    "kind",
    "length_m",
    "beam_m",
    "draught_m",
)
_MOTION = ("lat", "lon", "sog", "cog", "heading", "nav_status", "accuracy_m", "battery_v")

# Statements are built once: building one anew costs more than running it.
_FLEET = (
    select(
        vessels,
        latest_positions.c.recorded_at,
        latest_positions.c.received_at,
        *(latest_positions.c[name] for name in _MOTION),
    )
    .outerjoin(latest_positions, latest_positions.c.vessel_id == vessels.c.id)
    .where(vessels.c.retired_at.is_(None))
    .order_by(vessels.c.id)
)
_ONE_ON_MAP = _FLEET.where(vessels.c.id == bindparam("vessel_id"))
_BY_NUMBERS = (
    select(vessels)
    .where(
        vessels.c.retired_at.is_(None),
        (vessels.c.imo == bindparam("imo")) | (vessels.c.mmsi == bindparam("mmsi")),
    )
    .order_by(vessels.c.id)
)
_ALL = select(vessels).order_by(vessels.c.id)
_ADD = insert(vessels).values(seq=fleet_order.next_value()).returning(vessels)
_TAKE_ORDER = select(func.pg_advisory_xact_lock(FLEET_ORDER_LOCK))


class Vessels:
    """The vessels of the operator. Retired ones stay stored but are not on the map."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def fleet(self) -> list[VesselOnMap]:
        """Return every vessel that is not retired with its latest position, in order of id."""
        return [_on_map(row) for row in self._connection.execute(_FLEET)]

    def on_map(self, vessel_id: int) -> VesselOnMap:
        """Return one vessel that is not retired with its latest position; NotFound otherwise."""
        row = self._connection.execute(_ONE_ON_MAP, {"vessel_id": vessel_id}).one_or_none()
        if row is None:
            raise NotFound(f"There is no vessel {vessel_id}")
        return _on_map(row)

    def find(self, *, imo: str | None, mmsi: str | None) -> Vessel | None:
        """Return the vessel in service that carries the IMO number or else the MMSI, if there is one."""
        rows = self._connection.execute(_BY_NUMBERS, {"imo": imo, "mmsi": mmsi}).all()
        return _vessel(min(rows, key=lambda row: row.imo != imo)) if rows else None

    def search(self) -> Iterable[Vessel]:
        """Return all vessels, retired ones included, in order of id."""
        return [_vessel(row) for row in self._connection.execute(_ALL)]

    def add(self, details: VesselDetails) -> Vessel:
        """Register a vessel; Conflict where its IMO number or MMSI is on a vessel in service."""
        self._connection.execute(_TAKE_ORDER)
        try:
            row = self._connection.execute(_ADD, {name: getattr(details, name) for name in _DETAILS}).one()
        except IntegrityError as error:
            constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
            number = {"vessels_imo_key": "IMO number", "vessels_mmsi_key": "MMSI"}.get(constraint or "")
            if number is None:
                raise
            raise Conflict(f"The {number} is already on another vessel in service") from error
        return _vessel(row)


def _vessel(row: Row[tuple[object, ...]]) -> Vessel:
    return Vessel(
        id=row.id,
        details=VesselDetails(**{name: getattr(row, name) for name in _DETAILS}),
        version=row.version,
        retired_at=row.retired_at,
    )


def _on_map(row: Row[tuple[object, ...]]) -> VesselOnMap:
    latest = None
    if row.recorded_at is not None:
        latest = LatestPosition(
            recorded_at=row.recorded_at,
            received_at=row.received_at,
            motion=Motion(**{name: getattr(row, name) for name in _MOTION}),
        )
    return VesselOnMap(vessel=_vessel(row), latest=latest)
