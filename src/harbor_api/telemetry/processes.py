"""What the processes of one service count together: a directory of files, a few for each process.

Each process writes to files of its own, which are mapped into its memory (the multi-process mode of
prometheus_client), and whoever is asked adds them up. They go by a number and not by the process's id: 0 is
the process that starts the others, and a worker takes the least number that no living worker has. So one that
begins in place of another goes on with its files: what that has counted stays, no sum ever falls, and there
are never more files than there were processes at once, however many of them have died.

Gauges tell of what is now: those of a process that is gone are removed.
"""

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

FIRST = 0
_PREFIX = "harbor-metrics-"
_DECLARED = "harbor_api.telemetry.metrics"
# Where prometheus_client looks for it.
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
# Memory where there is such a place: a process is killed that writes to a mapped file on a disk that is full.
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a directory in it, for its owner alone


class _Process:
    """What is known of this process: its number, None where it counts alone."""

    number: int | None = None


_here = _Process()


def number() -> int | None:
    """Return the number of this process, None where it counts alone."""
    return _here.number


def become(number: int) -> None:
    """Count as the process of a number from now on; nobody else may who lives."""
    _here.number = number


def forget_gauges(number: int) -> None:
    """Remove what the process of a number has said of what is now: it is gone."""
    mark_process_dead(number)


class SharedDirectory:
    """The directory of one run of the service, made anew; to be made before anything is counted."""

    def __init__(self) -> None:
        """Make it, and remove what services have left that were killed; OSError where there can be none."""
        if _DECLARED in sys.modules:
            raise RuntimeError(f"{_DECLARED} was imported before: what it counts would stay in this process")
        for parent in _parents():
            _sweep(parent)
        self.path, self._lock = _made()
        os.environ[_VARIABLE] = str(self.path)
        become(FIRST)

    def remove(self) -> None:
        """Remove it, once nobody counts any more."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _parents() -> Iterator[Path]:
    if os.access(_IN_MEMORY, os.W_OK):
        yield _IN_MEMORY
    yield Path(tempfile.gettempdir())


def _made() -> tuple[Path, int]:
    """Return a new directory, and the lock that tells that it is in use: all who are forked hold it."""
    failed: OSError | None = None
    for parent in _parents():
        try:
            path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            # A service that begins at the same moment may have taken it for one that is left.
            path.stat()
        except OSError as error:
            failed = error
        else:
            return path, lock
    raise failed or FileNotFoundError("there is no directory for files of a moment")


def _sweep(parent: Path) -> None:
    """Remove what nobody uses any more."""
    for path in parent.glob(f"{_PREFIX}*"):
        # It may be another user's, or be removed this moment.
        with suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(lock)
