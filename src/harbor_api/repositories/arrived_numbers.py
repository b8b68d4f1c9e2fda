"""Which of the numbers that a tracker gives its fixes have arrived, kept as ranges."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, text

from harbor_api.domain.positions import Gap
from harbor_api.postgres import statements
from harbor_api.postgres.statements import Statement

_MOST_GAPS = 20
_MOST_RANGES = 1_000

# The newest gaps of each tracker that was told of, in one statement. The ranges are PostgreSQL's own.
_NOTE = b"""
WITH noted AS (
    INSERT INTO arrived_numbers AS known (tracker_id, numbers)
    SELECT tracker_id, range_agg(int8range(number, number, '[]'))
    FROM json_to_recordset(%(arrived)s) AS arrived (tracker_id integer, number bigint)
    GROUP BY tracker_id
    ORDER BY tracker_id
    ON CONFLICT (tracker_id) DO UPDATE SET numbers = known.numbers + excluded.numbers
    RETURNING tracker_id, numbers
)
SELECT
    tracker_id,
    (SELECT count(*) FROM unnest(numbers)) AS ranges,
    (SELECT json_agg(json_build_array(first, last) ORDER BY first) FROM (
        SELECT lower(gap) AS first, upper(gap) - 1 AS last
        FROM unnest(int8multirange(range_merge(numbers)) - numbers) AS gap
        ORDER BY first DESC LIMIT %(most)s
    ) AS newest) AS gaps
FROM noted
"""
_READ = text("""
SELECT (SELECT json_agg(json_build_array(first, last) ORDER BY first) FROM (
    SELECT lower(gap) AS first, upper(gap) - 1 AS last
    FROM unnest(int8multirange(range_merge(numbers)) - numbers) AS gap
    ORDER BY first DESC LIMIT :most
) AS newest) AS gaps
FROM arrived_numbers WHERE tracker_id = :tracker_id
""")
# The oldest gaps are given up, so that a row stays small whatever a tracker calls its fixes.
_FORGET = text("""
UPDATE arrived_numbers
SET numbers = numbers + int8multirange(int8range(lower(numbers), (
    SELECT lower(kept) FROM unnest(numbers) AS kept ORDER BY kept DESC OFFSET :kept LIMIT 1)))
WHERE tracker_id = :tracker_id
""")


class ArrivedNumbers:
    """The numbers of fixes that have had a verdict, by tracker."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def note(self, arrived: Iterable[tuple[int, int]]) -> Mapping[int, tuple[Gap, ...]]:
        """Note (tracker, number) pairs and return the newest gaps of each tracker."""
        pairs = [{"tracker_id": tracker_id, "number": number} for tracker_id, number in arrived]
        values = {"arrived": orjson.dumps(pairs).decode(), "most": _MOST_GAPS}
        found = statements.rows(self._connection, Statement(_NOTE, values))
        for tracker_id, ranges, _ in found:
            if ranges > _MOST_RANGES:
                self._connection.execute(_FORGET, {"tracker_id": tracker_id, "kept": _MOST_RANGES // 2})
        return {tracker_id: _gaps(gaps) for tracker_id, _, gaps in found}

    def missing(self, tracker_id: int) -> tuple[Gap, ...]:
        """Return the newest gaps of one tracker."""
        return _gaps(self._connection.execute(_READ, {"tracker_id": tracker_id, "most": _MOST_GAPS}).scalar())


def _gaps(pairs: Any) -> tuple[Gap, ...]:
    return tuple(Gap(first=first, last=last) for first, last in pairs or ())
