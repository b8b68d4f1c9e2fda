"""What holds for each connection of the service, and how it gets there where PgBouncer stands between.

A connection of its own asks for it when it is made. PgBouncer in transaction mode hands each transaction to
whichever of its connections is free, and refuses what is asked for at the start. Then the role has it:
``harbor-api migrate`` tells PostgreSQL (ALTER ROLE ... IN DATABASE ... SET), and each connection that is made
to the pooler looks whether that has reached what is behind it.
"""

from typing import Any

import psycopg
from sqlalchemy import Engine

# A plan that is made while a table is small is kept until the next ANALYZE, while the table may grow by
# millions of rows: every statement of ours has an index to go by instead. So one plan is right for any
# values, and to plan for each takes longer than most statements do. Times are written in UTC.
_ALWAYS = {
    "TimeZone": "UTC",
    "enable_seqscan": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}
_IS_TOLD = b"SELECT " + b" AND ".join(
    f"current_setting('{name}') = '{value}'".encode() for name, value in _ALWAYS.items()
)
_DATABASE = "SELECT quote_ident(current_database())"
NOT_TOLD = "the role lacks what connections of the service need"
# What one statement tells the next there, another client's could have told (``distributed_forms.py``).
DISTRIBUTED = "positions are distributed, which no pooler may stand before"


def settings(timeout_ms: int) -> dict[str, str]:
    """Return PostgreSQL's settings for a connection on which each wait is bounded by ``timeout_ms``."""
    return {
        "statement_timeout": str(timeout_ms),
        "lock_timeout": str(timeout_ms),
        "idle_in_transaction_session_timeout": str(timeout_ms * 2),
        **_ALWAYS,
    }


def options(timeout_ms: int) -> str:
    """Return the same as libpq hands it over at the start of a connection."""
    return " ".join(f"-c {name}={value}" for name, value in settings(timeout_ms).items())


def tell(engine: Engine, timeout_ms: int) -> None:
    """Let connections that the role makes to this database from now on have the same without asking."""
    with engine.connect() as connection:
        database = connection.exec_driver_sql(_DATABASE).scalar_one()
        for name, value in settings(timeout_ms).items():
            told = f"ALTER ROLE CURRENT_USER IN DATABASE {database} SET {name} = '{value}'"
            # The name of a database may hold what a driver takes for a placeholder.
            connection.exec_driver_sql(told.replace("%", "%%"))


def demand_told(connection: "psycopg.Connection[Any]") -> None:
    """Raise OperationalError where what is behind a pooler does not have it."""
    autocommit = connection.autocommit
    connection.autocommit = True
    [(is_told,)] = connection.execute(_IS_TOLD).fetchall()
    connection.autocommit = autocommit
    if not is_told:
        connection.close()
        raise psycopg.OperationalError(NOT_TOLD)
