"""The world of the tests: a real PostgreSQL, migrated by Alembic, and a database for each worker."""

import compileall
import json
import logging
import math
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog
from flask import Flask
from tests.support import citus, examples, markers, sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import MASTER_KEY, World
from tests.support.live_service import LiveService
from tests.support.markers import LEFT_OUT
from tests.support.openapi_check import SEEN
from tests.support.operations import operations_of
from tests.support.pgbouncer import PgBouncer

import harbor_api
from harbor_api.app import create_app
from harbor_api.database import Database
from harbor_api.domain.api_keys import SCOPES
from harbor_api.postgres import distribution, embedded, migrations
from harbor_api.settings import Settings
from harbor_api.web import runtime

NewDatabase = Callable[[], str]
_TEMPLATE = "harbor_template"
_SERVER = "HARBOR_TEST_SERVER_URL"
# Set, as by HARBOR_TEST_POOLER=1 pytest tests/resources, to reach the database of tests through a PgBouncer.
_POOLER = "HARBOR_TEST_POOLER"
# Set, as by HARBOR_TEST_DISTRIBUTED=1 pytest tests/resources, to have statements in the form for positions on
# several servers, over one PostgreSQL.
_DISTRIBUTED = "HARBOR_TEST_DISTRIBUTED"
# To truncate a table makes each of its files anew, and most tests fill a few. One in which something was
# rolled back has a page, too; one that was vacuumed has none, but its numbers have begun.
_EMPTY = """
DO $$ DECLARE filled text; BEGIN
    SELECT string_agg(name, ', ') INTO filled FROM unnest(ARRAY[
        'latest_positions', 'quarantine', 'withdrawals', 'arrived_numbers', 'assignments',
        'trackers', 'grants', 'vessel_keeping', 'vessels', 'idempotency_keys', 'feeds', 'api_keys', 'audit',
        'feed_floor'
    ] || ARRAY(
        SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'positions'::regclass
    )) AS name
    WHERE pg_relation_size(name::regclass) > 0
        OR pg_sequence_last_value(to_regclass(name || '_id_seq')) IS NOT NULL;
    IF filled IS NOT NULL THEN EXECUTE 'TRUNCATE ' || filled || ' RESTART IDENTITY CASCADE'; END IF;
END $$
"""
# Set to have the database of tests on a real Citus, where one is installed: slow, and some tests of plain
# PostgreSQL fail (deploy/citus.md says how the service differs).
_CITUS = "HARBOR_TEST_CITUS"
_OURS = {_SERVER, _POOLER, _DISTRIBUTED, _CITUS, citus.PG_CONFIG}
# Left in the environment for the workers of pytest-xdist; the service knows no such settings.
for _name in [name for name in os.environ if name.startswith("HARBOR_") and name not in _OURS]:
    del os.environ[_name]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow tests, too: the long form of proofs")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Let ``-n auto`` start three workers for two cores: of what tests take, they wait a good part."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return math.ceil(len(os.sched_getaffinity(0)) * 1.5) if hasattr(os, "sched_getaffinity") else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests before any are left out for their marks."""
    markers.mark(items, config)


def pytest_configure(config: pytest.Config) -> None:
    """Start one PostgreSQL for all workers of a run, in the process that starts them."""
    examples.configure(config)
    # A trace that is set out in colours takes half a second, and each 500 of a test writes one.
    *processors, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*processors, plain])
    # A run that was started in the background ignores Ctrl-C, and so would all that it tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # One under nohup goes on, and what it starts ends when its terminal is closed, as it does otherwise.
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    if hasattr(config, "workerinput"):
        return
    if _CITUS in os.environ:
        servers = citus.CitusServers()
        config.add_cleanup(servers.stop)
        servers.start()
        os.environ[_CITUS] = ",".join(map(str, servers.ports))
    if sys.dont_write_bytecode:
        # Or each process that a test starts compiles all of the service again.
        compileall.compile_dir(Path(harbor_api.__file__).parent, quiet=2)
    directory = Path(tempfile.mkdtemp(prefix="harbor-"))
    server = embedded.join(directory)
    config.add_cleanup(lambda: shutil.rmtree(directory, ignore_errors=True))
    config.add_cleanup(server.leave)
    os.environ[_SERVER] = url = server.url
    with psycopg.connect(url, autocommit=True) as connection:
        # Crash tests bring servers of their own; for all others durability is only slow.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute(f"CREATE DATABASE {_TEMPLATE}")
    template = Database(_url_of(_TEMPLATE))
    migrations.upgrade(template.engine)
    if _DISTRIBUTED in os.environ:
        for function in distribution.FUNCTIONS:
            sql.run(template, function.definition)
    template.dispose()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what this worker's traffic has met to the process that started it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["seen"] = sorted(SEEN)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Gather what a worker's traffic has met."""
    SEEN.update(tuple(each) for each in getattr(node, "workeroutput", {}).get("seen", ()))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Tell how much of the document the whole run has met; a promise that nothing met fails it."""
    document = json.loads((Path(__file__).parents[1] / "openapi" / "harbor-api.json").read_text())
    promised = {
        (operation.described["operationId"], int(status))
        for operation in operations_of(document)
        for status in operation.described["responses"]
    }
    met = len(promised & SEEN)
    terminalreporter.write_line(f"{met} of {len(promised)} documented (operation, status) pairs were seen")
    left_out = [each for each in terminalreporter.stats.get("skipped", []) if LEFT_OUT in str(each.longrepr)]
    if left_out:
        terminalreporter.write_line(f"{len(left_out)} left out as {LEFT_OUT}")
    if _is_whole(config) and met < len(promised) and not terminalreporter.stats.get("failed"):
        for operation, status in sorted(promised - SEEN):
            terminalreporter.write_line(f"never seen: {operation} {status}", red=True)
        terminalreporter._session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _is_whole(config: pytest.Config) -> bool:
    """Tell whether a run is one of all tests, rather than of some that somebody chose."""
    option = config.option
    chosen = (option.keyword, option.markexpr, option.deselect, option.ignore, option.ignore_glob)
    return config.args == config.getini("testpaths") and not any(chosen) and not option.collectonly


def _citus() -> citus.Citus:
    return citus.Citus([int(port) for port in os.environ[_CITUS].split(",")])


def _url_of(database: str) -> str:
    return os.environ[_SERVER].replace("/postgres?", f"/{database}?")


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """Undo what ``serve`` does to the logs of its process, for the tests that come after in this one."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    if structlog.get_config() != before:
        structlog.configure(**before)
        # Those of pytest itself come and go around each phase of a test.
        root.handlers[:] = handlers
        root.setLevel(level)


@pytest.fixture(scope="session")
def new_database(worker_id: str) -> Iterator[NewDatabase]:
    """Return a function that makes a migrated, empty database and returns its URL."""
    made: list[str] = []
    made_there: list[str] = []

    def make() -> str:
        name = f"test_{worker_id}_{len(made) + len(made_there)}"
        if _CITUS in os.environ:
            made_there.append(name)
            return _citus().make(name)
        with psycopg.connect(os.environ[_SERVER], autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        made.append(name)
        # A copy is another database, of which the order would go on far ahead.
        with psycopg.connect(_url_of(name), autocommit=True) as connection:
            connection.execute("UPDATE order_fences SET origin = order_origin()")
        return _url_of(name)

    yield make
    with psycopg.connect(os.environ[_SERVER], autocommit=True) as connection:
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def worker_id(request: pytest.FixtureRequest) -> str:
    """Return the name of this pytest-xdist worker, "main" without it."""
    workerinput = getattr(request.config, "workerinput", {"workerid": "main"})
    return str(workerinput["workerid"])


@pytest.fixture(scope="session")
def pooled(new_database: NewDatabase) -> Iterator[dict[str, Any]]:
    """Return the settings of this worker's database: by way of a pooler, where that was asked for."""
    url = new_database()
    if _POOLER not in os.environ:
        yield {"database_url": url}
        return
    with PgBouncer(url) as pooler:
        database = Database(url)
        database.let_pool()
        database.dispose()
        yield {
            "database_url": pooler.url(url),
            "database_pooler": "transaction",
            "database_direct_url": url,
        }


@pytest.fixture(scope="session")
def app(pooled: dict[str, Any]) -> Iterator[Flask]:
    """Return the application over this worker's database."""
    settings = Settings(
        **pooled,
        tracker_master_key=MASTER_KEY,
        database_pool=4,
        # All tests come from one address, and many fail to authenticate on purpose.
        failures_per_minute=1_000_000,
        security_contact="mailto:security@harbor.example",
        # Most tests read an answer to its end: a stream is told farewell as soon as it has begun.
        stream_s=0,
    )
    application = create_app(settings)
    yield application
    runtime.of(application).database.dispose()


@pytest.fixture
def database(app: Flask) -> Iterator[Database]:
    """Return the application's database, emptied when the test is over."""
    database: Database = runtime.of(app).database
    yield database
    if _CITUS in os.environ:
        # The sizes of its parts are not known here.
        sql.run(database, "TRUNCATE positions")
    sql.run(database, _EMPTY)


@pytest.fixture
def world(database: Database) -> World:
    """Return the maker of vessels, trackers and keys."""
    return World(database)


@pytest.fixture
def admin(world: World) -> dict[str, str]:
    """Return the headers of a key that may do everything."""
    return world.bearer(*SCOPES)


@pytest.fixture
def document(app: Flask) -> dict[str, Any]:
    """Return a copy of the application's OpenAPI document, to do with as a test likes."""
    copy: dict[str, Any] = json.loads(runtime.of(app).document)
    return copy


@pytest.fixture
def client(app: Flask, database: Database) -> CheckedClient:
    """Return a client that holds every response against the OpenAPI document."""
    runtime.of(app).counters.reset()
    # Between tests the numbers of trackers begin anew.
    runtime.of(app).intake.trackers.forget()
    runtime.of(app).intake.repeats.forget()
    return CheckedClient(app)


@pytest.fixture
def live_service(new_database: NewDatabase, tmp_path: Path) -> Iterator[LiveService]:
    """Return ``harbor-api serve`` in a process of its own, over a database of its own."""
    with LiveService(new_database(), log=tmp_path / "service.log") as service:
        yield service


@pytest.fixture(scope="module")
def module_service(
    new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveService]:
    """Return one for all tests of a module: it takes seconds to start."""
    with LiveService(new_database(), log=tmp_path_factory.mktemp("live") / "service.log") as service:
        yield service
