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
HEALTH = "application/health+json"


def _told(answer) -> tuple[int, str]:
    """Return the status, and what an operator is told of what is not well."""
    if answer.content_type != HEALTH:
        return answer.status_code, answer.json["detail"]
    assert (answer.json["status"] == "fail") == (answer.status_code == 503)
    assert answer.status_code == 200 or answer.headers["Retry-After"]
    return answer.status_code, " ".join(each.get("output", "") for [each] in answer.json["checks"].values())


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
    assert (answer.status_code, answer.json["status"]) == (200, "ok" if path == "/health" else "pass")


@pytest.mark.parametrize("path", BOTH)
def test_a_database_without_tables(client: CheckedClient, database: Database, path):
    sql.run(database, "ALTER TABLE alembic_version RENAME TO hidden")
    try:
        answer = client.get(path)
    finally:
        sql.run(database, "ALTER TABLE hidden RENAME TO alembic_version")
    status, told = _told(answer)
    assert status == 503
    assert "run harbor-api migrate" in told
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
    status, told = _told(answer)
    assert status == 503
    assert advice in told


def test_a_database_of_a_newer_release_leaves_this_one_ready(client: CheckedClient, database: Database):
    with _at(database, "9999"):
        health = client.get("/health")
        ready = client.get("/health/ready")
    assert (ready.status_code, ready.json["status"]) == (200, "warn")
    assert ready.json["checks"]["postgresql:schema"][0]["status"] == "warn"
    assert (health.json["status"], health.json["schema"]) == ("degraded", "newer")
    assert client.get("/health").json["schema"] == "current"


@pytest.mark.parametrize("path", BOTH)
def test_another_master_key(app: Flask, client: CheckedClient, path):
    assert client.get(path).status_code == 200
    settings = replace(runtime.of(app).settings, tracker_master_key=b"w" * 32)
    other = create_app(settings)
    answer = CheckedClient(other).get(path)
    status, told = _told(answer)
    assert (status, told.strip()) == (503, "The master key is not the one of this database")
    for key in (settings.tracker_master_key, runtime.of(app).settings.tracker_master_key):
        assert check_value(key or b"").hex() not in answer.text
    runtime.of(other).database.dispose()


def test_each_part_is_told_of(app: Flask, client: CheckedClient):
    checks = client.get("/health/ready").json["checks"]
    assert {name: [each["status"] for each in found] for name, found in checks.items()} == {
        "postgresql:responseTime": ["pass"],
        "postgresql:schema": ["pass"],
        "postgresql:masterKey": ["pass"],
    }
    assert checks["postgresql:responseTime"][0]["observedValue"] > 0
    alone = create_app(replace(runtime.of(app).settings, redis_url="redis://127.0.0.1:1/0"))
    answer = CheckedClient(alone).get("/health/ready")
    assert (answer.status_code, answer.json["status"]) == (200, "warn")
    assert answer.json["checks"]["redis:limits"][0]["status"] == "warn"
    runtime.of(alone).database.dispose()
