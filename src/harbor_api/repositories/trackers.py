"""Trackers: the devices that sign fixes, and the vessels that they are assigned to."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Connection, Integer, Row, bindparam, func, insert, select, update
from sqlalchemy.dialects.postgresql import aggregate_order_by

from harbor_api.domain.errors import Conflict, NotFound
from harbor_api.domain.times import rfc3339
from harbor_api.domain.trackers import Assignment, Tracker, tracker_id
from harbor_api.postgres import statements
from harbor_api.postgres.statements import Statement
from harbor_api.postgres.tables import assignments, trackers

# Earlier than any fix: where the first assignment of a tracker starts.
BEGINNING = datetime(1, 1, 1, tzinfo=UTC)

_assigned = (
    select(
        func.array_agg(aggregate_order_by(assignments.c.vessel_id, assignments.c.starts_at)).label(
            "vessel_ids"
        ),
        func.array_agg(aggregate_order_by(assignments.c.starts_at, assignments.c.starts_at)).label("starts"),
    )
    .where(assignments.c.tracker_id == trackers.c.id)
    .lateral("assigned")
)
_trackers = (
    select(trackers, _assigned.c.vessel_ids, _assigned.c.starts)
    .select_from(trackers)
    .join(_assigned, _assigned.c.vessel_ids.is_not(None))
)
_FIND = _trackers.where(trackers.c.id == bindparam("number"))
_FIND_ALL = _trackers.where(trackers.c.id == func.any(bindparam("numbers", type_=ARRAY(Integer))))
_LOCK = select(trackers.c.id).where(trackers.c.id == bindparam("number")).with_for_update()
# As an array, each of whose few is a probe of the key: a join may read all trackers.
_aboard = func.array(
    select(assignments.c.tracker_id)
    .where(assignments.c.vessel_id == bindparam("vessel_id"))
    .scalar_subquery()
)
_OF_VESSEL = _trackers.where(trackers.c.id == func.any(_aboard)).order_by(trackers.c.id)
_PAGE = (
    _trackers.where(trackers.c.id > bindparam("after", type_=BigInteger))
    .order_by(trackers.c.id)
    .limit(bindparam("limit"))
)
_ADD = insert(trackers).returning(trackers.c.id)
_ASSIGN = insert(assignments)
_CHANGE = update(trackers).where(trackers.c.id == bindparam("number")).values(version=trackers.c.version + 1)
# Read backwards along the one index, past the fixes of the vessel's other trackers, but not past all of them.
_MOST_PASSED = 1_000
_NEWEST_FIX = b"""
SELECT count(*), max(passed.recorded_at) FILTER (WHERE passed.tracker_id = %(number)s)
FROM (
    SELECT p.recorded_at, p.tracker_id FROM positions AS p
    WHERE p.vessel_id = %(vessel_id)s AND p.recorded_at >= %(since)s
    ORDER BY p.recorded_at DESC LIMIT %(most)s
) AS passed
"""


class Trackers:
    """The trackers of the operator. Their secrets are derived, never stored."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, number: int) -> Tracker | None:
        """Return a tracker by its number, disabled ones included."""
        row = self._connection.execute(_FIND, {"number": number}).one_or_none()
        return _tracker(row) if row else None

    def find_all(self, numbers: Iterable[int]) -> Mapping[int, Tracker]:
        """Return those of these trackers that there are, by their numbers."""
        rows = self._connection.execute(_FIND_ALL, {"numbers": sorted(set(numbers))})
        return {row.id: _tracker(row) for row in rows}

    def get(self, number: int) -> Tracker:
        """Return a tracker by its number; NotFound where there is none."""
        tracker = self.find(number)
        if tracker is None:
            raise NotFound(f"There is no tracker {tracker_id(number)}")
        return tracker

    def lock(self, number: int) -> Tracker:
        """Return a tracker that nobody else changes before this transaction ends; NotFound otherwise."""
        self._connection.execute(_LOCK, {"number": number})
        return self.get(number)

    def search(self, *, after: int = 0, limit: int | None = None) -> list[Tracker]:
        """Return trackers in order of their numbers, those above ``after``."""
        rows = self._connection.execute(_PAGE, {"after": after, "limit": limit})
        return [_tracker(row) for row in rows]

    def of_vessel(self, vessel_id: int) -> list[Tracker]:
        """Return the trackers that are or were assigned to a vessel."""
        return [_tracker(row) for row in self._connection.execute(_OF_VESSEL, {"vessel_id": vessel_id})]

    def add(self, *, vessel_id: int, label: str, test: bool = False) -> Tracker:
        """Register a tracker for a vessel that exists; its key starts at generation 1."""
        number = self._connection.execute(_ADD, {"label": label, "test": test}).scalar_one()
        self.assign(number, vessel_id, starts_at=BEGINNING)
        return self.get(number)

    def assign(self, number: int, vessel_id: int, *, starts_at: datetime) -> None:
        """Let the fixes of a tracker belong to another vessel from a moment on."""
        self._connection.execute(
            _ASSIGN, {"tracker_id": number, "vessel_id": vessel_id, "starts_at": starts_at}
        )

    def change(self, number: int, values: Mapping[str, Any]) -> Tracker:
        """Change columns of a tracker that is locked."""
        self._connection.execute(_CHANGE.values(**values), {"number": number})
        return self.get(number)

    def newest_fix(self, tracker: Tracker, *, since: datetime) -> datetime | None:
        """Return the time of the newest fix, of a moment or later, of a tracker for its present vessel.

        Conflict where so much is stored of the vessel since then that it would take too long to tell.
        """
        values = {
            "vessel_id": tracker.vessel_id,
            "since": since,
            "number": tracker.number,
            "most": _MOST_PASSED,
        }
        [(passed, newest)] = statements.rows(self._connection, Statement(_NEWEST_FIX, values))
        if newest is None and passed >= _MOST_PASSED:
            raise Conflict(f"The vessel has {_MOST_PASSED} fixes or more since {rfc3339(since)}; begin later")
        found: datetime | None = newest
        return found


def _tracker(row: Row[Any]) -> Tracker:
    return Tracker(
        number=row.id,
        label=row.label,
        generation=row.generation,
        assignments=tuple(
            Assignment(vessel_id=vessel_id, starts_at=starts_at)
            for vessel_id, starts_at in zip(row.vessel_ids, row.starts, strict=True)
        ),
        previous_valid_until=row.previous_valid_until,
        test=row.test,
        disabled_at=row.disabled_at,
        version=row.version,
    )
