"""Statements that psycopg sends as they are, for what every fix needs.

SQLAlchemy takes longer to run a finished text than PostgreSQL takes to do what it says; here nothing stands
between. They run in the transaction of the connection that they are given, on either side of Core's.

Where positions are distributed, a statement is what ``distributed_forms`` makes of it.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from psycopg.pq import TransactionStatus
from sqlalchemy import Connection

from harbor_api.postgres import distributed_forms


class Statement(NamedTuple):
    """A text with psycopg's placeholders, ``%(name)s``, and what they stand for."""

    text: bytes
    values: Mapping[str, Any]


Rows = list[tuple[Any, ...]]


def rows(connection: Connection, statement: Statement) -> Rows:
    """Run a statement and return its rows."""
    found: Rows = _run(_psycopg(connection), statement).fetchall()
    return found


def binary_row(connection: Connection, statement: Statement) -> list[bytes | None] | None:
    """Run a statement and return its one row in PostgreSQL's binary form, None where there is none."""
    found = _run(_psycopg(connection), statement, binary=True).pgresult
    if not found.ntuples:
        return None
    return [found.get_value(0, column) for column in range(found.nfields)]


def run(connection: Connection, statement: Statement) -> None:
    """Run a statement that returns no rows."""
    _run(_psycopg(connection), statement)


def run_all(connection: Connection, several: Iterable[Statement]) -> list[Rows]:
    """Run statements one after the other in one round trip, and return the rows of each that has any."""
    psycopg = _psycopg(connection)
    with psycopg.pipeline():
        cursors = [_sent(psycopg, statement) for statement in several]
    return [cursor.fetchall() for cursor in cursors if cursor.description is not None]


def is_distributed(connection: Connection) -> bool:
    """Return whether positions are on several servers."""
    return bool(_psycopg(connection).is_distributed)


def _run(psycopg: Any, statement: Statement, *, binary: bool = False) -> Any:
    if not psycopg.is_distributed or len(distributed_forms.of(statement.text)) == 1:
        return _sent(psycopg, statement, binary=binary)
    try:
        # What is several statements there is one round trip as well.
        with psycopg.pipeline():
            return _sent(psycopg, statement, binary=binary)
    except Exception:
        # Where the first of them failed psycopg takes the next one for prepared, which never came to that. In
        # a transaction it forgets all as that is rolled back.
        if not psycopg.closed and psycopg.info.transaction_status == TransactionStatus.IDLE:
            with suppress(Exception):
                psycopg.execute("DEALLOCATE ALL")
        raise


def _sent(psycopg: Any, statement: Statement, *, binary: bool = False) -> Any:
    if not psycopg.is_distributed:
        return psycopg.execute(*statement, binary=binary)
    *before, last = distributed_forms.of(statement.text)
    for each in before:
        psycopg.execute(each, statement.values)
    return psycopg.execute(last, statement.values, binary=binary)


def _psycopg(connection: Connection) -> Any:
    return connection.connection.driver_connection
