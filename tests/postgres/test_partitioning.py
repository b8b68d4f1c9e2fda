"""Migration 0012: positions that are there become partitions, beside traffic and wherever it is ended."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from alembic import command
from sqlalchemy import Connection, event
from sqlalchemy.exc import SQLAlchemyError
from tests.conftest import NewDatabase
from tests.support import sql

from harbor_api.database import Database
from harbor_api.domain.errors import Conflict
from harbor_api.postgres import connections, migrations

_FILL = """
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
SELECT n % 5, timestamptz '2024-01-01' + n * interval '1 h', 1, now(), 59, 10, nextval('fleet_order')
FROM generate_series(1, 20000) AS n
"""
_BOUNDS = """
SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition AND relkind = 'r'
ORDER BY relname
"""


@pytest.fixture
def database(new_database: NewDatabase) -> Iterator[Database]:
    """Return a database as it was before there were partitions, with positions in it."""
    database = Database(new_database())
    downgrade(database, "0011")
    sql.run(database, _FILL)
    yield database
    database.dispose()


def downgrade(database: Database, revision: str) -> None:
    with connections.transacting(database.engine).connect() as connection:
        config = migrations._config()
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def digest(database: Database) -> tuple[Any, ...]:
    text = "SELECT count(*), sum(hashtextextended(p::text, 0)) FROM positions AS p"
    return tuple(sql.run(database, text)[0])


def test_what_is_there_becomes_one_partition_and_months_come_behind_it(database: Database):
    before = digest(database)
    place = sql.value(database, "SELECT pg_relation_filenode('positions')")
    migrations.upgrade(database.engine)
    assert digest(database) == before
    bounds = dict(tuple(row) for row in sql.run(database, _BOUNDS))
    wide, *months = sorted(bounds, key=lambda name: name.removeprefix("positions_before_"))
    assert wide.startswith("positions_before_")
    assert bounds[wide].startswith("FOR VALUES FROM (MINVALUE) TO ")
    # Not a row was written anew.
    assert sql.value(database, f"SELECT pg_relation_filenode('{wide}')") == place
    assert sql.value(database, f"SELECT count(*) FROM {wide}") == before[0]
    assert all(f"'{name[-7:-3]}-{name[-2:]}-01 00:00:00+00'" in bounds[name] for name in months)
    with database.autocommit() as unit_of_work:
        there = unit_of_work.partitions.all()
        now = datetime.now(UTC)
        # The release before this one may go on for four weeks: all that it stores is in one partition.
        assert there[0].until is not None
        assert 28 <= (there[0].until - now).days <= 60
        assert unit_of_work.partitions.ahead(now).days >= 92


def test_down_and_up_again_loses_nothing(database: Database):
    before = digest(database)
    migrations.upgrade(database.engine)
    sql.run(
        database,
        "INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq) "
        "SELECT 9, now() + n * interval '30 days', 1, now(), 1, 1, 10 + n FROM generate_series(0, 3) AS n",
    )
    sql.run(
        database,
        "INSERT INTO latest_positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq) "
        "SELECT vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq FROM positions "
        "ORDER BY recorded_at DESC LIMIT 1",
    )
    grown = digest(database)
    assert grown[0] == before[0] + 4
    downgrade(database, "0011")
    assert digest(database) == grown
    assert sql.value(database, "SELECT relkind FROM pg_class WHERE relname = 'positions'") == "r"
    assert sql.column(
        database, "SELECT relname FROM pg_class WHERE relname LIKE 'positions%' ORDER BY 1"
    ) == [
        "positions",
        "positions_pkey",
        "positions_seq_idx",
    ]
    # Nothing of the future can be stored, so what is put there is not brought in again.
    with pytest.raises(Conflict, match="out of history"):
        migrations.upgrade(database.engine)
    for table in ("positions", "latest_positions"):
        sql.run(database, f"DELETE FROM {table} WHERE vessel_id = 9")
    migrations.upgrade(database.engine)
    assert digest(database) == before


# Parts of what the migration says, in order: where it may be ended.
_PARTS = (
    *("NOT VALID", "VALIDATE", "RENAME TO", "ATTACH PARTITION", "DROP CONSTRAINT"),
    "UPDATE alembic_version",
)


@pytest.mark.parametrize("part", _PARTS)
@pytest.mark.parametrize("is_after", [False, True])
def test_ended_anywhere_it_goes_on_when_it_is_run_again(database: Database, part: str, is_after: bool):
    before = digest(database)

    url = database.engine.url.set(drivername="postgresql").render_as_string(False)
    when = "after_cursor_execute" if is_after else "before_cursor_execute"

    def end(connection: Connection, _: Any, text: str, *__: Any) -> None:
        if part in text:
            pid = connection.connection.driver_connection.info.backend_pid
            with psycopg.connect(url) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    event.listen(database.engine, when, end)
    with pytest.raises(SQLAlchemyError):
        migrations.upgrade(database.engine)
    event.remove(database.engine, when, end)
    # Whatever there is, it takes in and tells what comes.
    sql.run(
        database,
        "INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq) "
        "VALUES (9, now() + interval '1 day', 1, now(), 1, 1, 1)",
    )
    assert sql.count(database, "positions") == before[0] + 1
    migrations.upgrade(database.engine)
    assert database.schema_revision() == migrations.head()
    assert sql.value(database, "SELECT relkind FROM pg_class WHERE relname = 'positions'") == "p"
    assert sql.count(database, "positions") == before[0] + 1
    assert sql.value(database, "SELECT count(*) FROM pg_constraint WHERE conname LIKE '%recorded_check'") == 0


def test_it_waits_for_who_reads_and_nobody_waits_long_for_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    """A long transaction holds it up; each try is short, so that others get in between."""
    refused: list[str] = []
    with psycopg.connect(database.engine.url.set(drivername="postgresql").render_as_string(False)) as reader:
        reader.execute("SELECT FROM positions LIMIT 1")

        def look(told: Any) -> None:
            refused.append(str(told.original_exception))
            if len(refused) == 2:
                reader.rollback()

        event.listen(database.engine, "handle_error", look)
        migrations.upgrade(database.engine)
    assert len(refused) == 2
    assert all("lock timeout" in each for each in refused)
    assert sql.value(database, "SELECT relkind FROM pg_class WHERE relname = 'positions'") == "p"


def test_what_was_granted_is_granted_on(database: Database):
    role = f"service_of_{database.engine.url.database}"
    sql.run(database, f"CREATE ROLE {role}")
    sql.run(database, f"GRANT SELECT, INSERT, DELETE ON positions TO {role}")
    asked = (
        "SELECT string_agg(privilege_type, ' ' ORDER BY privilege_type) FROM pg_class, aclexplode(relacl) "
        f"WHERE pg_class.oid = 'positions'::regclass AND grantee = '{role}'::regrole"
    )
    try:
        migrations.upgrade(database.engine)
        assert sql.value(database, asked) == "DELETE INSERT SELECT"
        downgrade(database, "0011")
        assert sql.value(database, asked) == "DELETE INSERT SELECT"
    finally:
        sql.run(database, f"DROP OWNED BY {role}")
        sql.run(database, f"DROP ROLE {role}")
