"""The tables that Alembic makes are those that the code speaks of."""

from datetime import UTC, datetime
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from tests.conftest import NewDatabase
from tests.support import sql

from harbor_api.database import Database
from harbor_api.postgres import connections, migrations
from harbor_api.postgres.tables import metadata


def test_migrations_and_tables_agree(database: Database):
    def is_no_partition(name: str | None, kind: str, _: Any) -> bool:
        return kind != "table" or not str(name).startswith("positions_")

    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": is_no_partition})
        assert compare_metadata(context, metadata) == []


_KEYS = """
SELECT conrelid::regclass::text, (
    SELECT array_agg(attname::text) FROM pg_attribute
    WHERE attrelid = indrelid AND attnum = ANY (indkey::smallint[])
)
FROM pg_index LEFT JOIN pg_constraint ON conindid = indexrelid
WHERE indisunique AND indrelid = ANY (ARRAY['positions', 'latest_positions']::regclass[])
"""
_BOUND = """
SELECT conname::text FROM pg_constraint
WHERE contype = 'f' AND 'positions'::regclass IN (conrelid, confrelid)
    OR contype = 'f' AND 'latest_positions'::regclass IN (conrelid, confrelid)
UNION ALL SELECT tgname::text FROM pg_trigger
WHERE tgrelid = ANY (ARRAY['positions', 'latest_positions']::regclass[])
"""


def test_what_grows_could_be_distributed_by_vessel(database: Database):
    """Each unique key holds the vessel, and neither triggers nor foreign keys are in the way."""
    keys = sql.run(database, _KEYS)
    assert {name for name, _ in keys} == {"positions", "latest_positions"}
    assert all("vessel_id" in columns for _, columns in keys)
    assert sql.column(database, _BOUND) == []


def test_migrating_again_changes_nothing(database: Database):
    migrations.upgrade(database.engine)
    assert database.schema_revision() == migrations.head()


def test_a_pool_of_one_connection_is_enough_to_migrate(new_database: NewDatabase):
    database = Database(new_database(), pool_size=1)
    try:
        sql.run(database, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        database.migrate()
        assert database.schema_revision() == migrations.head()
        assert database.pool() == (1, 0)
    finally:
        database.dispose()


def test_what_was_released_before_it_was_noted_is_known_to_be(new_database: NewDatabase):
    database = Database(new_database())
    try:
        with connections.transacting(database.engine).connect() as connection:
            config = migrations._config()
            config.attributes["connection"] = connection
            command.downgrade(config, "0008")
        for name in ("released", "never held"):
            sql.run(
                database,
                "INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq) "
                "VALUES (1, '2026-01-02', :tracker, '2026-01-02', 59, 10, nextval('fleet_order'))",
                tracker=len(name),
            )
        sql.run(
            database,
            "INSERT INTO quarantine (vessel_id, recorded_at, tracker_id, received_at, reason, fix, state, "
            "decided_at) VALUES (1, '2026-01-02', 8, '2026-01-02', 'time_in_future', '{}', 'released', "
            "'2026-02-03T00:00:00Z')",
        )
        migrations.upgrade(database.engine)
        found = sql.run(database, "SELECT tracker_id, released_at FROM positions ORDER BY tracker_id")
        assert [tuple(row) for row in found] == [(8, datetime(2026, 2, 3, tzinfo=UTC)), (10, None)]
    finally:
        database.dispose()
