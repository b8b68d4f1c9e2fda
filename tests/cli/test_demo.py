"""harbor-api demo: which database it takes, and what it remembers."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from tests.support import sql
from tests.support.factories import World
from tests.support.live_service import free_port

from harbor_api.cli import demo
from harbor_api.database import Database
from harbor_api.settings import Settings, SettingsError

MEANT = "say --use-this-database to mean it"


@pytest.fixture
def empty(new_database):
    """Return the URL of a database in which no migration has run."""
    url = new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return url


def _claim(url: str, *, is_embedded: bool = False, is_known: bool = False, is_meant: bool = False) -> None:
    settings = Settings(database_url=None if is_embedded else url)
    database = Database(url)
    try:
        demo._claim(database, settings, is_known=is_known, is_meant=is_meant)
    finally:
        database.dispose()


def _revision(url: str) -> str | None:
    database = Database(url)
    try:
        return database.schema_revision()
    finally:
        database.dispose()


def test_somebody_s_database_is_taken_only_where_it_is_meant(new_database):
    url = new_database()
    for _ in range(2):
        with pytest.raises(SettingsError, match=MEANT):
            _claim(url)
        # It is still nobody's demo afterwards.
        _claim(url, is_meant=True)


def test_an_empty_database_is_made_ours_where_it_is_meant(empty: str):
    with pytest.raises(SettingsError, match=MEANT):
        _claim(empty)
    assert _revision(empty) is None, "a refused database is not migrated"
    _claim(empty, is_meant=True)
    _claim(empty)


def test_the_embedded_database_is_ours_where_it_is_empty(empty: str):
    _claim(empty, is_embedded=True)
    _claim(empty, is_embedded=True)


def test_the_embedded_database_of_somebody_else_is_not_ours(new_database):
    url = new_database()
    with pytest.raises(SettingsError, match="set HARBOR_DATA_DIR to another directory"):
        _claim(url, is_embedded=True)
    # An earlier release left its file alone.
    _claim(url, is_embedded=True, is_known=True)
    _claim(url, is_embedded=True)


@pytest.mark.process
def test_a_refused_database_is_left_as_it_was(new_database, tmp_path: Path):
    url = new_database()
    world = World(Database(url))
    world.vessel()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HARBOR_")}
    settings = {
        "HARBOR_DATABASE_URL": url,
        "HARBOR_DATA_DIR": str(tmp_path),
        "HARBOR_BIND": f"127.0.0.1:{free_port()}",
    }
    done = subprocess.run(
        [sys.executable, "-m", "harbor_api.cli", "demo"],
        env=clean | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("harbor-api: the database that HARBOR_DATABASE_URL names was not made by")
    assert len(done.stderr.splitlines()) == 1
    assert (sql.count(world.database, "vessels"), sql.count(world.database, "api_keys")) == (1, 0)
    # Beside an embedded database it would be taken for what an earlier release left.
    assert not (tmp_path / "demo.json").exists()
    world.database.dispose()


def test_what_is_remembered_comes_back(tmp_path: Path):
    file = tmp_path / "demo.json"
    known = demo._recall(file)
    assert known.api_key is None
    demo._remember(file, known)
    assert demo._recall(file) == known
    assert demo._recall(tmp_path / "other.json") != known
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"tracker_master_key": "AAEC',
        b"null",
        b"[]",
        b"7",
        b"{}",
        b'{"tracker_master_key": 7, "api_key": null}',
        b'{"tracker_master_key": "AAEC", "api_key": null}',
        b'{"tracker_master_key": "\xc3\xa9", "api_key": null}',
        b'{"tracker_master_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "api_key": 7}',
        b'{"tracker_master_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "api_key": "\\ud800"}',
        b'{"tracker_master_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}',
        b"\xff\xfe\x00",
        b"\x00" * 125,
        b"[" * 100_000,
    ],
    ids=lambda content: repr(content[:24]),
)
def test_a_damaged_file_is_one_line(content: bytes, tmp_path: Path):
    file = tmp_path / "demo.json"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"is damaged, or not the demo's: delete") as caught:
        demo._recall(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert file.read_bytes() == content, "somebody may yet mend it"


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path):
    (tmp_path / "demo.json").mkdir()
    with pytest.raises(SettingsError, match=r"demo\.json, the demo's, cannot be read: Is a directory"):
        demo._recall(tmp_path / "demo.json")


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"demo\.json cannot be written: No such file"):
        demo._remember(tmp_path / "gone" / "demo.json", demo._Secrets(bytes(32)))


def test_a_second_demo_of_a_directory_is_one_line(tmp_path: Path):
    with demo._alone(tmp_path):
        with pytest.raises(SettingsError, match="a demo runs already in"), demo._alone(tmp_path):
            raise AssertionError("two at once")
        with demo._alone(tmp_path / "another"):
            pass
    with demo._alone(tmp_path):
        pass
