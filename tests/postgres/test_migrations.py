"""The tables that Alembic makes are those that the code speaks of."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from harbor_api.database import Database
from harbor_api.postgres import migrations
from harbor_api.postgres.tables import metadata


def test_migrations_and_tables_agree(database: Database):
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_migrating_again_changes_nothing(database: Database):
    migrations.upgrade(database.engine)
    assert database.schema_revision() == migrations.head()
