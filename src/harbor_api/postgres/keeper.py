"""The process that keeps an embedded PostgreSQL: it starts the server and ends it when nobody uses it.

    python -m harbor_api.postgres.keeper DATA_DIR LOCK REPORT

LOCK is the open and locked ``postgres.lock``, which the server inherits; on REPORT one line is written, as
``embedded`` reads it. What surrounds this process does not reach the server: neither its environment nor its
locale, its groups or its directory.

Where root asks, the server runs as another user, see ``server_account``. One who may not enter the folders
above the cluster gets it as an open directory.
"""

import ctypes
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harbor_api.postgres import embedded, server_account
from harbor_api.settings import SettingsError

_VERSION = "18"
# What needs no quotes in a setting of the server's nor in a URL.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._+-]+")
# A socket's path has room for 103 bytes on some systems, its name included.
_LONGEST_SOCKET_DIR = 85
# PostgreSQL cuts longer ones off, without a word.
_LONGEST_CLUSTER = 900
_SOCKETS = "harbor-postgres-"
_LOOK_AGAIN_S = 0.02
_STOP_S = 60.0
_MOST_LOG_BYTES = 4 << 20
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class _Place:
    """A folder as the server is told of it: its path, and what has to stay open for that."""

    path: str
    open: tuple[int, ...] = ()


class _Keeper:
    """One server, from its start to its end."""

    def __init__(self, data_dir: Path, lock: int) -> None:
        self._data_dir = data_dir
        self._cluster = data_dir / embedded.CLUSTER
        self._log = data_dir / embedded.LOG
        self._lock = lock
        self._account = server_account.of(self._cluster, data_dir)
        self._programs = embedded.programs()
        if self._account is not None and not self._may_run(self._programs):
            self._programs = server_account.copied(self._programs)
        self._socket_dir: Path | None = None

    def start(self) -> str:
        """Start the server, made where there is none, and return the folder of its socket once it answers."""
        former, _ = embedded.told_by(self._cluster)
        self._end_what_was_left(former)
        self._make()
        socket_dir = self._socket_dir = self._make_socket_dir(former)
        place = self._place(self._cluster)
        if self._log.stat().st_size > _MOST_LOG_BYTES:
            os.truncate(self._log, 0)
        said_from = self._log.stat().st_size
        options = {
            "listen_addresses": "",
            "unix_socket_directories": socket_dir,
            "unix_socket_permissions": "0700",
            "port": embedded.PORT,
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        # The last -D holds; the first is for whoever looks at the list of processes.
        self._server = self._begin(
            "postgres", "-D", str(self._cluster), "-D", place.path, *settings, place=place
        )
        while self._server.poll() is None:
            if embedded.answers(self._cluster):
                return str(socket_dir)
            time.sleep(_LOOK_AGAIN_S)
        with self._log.open("rb") as log:
            log.seek(said_from)
            raise self._failure(log.read().decode(errors="replace"))

    def keep(self) -> None:
        """Wait until the server has ended, and end it once nobody uses it."""
        threading.Thread(target=self._stop_when_unused, daemon=True).start()
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: self._server.send_signal(signal.SIGINT))
        self._server.wait()

    def forget(self) -> None:
        """Remove what only a server that runs needs."""
        if self._socket_dir is not None and self._socket_dir != self._cluster:
            shutil.rmtree(self._socket_dir, ignore_errors=True)

    def _stop_when_unused(self) -> None:
        users = embedded.open_beside(self._data_dir, embedded.USERS)
        fcntl.flock(users, fcntl.LOCK_EX)
        self._server.send_signal(signal.SIGINT)

    def _make(self) -> None:
        """Make the cluster where there is none: whole, or not at all."""
        version = self._cluster / "PG_VERSION"
        if version.exists():
            made_by = version.read_text().strip()
            if made_by != _VERSION:
                raise SettingsError(
                    f"{self._cluster} was made by PostgreSQL {made_by}, and this is {_VERSION}: "
                    "set HARBOR_DATA_DIR to another directory, or move that one away"
                )
            return
        if self._cluster.exists() and any(self._cluster.iterdir()):
            raise SettingsError(f"{self._cluster} holds something else than a database: move it away")
        new = self._data_dir / f"{embedded.CLUSTER}.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        if self._account is not None:
            folder = os.open(new, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            os.fchown(folder, self._account.pw_uid, self._account.pw_gid)
            os.close(folder)
        place = self._place(new)
        # The same everywhere, whatever locales are installed; upper and lower case are those of Unicode.
        locale = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8")
        done = self._begin(
            "initdb",
            f"--pgdata={place.path}",
            "--username=postgres",
            "--auth=trust",
            *locale,
            place=place,
            out=subprocess.PIPE,
        )
        said = done.communicate()[0].decode(errors="replace")
        if done.returncode != 0:
            shutil.rmtree(new, ignore_errors=True)
            raise self._failure(said)
        new.rename(self._cluster)

    def _begin(
        self, program: str, *arguments: str, place: _Place, out: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Begin one of PostgreSQL's programs, which ends with this process."""
        account = self._account
        return subprocess.Popen(  # noqa: S603 - the wheel's own programs
            [self._programs / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=None if out is None else subprocess.STDOUT,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            pass_fds=(self._lock, *place.open),
            # Without threads there is nothing that this could meet halfway.
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - see above
            user=None if account is None else account.pw_uid,
            group=None if account is None else account.pw_gid,
            extra_groups=None if account is None else [],
        )

    def _place(self, folder: Path) -> _Place:
        """Return a folder by a path that the server can take."""
        is_long = len(os.fsencode(folder)) > _LONGEST_CLUSTER
        if not is_long and server_account.may_reach(folder, self._account):
            return _Place(str(folder))
        if not Path("/proc/self/fd").exists():
            raise SettingsError(
                f"{folder} has too long a path"
                if is_long
                else "as root, PostgreSQL runs as another user, who may not enter the folders above "
                f"{folder}: set HARBOR_DATA_DIR to a directory where others may"
            )
        # This leads to the folder itself, whatever stands above it.
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        return _Place(f"/proc/self/fd/{number}", (number,))

    def _make_socket_dir(self, former: str | None) -> Path:
        """Return a folder for the socket that only the server's user may enter: the cluster if it will do.

        Otherwise it is where a server that was killed had its own: its users look for it there.
        """
        if _is_fit_for_socket(self._cluster) and server_account.may_reach(self._cluster, self._account):
            return self._cluster
        for parent in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - a private one is made in it
            if _is_fit_for_socket(parent / f"{_SOCKETS}12345678") and server_account.may_reach(
                parent / "_", self._account
            ):
                made = _private_dir(parent, former)
                if self._account is not None:
                    os.chown(made, self._account.pw_uid, self._account.pw_gid)
                return made
        raise SettingsError("no temporary directory has a path that is short enough for a socket: set TMPDIR")

    def _end_what_was_left(self, socket_dir: str | None) -> None:
        """Make way where no process of a server of ours lives, whatever a file says that one left."""
        pid_file = self._cluster / "postmaster.pid"
        if socket_dir is not None and embedded.answer_of(socket_dir) in (0, 1):
            self._end_earlier_release(pid_file)
        elif socket_dir is not None and Path(socket_dir).name.startswith(_SOCKETS):
            shutil.rmtree(socket_dir, ignore_errors=True)
        # PostgreSQL would take any process with the number for the server, be it a zombie or somebody else's.
        # It still refuses to start where the memory of an old one is in use.
        pid_file.unlink(missing_ok=True)

    def _end_earlier_release(self, pid_file: Path) -> None:
        """End a server that a release before this one left behind; SettingsError where it is in use."""
        users = self._cluster / ".handle_pids.json"
        used_by = [pid for pid in json.loads(users.read_text()) if _lives(pid)] if users.exists() else []
        number = int(pid_file.read_text().split()[0])
        if used_by or not users.exists():
            what = f"by process {used_by[0]}, of an earlier release" if used_by else "by whoever started it"
            raise SettingsError(
                f"the PostgreSQL in {self._cluster}, process {number}, is in use {what}: end that first"
            )
        os.kill(number, signal.SIGINT)
        deadline = time.monotonic() + _STOP_S
        while pid_file.exists() and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN_S)

    def _may_run(self, programs: Path) -> bool:
        self._programs = programs
        try:
            return self._begin("postgres", "--version", place=_Place(""), out=subprocess.PIPE).wait() == 0
        except PermissionError:
            return False

    def _failure(self, said: str) -> SettingsError:
        """Return why a program ended, in one line: its own."""
        told = re.findall(r"(?:FATAL|PANIC|initdb: error|could not):? .*", said)
        why = told[-1] if told else f"{self._log} may say why"
        if not told and shutil.disk_usage(self._data_dir).free < _MOST_LOG_BYTES:
            why = "no space is left on the device"
        why = re.sub(r"/proc/self/fd/\d+", lambda _: str(self._cluster), why)
        return SettingsError(f"the embedded PostgreSQL in {self._cluster} did not start: {why}")


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _private_dir(parent: Path, former: str | None) -> Path:
    """Make a folder that only we may enter, by its former name where that is free."""
    if former is not None and Path(former).parent == parent and Path(former).name.startswith(_SOCKETS):
        with suppress(FileExistsError):
            Path(former).mkdir(mode=0o700)
            return Path(former)
    return Path(tempfile.mkdtemp(prefix=_SOCKETS, dir=parent))


def _is_fit_for_socket(folder: Path) -> bool:
    return bool(_PLAIN_PATH.fullmatch(str(folder))) and len(str(folder)) <= _LONGEST_SOCKET_DIR


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def main() -> None:
    """Start the server, say so, and stay until it has ended."""
    data_dir, lock, report = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    # Whoever starts us has to wait for a child, and is not asked to wait for us.
    if os.fork():
        return
    os.chdir("/")
    os.umask(0o077)
    try:
        keeper = _Keeper(data_dir, lock)
        try:
            _tell(report, f"{embedded.READY} {keeper.start()}")
            keeper.keep()
        finally:
            keeper.forget()
    except SettingsError as error:
        _tell(report, f"failed {error}")
    except OSError as error:
        _tell(report, f"failed HARBOR_DATA_DIR {data_dir} cannot be used: {error}")


def _tell(report: int, line: str) -> None:
    """Say how it went; whoever asked may have gone, and has to be told once."""
    with suppress(OSError):
        os.write(report, os.fsencode(line))
        os.close(report)


if __name__ == "__main__":
    main()
