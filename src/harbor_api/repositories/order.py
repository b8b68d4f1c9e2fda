"""Where the committed order stands, and how far into it a key with a delay sees."""

from datetime import timedelta

from sqlalchemy import Connection

from harbor_api.domain.order import UNDER_WAY, Fence, Horizon, Standing, step_of_delay
from harbor_api.postgres import statements
from harbor_api.postgres.order import NEWEST, above, halving
from harbor_api.postgres.statements import Statement
from harbor_api.postgres.tables import FLEET_ORDER_LOCK

_STANDING = f"SELECT now(), {NEWEST}".encode()
_EDITED = b"SELECT coalesce((SELECT seq FROM vessels ORDER BY seq DESC LIMIT 1), 0)"

_HORIZON = f"""
WITH RECURSIVE clock AS MATERIALIZED (
    SELECT date_bin(%(step)s, now() - %(delay)s, timestamptz '1970-01-01 00:00:00Z') AS moment
), {halving("(SELECT moment FROM clock)")}
SELECT moment, coalesce(
    (
        SELECT p.seq - 1 FROM positions AS p
        WHERE {above("(SELECT max(low) FROM halving)")} AND greatest(p.received_at, p.recorded_at) > moment
        ORDER BY p.seq
        LIMIT 1
    ),
    {NEWEST}
)
FROM clock
""".encode()  # noqa: S608 - a constant of ours is put in

_LOCK = f"SELECT pg_advisory_xact_lock({FLEET_ORDER_LOCK})".encode()
# How far the order goes on: more numbers than are given in years, so that none is given twice. By chance, as
# of one backup two servers may be made, and what the first has given is not known to the second.
_FAR = 2**40
_FENCE = f"""
WITH known AS MATERIALIZED (
    SELECT origin, resumed FROM order_fences ORDER BY resumed DESC LIMIT 1
), found AS MATERIALIZED (
    SELECT order_origin() AS origin, {NEWEST} AS survived, last_value,
        (SELECT resumed FROM known) AS resumed
    FROM fleet_order
), drawn AS MATERIALIZED (
    SELECT origin, survived, setval(
        'fleet_order', greatest(last_value, resumed, survived) + {_FAR} + (random() * {_FAR})::bigint
    ) AS resumed
    FROM found
    WHERE origin IS DISTINCT FROM (SELECT origin FROM known) OR last_value < resumed
)
INSERT INTO order_fences (resumed, survived, origin) SELECT resumed, survived, origin FROM drawn
RETURNING survived, resumed, origin
""".encode()  # noqa: S608 - constants of ours are put in


class Order:
    """The committed order of all that the fleet shows."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def standing(self) -> Standing:
        """Return where the order stands now."""
        [[moment, number]] = statements.rows(self._connection, Statement(_STANDING, {}))
        return Standing(moment=moment, number=number)

    def horizon(self, delay: timedelta, *, future_tolerance: timedelta) -> Horizon:
        """Return how far a key sees that has a delay.

        ``future_tolerance`` is how far ahead of its reception a fix may be recorded.
        """
        values = {
            "delay": delay,
            "step": step_of_delay(delay),
            "under_way": future_tolerance + UNDER_WAY,
        }
        [[moment, number]] = statements.rows(self._connection, Statement(_HORIZON, values))
        return Horizon(moment=moment, number=number)

    def edited(self) -> int:
        """Return the number of the newest change of what any vessel is, 0 where there is none."""
        [[number]] = statements.rows(self._connection, Statement(_EDITED, {}))
        return int(number)

    def fence(self) -> Fence | None:
        """Let the order go on far ahead where it is not the one that is known, and know it from now on.

        None where it is the one that is known: of several who find out, the first does it. In a transaction.
        """
        statements.rows(self._connection, Statement(_LOCK, {}))
        # A statement of its own: it sees what another has left who had the lock.
        found = statements.rows(self._connection, Statement(_FENCE, {}))
        return Fence(*found[0]) if found else None
