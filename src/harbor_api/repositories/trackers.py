"""Trackers: the devices that sign fixes."""

from sqlalchemy import Connection, Row, bindparam, insert, select

from harbor_api.entities import Tracker
from harbor_api.tables import trackers

_FIND = select(trackers).where(trackers.c.id == bindparam("number"))
_OF_VESSEL = select(trackers).where(trackers.c.vessel_id == bindparam("vessel_id")).order_by(trackers.c.id)
_ALL = select(trackers).order_by(trackers.c.id)
_ADD = insert(trackers).returning(trackers)


class Trackers:
    """The trackers of the operator. Their secrets are derived, never stored."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, number: int) -> Tracker | None:
        """Return a tracker by its number, disabled ones included."""
        row = self._connection.execute(_FIND, {"number": number}).one_or_none()
        return _tracker(row) if row else None

    def search(self, *, vessel_id: int | None = None) -> list[Tracker]:
        """Return all trackers, or those of one vessel, in order of their numbers."""
        rows = (
            self._connection.execute(_ALL)
            if vessel_id is None
            else self._connection.execute(_OF_VESSEL, {"vessel_id": vessel_id})
        )
        return [_tracker(row) for row in rows]

    def add(self, *, vessel_id: int, label: str, test: bool = False) -> Tracker:
        """Register a tracker for a vessel that exists; its key starts at generation 1."""
        row = self._connection.execute(_ADD, {"vessel_id": vessel_id, "label": label, "test": test}).one()
        return _tracker(row)


def _tracker(row: Row[tuple[object, ...]]) -> Tracker:
    return Tracker(
        number=row.id,
        vessel_id=row.vessel_id,
        label=row.label,
        generation=row.generation,
        previous_valid_until=row.previous_valid_until,
        test=row.test,
        disabled_at=row.disabled_at,
    )
