"""Connections to PostgreSQL on which nothing is waited for without end, and what their failures mean."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import psycopg
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from harbor_api.domain.errors import Unavailable

# Deadlocks and serialization failures: PostgreSQL's way to say "once more".
_CONTENDED = {"40P01", "40001"}


class Contended(Unavailable):
    """PostgreSQL ended a transaction in favour of another; the same again is likely to succeed."""


def make_engine(url: str, *, pool_size: int, timeout_ms: int) -> Engine:
    """Return a pool of connections to ``url``; none is made before it is needed.

    ``timeout_ms`` bounds each wait: for a free connection, for a new one, for a lock and for a
    statement. PostgreSQL itself ends what takes longer, and one that says nothing for twice as long is
    given up, so that nothing can hold a worker for longer than their sum.
    """
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout_ms / 1000,
        # PostgreSQL writes 1e308 as an integer of 309 digits, of which the standard library would make one
        # that no answer can hold.
        json_deserializer=orjson.loads,
        connect_args={
            "connect_timeout": max(2, timeout_ms // 1000),
            "application_name": "harbor-api",
            # A peer that vanished without a word is noticed by the kernel, not by a user.
            "tcp_user_timeout": timeout_ms * 2,
            # A plan that is made while a table is small is kept until the next ANALYZE, while the table
            # may grow by millions of rows: every statement of ours has an index to go by instead.
            "options": f"-c statement_timeout={timeout_ms} -c lock_timeout={timeout_ms} "
            f"-c idle_in_transaction_session_timeout={timeout_ms * 2} -c timezone=UTC "
            "-c enable_seqscan=off -c jit=off",
        },
    )

    @event.listens_for(engine, "do_connect")
    def connect(_: Any, __: Any, arguments: list[Any], options: dict[str, Any]) -> _Connection:
        connection = _Connection.connect(*arguments, **options)
        connection.patience_s = timeout_ms * 2 / 1000
        return connection

    return engine


@contextmanager
def translated() -> Iterator[None]:
    """Turn the ways to say "not now" into Unavailable, psycopg's own and those that Core passes on."""
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable("All database connections are in use") from error
    except (DBAPIError, psycopg.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if getattr(cause, "sqlstate", None) in _CONTENDED:
            raise Contended("Too many change the same at once") from error
        if isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError)):
            raise Unavailable("The database does not answer") from error
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            raise Unavailable("The database ended the connection") from error
        raise


class _Connection(psycopg.Connection[Any]):
    """A connection on which nothing is waited for without end."""

    patience_s: float = math.inf

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
