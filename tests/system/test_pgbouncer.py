"""By way of a PgBouncer in transaction mode: fixes, the feed, streams, and what an operator sees."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.conftest import NewDatabase
from tests.support import sql
from tests.support.factories import SigningTracker, a_fix
from tests.support.live_service import LiveService
from tests.support.pgbouncer import PgBouncer
from tests.support.streams import StreamClient
from tests.support.urls import BATCH, POSITIONS

from harbor_api.database import Database

_LISTENING = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'
"""
_LOCKED = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (
    SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.fixture
def url(new_database: NewDatabase) -> str:
    """Return a database whose role was told what the service needs."""
    url = new_database()
    database = Database(url)
    database.let_pool()
    database.dispose()
    return url


@contextmanager
def _pooled(url: str, pooler: PgBouncer, log: Path, **settings: Any) -> Iterator[LiveService]:
    service = LiveService(url, log=log, database_pooler="transaction", **settings)
    service.environ["HARBOR_DATABASE_URL"] = pooler.url(url)
    with service:
        yield service


def _post(service: LiveService, tracker: SigningTracker, number: int) -> int:
    signed = tracker.signed(a_fix(number))
    return service.http.post(POSITIONS, content=signed["data"], headers=signed["headers"]).status_code


def test_many_send_and_follow_by_way_of_few_connections(url: str, tmp_path: Path) -> None:
    with (
        PgBouncer(url, connections=2) as pooler,
        _pooled(url, pooler, tmp_path / "log", workers=2, database_direct_url=url) as service,
    ):
        bearer, trackers = service.world.bearer(), [service.world.tracker() for _ in range(8)]
        begin = service.http.get("/api/v1/vessels", headers=bearer).json()["cursor"]
        with StreamClient(service.port, bearer, cursor=begin) as stream:
            stream.until_event("hello")
            statuses: list[int] = []

            def send(tracker: SigningTracker) -> None:
                statuses.extend(_post(service, tracker, number) for number in range(20))
                batch = {"fixes": [a_fix(number) for number in range(10, 60)]}
                signed = tracker.signed(batch, url=BATCH)
                answer = service.http.post(BATCH, content=signed["data"], headers=signed["headers"])
                verdicts = [each["verdict"] for each in answer.json()["verdicts"]]
                assert verdicts == ["duplicate"] * 10 + ["stored"] * 40

            threads = [threading.Thread(target=send, args=(each,)) for each in trackers]
            for each in threads:
                each.start()
            for each in threads:
                each.join()
            assert statuses == [201] * 160
            stream.until(lambda it: len(it.items) == 480)
        page = service.http.get(POSITIONS, params={"cursor": begin, "limit": 1_000}, headers=bearer).json()
        assert [each["id"] for each in page["items"]] == [each["id"] for each in stream.items]
        assert len({each["id"] for each in page["items"]}) == 480
        # Nothing that is locked or set outlives its transaction, and who listens does so past the pooler.
        assert sql.value(service._database, _LOCKED) == 0
        assert sql.value(service._database, _LISTENING) >= 1
        assert {row[0] for row in pooler.admin("SHOW SERVERS")} == {"S"}
        assert len(pooler.admin("SHOW SERVERS")) <= 2


def test_who_waits_for_a_connection_waits_until_the_server_is_looked_for_again(url: str) -> None:
    """Else nobody is answered for a while after a PostgreSQL that was away is back, or another took over."""
    with PgBouncer(url) as pooler:
        told = {str(name): value for name, value, *_ in pooler.admin("SHOW CONFIG")}
    assert float(told["server_login_retry"]) < float(told["query_wait_timeout"])


def test_without_a_direct_connection_news_come_within_a_second_and_the_start_says_so(
    url: str, tmp_path: Path
) -> None:
    with PgBouncer(url) as pooler, _pooled(url, pooler, tmp_path / "log") as service:
        bearer, tracker = service.world.bearer(), service.world.tracker()
        with StreamClient(service.port, bearer, begin="now") as stream:
            stream.until_event("hello")
            assert _post(service, tracker, 0) == 201
            stream.until_event("position")
        assert sql.value(service._database, _LISTENING) == 0
        assert "set HARBOR_DATABASE_DIRECT_URL to hear of it from PostgreSQL itself" in service.log()


def test_a_role_that_was_not_told_is_told_of(new_database: NewDatabase, tmp_path: Path) -> None:
    url = new_database()
    with PgBouncer(url) as pooler, _pooled(url, pooler, tmp_path / "log") as service:
        assert service.http.get("/health/ready").status_code == 503
        assert "run harbor-api migrate as it, with HARBOR_DATABASE_POOLER=transaction" in service.log()
        with psycopg.connect(url, autocommit=True) as connection:
            database = Database(url)
            database.let_pool()
            database.dispose()
            [(told,)] = connection.execute(
                "SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = ("
                "SELECT oid FROM pg_database WHERE datname = current_database())"
            ).fetchall()
            assert {"TimeZone=UTC", "enable_seqscan=off", "statement_timeout=5000"} <= set(told)
        pooler.admin("RECONNECT")
        deadline = time.monotonic() + 30
        while service.http.get("/health/ready").status_code != 200:
            assert time.monotonic() < deadline, service.log()
            time.sleep(0.05)


def test_a_pooler_that_the_service_was_not_told_of_is_told_of(url: str, tmp_path: Path) -> None:
    with PgBouncer(url) as pooler:
        service = LiveService(url, log=tmp_path / "log")
        service.environ["HARBOR_DATABASE_URL"] = pooler.url(url)
        with service:
            assert service.http.get("/health/ready").status_code == 503
            assert "leads to a PgBouncer: set HARBOR_DATABASE_POOLER=transaction" in service.log()
