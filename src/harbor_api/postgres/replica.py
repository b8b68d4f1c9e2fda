"""A streaming replica that takes reads off the primary, and is never seen to be behind it.

What is read there is read as if it were read at the primary: the primary says how far its log is once a
request has come (a ``Floor``), and the replica is asked nothing else before it has replayed as far. So nobody
is told less than anybody was told before, by whatever host, and what was revoked is revoked. It is waited for
a moment only; who is behind, or away, is left alone for a while, and the primary is read instead.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Connection

from harbor_api.domain.errors import Unavailable
from harbor_api.postgres import connections, statements
from harbor_api.postgres.statements import Statement
from harbor_api.telemetry import metrics

# How long it is waited for, and how often it is looked.
_PATIENCE_S, _LOOK_EVERY_S = 0.05, 0.002
# One that has said nothing for so long hangs; it could answer at once, without reading a row.
_SILENT_S = 1.0
# For how long one that was behind, or did not answer, is left alone.
_BEHIND_S, _AWAY_S = 1.0, 5.0
TOO_LATE_S = 10.0
"""How far behind a replica is more than a moment behind: an operator has to look."""

# A server that is a standby itself has no end of its own, and nobody can tell what its primary has.
_FLOOR = b"""
SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn()::text END,
    (SELECT resumed FROM order_fences ORDER BY resumed DESC LIMIT 1)
"""
# One that was promoted, or goes on with what another server began, is another one: its log says nothing.
_HAS_REPLAYED = b"""
SELECT pg_is_in_recovery() AND pg_last_wal_replay_lsn() >= %(end)s::pg_lsn
    AND (SELECT resumed FROM order_fences ORDER BY resumed DESC LIMIT 1) = %(resumed)s
"""
_LAG = b"""
SELECT CASE
    WHEN NOT pg_is_in_recovery() THEN NULL
    WHEN pg_last_wal_replay_lsn() >= %(end)s::pg_lsn THEN 0
    ELSE greatest(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0)
END::float8
"""

log = structlog.get_logger(__name__)


class Floor(NamedTuple):
    """How far the primary's log was, None where it is no primary; and the last fence of its order."""

    end: str | None
    resumed: int


class State(NamedTuple):
    """How a replica is: ``ok``, ``lagging`` or ``away``; and how many seconds it is behind, where known."""

    status: str
    lag_s: float | None


def floor(connection: Connection) -> Floor:
    """Return what a replica has to have replayed that is to be read as if it were this primary."""
    [(end, resumed)] = statements.rows(connection, Statement(_FLOOR, {}))
    return Floor(end, resumed)


class Replica:
    """A replica, and whether it is worth asking."""

    def __init__(self, url: str, *, pool_size: int, timeout_ms: int, is_pooled: bool = False) -> None:
        """Prepare for connections to ``url``, as ``connections.make_engine`` says."""
        self.engine = connections.make_engine(
            url,
            pool_size=pool_size,
            timeout_ms=timeout_ms,
            is_pooled=is_pooled,
            connect_timeout_ms=round(1000 * _SILENT_S),
        )
        self.served = self.passed_on = 0
        self._rests_until = 0.0
        self._trouble: str | None = None

    def is_in_rotation(self) -> bool:
        """Return whether it is to be asked; of those who come after it was away one tries at a time."""
        now = time.monotonic()
        if now < self._rests_until:
            self._pass_on()
            return False
        if self._trouble is not None:
            self._rests_until = now + _AWAY_S
        return True

    @contextmanager
    def reading(self, floor: Floor) -> Iterator[Connection]:
        """Open a connection that reads what the primary had; Unavailable where it has not, or breaks."""
        try:
            with connections.translated(self.engine.url), self.engine.connect() as connection:
                with connections.waiting_for(connection, _SILENT_S):
                    self._wait(connection, floor)
                self._note_well()
                yield connection
        except Unavailable as error:
            self._pass_on()
            self._leave_alone(error)
            raise

    def state(self, floor: Floor) -> State:
        """Return how it is just now, beside the primary's ``floor``; it raises nothing.

        One that was away is not asked again while it is left alone: probes must not all wait for it.
        """
        if self._trouble is not None and time.monotonic() < self._rests_until:
            return State("away", None)
        try:
            with (
                connections.translated(self.engine.url),
                self.engine.connect() as connection,
                connections.waiting_for(connection, _SILENT_S),
            ):
                [(lag_s,)] = statements.rows(connection, Statement(_LAG, {"end": floor.end}))
        except Unavailable as error:
            self._leave_alone(error)
            return State("away", None)
        if lag_s is None or lag_s > TOO_LATE_S:
            return State("lagging", lag_s)
        return State("ok", lag_s)

    def dispose(self) -> None:
        """Close all connections that are not in use."""
        self.engine.dispose()

    @staticmethod
    def _wait(connection: Connection, floor: Floor) -> None:
        asked: dict[str, Any] = {"end": floor.end, "resumed": floor.resumed}
        deadline = time.monotonic() + _PATIENCE_S
        while not statements.rows(connection, Statement(_HAS_REPLAYED, asked))[0][0]:
            if time.monotonic() > deadline:
                raise _Behind("The replica is behind", cause="the replica has not replayed what is asked for")
            time.sleep(_LOOK_EVERY_S)

    def _pass_on(self) -> None:
        self.passed_on += 1
        metrics.REPLICA_READS.labels("primary").inc()

    def _note_well(self) -> None:
        self.served += 1
        metrics.REPLICA_READS.labels("replica").inc()
        if self._trouble is not None:
            log.info("replica_is_back")
        self._trouble, self._rests_until = None, 0.0

    def _leave_alone(self, error: Unavailable) -> None:
        is_behind = isinstance(error, (_Behind, connections.Contended))
        self._rests_until = time.monotonic() + (_BEHIND_S if is_behind else _AWAY_S)
        cause = error.cause or error.detail
        if self._trouble is None and not is_behind:
            log.warning("replica_is_away", cause=cause)
        if not is_behind:
            self._trouble = cause


class _Behind(Unavailable):
    """It has not replayed what is asked for."""
