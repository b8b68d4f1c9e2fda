"""harbor-api migrate in processes of its own: where the database comes later, and where others migrate it."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
from tests.conftest import NewDatabase

from harbor_api.postgres import migrations

pytestmark = pytest.mark.process
COMMAND = [sys.executable, "-m", "harbor_api.cli", "migrate"]
_PATIENCE_S = 60
# Stops a migration in the middle for as long as somebody else holds the lock.
_GATE = 4242
_STOP_IN_THE_MIDDLE = f"""
CREATE FUNCTION wait_at_the_gate() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
    IF to_regclass('quarantine') IS NOT NULL THEN PERFORM pg_advisory_xact_lock_shared({_GATE}); END IF;
END $$;
CREATE EVENT TRIGGER gate ON ddl_command_start EXECUTE FUNCTION wait_at_the_gate()
"""


@pytest.fixture
def later(new_database: NewDatabase, worker_id: str) -> Iterator[tuple[str, str]]:
    """Return the URL of a database that there is not yet, and that of one that there is."""
    there, name = new_database(), f"later_{worker_id}"
    parts = there.partition("?")
    yield parts[0].rpartition("/")[0] + f"/{name}?{parts[2]}", there
    with psycopg.connect(there, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _create(later: tuple[str, str], worker_id: str) -> None:
    with psycopg.connect(later[1], autocommit=True) as connection:
        # Not of the usual template, which nobody may be connected to just now.
        connection.execute(f"CREATE DATABASE later_{worker_id} TEMPLATE template0")


@contextmanager
def _migrating(url: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HARBOR_")}
    with subprocess.Popen(
        [*COMMAND, *arguments],
        env=environ | {"HARBOR_DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _wait_for(connection: psycopg.Connection[Any], statement: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while connection.execute(statement).fetchone() is None:
        assert time.monotonic() < deadline, statement
        time.sleep(0.05)


def test_a_database_that_comes_later_is_waited_for_and_why_is_told(later, worker_id):
    with _migrating(later[0], "--wait", "60") as process:
        assert process.stderr is not None
        told = process.stderr.readline()
        _create(later, worker_id)
        out, more = process.communicate(timeout=_PATIENCE_S)
    assert told == (
        f"waiting for up to 60 s: there is no database later_{worker_id}: "
        "create it, or see HARBOR_DATABASE_URL\n"
    )
    assert (process.returncode, more, out) == (0, "", f"from empty to {migrations.head()}\n")


def test_a_database_that_does_not_come_fails_in_one_line(later):
    with _migrating(later[0], "--wait", "1") as process:
        _, told = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 1
    waiting, failed = told.splitlines()
    assert waiting.startswith("waiting for up to 1 s: there is no database")
    assert failed.startswith("harbor-api: there is no database")


def test_four_hosts_at_once_migrate_an_empty_database_once(later, worker_id):
    _create(later, worker_id)
    with ExitStack() as stack:
        processes = [stack.enter_context(_migrating(later[0], "--wait", "60")) for _ in range(4)]
        ended = [(*process.communicate(timeout=_PATIENCE_S), process.returncode) for process in processes]
    assert {(err, status) for _, err, status in ended} == {("", 0)}
    said = {out for out, _, _ in ended}
    assert f"from empty to {migrations.head()}\n" in said
    # Whoever looks while another one migrates finds what that has done so far.
    told = re.compile(rf"(from (empty|[0-9]{{4}}) to {migrations.head()}|at {migrations.head()} already)\n")
    assert [each for each in said if not told.fullmatch(each)] == []


def test_one_that_is_killed_in_the_middle_leaves_nothing_and_another_goes_on(later, worker_id):
    _create(later, worker_id)
    with psycopg.connect(later[0], autocommit=True) as connection:
        connection.execute(_STOP_IN_THE_MIDDLE)
        connection.execute(f"SELECT pg_advisory_lock({_GATE})")
        with _migrating(later[0], "--wait", "60") as first:
            _wait_for(connection, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            with _migrating(later[0], "--wait", "60") as second:
                _wait_for(
                    connection,
                    "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_try_advisory_xact_lock%' "
                    "AND state = 'idle in transaction'",
                )
                first.kill()
                first.wait()
                connection.execute(f"SELECT pg_advisory_unlock({_GATE})")
                out, err = second.communicate(timeout=_PATIENCE_S)
        assert (second.returncode, err, out) == (0, "", f"from empty to {migrations.head()}\n")
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [
            (migrations.head(),)
        ]


def test_a_migration_of_another_host_that_does_not_end_is_told(later, worker_id):
    _create(later, worker_id)
    with psycopg.connect(later[0]) as other:
        # What `_MIGRATION_LOCK` in alembic/env.py is.
        other.execute("SELECT pg_advisory_lock(1296648018)")
        with _migrating(later[0]) as process:
            _, told = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 1
    assert told == (
        "harbor-api: another migration has not ended within 4 s: let it end, and run this again\n"
    )
