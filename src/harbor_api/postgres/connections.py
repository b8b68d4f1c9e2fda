"""Connections to PostgreSQL on which nothing is waited for without end, and what their failures mean."""

import logging
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeGuard

import orjson
import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.util.queue import Empty

from harbor_api.domain.errors import Unavailable
from harbor_api.postgres import arrays, distribution, failures, pooling
from harbor_api.telemetry import metrics, traces

# Deadlocks and serialization failures: PostgreSQL's way to say "once more".
_CONTENDED = {"40P01", "40001"}
# ``order_moved`` says so (``alembic/versions/0011_fence.py``).
_MOVED = "HB001"
# A standby and a missing right: an operator has to mend them, and until then there is no database.
_OPERATORS = {"25006", "42501"}
# psycopg has them among what may mend itself, but what is too large for PostgreSQL stays so.
_TOO_LARGE = "54"
_OLDEST = 150_000
_KEY_OF_PARTITION = re.compile(r"\(recorded_at\) = \(([^)]+)\)")
# For how long nobody asks for one more connection where PostgreSQL had none left.
_FULL_FOR_S = 0.5


class Contended(Unavailable):
    """PostgreSQL ended a transaction in favour of another; the same again is likely to succeed."""


class OrderMoved(Contended):
    """The committed order is not the one that is known: it is to be fenced, and the same done again."""


class NoPartition(Exception):
    """There is no partition for a position; ``moment`` is when it was recorded, None where that is not
    told."""

    def __init__(self, moment: datetime | None) -> None:
        super().__init__("there is no partition")
        self.moment = moment


class StatementFailed(Exception):
    """A statement went wrong as nobody foresaw: what of it may stand in a log, see ``failures.plain``."""


def make_engine(
    url: str,
    *,
    pool_size: int,
    timeout_ms: int,
    is_pooled: bool = False,
    connect_timeout_ms: int | None = None,
) -> Engine:
    """Return a pool of connections to ``url`` in autocommit mode; none is made before it is needed.

    ``timeout_ms`` bounds each wait: for a free connection, for a new one, for a lock and for a
    statement. PostgreSQL itself ends what takes longer, and one that says nothing for twice as long is
    given up, so that nothing can hold a worker for longer than their sum. ``connect_timeout_ms`` bounds the
    wait for a new connection where that is to be shorter; libpq knows none under two seconds.

    Where ``is_pooled``, the address is of a PgBouncer in transaction mode: see ``postgres/pooling.py``.
    """
    # What was prepared on one of its connections is not there on the next.
    asked = {"prepare_threshold": None} if is_pooled else {"options": pooling.options(timeout_ms)}
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        # What most jobs need. To set it when a connection is taken and to take it back costs as much as a
        # small statement does.
        isolation_level="AUTOCOMMIT",
        poolclass=_PatientPool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout_ms / 1000,
        # PostgreSQL writes 1e308 as an integer of 309 digits, of which the standard library would make one
        # that no answer can hold.
        json_deserializer=orjson.loads,
        # What callers send stands in no log.
        hide_parameters=True,
        connect_args={
            "connect_timeout": max(2, (connect_timeout_ms or timeout_ms) // 1000),
            "application_name": "harbor-api",
            # A peer that vanished without a word is noticed by the kernel, not by a user.
            "tcp_user_timeout": timeout_ms * 2,
            # And of one that vanished while nothing was said, before the next request is sent to it.
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            **asked,
        },
    )

    @event.listens_for(engine, "do_connect")
    def connect(_: Any, __: Any, arguments: list[Any], options: dict[str, Any]) -> _Connection:
        connection = _Connection.connect(*arguments, **options)
        if connection.info.server_version < _OLDEST:
            version = connection.info.server_version // 10_000
            connection.close()
            raise psycopg.OperationalError(f"PostgreSQL 15 or newer is needed, and this is {version}")
        connection.patience_s = timeout_ms * 2 / 1000
        arrays.register(connection)
        if is_pooled:
            pooling.demand_told(connection)
        connection.is_distributed = distribution.is_there(connection)
        if is_pooled and connection.is_distributed:
            connection.close()
            raise psycopg.OperationalError(pooling.DISTRIBUTED)
        return connection

    @event.listens_for(engine, "checkout")
    def demand_alive(connection: _Connection, _: Any, __: Any) -> None:
        if connection.has_ended():
            # The pool makes another one in its place.
            raise DisconnectionError

    return engine


def when_lost(engine: Engine, forget: Callable[[], None]) -> None:
    """Call something whenever a connection is found to be lost, before there is another one."""
    event.listen(engine, "invalidate", lambda *_: forget())


def transacting(engine: Engine) -> Engine:
    """Return an engine over the same pool on whose connections what is done is not done before a commit."""
    return engine.execution_options(isolation_level="READ COMMITTED")


@contextmanager
def unhurried(connection: Connection) -> Iterator[None]:
    """Wait for as long as PostgreSQL takes, up to its own time-outs: what reads a whole table says nothing
    meanwhile."""
    with waiting_for(connection, math.inf):
        yield


@contextmanager
def waiting_for(connection: Connection, patience_s: float) -> Iterator[None]:
    """Hang up meanwhile where the server says nothing for so many seconds."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, _Connection)
    before, driver.patience_s = driver.patience_s, patience_s
    try:
        yield
    finally:
        driver.patience_s = before


class _Full(PoolTimeout):
    """PostgreSQL has no connection left, and of those that this process holds none came back in time."""


class _PatientPool(QueuePool):
    """A pool that goes on with the connections that it has where PostgreSQL has no more to give."""

    _is_full_until = -math.inf

    def _do_get(self) -> Any:
        if self.checkedout() < self.size():
            return self._got()
        with metrics.POOL_WAIT_SECONDS.time():
            return self._got()

    def _got(self) -> Any:
        if time.monotonic() < self._is_full_until and self._has_any():
            return self._wait_for_one()
        try:
            return super()._do_get()
        except psycopg.OperationalError as error:
            if not failures.is_full(error) or not self._has_any():
                raise
            self._is_full_until = time.monotonic() + _FULL_FOR_S
        return self._wait_for_one()

    def _has_any(self) -> bool:
        # One that is given back this moment is as good.
        return self.checkedout() + self.checkedin() > 0

    def _wait_for_one(self) -> Any:
        """Return a connection that another request gives back; PoolTimeout where none does in time."""
        try:
            return self._pool.get(True, self.timeout())
        except Empty:
            raise _Full from None


# SQLAlchemy's own loggers are as quiet as this; one of a subclass is not, and tells of every checkout.
logging.getLogger(f"{__name__}.{_PatientPool.__name__}").setLevel(logging.WARNING)


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Turn the ways to say "not now" into Unavailable, psycopg's own and those that Core passes on.

    Callers are told no more than that; ``Unavailable.cause`` says to operators what is wrong at ``url``.
    StatementFailed is raised for all else, in place of errors that repeat what was sent.
    """
    try:
        with traces.asked("postgresql"):
            yield
    except PoolTimeout as error:
        _count_failure("pool")
        cause = failures.FULL if isinstance(error, _Full) else failures.POOL_IN_USE
        raise Unavailable("All database connections are in use", cause=cause) from error
    except ArgumentError as error:
        _count_failure("away")
        cause = f"HARBOR_DATABASE_URL: {error}"
        raise Unavailable("The database does not answer", cause=cause) from error
    except (DBAPIError, psycopg.Error) as error:
        cause = failures.cause_of(error, address=_address(url), user=_user(url))
        found = failures.original(error)
        state = getattr(found, "sqlstate", None)
        if state == _MOVED:
            raise OrderMoved("The database was restored, or another server took over", cause=cause) from error
        if _lacks_partition(found):
            raise NoPartition(_key_of_partition(found)) from error
        if state in _CONTENDED:
            _count_failure("contended")
            raise Contended("Too many change the same at once", cause=cause) from error
        if _is_away(found):
            _count_failure("away")
            raise Unavailable("The database does not answer", cause=cause) from error
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            _count_failure("ended")
            raise Unavailable("The database ended the connection", cause=cause) from error
        _count_failure("statement")
        raise StatementFailed(failures.plain(error)).with_traceback(error.__traceback__) from None


def _count_failure(kind: str) -> None:
    metrics.DATABASE_FAILURES.labels(kind).inc()


def _lacks_partition(error: BaseException | None) -> TypeGuard[psycopg.Error]:
    """Return whether there is no partition for a position; Citus tells so by what its worker said alone."""
    if isinstance(error, psycopg.errors.CheckViolation):
        return error.diag.constraint_name is None
    if isinstance(error, psycopg.errors.InternalError_):
        return _KEY_OF_PARTITION.search(error.diag.message_detail or "") is not None
    return False


def _key_of_partition(error: psycopg.Error) -> datetime | None:
    """Return the time that no partition is for, as PostgreSQL tells it to whoever may read the table."""
    told = _KEY_OF_PARTITION.search(error.diag.message_detail or "")
    try:
        return datetime.fromisoformat(told[1]) if told else None
    except ValueError:
        return None


def _is_away(error: BaseException) -> bool:
    """Return whether the same may go well another time, or once an operator has looked."""
    state = getattr(error, "sqlstate", None)
    if state in _OPERATORS:
        return True
    if state is None and isinstance(error, psycopg.ProgrammingError):
        return failures.is_of_the_address(error)
    is_ours = state is not None and state.startswith(_TOO_LARGE)
    return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)) and not is_ours


def _address(url: URL) -> str:
    """Return where PostgreSQL is looked for: host and port, or the folder of its socket."""
    host = url.query.get("host") or url.host or "the usual socket"
    hosts = ", ".join([host] if isinstance(host, str) else host)
    return f"{hosts}:{url.port}" if url.port else hosts


def _user(url: URL) -> str:
    return url.username or "that runs this"


class _Connection(psycopg.Connection[Any]):
    """A connection on which nothing is waited for without end."""

    patience_s: float = math.inf
    # Whether positions are on several servers: see ``postgres/distribution.py``.
    is_distributed: bool = False

    def rollback(self) -> None:
        """Roll back what has begun; the pool asks for it whenever a connection is given back.

        One that is lost has nothing to roll back: whoever takes it finds out, and it is in nobody's log.
        """
        if not self.closed and self.pgconn.transaction_status != TransactionStatus.IDLE:
            super().rollback()

    def set_autocommit(self, value: bool) -> None:
        """Set whether each statement is a transaction of its own; nothing on a connection that is lost.

        The pool sets it back when it is given a connection, and what raises there is in the pool no more.
        """
        if not self.closed:
            super().set_autocommit(value)

    def set_isolation_level(self, value: psycopg.IsolationLevel | None) -> None:
        """Set how transactions are isolated; as with ``set_autocommit``."""
        if not self.closed:
            super().set_isolation_level(value)

    def has_ended(self) -> bool:
        """Return whether PostgreSQL has ended a connection that was idle, without a word to it.

        What has come is looked at and nothing is waited for: so a restart costs no request, be it a read or
        a write, and none is sent twice.
        """
        try:
            # It says why before it hangs up: the first look finds the one, the second the other.
            self.pgconn.consume_input()
            self.pgconn.consume_input()
        except psycopg.OperationalError:
            return True
        return self.closed

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait as psycopg does, and hang up where the server says nothing for too long."""
        began = time.monotonic()
        try:
            return super().wait(gen, interval, self.patience_s if timeout is None else timeout)
        except psycopg.OperationalError:
            if time.monotonic() - began >= self.patience_s:
                # Nobody would read the answer that may still come.
                self.close()
            raise
