"""How Alembic reaches the database: with the connection that the caller hands over.

``harbor-api migrate`` hands one over; the plain ``alembic`` command reads the same settings.
"""

import os
import time

from alembic import context
from sqlalchemy import Connection, create_engine, make_url, text

from harbor_api.domain.errors import Unavailable
from harbor_api.postgres import tables
from harbor_api.settings import Settings

# Two migrations at once must not interleave; this number only has to differ from other locks.
_MIGRATION_LOCK = 0x4D494752
_WAIT_AT_LEAST_S = 4
_LOOK_AGAIN_S = 0.2


def migrate(connection: Connection) -> None:
    """Run the migrations in one transaction, alone, and never wait long for a busy table."""
    context.configure(connection=connection, target_metadata=tables.metadata)
    with context.begin_transaction():
        # A migration that waits for a lock makes everybody else wait behind it: better to fail soon
        # and be started again. One that runs long does so on purpose and raises this for itself.
        connection.execute(text("SET LOCAL lock_timeout = '4s'"))
        connection.execute(text("SET LOCAL statement_timeout = '5s'"))
        _take_turn(connection)
        context.run_migrations()


def _take_turn(connection: Connection) -> None:
    """Wait until nobody else migrates this database; Unavailable where that takes too long.

    Asked again and again: whoever waits for a lock is ended by the time-outs that are for the statements.
    The lock goes with the transaction, also where its process was killed.
    """
    wait_s = max(_WAIT_AT_LEAST_S, context.config.attributes.get("wait_s", 0))
    deadline = time.monotonic() + wait_s
    while not connection.scalar(text(f"SELECT pg_try_advisory_xact_lock({_MIGRATION_LOCK})")):
        if time.monotonic() > deadline:
            cause = f"another migration has not ended within {wait_s} s: let it end, and run this again"
            raise Unavailable("The database is being migrated", cause=cause)
        time.sleep(_LOOK_AGAIN_S)


handed_over = context.config.attributes.get("connection")
if handed_over is not None:
    migrate(handed_over)
else:
    url = Settings.from_environ(os.environ).database_url
    if url is None:
        raise SystemExit("Set HARBOR_DATABASE_URL, or use harbor-api migrate")
    with create_engine(make_url(url).set(drivername="postgresql+psycopg")).connect() as opened:
        migrate(opened)
