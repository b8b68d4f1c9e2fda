"""What is said of vessels about how long their positions are kept, and what of them goes by that."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from harbor_api.domain.errors import NotFound
from harbor_api.domain.keeping import Keeping, KeepingTerms
from harbor_api.postgres import statements
from harbor_api.postgres.statements import Statement
from harbor_api.postgres.tables import KEEPING_LOCK

_COLUMNS = "k.keep_positions_days, k.hold_reason, k.held_by, k.held_since, k.version"
_IS_OWN = "(k.hold_reason IS NOT NULL OR k.keep_positions_days IS NOT NULL)"
# As ``Keeping.goes_before``, of vessels of which something is said. A day has 24 hours, whatever zone the
# server is in.
_BEFORE = """CASE WHEN k.hold_reason IS NULL AND k.keep_positions_days > 0
    THEN %(now)s::timestamptz - k.keep_positions_days * interval '24 h' ELSE '-infinity' END"""

_SHARE = f"SELECT pg_advisory_xact_lock_shared({KEEPING_LOCK})".encode()
_LOCK = f"SELECT pg_advisory_xact_lock({KEEPING_LOCK})".encode()
_FIND = f"""
SELECT v.id, {_COLUMNS} FROM vessels AS v LEFT JOIN vessel_keeping AS k ON k.vessel_id = v.id
WHERE v.id = %(vessel_id)s
""".encode()  # noqa: S608 - constants of ours are put in
_PUT = b"""
INSERT INTO vessel_keeping AS k (vessel_id, keep_positions_days, hold_reason, held_by, held_since)
VALUES (%(vessel_id)s, %(keep_positions_days)s, %(hold_reason)s, %(held_by)s,
    CASE WHEN %(hold_reason)s::text IS NOT NULL THEN coalesce(%(held_since)s::timestamptz, now()) END)
ON CONFLICT (vessel_id) DO UPDATE SET
    (keep_positions_days, hold_reason, held_by, held_since, version) =
    (excluded.keep_positions_days, excluded.hold_reason, excluded.held_by, excluded.held_since, k.version + 1)
"""
_ALL = f"""
SELECT v.name, k.vessel_id, {_COLUMNS} FROM vessel_keeping AS k JOIN vessels AS v ON v.id = k.vessel_id
WHERE {_IS_OWN} ORDER BY k.vessel_id
""".encode()  # noqa: S608 - constants of ours are put in
_OF = f"""
SELECT k.vessel_id, {_COLUMNS} FROM vessel_keeping AS k
WHERE k.vessel_id = ANY (%(vessel_ids)s::integer[]) AND {_IS_OWN}
""".encode()  # noqa: S608 - constants of ours are put in
# A probe each: by the key the oldest fix of a vessel is the first one.
_EXPIRED = f"""
SELECT k.vessel_id, oldest.recorded_at FROM (
    SELECT * FROM vessel_keeping AS k WHERE k.vessel_id > %(after)s AND {_IS_OWN}
    ORDER BY k.vessel_id LIMIT %(most)s
) AS k LEFT JOIN LATERAL (
    SELECT p.recorded_at FROM positions AS p WHERE p.vessel_id = k.vessel_id
    ORDER BY p.recorded_at, p.tracker_id LIMIT 1
) AS oldest ON oldest.recorded_at < {_BEFORE}
ORDER BY k.vessel_id
""".encode()  # noqa: S608 - constants of ours are put in
_KEPT = f"""
SELECT k.vessel_id FROM vessel_keeping AS k CROSS JOIN LATERAL (
    SELECT FROM positions AS p WHERE p.vessel_id = k.vessel_id
        AND p.recorded_at >= %(since)s AND p.recorded_at < %(until)s AND p.recorded_at >= {_BEFORE}
    LIMIT 1
) AS found
WHERE {_IS_OWN}
ORDER BY k.vessel_id
""".encode()  # noqa: S608 - constants of ours are put in


class Keepings:
    """What is said of vessels; of most of them nothing is."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def share(self) -> None:
        """Have nothing changed here before this transaction ends, in which something is deleted."""
        statements.run(self._connection, Statement(_SHARE, {}))

    def find(self, vessel_id: int) -> Keeping:
        """Return what is said of a vessel; NotFound where there is no such vessel."""
        found = statements.rows(self._connection, Statement(_FIND, {"vessel_id": vessel_id}))
        if not found:
            raise NotFound(f"There is no vessel {vessel_id}")
        return _keeping(*found[0])

    def lock(self, vessel_id: int) -> Keeping:
        """Return as ``find`` does; nobody else changes it, or deletes by it, before this transaction ends."""
        statements.run(self._connection, Statement(_LOCK, {}))
        return self.find(vessel_id)

    def put(self, keeping: Keeping) -> Keeping:
        """Say something of a vessel that is locked; what has no ``held_since`` is held from now on."""
        terms = keeping.terms
        values = {
            "vessel_id": keeping.vessel_id,
            "keep_positions_days": terms.keep_positions_days,
            "hold_reason": terms.hold_reason,
            "held_by": keeping.held_by,
            "held_since": keeping.held_since,
        }
        statements.run(self._connection, Statement(_PUT, values))
        return self.find(keeping.vessel_id)

    def all(self) -> list[tuple[str, Keeping]]:
        """Return what is said of all vessels of which anything is, with their names, in order of id."""
        found = statements.rows(self._connection, Statement(_ALL, {}))
        return [(name, _keeping(*row)) for name, *row in found]

    def of(self, vessel_ids: Iterable[int]) -> Mapping[int, Keeping]:
        """Return what is said of those of some vessels of which anything is."""
        values = {"vessel_ids": sorted(set(vessel_ids))}
        found = statements.rows(self._connection, Statement(_OF, values))
        return {row[0]: _keeping(*row) for row in found}

    def expired(self, after: int, *, now: datetime, most: int) -> list[tuple[int, datetime | None]]:
        """Return the next vessels behind an id of which something is said, and when the oldest was recorded
        of what goes by that; None where nothing does."""
        values = {"after": after, "now": now, "most": most}
        return statements.rows(self._connection, Statement(_EXPIRED, values))

    def kept(self, since: datetime, until: datetime, *, now: datetime) -> list[int]:
        """Return the vessels of which something is kept in a part of one partition by what is said of
        them."""
        values = {"since": since, "until": until, "now": now}
        return [vessel_id for (vessel_id,) in statements.rows(self._connection, Statement(_KEPT, values))]


def _keeping(*row: Any) -> Keeping:
    vessel_id, days, reason, held_by, held_since, version = row
    return Keeping(
        vessel_id=vessel_id,
        terms=KeepingTerms(keep_positions_days=days, hold_reason=reason),
        held_by=held_by,
        held_since=held_since,
        version=version or 0,
    )
