"""The exporter as the first process of the service keeps it, and what that counts of its workers.

Everything that is counted before this is made is counted by its process alone: so it comes first.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

from harbor_api.server.shares import Board
from harbor_api.settings import Settings, SettingsError
from harbor_api.telemetry import processes
from harbor_api.telemetry.processes import SharedDirectory

# One that ends by itself is not begun anew more often.
_AGAIN_AFTER_S = 5.0
_ENDS_WITHIN_S = 2.0


class Exporting:
    """Lets the processes of a service count together, and an exporter tell of it on a socket that listens.

    The methods that take gunicorn's arbiter, or a worker, are its hooks.
    """

    def __init__(self, settings: Settings, listener: socket.socket, board: Board) -> None:
        """Prepare; SettingsError where there is no place for the files."""
        assert settings.database_url is not None
        self._listener = listener
        self._board = board
        try:
            self._directory = SharedDirectory()
        except OSError as error:
            why = error.strerror or error
            raise SettingsError(
                f"HARBOR_METRICS_BIND needs a place for files of a moment, and /tmp is none: {why}"
            ) from error
        # Not before there is a directory: what is declared in it is counted there.
        from harbor_api.telemetry import metrics  # noqa: PLC0415 - see above

        self._metrics = metrics
        metrics.WORKERS_SET.set(settings.workers)
        self._told = json.dumps(
            {
                "database_url": settings.database_url,
                "replica_url": settings.database_replica_url,
                "is_pooled": settings.is_pooled,
                "directory": str(self._directory.path),
                "log_level": settings.log_level,
            }
        ).encode()
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0

    @property
    def hooks(self) -> dict[str, Any]:
        """What gunicorn is to call, by the names of its settings."""
        return {
            "pre_fork": self._before_worker,
            "post_fork": self._in_worker,
            "child_exit": self._after_worker,
            "on_exit": self._at_the_end,
        }

    def hand_over(self) -> int:
        """Return the descriptor of the socket, which the service that takes over from this one inherits."""
        self._listener.set_inheritable(True)
        return self._listener.fileno()

    def keep(self) -> None:
        """Start the exporter where none runs: at first, and once it has ended by itself."""
        now = time.monotonic()
        if self._is_running() or now - self._began < _AGAIN_AFTER_S:
            return
        self._began = now
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-P", "-m", "harbor_api.server.exporter", str(self._listener.fileno())],
            stdin=subprocess.PIPE,
            # It says nothing: but this end tells when it has ended, whoever asks for its status first.
            stdout=subprocess.PIPE,
            pass_fds=[self._listener.fileno()],
        )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as told:
            told.write(self._told)

    def _is_running(self, *, within_s: float = 0) -> bool:
        process = self._process
        if process is None:
            return False
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], within_s)[0]:
            return True
        process.stdout.close()
        # gunicorn may have asked before: then there is no status to be had.
        process.wait()
        self._process = None
        return False

    def _before_worker(self, arbiter: Any, worker: Any) -> None:
        taken = {each.number for each in arbiter.WORKERS.values()}
        # 0 is this process.
        worker.number = next(each for each in range(1, len(taken) + 2) if each not in taken)
        self._forget_gauges(worker)
        self._metrics.WORKER_STARTS.inc()

    def _in_worker(self, _: Any, worker: Any) -> None:
        processes.become(worker.number)
        self._listener.close()

    def _after_worker(self, _: Any, worker: Any) -> None:
        self._forget_gauges(worker)
        how = "told" if self._board.place(worker.age).has_ended else "unexpected"
        self._metrics.WORKER_EXITS.labels(how).inc()

    def _forget_gauges(self, worker: Any) -> None:
        processes.forget_gauges(worker.number)

    def _at_the_end(self, _: Any) -> None:
        if self._process is not None and self._is_running():
            os.kill(self._process.pid, signal.SIGTERM)
            self._is_running(within_s=_ENDS_WITHIN_S)
        self._listener.close()
        self._directory.remove()
