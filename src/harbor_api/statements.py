"""Statements that psycopg sends as they are, for what every fix needs.

SQLAlchemy takes longer to run a finished text than PostgreSQL takes to do what it says; here nothing stands
between. They run in the transaction of the connection that they are given, on either side of Core's.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

Row = tuple[Any, ...]


def rows(connection: Connection, query: bytes, values: Mapping[str, Any]) -> list[Row]:
    """Run a query with psycopg's placeholders, ``%(name)s``, and return its rows."""
    return list(_psycopg(connection).execute(query, values).fetchall())


def run(connection: Connection, query: bytes, values: Mapping[str, Any]) -> None:
    """Run a statement that returns no rows."""
    _psycopg(connection).execute(query, values)


def _psycopg(connection: Connection) -> Any:
    return connection.connection.driver_connection
