"""Calls of the repositories, measured: what each touches against what it may."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from tests.repositories.plans import MeasuringConnection, Touched

from harbor_api.database import Database, UnitOfWork

# There is one row of it, so that no index is needed.
_OF_ONE_ROW = {"master_key", "feed_floor", "fleet_order", "order_settled"}


class AtSize(UnitOfWork):
    """A unit of work that tells its database, too."""

    def __init__(self, connection: Connection, database: Database) -> None:
        super().__init__(connection)
        self.database = database


@dataclass(frozen=True)
class Row:
    """A call, named by its method and what is asked of it, and the most that it may touch."""

    name: str
    call: Callable[[AtSize], Any]
    rows: float
    buffers: float

    @property
    def method(self) -> str:
        return self.name.split()[0]


def prepare(owner: "psycopg.Connection[Any]") -> None:
    """Leave the statistics to the test, and have the large tables filled in half the time."""
    for (table,) in owner.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    ).fetchall():
        owner.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    partitions = owner.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'positions'::regclass"
    )
    for table in (*(name for (name,) in partitions), "quarantine", "audit", "idempotency_keys"):
        owner.execute(f"ALTER TABLE {table} SET UNLOGGED")


def plan(connection: Connection, mode: str) -> None:
    """Have all statements of a connection planned in one way from now on."""
    connection.exec_driver_sql(f"SET plan_cache_mode = {mode}")
    connection.commit()


def beyond(connection: Connection, database: Database, rows: Iterable[Row], plans: str) -> Iterator[str]:
    """Yield what each call touches or sorts beyond what it may, or scans from end to end, and print all.

    What is sorted may be as many rows as may be touched.
    """
    for row in rows:
        touched = touched_by(connection, database, row)
        scanned = ", ".join(sorted(touched.scanned - _OF_ONE_ROW)) or "nothing"
        counts = f"{touched.rows} and {touched.buffers}, sorts {touched.sorted}, scans {scanned}"
        print(f"{row.name}, with {plans}: {counts}")
        is_beyond = max(touched.rows, touched.sorted) > row.rows or touched.buffers > row.buffers
        if is_beyond or touched.scanned - _OF_ONE_ROW:
            most = f"may touch {row.rows:.0f} rows and {row.buffers:.0f} buffers"
            yield "\n".join((f"{row.name}, with {plans}: {most}, touches {counts}", *touched.plans))


def touched_by(connection: Connection, database: Database, row: Row) -> Touched:
    """Return what a call touches, of which nothing stays."""
    touched = Touched()
    with connection.begin() as transaction:
        MeasuringConnection.touched = touched
        try:
            row.call(AtSize(connection, database))
        except (DBAPIError, psycopg.Error) as error:
            touched.rows = touched.buffers = sys.maxsize
            touched.plans.append(str(error))
        finally:
            MeasuringConnection.touched = None
            transaction.rollback()
    return touched
