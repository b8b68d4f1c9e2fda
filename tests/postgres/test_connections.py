"""Connections that PostgreSQL has ended, or has no more of: nobody is refused who could be served."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import QueuePool
from tests.conftest import NewDatabase
from tests.support import sql

from harbor_api.database import Database, UnitOfWork
from harbor_api.domain.errors import Unavailable
from harbor_api.postgres import failures, statements
from harbor_api.postgres.statements import Statement

_LIMIT = 2
_SLOW = "SELECT CAST(:n AS integer) FROM pg_sleep(0.01)"


@pytest.fixture(scope="module")
def url(new_database: NewDatabase) -> str:
    return new_database()


@pytest.fixture
def ours(url: str) -> Iterator[Database]:
    database = Database(url, pool_size=3)
    yield database
    database.dispose()


def _end_all(url: str) -> int:
    """End all other connections to a database, as a restart of PostgreSQL does, and return how many."""
    with psycopg.connect(url, autocommit=True) as connection:
        [[count]] = connection.execute(
            "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    return int(count)


def _open_all(database: Database) -> None:
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(database.autocommit())


def test_a_restart_while_nobody_asks_costs_no_request(ours: Database, url):
    sql.run(ours, "CREATE TABLE IF NOT EXISTS restarts (n integer)")
    for each in range(3):
        _open_all(ours)
        assert _end_all(url) == 3
        assert ours.schema_revision() is not None
        with ours.unit_of_work() as unit_of_work:
            sql.run(unit_of_work, "INSERT INTO restarts VALUES (:n)", n=each)
        assert ours.transact(lambda unit_of_work: sql.value(unit_of_work, "SELECT 1")) == 1
        assert ours.rehearse(lambda unit_of_work: sql.value(unit_of_work, "SELECT 1")) == 1
    assert sql.column(ours, "SELECT n FROM restarts ORDER BY n") == [0, 1, 2]


def test_what_ends_in_the_midst_is_told_and_not_done_twice(ours: Database, url, caplog):
    sql.run(ours, "CREATE TABLE IF NOT EXISTS midst (n integer)")

    def work(unit_of_work: UnitOfWork) -> None:
        sql.run(unit_of_work, "INSERT INTO midst VALUES (1)")
        _end_all(url)
        sql.run(unit_of_work, "INSERT INTO midst VALUES (2)")

    with pytest.raises(Unavailable) as raised:
        ours.transact(work)
    assert raised.value.cause is not None
    assert sql.count(ours, "midst") == 0
    # Each would be a traceback in the operator's log, as often as anybody asks.
    assert not caplog.records


def test_a_read_that_ends_in_the_midst_is_in_nobody_s_log(ours: Database, caplog):
    ended = Statement(b"SELECT pg_terminate_backend(pg_backend_pid())", {})
    with pytest.raises(Unavailable), ours.autocommit() as unit_of_work:
        statements.rows(unit_of_work._connection, ended)
    assert not caplog.records
    assert ours.schema_revision() is not None


def test_what_raises_is_rolled_back_before_anybody_else_has_the_connection(url):
    alone = Database(url, pool_size=1)
    sql.run(alone, "CREATE TABLE IF NOT EXISTS raised (n integer)")

    def work(unit_of_work: UnitOfWork) -> None:
        sql.run(unit_of_work, "INSERT INTO raised VALUES (1)")
        raise LookupError

    with pytest.raises(LookupError):
        alone.transact(work)
    assert sql.count(alone, "raised") == 0
    alone.dispose()


@pytest.fixture
def crowded(url: str, worker_id: str) -> Iterator[Database]:
    """Return a database for a role that PostgreSQL gives two connections, with a pool for eight."""
    role = f"crowded_{worker_id}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT {_LIMIT}")
        database = Database(url.replace("postgres:@", f"{role}@"), pool_size=8, timeout_ms=3_000)
        yield database
        database.dispose()
        connection.execute(f"DROP ROLE {role}")


def test_where_postgresql_has_no_connection_left_one_of_the_pool_is_waited_for(crowded: Database):
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda n: sql.value(crowded, _SLOW, n=n), range(64)))
    assert found == list(range(64))
    assert crowded.engine.pool.checkedin() <= _LIMIT


def test_it_is_waited_for_only_for_so_long(crowded: Database, url):
    impatient = Database(crowded.engine.url.render_as_string(hide_password=False), timeout_ms=100)
    with ExitStack() as held:
        for _ in range(_LIMIT):
            held.enter_context(impatient.autocommit())
        with pytest.raises(Unavailable) as raised, impatient.autocommit():
            pass
        assert raised.value.cause == failures.FULL
        # One that holds none itself is told at once.
        with pytest.raises(Unavailable) as raised, crowded.autocommit():
            pass
        assert raised.value.cause == failures.FULL
    impatient.dispose()


def test_one_that_is_given_back_goes_to_who_waits(crowded: Database):
    with ExitStack() as held:
        for _ in range(_LIMIT):
            held.enter_context(crowded.autocommit())
        asked = threading.Event()
        found: list[int] = []

        def ask() -> None:
            asked.set()
            found.append(sql.value(crowded, "SELECT 1"))

        waiting = threading.Thread(target=ask)
        waiting.start()
        asked.wait()
    waiting.join()
    assert found == [1]


@pytest.mark.parametrize("is_rehearsal", [False, True])
def test_one_that_ends_in_the_midst_comes_back_to_the_pool(ours: Database, url, is_rehearsal: bool):
    def ended(unit_of_work: UnitOfWork) -> None:
        assert _end_all(url) > 0
        # Past Core, which would notice.
        unit_of_work.order.standing()

    def work() -> None:
        if is_rehearsal:
            ours.rehearse(ended)
        else:
            with ours.unit_of_work() as unit_of_work:
                ended(unit_of_work)

    pool = ours.engine.pool
    assert isinstance(pool, QueuePool)
    for _ in range(4):
        with pytest.raises(Unavailable):
            work()
        assert pool.checkedout() == 0


def test_who_waits_for_a_connection_is_counted(url: str):
    def count(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0

    alone = Database(url, pool_size=1, timeout_ms=100)
    waits = count("harbor_database_pool_wait_seconds_count")
    failures_before = count("harbor_database_failures_total", kind="pool")
    with alone.autocommit():
        assert alone.pool() == (1, 1)
        assert count("harbor_database_pool_wait_seconds_count") == waits
        with pytest.raises(Unavailable), alone.autocommit():
            raise AssertionError("there was another connection")
    assert count("harbor_database_pool_wait_seconds_count") == waits + 1
    assert count("harbor_database_failures_total", kind="pool") == failures_before + 1
    assert alone.pool() == (1, 0)
    alone.dispose()


def test_who_reads_the_past_leaves_a_connection_to_all_others(url: str):
    database = Database(url, pool_size=3, timeout_ms=2_000)
    begun, over = threading.Barrier(3), threading.Event()

    def read_for_long(unit_of_work: UnitOfWork) -> int:
        begun.wait()
        over.wait()
        return int(sql.value(unit_of_work, "SELECT 1"))

    with ThreadPoolExecutor(8) as threads:
        reading = [threads.submit(database.read, read_for_long) for _ in range(2)]
        begun.wait()
        # Those wait who read the past, too, and nobody else does.
        waiting = [threads.submit(database.read, lambda unit: sql.value(unit, "SELECT 2")) for _ in range(3)]
        assert sql.value(database, "SELECT 3") == 3
        assert not any(each.done() for each in waiting)
        over.set()
        assert [each.result() for each in (*reading, *waiting)] == [1, 1, 2, 2, 2]
    database.dispose()


def test_who_reads_the_past_is_told_where_no_turn_comes(url: str):
    with ExitStack() as held:
        databases = [Database(url, pool_size=size, timeout_ms=100) for size in (1, 2)]
        for database in databases:
            held.callback(database.dispose)
            over = threading.Event()
            begun = threading.Event()

            def hold(_: UnitOfWork, begun: threading.Event = begun, over: threading.Event = over) -> None:
                begun.set()
                over.wait()

            holding = threading.Thread(target=database.read, args=(hold,))
            holding.start()
            begun.wait()
            with pytest.raises(Unavailable) as raised:
                database.read(lambda unit_of_work: sql.value(unit_of_work, "SELECT 1"))
            assert raised.value.cause == failures.POOL_IN_USE
            over.set()
            holding.join()
            assert database.read(lambda unit_of_work: sql.value(unit_of_work, "SELECT 1")) == 1
