"""Backups by PostgreSQL's own programs: what was stored is there again, and who followed goes on."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flask import Flask
from tests.cli import commands
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import MASTER_KEY, SigningTracker, World
from tests.support.live_service import OwnPostgres
from tests.support.urls import FEEDS, POSITIONS, VESSELS

from harbor_api.app import create_app
from harbor_api.database import Database
from harbor_api.domain.months import Month
from harbor_api.domain.times import rfc3339
from harbor_api.postgres import embedded
from harbor_api.settings import Settings
from harbor_api.web import runtime

_NOW = datetime.now(UTC).replace(microsecond=0)


@contextmanager
def _service(url: str) -> Iterator[tuple[Flask, CheckedClient]]:
    app = create_app(Settings(database_url=url, tracker_master_key=MASTER_KEY, stream_s=0))
    try:
        yield app, CheckedClient(app)
    finally:
        runtime.of(app).database.dispose()


def _post(client: CheckedClient, tracker: SigningTracker, minutes: int) -> None:
    fix = {"recorded_at": rfc3339(_NOW + timedelta(minutes=minutes)), "lat": 59.9, "lon": 10.7}
    assert client.post(POSITIONS, **tracker.signed(fix)).status_code == 201


def _told(client: CheckedClient, bearer: dict[str, str], cursor: str) -> list[str]:
    page = client.get(POSITIONS, query_string={"cursor": cursor}, headers=bearer).json
    return [each["recorded_at"] for each in page["items"]]


def _kept(database: Database) -> dict[str, Any]:
    """Return how many rows there are of everything, and a digest of them."""
    tables = ("vessels", "trackers", "positions", "latest_positions", "api_keys", "feeds", "audit")
    text = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {} AS t"
    return {table: tuple(sql.run(database, text.format(table))[0]) for table in tables}


def _run(name: str, *arguments: str) -> None:
    asked = [embedded.programs() / name, *arguments]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, env={"LC_ALL": "C"})
    assert done.returncode == 0, done.stderr


def test_a_dump_that_is_restored_into_an_empty_server_goes_on(tmp_path: Path):
    dump = str(tmp_path / "harbor.dump")
    with OwnPostgres() as before, OwnPostgres() as after:
        with _service(before.url) as (app, client):
            database = runtime.of(app).database
            world = World(database)
            tracker, bearer = world.tracker(), world.bearer()
            begun = client.get(POSITIONS, query_string={"from": "now"}, headers=bearer).json["next"]
            client.put(f"{FEEDS}/warehouse", json={}, headers=bearer)
            for minutes in range(-60 * 24 * 40, 0, 60 * 24):
                _post(client, tracker, minutes)
            # What is settled, and what holds it to be so, is in the dump as well.
            assert database.settle_partitions(before=Month.of(_NOW).begin)
            kept = _kept(database)
            _run("pg_dump", "-Fc", "-f", dump, before.url)
        sql_of = Database(after.url)
        sql.run(sql_of, "DROP SCHEMA public CASCADE")
        sql.run(sql_of, "CREATE SCHEMA public")
        _run("pg_restore", "--single-transaction", "--no-owner", "-d", after.url, dump)
        sql.run(sql_of, "ANALYZE")
        sql_of.dispose()
        assert commands.run("migrate", database=after.url).output.endswith(" already\n")
        assert commands.run("master-key check", database=after.url).exit_code == 0
        with _service(after.url) as (app, client):
            assert _kept(runtime.of(app).database) == kept
            assert len(_told(client, bearer, begun)) == 40
            _post(client, tracker, 0)
            # Numbers go on behind those that were given.
            assert len(_told(client, bearer, begun)) == 41
            _post(client, tracker, -60 * 24 * 50)
            assert len(_told(client, bearer, begun)) == 42
            assert (
                client.get(f"{FEEDS}/warehouse/positions", headers=bearer).json["items"][0]["op"] == "upsert"
            )
            assert client.get(VESSELS, headers=bearer).json["features"][0]["geometry"] is not None
        assert commands.run("maintain", database=after.url).exit_code == 0


def test_what_was_deleted_by_mistake_is_there_again_as_it_was_a_moment_before(tmp_path: Path):
    archive = Path(tempfile.mkdtemp(prefix="harbor-archive-"))
    again = Path(tempfile.mkdtemp(prefix="harbor-"))
    try:
        with OwnPostgres() as before:
            owner = before.cluster.stat()
            os.chown(archive, owner.st_uid, owner.st_gid)
            os.chown(again, owner.st_uid, owner.st_gid)
            settings = Database(before.url)
            sql.run(settings, "ALTER SYSTEM SET archive_mode = on")
            sql.run(settings, f"ALTER SYSTEM SET archive_command = 'cp %p {archive}/%f'")
            settings.dispose()
            before.start()
            with _service(before.url) as (app, client):
                database = runtime.of(app).database
                world = World(database)
                tracker, bearer = world.tracker(), world.bearer()
                begun = client.get(POSITIONS, query_string={"from": "now"}, headers=bearer).json["next"]
                _post(client, tracker, -3)
                _run("pg_basebackup", "-D", str(again / embedded.CLUSTER), "-c", "fast", "-d", before.url)
                # What comes behind the backup is in the archive.
                _post(client, tracker, -2)
                kept = _kept(database)
                moment = sql.value(database, "SELECT clock_timestamp()")
                sql.run(database, "DELETE FROM positions")
                sql.run(database, "SELECT pg_switch_wal()")
        # All that was written is in the archive once it has stopped.
        _recover(again, archive, moment, owner)
        membership = embedded.join(again)
        try:
            with _service(membership.url) as (app, client):
                database = runtime.of(app).database
                assert _kept(database) == kept
                assert len(_told(client, bearer, begun)) == 2
                _post(client, tracker, -1)
                assert len(_told(client, bearer, begun)) == 3
        finally:
            membership.leave()
    finally:
        shutil.rmtree(archive, ignore_errors=True)
        shutil.rmtree(again, ignore_errors=True)


def _recover(folder: Path, archive: Path, moment: datetime, owner: os.stat_result) -> None:
    """Have a base backup read the archive up to a moment when it is started, and take what comes from then
    on."""
    cluster = folder / embedded.CLUSTER
    with (cluster / "postgresql.auto.conf").open("a") as settings:
        settings.write(
            f"archive_mode = off\nrestore_command = 'cp {archive}/%f %p'\n"
            f"recovery_target_time = '{moment.isoformat()}'\nrecovery_target_action = 'promote'\n"
        )
    (cluster / "recovery.signal").touch()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
