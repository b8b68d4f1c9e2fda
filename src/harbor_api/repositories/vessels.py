"""The registry of vessels. What partners see of it is ``fleet.py``'s to decide."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from harbor_api.domain.errors import Conflict, NotFound
from harbor_api.domain.vessels import Vessel, VesselDetails
from harbor_api.postgres.rows import DETAILS, vessel_of
from harbor_api.postgres.tables import TAKE_ORDER, fleet_order, vessels

# Statements are built once: building one anew costs more than running it.
_BY_NUMBERS = (
    select(vessels)
    .where(
        vessels.c.retired_at.is_(None),
        (vessels.c.imo == bindparam("imo")) | (vessels.c.mmsi == bindparam("mmsi")),
    )
    .order_by(vessels.c.id)
)
_ALL = select(vessels).order_by(vessels.c.id)
_LOCK = select(vessels).where(vessels.c.id == bindparam("vessel_id")).with_for_update()
_ADD = insert(vessels).values(seq=fleet_order.next_value()).returning(vessels)
# Each change of what the fleet shows takes its number from the order of the fixes.
_change = (
    update(vessels)
    .where(vessels.c.id == bindparam("vessel_id"))
    .values(version=vessels.c.version + 1, seq=fleet_order.next_value())
    .returning(vessels)
)
_REPLACE = _change.values({name: bindparam(f"new_{name}") for name in DETAILS})
_RETIRE = _change.values(retired_at=func.now())
_RESTORE = _change.values(retired_at=None)
_TAKE_ORDER = select(text(TAKE_ORDER))


class Vessels:
    """The vessels of the operator. Retired ones stay stored but are not on the map."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, *, imo: str | None, mmsi: str | None) -> Vessel | None:
        """Return the vessel in service that carries the IMO number or else the MMSI, if there is one."""
        rows = self._connection.execute(_BY_NUMBERS, {"imo": imo, "mmsi": mmsi}).all()
        return vessel_of(min(rows, key=lambda row: row.imo != imo)) if rows else None

    def search(self) -> Iterable[Vessel]:
        """Return all vessels, retired ones included, in order of id."""
        return [vessel_of(row) for row in self._connection.execute(_ALL)]

    def lock(self, vessel_id: int) -> Vessel:
        """Return a vessel that nobody else changes before this transaction ends; NotFound otherwise."""
        row = self._connection.execute(_LOCK, {"vessel_id": vessel_id}).one_or_none()
        if row is None:
            raise NotFound(f"There is no vessel {vessel_id}")
        return vessel_of(row)

    def add(self, details: VesselDetails) -> Vessel:
        """Register a vessel; Conflict where its IMO number or MMSI is on a vessel in service."""
        return self._write(_ADD, {name: getattr(details, name) for name in DETAILS})

    def replace(self, vessel_id: int, details: VesselDetails) -> Vessel:
        """Change what is known of a vessel that is locked; Conflict as with ``add``."""
        values = {f"new_{name}": getattr(details, name) for name in DETAILS}
        return self._write(_REPLACE, {"vessel_id": vessel_id, **values})

    def retire(self, vessel_id: int) -> Vessel:
        """Take a vessel that is locked off the map."""
        return self._write(_RETIRE, {"vessel_id": vessel_id})

    def restore(self, vessel_id: int) -> Vessel:
        """Put a vessel that is locked on the map again; Conflict where its numbers are taken by now."""
        return self._write(_RESTORE, {"vessel_id": vessel_id})

    def _write(self, statement: Any, values: dict[str, Any]) -> Vessel:
        self._connection.execute(_TAKE_ORDER)
        with _conflicts():
            row: Row[Any] = self._connection.execute(statement, values).one()
        return vessel_of(row)


@contextmanager
def _conflicts() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
        number = {"vessels_imo_key": "IMO number", "vessels_mmsi_key": "MMSI"}.get(constraint or "")
        if number is None:
            raise
        raise Conflict(f"The {number} is already on another vessel in service") from error
