"""The embedded PostgreSQL: whatever surrounds it, it starts, is private, and leaves nothing behind."""

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import psycopg
import pytest

from harbor_api.postgres import embedded
from harbor_api.settings import SettingsError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data directory whose server was made, and is not running."""
    data_dir = tmp_path_factory.mktemp("made")
    embedded.join(data_dir).leave()
    return data_dir


@pytest.fixture
def short() -> Iterator[Path]:
    """Return a folder of a short name that every user of the machine may enter."""
    with TemporaryDirectory(prefix="harbor-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _copy(made: Path, to: Path) -> Path:
    to.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", made, to], check=True)
    to.chmod(0o755)
    return to


def _socket_dir(membership: embedded.Membership) -> Path:
    return Path(membership.url.partition("host=")[2].partition("&")[0])


def _server(data_dir: Path) -> psutil.Process:
    first = (data_dir / "postgres" / "postmaster.pid").read_text().split()[0]
    return psutil.Process(int(first))


def _ask(membership: embedded.Membership, what: str = "SELECT 1"):
    with psycopg.connect(membership.url) as connection:
        return connection.execute(what).fetchone()[0]


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "Application Support",
        "a&b?c%20d#e;f",
        'it\'s ("quoted"), @home',
        "$HOME `id` \\",
        "blåbær 日本",
        "/".join(["d" * 200] * 6),
    ],
    ids=lambda name: name[:12],
)
def test_any_directory_will_do_and_the_socket_is_nobody_else_s(name: str, made: Path, short: Path):
    data_dir = _copy(made, short / name)
    membership = embedded.join(data_dir)
    socket_dir = _socket_dir(membership)
    try:
        assert _ask(membership) == 1
        seen = socket_dir.stat()
        assert stat.S_IMODE(seen.st_mode) == 0o700
        assert seen.st_uid == _server(data_dir).uids().effective
        assert (socket_dir == data_dir / "postgres") == (name == "plain")
        assert [each.laddr for each in _server(data_dir).net_connections("tcp")] == []
    finally:
        membership.leave()
    assert not (data_dir / "postgres" / "postmaster.pid").exists()
    assert socket_dir.exists() == (name == "plain")


def test_what_surrounds_it_reaches_neither_the_server_nor_us(tmp_path: Path, monkeypatch):
    for name, value in {
        "LANG": "de_DE.UTF-8",
        "LC_ALL": "xx",
        "LC_MESSAGES": "nowhere",
        "TZ": "Nowhere/Else",
        "PGSERVICE": "production",
        "PGHOST": "192.0.2.1",
        "PGPORT": "1",
        "PGUSER": "nobody",
        "PGDATABASE": "production",
        "PGDATA": "/nowhere",
        "PGOPTIONS": "-c search_path=nowhere",
        "PGPASSFILE": "/nowhere",
        "PGTARGETSESSIONATTRS": "read-only",
        "PGCHANNELBINDING": "require",
        "PGREQUIREAUTH": "scram-sha-256",
        "PGSSLMODE": "verify-full",
        "PGGSSENCMODE": "require",
        "PGCLIENTENCODING": "latin1",
    }.items():
        monkeypatch.setenv(name, value)
    membership = embedded.join(tmp_path)
    try:
        assert _ask(membership, "SELECT lower('SKAGERRAK ÆØÅ')") == "skagerrak æøå"
        assert _ask(membership, "SHOW lc_messages") == "C"
        environ = _server(tmp_path).environ()
        assert environ.keys() <= {"PATH", "LC_ALL", "TZ", "PGDATA", "PG_OOM_ADJUST_FILE"}, environ.keys()
    finally:
        membership.leave()


@pytest.mark.skipif(os.geteuid() != 0, reason="for root alone")
def test_root_s_closed_folders_stay_closed(made: Path, short: Path):
    closed = short / "closed"
    closed.mkdir(mode=0o700)
    data_dir = _copy(made, closed / "data")
    before = [each.stat().st_mode for each in (*closed.parents, closed)]
    membership = embedded.join(data_dir)
    try:
        server = _server(data_dir)
        assert _ask(membership) == 1
        assert server.uids().effective != 0
        assert server.gids().effective != 0
        groups = next(
            line for line in Path(f"/proc/{server.pid}/status").read_text().splitlines() if "Groups:" in line
        )
        assert groups.split() == ["Groups:"]
    finally:
        membership.leave()
    assert [each.stat().st_mode for each in (*closed.parents, closed)] == before


def test_those_who_come_at_once_share_one_server(made: Path, short: Path):
    data_dir = _copy(made, short / "data")
    with ThreadPoolExecutor(6) as pool:
        memberships = list(pool.map(embedded.join, [data_dir] * 6))
    assert len({membership.url for membership in memberships}) == 1
    for membership in memberships[1:]:
        membership.leave()
    assert _ask(memberships[0]) == 1
    memberships[0].leave()
    assert not (data_dir / "postgres" / "postmaster.pid").exists()


@pytest.mark.parametrize("is_zombie", [True, False])
def test_a_number_that_another_process_has_is_no_server(is_zombie: bool, made: Path, short: Path):
    data_dir = _copy(made, short / "data")
    with subprocess.Popen(["true"] if is_zombie else ["sleep", "60"]) as other:
        if is_zombie:
            while psutil.Process(other.pid).status() != psutil.STATUS_ZOMBIE:
                pass
        (data_dir / "postgres" / "postmaster.pid").write_text(
            f"{other.pid}\n{data_dir}/postgres\n1700000000\n5432\n{data_dir}/postgres\n\n\nready\n"
        )
        membership = embedded.join(data_dir)
        assert _ask(membership) == 1
        membership.leave()
        other.kill()


def test_its_users_find_it_again_after_a_crash(made: Path, short: Path):
    """They have the URL already, so the socket is where it was, wherever that is."""
    data_dir = _copy(made, short / "with a space")
    first = embedded.join(data_dir)
    _server(data_dir).kill()
    again = embedded.join(data_dir)
    assert again.url == first.url
    assert _ask(first) == 1
    again.leave()
    assert _ask(first) == 1
    first.leave()


@pytest.mark.parametrize("is_used", [True, False])
def test_a_server_that_an_earlier_release_left(is_used: bool, made: Path, short: Path):
    """It holds no lock of ours, and lists who uses it in a file of its own."""
    data_dir = _copy(made, short / "data")
    earlier = embedded.join(data_dir)
    server = _server(data_dir)
    (data_dir / embedded.LOCK).unlink()
    with subprocess.Popen(["true"]) as gone:
        pass
    listed = [gone.pid, os.getpid()] if is_used else [gone.pid]
    (data_dir / "postgres" / ".handle_pids.json").write_text(json.dumps(listed))
    try:
        if is_used:
            said = f"process {server.pid}, is in use by process {os.getpid()}, of an earlier release"
            with pytest.raises(SettingsError, match=said):
                embedded.join(data_dir)
            assert _ask(earlier) == 1
        else:
            membership = embedded.join(data_dir)
            assert _server(data_dir).pid != server.pid
            assert _ask(membership) == 1
            membership.leave()
    finally:
        earlier.leave()
        psutil.wait_procs([server], timeout=30)


def _is_a_file(data_dir: Path) -> None:
    data_dir.write_text("")


def _lies_below_a_file(data_dir: Path) -> None:
    data_dir.parent.joinpath("file").write_text("")
    data_dir.symlink_to(data_dir.parent / "file" / "below")


def _is_of_another_version(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "PG_VERSION").write_text("16\n")


def _holds_something_else(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "photos").write_text("")


def _is_half_a_cluster(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "PG_VERSION").write_text("18\n")
    (data_dir / "postgres").chmod(0o700)


def _has_a_link_for_a_lock(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / embedded.LOCK).symlink_to("/tmp/harbor-nobody")


@pytest.mark.parametrize(
    ("arrange", "said"),
    [
        (_is_a_file, "cannot be used: "),
        (_lies_below_a_file, "cannot be used: "),
        (_is_of_another_version, "was made by PostgreSQL 16, and this is 18"),
        (_holds_something_else, "holds something else than a database"),
        (_is_half_a_cluster, "did not start: could not"),
        (_has_a_link_for_a_lock, "cannot be used: "),
    ],
    ids=lambda part: getattr(part, "__name__", None),
)
def test_a_directory_that_cannot_be_used_is_refused_in_one_line(arrange, said: str, short: Path):
    arrange(short / "data")
    with pytest.raises(SettingsError) as caught:
        embedded.join(short / "data")
    assert said in str(caught.value)
    assert str(short) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("/tmp/harbor-nobody").exists()


def test_a_start_that_was_cut_short_is_begun_anew(short: Path):
    (short / "postgres.new").mkdir()
    (short / "postgres.new" / "PG_VERSION").write_text("18\n")
    (short / "postgres").mkdir()
    membership = embedded.join(short)
    assert _ask(membership) == 1
    membership.leave()
    assert not (short / "postgres.new").exists()
