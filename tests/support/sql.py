"""SQL past the repositories: what a test plants, and what it finds that no part of the service tells."""

import os
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

from harbor_api.database import Database, UnitOfWork


def connection_of(unit_of_work: UnitOfWork) -> Connection:
    """Return the connection that a unit of work keeps to itself."""
    return unit_of_work._connection


def run(where: Database | UnitOfWork, statement: str, **values: Any) -> Sequence[Any]:
    """Run a statement and return its rows, none of one that has none.

    In a unit of work it is a part of its transaction; of a database, a transaction of its own.
    """
    if isinstance(where, Database):
        with where.autocommit() as unit_of_work:
            return run(unit_of_work, statement, **values)
    connection = connection_of(where)
    if "HARBOR_TEST_CITUS" in os.environ:
        # The statements of the service name no distributed table, but for tests' own Citus wants the values.
        connection.exec_driver_sql("SET plan_cache_mode = force_custom_plan")
    result = connection.execute(text(statement), values)
    rows = result.all() if result.returns_rows else []
    if "HARBOR_TEST_CITUS" in os.environ:
        connection.exec_driver_sql("SET plan_cache_mode = force_generic_plan")
    return rows


def column(where: Database | UnitOfWork, statement: str, **values: Any) -> list[Any]:
    """Return the first member of each row that a statement finds."""
    return [row[0] for row in run(where, statement, **values)]


def value(where: Database | UnitOfWork, statement: str, **values: Any) -> Any:
    """Return the only thing that a statement finds."""
    [found] = column(where, statement, **values)
    return found


def count(where: Database | UnitOfWork, table: str) -> int:
    """Return how many rows a table has."""
    counted: int = value(where, f"SELECT count(*) FROM {table}")
    return counted
