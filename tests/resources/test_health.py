"""Health and readiness: whether the database is one that this release can serve."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from flask import Flask
from tests.support import sql
from tests.support.checked_client import CheckedClient

from harbor_api.app import create_app
from harbor_api.database import Database
from harbor_api.domain.signatures import check_value
from harbor_api.web import runtime

BOTH = ("/health", "/health/ready")


@contextmanager
def _at(database: Database, revision: str) -> Iterator[None]:
    before = database.schema_revision()
    sql.run(database, "UPDATE alembic_version SET version_num = :revision", revision=revision)
    try:
        yield
    finally:
        sql.run(database, "UPDATE alembic_version SET version_num = :revision", revision=before)


@pytest.mark.parametrize("path", BOTH)
def test_well(client: CheckedClient, path):
    answer = client.get(path)
    assert (answer.status_code, answer.json["status"]) == (200, "ok")


@pytest.mark.parametrize("path", BOTH)
def test_a_database_without_tables(client: CheckedClient, database: Database, path):
    sql.run(database, "ALTER TABLE alembic_version RENAME TO hidden")
    try:
        answer = client.get(path)
    finally:
        sql.run(database, "ALTER TABLE hidden RENAME TO alembic_version")
    assert (answer.status_code, answer.json["code"]) == (503, "migrations_pending")
    assert "run harbor-api migrate" in answer.json["detail"]
    assert client.get("/health/live").status_code == 200


@pytest.mark.parametrize(
    ("revision", "advice"), [("0001", "run harbor-api migrate"), ("0000", "use the release that migrated it")]
)
@pytest.mark.parametrize("path", BOTH)
def test_a_database_of_an_older_release_or_none_of_ours(
    client: CheckedClient, database: Database, path, revision, advice
):
    with _at(database, revision):
        answer = client.get(path)
    assert (answer.status_code, answer.json["code"]) == (503, "migrations_pending")
    assert advice in answer.json["detail"]


def test_a_database_of_a_newer_release_leaves_this_one_ready(client: CheckedClient, database: Database):
    with _at(database, "9999"):
        health = client.get("/health")
        assert client.get("/health/ready").status_code == 200
    assert (health.json["status"], health.json["schema"]) == ("degraded", "newer")
    assert client.get("/health").json["schema"] == "current"


@pytest.mark.parametrize("path", BOTH)
def test_another_master_key(app: Flask, client: CheckedClient, path):
    assert client.get(path).status_code == 200
    settings = replace(runtime.of(app).settings, tracker_master_key=b"w" * 32)
    other = create_app(settings)
    answer = CheckedClient(other).get(path)
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert answer.json["detail"] == "The master key is not the one of this database"
    for key in (settings.tracker_master_key, runtime.of(app).settings.tracker_master_key):
        assert check_value(key or b"").hex() not in answer.text
    runtime.of(other).database.dispose()
