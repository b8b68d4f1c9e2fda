"""Whatever goes wrong, with whatever command: one line on stderr that says what to do, and 1 or 2."""

import base64
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from tests.cli.commands import ARGUMENTS, IN_DATABASE, LISTS, RUN_ON, WITHOUT_DATABASE, names, run, told
from tests.conftest import NewDatabase
from tests.support import sql
from tests.support.factories import World

from harbor_api.cli import vessels
from harbor_api.database import Database

WRONG_KEY = base64.b64encode(b"w" * 32).decode()
DERIVING = ["trackers add", "trackers rotate", "trackers secret", "replay", "master-key check", "migrate"]


@pytest.fixture
def arguments(tmp_path: Path) -> Callable[[str], list[str]]:
    """Return what gives a command its arguments, of files that there are."""
    file = tmp_path / "ais.csv"
    file.write_text(
        "MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading,VesselName\n257000000,2014-01-01T00:00:00,1,1,,,,\n"
    )
    return lambda name: [each.format(file=file, folder=tmp_path) for each in ARGUMENTS[name]]


@pytest.fixture(scope="module")
def url(new_database: NewDatabase) -> str:
    return new_database()


@pytest.fixture(scope="module")
def owned(url: str) -> Iterator[Database]:
    """Return a migrated database, whose schema is as it was when a test is over."""
    database = Database(url)
    yield database
    database.dispose()


def test_every_command_is_tried():
    assert set(names()) == set(ARGUMENTS)


@pytest.mark.parametrize("name", sorted(ARGUMENTS.keys() - {"openapi"}))
def test_a_setting_out_of_range(name, arguments):
    result = run(name, *arguments(name), HARBOR_BIND="127.0.0.1:99999")
    assert "HARBOR_BIND must be an address like 127.0.0.1:8000" in told(result, 1)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_that_is_not_utf_8(name, arguments):
    assert "not text in UTF-8" in told(run(name, *arguments(name), "\udcff"), 2)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_wrong_usage(name, arguments):
    line = told(run(name, *arguments(name), "--no-such-option"), 2)
    assert f"No such option '--no-such-option'; see harbor-api {name} --help" in line


@pytest.mark.parametrize("name", IN_DATABASE)
@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("postgresql://u:tr0ub4dor@127.0.0.1:9/x", "nobody listens at 127.0.0.1:9"),
        ("postgresql://u:tr0ub/4dor@127.0.0.1/x", "each / @ : ? # % [ ] of the user and password"),
    ],
)
def test_a_database_that_is_not_there(name, arguments, url, cause):
    line = told(run(name, *arguments(name), database=url), 1)
    assert cause in line
    assert "tr0ub" not in line
    assert "4dor" not in line


@pytest.mark.parametrize("name", [each for each in IN_DATABASE if each != "migrate"])
def test_a_database_that_is_not_migrated(name, arguments, owned: Database, url):
    sql.run(owned, "ALTER TABLE alembic_version RENAME TO hidden")
    try:
        line = told(run(name, *arguments(name), database=url), 1)
    finally:
        sql.run(owned, "ALTER TABLE hidden RENAME TO alembic_version")
    assert "has no tables of Harbor API yet" in line
    assert "run harbor-api migrate" in line


@pytest.mark.parametrize(
    ("revision", "advice"), [("0001", "run harbor-api migrate"), ("9999", "use the release that migrated it")]
)
def test_a_database_of_another_release(owned: Database, url, revision, advice):
    before = owned.schema_revision()
    sql.run(owned, "UPDATE alembic_version SET version_num = :revision", revision=revision)
    try:
        assert advice in told(run("vessels list", database=url), 1)
        if revision == "9999":
            assert advice in told(run("migrate", database=url), 1)
    finally:
        sql.run(owned, "UPDATE alembic_version SET version_num = :revision", revision=before)


@pytest.fixture(scope="module")
def powerless(url: str, worker_id: str) -> Iterator[str]:
    """Return the address of a database for a role that has no right to anything in it."""
    role = f"powerless_{worker_id}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        yield url.replace("postgres:@", f"{role}@")
        connection.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("name", IN_DATABASE)
def test_a_role_without_rights(name, arguments, powerless):
    line = told(run(name, *arguments(name), database=powerless), 1)
    assert "lacks a right" in line
    assert "permission denied for table alembic_version" in line


def test_migrating_past_a_pooler(new_database: NewDatabase):
    url, pooler = new_database(), "postgresql://postgres@127.0.0.1:1/harbor"
    line = told(run("migrate", database=pooler, HARBOR_DATABASE_POOLER="transaction"), 1)
    assert "HARBOR_DATABASE_DIRECT_URL must be set" in line
    settings = {"HARBOR_DATABASE_POOLER": "transaction", "HARBOR_DATABASE_DIRECT_URL": url}
    result = run("migrate", database=pooler, **settings)
    assert result.exit_code == 0, result.output
    with psycopg.connect(url) as connection:
        assert connection.execute("SHOW enable_seqscan").fetchall() == [("off",)]


@pytest.mark.parametrize("name", DERIVING)
def test_a_wrong_master_key_is_told_before_a_secret_is(name, arguments, world: World):
    world.tracker()
    url = _url(world.database)
    assert run("master-key check", database=url).exit_code == 0
    result = run(name, *arguments(name), database=url, HARBOR_TRACKER_MASTER_KEY=WRONG_KEY)
    assert "HARBOR_TRACKER_MASTER_KEY is not the key" in told(result, 1)
    assert "whsec_" not in result.output


def test_a_vessel_without_a_name(world: World):
    for name in ("", " ", "\t"):
        assert "name: must not" in told(run("vessels add", name, database=_url(world.database)), 1)
        assert "name: must not" in told(run("keys add", name, database=_url(world.database)), 1)
    for length in ("nan", "1e400", "-1", "0"):
        result = run("vessels add", "x", f"--length={length}", database=_url(world.database))
        assert "length_m: must be a number from" in told(result, 1)
    vessel = str(world.vessel().id)
    result = run("vessels set", vessel, "--name", "", database=_url(world.database))
    assert "details are not valid; name: must not be empty" in told(result, 1)


def test_a_tracker_that_there_is_not(world: World):
    assert "no tracker trk_9999" in told(run("trackers enable", "trk_9999", database=_url(world.database)), 1)


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("keys add", ["x", "--admin", "--scope", "keys:read"], "--admin is all scopes"),
        ("keys add", ["x", "--admin", "--vessel", "1"], "--admin is all scopes"),
        ("keys add", ["x", "--admin", "--delay", "60"], "--admin is all scopes"),
        ("keys add", ["x", "--admin", "--decimals", "2"], "--admin is all scopes"),
        ("keys add", ["x", "--admin", "--history-days", "30"], "--admin is all scopes"),
        ("keys add", ["x", "--history-days", "0"], "not in the range"),
        ("keys add", ["x", "--expires", "2020-01-01"], "--expires is over"),
        ("keys add", ["x", "--vessel", "99999999999"], "not in the range"),
        ("vessels set", ["1"], "nothing to change"),
        ("vessels add", ["x", "--length", "long"], "is not a valid float"),
        ("trackers rotate", ["trk_x"], "is not a tracker's id"),
        ("trackers rotate", ["\x1b[31m"], r"\x1b[31m is not a tracker's id"),
        ("vessels retire", ["0"], "not in the range"),
        ("quarantine release", ["9223372036854775808"], "not in the range"),
        ("quarantine reject", ["1", "0"], "not in the range"),
        ("prune", [], "Say what to delete"),
        ("demo", ["--interval", "nan"], "no number of seconds"),
        ("keys add", ["x", "--scope", "no"], "is not one of"),
    ],
)
def test_a_contradiction_is_wrong_usage(name, more, said):
    assert said in told(run(name, *more), 2)


def test_a_mistake_of_ours_has_no_trace_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    def fail() -> None:
        raise ZeroDivisionError("as nobody foresaw\nin two lines")

    monkeypatch.setattr(vessels, "open_database", fail)
    line = told(run("vessels list"), 1)
    assert "ZeroDivisionError: as nobody foresaw in two lines" in line
    assert "HARBOR_LOG_LEVEL=debug" in line
    asked = run("vessels list", HARBOR_LOG_LEVEL="debug")
    assert "Traceback" in asked.stderr
    assert asked.exit_code == 1


def test_a_group_alone_prints_its_help():
    result = run("keys")
    assert result.exit_code == 2
    assert "Usage: harbor-api keys" in result.stderr
    status = run("--help").stdout
    assert "0 done, 1 failed" in status
    assert "2 wrong usage" in status


def _url(database: Database) -> str:
    return database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def _in_a_shell(line: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HARBOR_")}
    command = f"{sys.executable} -m harbor_api.cli {line}"
    return subprocess.run(
        ["bash", "-c", command], env=clean | environ, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("settings > /dev/full", "No space left on device"),
        ("settings --json > >(true); wait", None),
        ("--help > /dev/full", "No space left on device"),
        ("settings >&-", "Bad file descriptor"),
    ],
)
def test_an_output_that_takes_nothing(line, reason):
    done = _in_a_shell(line)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    if reason is not None:
        assert done.stderr == f"harbor-api: standard output cannot be written to: {reason}\n"
        assert done.returncode == 1
    else:
        assert len(done.stderr.splitlines()) <= 1


def test_a_locale_that_cannot_write_what_is_there():
    done = _in_a_shell(
        "settings --json", LC_ALL="C", PYTHONIOENCODING="latin-1", HARBOR_DATA_DIR="/tmp/\u0141"
    )
    assert done.returncode == 0, done.stderr
    assert r"\u0141" in done.stdout


def test_a_locale_that_cannot_read_what_is_given(world: World):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LOGNAME": "\udcff\x1b"}
    done = _in_a_shell("vessels add Ærø", HARBOR_DATABASE_URL=_url(world.database), **plain)
    assert done.returncode == 0, done.stderr
    assert sql.column(world.database, "SELECT name FROM vessels") == ["Ærø"]
    [actor] = sql.column(world.database, "SELECT actor FROM audit")
    assert actor.isprintable()


@pytest.mark.parametrize("name", ["keys add", "keys rotate", "trackers add", "trackers rotate"])
def test_a_secret_that_could_not_be_printed_does_not_hold(name, world: World, arguments):
    world.tracker()
    world.key()
    before = sql.run(world.database, "SELECT action FROM audit ORDER BY id")
    line = " ".join([name, *arguments(name), "> /dev/full"])
    key = base64.b64encode(bytes(range(32))).decode()
    done = _in_a_shell(line, HARBOR_DATABASE_URL=_url(world.database), HARBOR_TRACKER_MASTER_KEY=key)
    assert done.stderr.startswith("harbor-api: standard output cannot be written to")
    assert sql.run(world.database, "SELECT action FROM audit ORDER BY id") == before


def test_what_is_not_tried_in_process_is_named():
    assert RUN_ON | WITHOUT_DATABASE | set(IN_DATABASE) == set(ARGUMENTS)
    assert LISTS == ["vessels list", "trackers list", "keys list", "feeds list", "quarantine list"]
