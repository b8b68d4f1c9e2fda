"""The floor of the change feed: up to which number followers are told no more."""

from datetime import datetime

from sqlalchemy import Connection

from harbor_api.postgres import statements
from harbor_api.postgres.statements import Statement

# Of two at once the second waits for the first, and looks at what that has left.
_RAISE = b"""
INSERT INTO feed_floor AS floor (number, at) VALUES (%(number)s, %(at)s)
ON CONFLICT (id) DO UPDATE SET number = excluded.number, at = excluded.at
WHERE floor.number < excluded.number AND floor.at < excluded.at
RETURNING number
"""
_FIND = b"SELECT number, at FROM feed_floor WHERE id = 1"
# The last one stays: with it the order would go back. What somebody else prunes just now is passed over.
_PRUNE = b"""
WITH pruned AS (
    DELETE FROM withdrawals WHERE seq = ANY (ARRAY (
        SELECT seq FROM withdrawals
        WHERE seq <= (SELECT number FROM feed_floor WHERE id = 1)
            AND seq < (SELECT seq FROM withdrawals ORDER BY seq DESC LIMIT 1)
        ORDER BY seq LIMIT %(most)s
        FOR UPDATE SKIP LOCKED
    )) RETURNING seq
)
SELECT count(*) FROM pruned
"""


class FeedFloor:
    """The one row that says where the floor is, once anything was removed; it never falls."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self) -> tuple[int, datetime] | None:
        """Return up to which number nothing is told, and from when on all is kept; None without a floor."""
        found = statements.rows(self._connection, Statement(_FIND, {}))
        return found[0] if found else None

    def lift(self, number: int, at: datetime) -> bool:
        """Put the floor higher, and return whether it was lower than that.

        ``at`` is a moment such that nothing up to the number came in then or later.
        """
        return bool(statements.rows(self._connection, Statement(_RAISE, {"number": number, "at": at})))

    def prune(self, *, most: int) -> int:
        """Delete withdrawals up to the floor, the oldest ones first, and return how many there were."""
        [(count,)] = statements.rows(self._connection, Statement(_PRUNE, {"most": most}))
        return int(count)
