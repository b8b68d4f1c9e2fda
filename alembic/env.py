"""How Alembic reaches the database: with the connection that the caller hands over.

``harbor-api migrate`` hands one over; the plain ``alembic`` command reads the same settings.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from alembic import context
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text

from harbor_api.domain.errors import Unavailable
from harbor_api.postgres import tables
from harbor_api.settings import Settings

# Two migrations at once must not interleave; this number only has to differ from other locks.
_MIGRATION_LOCK = 0x4D494752
_WAIT_AT_LEAST_S = 4
_LOOK_AGAIN_S = 0.2


def migrate(connection: Connection) -> None:
    """Run the migrations, each in a transaction of its own, alone, and never wait long for a busy table.

    Who comes second waits for the first, and finds that all is done; Unavailable where that takes too long.
    """
    event.listen(connection, "begin", _bound)
    with _alone(connection.engine):
        context.configure(
            connection=connection, target_metadata=tables.metadata, transaction_per_migration=True
        )
        with context.begin_transaction():
            context.run_migrations()


def _bound(connection: Connection) -> None:
    # A migration that waits for a lock makes everybody else wait behind it: better to fail soon
    # and be started again. One that runs long does so on purpose and raises this for itself.
    connection.exec_driver_sql("SET LOCAL lock_timeout = '4s'")
    connection.exec_driver_sql("SET LOCAL statement_timeout = '5s'")


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """Hold the lock of migrations by a transaction beside theirs: it ends with this process, however it ends.

    A session's lock would not do behind PgBouncer, which gives each transaction another session.
    """
    handed_over = context.config.attributes.get("keeper")
    with nullcontext(handed_over) if handed_over is not None else engine.connect() as keeper, keeper.begin():
        wait_s = max(_WAIT_AT_LEAST_S, context.config.attributes.get("wait_s", 0))
        deadline = time.monotonic() + wait_s
        # Asked again and again: whoever waits for a lock is ended by the time-outs that are for statements.
        while not keeper.scalar(text(f"SELECT pg_try_advisory_xact_lock({_MIGRATION_LOCK})")):
            if time.monotonic() > deadline:
                cause = f"another migration has not ended within {wait_s} s: let it end, and run this again"
                raise Unavailable("The database is being migrated", cause=cause)
            time.sleep(_LOOK_AGAIN_S)
        # Last, as it keeps no snapshot that would hold up others.
        keeper.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield


handed_over = context.config.attributes.get("connection")
if handed_over is not None:
    migrate(handed_over)
else:
    url = Settings.from_environ(os.environ).database_url
    if url is None:
        raise SystemExit("Set HARBOR_DATABASE_URL, or use harbor-api migrate")
    with create_engine(make_url(url).set(drivername="postgresql+psycopg")).connect() as opened:
        migrate(opened)
