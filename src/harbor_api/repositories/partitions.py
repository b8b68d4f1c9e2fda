"""Partitions of the positions, and what is in them; ``postgres/partitions.py`` makes and drops them."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import orjson
from sqlalchemy import Connection

from harbor_api.domain.positions import NamedFix
from harbor_api.postgres import partitions, statements
from harbor_api.postgres.partitions import Partition
from harbor_api.postgres.statements import Statement
from harbor_api.postgres.tables import TAKE_ORDER

# Both ends lie in one partition: no other one is opened, and a place in it is one row.
_WITHIN = "p.recorded_at >= %(since)s AND p.recorded_at < %(until)s"
_ALL = partitions.ALL
_ABOVE = f"""
SELECT p.vessel_id, p.recorded_at, p.tracker_id FROM positions AS p
WHERE p.seq > %(number)s AND {_WITHIN} ORDER BY p.seq LIMIT %(most)s
""".encode()  # noqa: S608 - a constant of ours is put in
_OF_VESSEL = f"""
SELECT p.vessel_id, p.recorded_at, p.tracker_id FROM positions AS p
WHERE p.vessel_id = %(vessel_id)s AND {_WITHIN} ORDER BY p.recorded_at, p.tracker_id LIMIT %(most)s
""".encode()  # noqa: S608 - a constant of ours is put in
# Whether anything of a vessel is in it takes a probe each.
_VESSELS = f"""
SELECT v.id, found.is_there IS NOT NULL FROM (
    SELECT id FROM vessels WHERE id > %(after)s ORDER BY id LIMIT %(most)s
) AS v LEFT JOIN LATERAL (
    SELECT true AS is_there FROM positions AS p WHERE p.vessel_id = v.id AND {_WITHIN} LIMIT 1
) AS found ON true
ORDER BY v.id
""".encode()  # noqa: S608 - a constant of ours is put in
_COUNT = f"""
SELECT count(*) FROM (
    SELECT FROM positions AS p WHERE p.vessel_id = %(vessel_id)s AND {_WITHIN} LIMIT %(most)s
) AS found
""".encode()  # noqa: S608 - a constant of ours is put in
# The oldest ones first. What followers have not been told of yet is left.
_TRIM = f"""
WITH gone AS (
    DELETE FROM positions AS p WHERE {_WITHIN} AND p.ctid = ANY (ARRAY (
        SELECT p.ctid FROM positions AS p
        WHERE p.vessel_id = %(vessel_id)s AND p.seq + 0 <= %(number)s AND {_WITHIN}
        ORDER BY p.recorded_at, p.tracker_id LIMIT %(most)s
    )) RETURNING 1
)
SELECT count(*) FROM gone
""".encode()  # noqa: S608 - a constant of ours is put in
# As with what is withdrawn: the lock of the order is taken before the first number is drawn.
_ERASE = f"""
WITH input AS MATERIALIZED (
    SELECT vessel_id, recorded_at, tracker_id
    FROM json_to_recordset(%(names)s)
        AS named (vessel_id integer, recorded_at timestamptz, tracker_id integer)
), turn AS MATERIALIZED (
    SELECT {TAKE_ORDER} FROM (SELECT count(*) FROM input) AS parsed
), gone AS (
    DELETE FROM positions AS p WHERE {_WITHIN} AND p.ctid = ANY (ARRAY (
        SELECT found.ctid FROM turn, input CROSS JOIN LATERAL (
            SELECT p.ctid FROM positions AS p
            WHERE p.vessel_id = input.vessel_id AND p.recorded_at = input.recorded_at
                AND p.tracker_id = input.tracker_id AND {_WITHIN}
            LIMIT 1
        ) AS found
    )) RETURNING vessel_id, recorded_at, tracker_id
), told AS (
    INSERT INTO withdrawals (seq, vessel_id, recorded_at, tracker_id, withdrawn_at)
    SELECT nextval('fleet_order'), vessel_id, recorded_at, tracker_id, now() FROM gone
    RETURNING 1
)
SELECT count(*) FROM told
""".encode()  # noqa: S608 - constants of ours are put in


class Partitions:
    """The partitions of the positions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> list[Partition]:
        """Return all of them, the oldest first; those last that are detached and still to be dropped."""
        found = [Partition.of(*row) for row in statements.rows(self._connection, Statement(_ALL, {}))]
        return sorted(found, key=lambda each: (each.until is None, each.until, each.name))

    def ahead(self, now: datetime) -> timedelta:
        """Return for how long there are partitions from now on, without a gap; negative where there is
        none."""
        reached = now
        for each in self.all():
            if (
                each.until is not None
                and each.until > reached
                and (each.since is None or each.since <= reached)
            ):
                reached = each.until
        return reached - now

    def above(self, number: int, since: datetime, until: datetime, *, most: int) -> list[NamedFix]:
        """Return fixes in a part of one partition that came after a number of the order, the first ones
        first."""
        values = {"number": number, "since": since, "until": until, "most": most}
        return [NamedFix(*row) for row in statements.rows(self._connection, Statement(_ABOVE, values))]

    def of_vessel(self, vessel_id: int, since: datetime, until: datetime, *, most: int) -> list[NamedFix]:
        """Return fixes of a vessel in a part of one partition, the oldest ones first."""
        values = {"vessel_id": vessel_id, "since": since, "until": until, "most": most}
        return [NamedFix(*row) for row in statements.rows(self._connection, Statement(_OF_VESSEL, values))]

    def vessels(self, after: int, since: datetime, until: datetime, *, most: int) -> list[tuple[int, bool]]:
        """Return the next vessels behind an id, and whether any fix of each is in a part of one partition."""
        values = {"after": after, "since": since, "until": until, "most": most}
        return statements.rows(self._connection, Statement(_VESSELS, values))

    def count(self, vessel_id: int, until: datetime, *, most: int) -> int:
        """Return how many fixes of a vessel were recorded before a moment, counted up to ``most``."""
        values = {"vessel_id": vessel_id, "since": "-infinity", "until": until, "most": most}
        [(count,)] = statements.rows(self._connection, Statement(_COUNT, values))
        return int(count)

    def trim(self, vessel_id: int, since: datetime, until: datetime, *, number: int, most: int) -> int:
        """Delete fixes of a vessel in a part of one partition, and return how many; nobody is told.

        Only of those that came no later than a number of the order: the floor is there, or higher.
        """
        values = {"vessel_id": vessel_id, "since": since, "until": until, "number": number, "most": most}
        [(count,)] = statements.rows(self._connection, Statement(_TRIM, values))
        return int(count)

    def erase(self, names: Iterable[NamedFix], since: datetime, until: datetime) -> int:
        """Delete fixes in a part of one partition, return how many there were, and have followers told.

        Each is a withdrawal in the committed order, whose lock is held from then on.
        """
        rows = [
            {"vessel_id": vessel_id, "recorded_at": recorded_at, "tracker_id": tracker_id}
            for vessel_id, recorded_at, tracker_id in names
        ]
        values = {"names": orjson.dumps(rows).decode(), "since": since, "until": until}
        [(count,)] = statements.rows(self._connection, Statement(_ERASE, values))
        return int(count)
