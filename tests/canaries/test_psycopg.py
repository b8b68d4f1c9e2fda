"""psycopg: that every wait of a connection goes through its method ``wait``."""

import functools
import time
from collections.abc import Callable
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import errors
from tests.canaries.relied_on import relied_on

relied = functools.partial(relied_on, "psycopg")


class Waiting(psycopg.Connection[Any]):
    """A connection that counts its waits, and may have less patience."""

    waits = 0
    patience_s: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        self.waits += 1
        return super().wait(gen, interval, self.patience_s if timeout is None else timeout)


@pytest.fixture(scope="module")
def url(new_database: Callable[[], str]) -> str:
    return new_database()


def _in_a_pipeline(connection: psycopg.Connection[Any], *statements: LiteralString) -> None:
    with connection.pipeline():
        for statement in statements or ("SELECT 1", "SELECT 2"):
            connection.execute(statement)


@relied(
    "Connection.wait(gen, interval, timeout) is asked for every round trip",
    by="postgres/connections.py overrides it, to bound each",
)
@pytest.mark.parametrize(
    "do",
    [
        lambda connection: connection.execute("SELECT 1"),
        lambda connection: connection.cursor().executemany("SELECT %s", [(1,), (2,)]),
        lambda connection: connection.commit(),
        lambda connection: connection.rollback(),
        _in_a_pipeline,
    ],
    ids=["execute", "executemany", "commit", "rollback", "pipeline"],
)
def test_all_that_waits_asks_for_it(url: str, do: Callable[[psycopg.Connection[Any]], Any]):
    with Waiting.connect(url) as connection:
        connection.execute("SELECT 1")
        before = connection.waits
        do(connection)
        assert connection.waits > before


@relied(
    "wait() raises OperationalError when its timeout is over, and close() then ends the connection",
    by="postgres/connections.py hangs up on a server that says nothing, and calls it Unavailable",
)
def test_a_wait_that_is_too_long_is_an_operational_error(url: str):
    connection = Waiting.connect(url, autocommit=True)
    connection.patience_s = 0.2
    began = time.monotonic()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT pg_sleep(5)")
    assert 0.2 <= time.monotonic() - began < 3
    connection.close()
    assert connection.closed


@relied(
    "execute() takes bytes with %(name)s and joins the transaction under way, in which a pipeline may commit",
    by="postgres/statements.py and database.py send the last statements together with COMMIT",
)
def test_a_pipeline_commits_what_went_before(url: str):
    with Waiting.connect(url) as connection:
        connection.execute(b"CREATE TABLE canary (n integer)")
        with connection.pipeline():
            connection.execute(b"INSERT INTO canary VALUES (%(n)s)", {"n": 1})
            connection.execute(b"COMMIT", {})
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        connection.rollback()
        assert connection.execute("SELECT n FROM canary").fetchall() == [(1,)]


@relied(
    "a pipeline runs one statement after the other, keeps the rows of each, and prepares what comes often",
    by="postgres/statements.py sends the first statements together with BEGIN",
)
def test_a_pipeline_keeps_rows_and_prepares(url: str):
    with Waiting.connect(url, autocommit=True) as connection:
        for _ in range(10):
            before = connection.waits
            with connection.pipeline():
                cursors = [connection.execute(text) for text in (b"BEGIN", b"SELECT 1 AS canary", b"COMMIT")]
            assert [each.description is None for each in cursors] == [True, False, True]
            assert cursors[1].fetchall() == [(1,)]
            # One for what comes, one for the end of it.
            assert connection.waits - before <= 5
        found = connection.execute(
            "SELECT count(*) FROM pg_prepared_statements WHERE statement ~ 'AS canary'"
        )
        assert found.fetchall() == [(1,)]


@relied(
    "an error has sqlstate and diag.constraint_name, and a pipeline that breaks raises the first one",
    by="postgres/connections.py and repositories/vessels.py tell by them what happened",
)
def test_errors_say_what_they_are(url: str):
    assert (errors.DeadlockDetected.sqlstate, errors.SerializationFailure.sqlstate) == ("40P01", "40001")
    with Waiting.connect(url) as connection:
        connection.execute("CREATE TEMP TABLE once (n integer CONSTRAINT only_once UNIQUE)")
        with pytest.raises(psycopg.Error) as caught:
            _in_a_pipeline(connection, "INSERT INTO once VALUES (1), (1)", "SELECT 1")
        assert caught.value.sqlstate == "23505"
        assert caught.value.diag.constraint_name == "only_once"


def _look_twice(connection: psycopg.Connection[Any]) -> None:
    connection.pgconn.consume_input()
    connection.pgconn.consume_input()


@relied(
    "pgconn.consume_input() waits for nothing, and the second one after PostgreSQL has hung up raises "
    "OperationalError",
    by="postgres/connections.py looks whether PostgreSQL has ended a connection that was idle",
)
def test_an_end_is_seen_without_a_word(url: str):
    with Waiting.connect(url, autocommit=True) as other, Waiting.connect(url) as connection:
        connection.execute("SELECT 1")
        connection.rollback()
        _look_twice(connection)
        ended = connection.info.backend_pid
        other.execute("SELECT pg_terminate_backend(%s, 10000)", (ended,))
        with pytest.raises(psycopg.OperationalError):
            _look_twice(connection)
