"""Each way in which PostgreSQL fails is told to operators by its own name, and to callers by none."""

import json
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from flask import Flask
from structlog.testing import capture_logs
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import World
from tests.support.live_service import OwnPostgres
from tests.support.urls import VESSELS

from harbor_api.app import create_app
from harbor_api.database import Database
from harbor_api.domain.errors import Unavailable
from harbor_api.postgres import failures, first_look
from harbor_api.postgres.connections import StatementFailed
from harbor_api.settings import MASTER_KEY_BYTES
from harbor_api.web import runtime

PASSWORD = "tr0ub4dor-and-3"
# What PostgreSQL answers at times that a test cannot wait for; as libpq passes it on.
_SAID = 'connection failed: connection to server at "10.0.0.5", port 5432 failed: FATAL:  '


@contextmanager
def _answering(answer: bytes) -> Iterator[int]:
    """Listen on a port, and give whoever comes one answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1024)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.fixture(scope="module")
def url_of() -> Iterator[Callable[..., str]]:
    """Return what makes addresses of a server that asks some of its roles for their passwords."""
    with OwnPostgres() as postgres:
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE careful LOGIN PASSWORD '{PASSWORD}'")
            connection.execute(f"CREATE ROLE crowded LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT 0")
            connection.execute("CREATE ROLE shut_out LOGIN")
            connection.execute("CREATE ROLE sleeping")
            with (postgres.cluster / "pg_hba.conf").open("r+") as rules:
                kept = rules.read()
                rules.seek(0)
                rules.write(f"local all careful,crowded scram-sha-256\nlocal all shut_out reject\n{kept}")
            connection.execute("SELECT pg_reload_conf()")
        folder = postgres.url.partition("host=")[2]

        def make(user: str, password: str | None = None, database: str = "postgres") -> str:
            secret = "" if password is None else f":{password}"
            return f"postgresql://{user}{secret}@/{database}?host={folder}"

        yield make


def _cause(url: str) -> str:
    database = Database(url, timeout_ms=2_000)
    with pytest.raises(Unavailable) as raised:
        database.schema_revision()
    database.dispose()
    assert raised.value.detail == "The database does not answer"
    # Whoever starts the service is told the same.
    seen = first_look.look(url, timeout_ms=2_000, check_value=b"")
    assert seen.cause == raised.value.cause
    return seen.cause or ""


@pytest.mark.parametrize(
    ("user", "password", "database", "cause"),
    [
        ("careful", f"{PASSWORD}x", "postgres", "refuses the password of the user careful"),
        ("careful", None, "postgres", "asks for a password and HARBOR_DATABASE_URL has none"),
        ("nobody", PASSWORD, "postgres", "knows no user nobody"),
        ("sleeping", PASSWORD, "postgres", "the user sleeping may not log in"),
        ("postgres", PASSWORD, "nowhere", "there is no database nowhere"),
        ("crowded", PASSWORD, "postgres", "no connection left: raise its max_connections"),
        ("shut_out", PASSWORD, "postgres", "does not admit the user shut_out"),
        ("careful", PASSWORD, "postgres", "the user careful lacks a right"),
    ],
)
def test_what_a_server_refuses(url_of, user, password, database, cause):
    told = _cause(url_of(user, password, database))
    assert cause in told
    _demand_no_part_of_the_password(told)


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("postgresql://u:{password}@127.0.0.1:9/x", "nobody listens at 127.0.0.1"),
        ("postgresql://u:{password}@/x?host=/nowhere", "there is no PostgreSQL at /nowhere"),
        ("postgresql://u:{password}@127.0.0.1:9/x?strange=1", "libpq knows no parameter strange"),
        ("postgresql://u:{password}@127.0.0.1:{no_tls}/x?sslmode=require", "does not speak TLS"),
        ("postgresql://u:{password}@127.0.0.1:9/x?sslmode=strange", "sslmode has a value"),
    ],
)
def test_what_is_no_server(url, cause):
    with _answering(b"N") as port:
        told = _cause(url.format(password=PASSWORD, no_tls=port))
    assert cause in told
    _demand_no_part_of_the_password(told)


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (f"{_SAID}the database system is starting up", "PostgreSQL is starting up"),
        (f"{_SAID}the database system is shutting down", "PostgreSQL is shutting down"),
        (f"{_SAID}the database system is in recovery mode", "PostgreSQL is in recovery mode"),
        (f"{_SAID}the database system is not yet accepting connections", "not yet accepting connections"),
        (f"{_SAID}sorry, too many clients already", "has no connection left"),
        (f"{_SAID}remaining connection slots are reserved for roles with", "has no connection left"),
        (
            f'{_SAID}no pg_hba.conf entry for host "10.0.0.9", user "u", database "d", no encryption',
            "from here without TLS: add sslmode=require",
        ),
        (
            f'{_SAID}no pg_hba.conf entry for host "10.0.0.9", user "u", database "d", SSL encryption',
            "does not admit the user u from here: add a line",
        ),
        ("failed to resolve host 'db': [Errno -2] Name or service not known", "there is no host db"),
        ("connection timeout expired", "PostgreSQL at db does not answer"),
        ("server closed the connection unexpectedly", "PostgreSQL ended the connection"),
        (f"{_SAID}lo que sea", "PostgreSQL says: lo que sea"),
    ],
)
def test_what_a_server_says_at_bad_times(said, cause):
    assert cause in failures.cause_of(psycopg.OperationalError(said), address="db", user="u")


def test_callers_are_told_nothing_of_it(app: Flask, url_of):
    settings = replace(
        runtime.of(app).settings,
        database_url=url_of("careful", f"{PASSWORD}x"),
        tracker_master_key=bytes(MASTER_KEY_BYTES),
    )
    broken = create_app(settings)
    with capture_logs() as logged:
        answers = [CheckedClient(broken).get(path) for path in ("/health", "/health/ready")]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert answers[0].json["detail"] == "The database does not answer"
    [asked] = answers[1].json["checks"]["postgresql:responseTime"]
    assert asked["output"] == "The database does not answer"
    assert {each["cause"] for each in logged if each["event"] == "unavailable"} == {
        failures.cause_of(
            psycopg.OperationalError('password authentication failed for user "careful"'), address="", user=""
        )
    }
    _demand_no_part_of_the_password(json.dumps(logged))
    runtime.of(broken).database.dispose()


def _demand_no_part_of_the_password(text: str) -> None:
    parts = {PASSWORD[at : at + 4] for at in range(len(PASSWORD) - 3)}
    assert not any(part in text for part in parts - {"-and"})


SENT = "hunter2-as-it-was-sent"


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT CAST(:sent AS integer)",
        "SELECT CAST(:sent AS jsonb)",
        "SELECT CAST('{\"a\": ' || :sent AS jsonb)",
        "SELECT CAST(:sent AS timestamptz)",
        "INSERT INTO vessels (name, seq) VALUES (:sent, NULL)",
        "INSERT INTO vessels (name, imo, seq) VALUES (:sent, :sent, 1)",
        "INSERT INTO vessels (name, imo, seq) VALUES (:sent, '9074729', 1), (:sent, '9074729', 1)",
        "INSERT INTO grants (api_key_id, vessel_id) VALUES (length(:sent), 1)",
        "SELECT chr(0) || :sent",
        "SELECT repeat(:sent, 1000000000)",
        "SELECT sum(length(:sent)) FROM nowhere",
        "SELECT :sent || chr(-1)",
    ],
)
def test_nothing_that_was_sent_stands_in_what_is_logged(world: World, statement):
    with pytest.raises(StatementFailed) as raised, world.database.unit_of_work() as unit_of_work:
        sql.run(unit_of_work, statement, sent=SENT)
    trace = "".join(traceback.format_exception(raised.value))
    assert "hunter2" not in trace
    # The floors below are still seen, and what kind of thing went wrong.
    assert "in run" in trace
    assert "StatementFailed: " in trace


def test_what_cannot_be_sent_at_all_is_not_logged_either(world: World):
    for sent in (f"{SENT}\x00", f"{SENT}\udcff"):
        with pytest.raises((StatementFailed, UnicodeEncodeError)) as raised:
            _send(world.database, sent)
        assert "hunter2" not in str(raised.value)


def _send(database: Database, sent: Any) -> None:
    with database.autocommit() as unit_of_work:
        sql.run(unit_of_work, "SELECT :sent", sent=sent)


def test_a_broken_statement_is_logged_without_what_was_sent(app: Flask, world: World):
    bearer = world.bearer()
    sql.run(world.database, "ALTER TABLE vessels RENAME TO gone")
    try:
        with capture_logs() as logged:
            answer = CheckedClient(app).get(VESSELS, headers=bearer)
    finally:
        sql.run(world.database, "ALTER TABLE gone RENAME TO vessels")
    assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
    [error] = [each["exc_info"] for each in logged if each["event"] == "unexpected_exception"]
    assert 'UndefinedTable (42P01), relation "vessels" does not exist' in str(error)
