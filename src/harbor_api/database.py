"""The engine and the unit of work: the only place that begins, commits and rolls back."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from harbor_api.domain.entities import Caller
from harbor_api.domain.errors import Unavailable
from harbor_api.postgres import statements
from harbor_api.postgres.statements import Statement
from harbor_api.repositories.api_keys import ApiKeys
from harbor_api.repositories.arrived_numbers import ArrivedNumbers
from harbor_api.repositories.audit import Audit
from harbor_api.repositories.fleet import Fleet
from harbor_api.repositories.idempotency_keys import IdempotencyKeys
from harbor_api.repositories.positions import Positions
from harbor_api.repositories.quarantine import Quarantine
from harbor_api.repositories.trackers import Trackers
from harbor_api.repositories.vessels import Vessels

Result = TypeVar("Result")
# Deadlocks and serialization failures: PostgreSQL's way to say "once more".
_CONTENDED = {"40P01", "40001"}
_ATTEMPTS = 3


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


class Contended(Unavailable):
    """PostgreSQL ended a transaction in favour of another; the same again is likely to succeed."""


class UnitOfWork:
    """The repositories over one connection. What happens in it is committed whole or not at all."""

    def __init__(self, connection: Connection, *, last: list[Statement] | None = None) -> None:
        """Work over a connection; ``last`` takes the statements that may wait for the commit."""
        self._connection = connection
        self._last = last

    def run_last(self, statement: Statement, *, now: bool = False) -> None:
        """Run a statement with the commit, so that what it locks is not held while anybody here is busy.

        It runs at once where something that follows needs it ``now``, or where no commit takes it along.
        """
        if now or self._last is None:
            statements.run(self._connection, statement)
        else:
            self._last.append(statement)

    @cached_property
    def vessels(self) -> Vessels:
        return Vessels(self._connection)

    @cached_property
    def trackers(self) -> Trackers:
        return Trackers(self._connection)

    @cached_property
    def positions(self) -> Positions:
        return Positions(self._connection)

    @cached_property
    def quarantine(self) -> Quarantine:
        return Quarantine(self._connection)

    @cached_property
    def arrived_numbers(self) -> ArrivedNumbers:
        return ArrivedNumbers(self._connection)

    @cached_property
    def api_keys(self) -> ApiKeys:
        return ApiKeys(self._connection)

    @cached_property
    def audit(self) -> Audit:
        return Audit(self._connection)

    @cached_property
    def idempotency_keys(self) -> IdempotencyKeys:
        return IdempotencyKeys(self._connection)

    def fleet(self, viewer: Caller) -> Fleet:
        """Return the fleet as a key may see it."""
        return Fleet(self._connection, viewer)


class Database:
    """Where units of work come from."""

    def __init__(self, url: str, *, pool_size: int = 4, timeout_ms: int = 5_000) -> None:
        """Prepare for connections to ``url``; none is made before the first unit of work.

        ``timeout_ms`` bounds each wait: for a free connection, for a new one, for a lock and for a
        statement. PostgreSQL itself ends what takes longer, and one that says nothing for twice as long is
        given up, so that nothing can hold a worker for longer than their sum.
        """
        self.engine: Engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg"),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=timeout_ms / 1000,
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

        @event.listens_for(self.engine, "do_connect")
        def connect(_: Any, __: Any, arguments: list[Any], options: dict[str, Any]) -> _Connection:
            connection = _Connection.connect(*arguments, **options)
            connection.patience_s = timeout_ms * 2 / 1000
            return connection

        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def unit_of_work(self) -> Iterator[UnitOfWork]:
        """Open a transaction: committed when the block ends, rolled back when it raises.

        Unavailable is raised where PostgreSQL cannot be reached, does not answer in time or ends the
        connection; nothing is stored then, unless the connection broke during the commit itself.
        """
        with _translated(), self.engine.begin() as connection:
            yield UnitOfWork(connection)

    def transact(self, work: Callable[[UnitOfWork], Result]) -> Result:
        """Do work in a transaction, again where PostgreSQL ended it in favour of another, and return it.

        What the work leaves for the last is run together with the commit.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with _translated(), self.engine.begin() as connection:
                    last: list[Statement] = []
                    result = work(UnitOfWork(connection, last=last))
                    if last:
                        statements.commit(connection, last)
                    return result
            except Contended:
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def rehearse(self, work: Callable[[UnitOfWork], Result]) -> Result:
        """Do work in a transaction that is rolled back, and return what came of it.

        What the work leaves for the last is not run at all, so that a rehearsal is in nobody's way.
        """
        with _translated(), self.engine.connect() as connection, connection.begin() as transaction:
            result = work(UnitOfWork(connection, last=[]))
            transaction.rollback()
            return result

    @contextmanager
    def statement(self) -> Iterator[UnitOfWork]:
        """Open a unit of work in which each statement is a transaction of its own.

        For jobs of one statement, reads and writes alike: BEGIN and COMMIT cost a round trip each.
        """
        with _translated(), self._autocommit.connect() as connection:
            yield UnitOfWork(connection)

    def schema_revision(self) -> str | None:
        """Return the revision that Alembic left in the database, None before the first migration.

        Unavailable where PostgreSQL does not answer; this is what the health checks ask.
        """
        with _translated(), self._autocommit.connect() as connection:
            if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
                return None
            revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
            return revision

    def dispose(self) -> None:
        """Close all connections that are not in use."""
        self.engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
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
