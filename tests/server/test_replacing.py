"""Workers and whole services are replaced while callers go on, and where that fails those before stay."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from tests.support.live_service import free_port

_PATIENCE_S = 60


class _Service:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._log = (folder / "log").open("wb")
        self._notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notified.bind(str(folder / "notify"))
        self._notified.settimeout(_PATIENCE_S)
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("replaced_service.py"), str(folder), str(self.port)],
            env=os.environ | {"NOTIFY_SOCKET": str(folder / "notify")},
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def notified(self) -> dict[str, str]:
        """Return what systemd is told next."""
        return dict(line.split("=", 1) for line in self._notified.recv(4_096).decode().splitlines())

    def ask(self) -> int:
        """Return the process that answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=30) as answer:
            return int(answer.read())

    def workers(self, of: int | None = None) -> set[int]:
        return {each.pid for each in psutil.Process(of or self.process.pid).children()}

    def wait_until(self, holds: Callable[[], bool]) -> None:
        until = time.monotonic() + _PATIENCE_S
        while not holds():
            assert time.monotonic() < until, self.log()
            self.ask()
            time.sleep(0.02)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def close(self) -> None:
        for how in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, how)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        self._log.close()
        self._notified.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[_Service]:
    started = _Service(tmp_path)
    try:
        assert started.notified()["READY"] == "1"
        yield started
    finally:
        started.close()


def test_a_service_says_that_it_is_ready_once_its_workers_are(tmp_path: Path):
    started = _Service(tmp_path)
    try:
        told = started.notified()
        assert (told["READY"], told["MAINPID"]) == ("1", str(started.process.pid))
        assert started.ask() in started.workers()
        assert len(started.workers()) == 2
    finally:
        started.close()


def test_a_reload_replaces_the_workers(service: _Service):
    before = service.workers()
    service.process.send_signal(signal.SIGHUP)
    service.wait_until(lambda: not before & service.workers() and len(service.workers()) == 2)
    assert service.ask() not in before


def test_a_reload_that_fails_leaves_those_before(service: _Service):
    before = service.workers()
    (service.folder / "no-worker").touch()
    service.process.send_signal(signal.SIGHUP)
    service.wait_until(lambda: "The workers are not replaced: Worker failed to boot." in service.log())
    service.wait_until(lambda: service.workers() == before)
    (service.folder / "no-worker").unlink()
    # And the next one goes well.
    service.process.send_signal(signal.SIGHUP)
    service.wait_until(lambda: not before & service.workers() and len(service.workers()) == 2)


def test_two_reloads_at_once_are_one(service: _Service):
    before = service.workers()
    for _ in range(3):
        service.process.send_signal(signal.SIGHUP)
    service.wait_until(lambda: not before & service.workers() and len(service.workers()) == 2)


def test_a_worker_that_dies_while_others_are_replaced_is_no_harm(service: _Service):
    before = service.workers()
    service.process.send_signal(signal.SIGHUP)
    service.wait_until(lambda: bool(service.workers() - before))
    os.kill(min(service.workers() - before), signal.SIGKILL)
    service.wait_until(lambda: not before & service.workers() and len(service.workers()) == 2)


def test_a_service_that_is_told_to_end_meanwhile_ends(service: _Service):
    family = psutil.Process(service.process.pid).children()
    service.process.send_signal(signal.SIGHUP)
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(_PATIENCE_S) == 0
    assert psutil.wait_procs(family, timeout=30)[1] == []


def test_another_service_takes_over(service: _Service):
    first = service.process.pid
    service.process.send_signal(signal.SIGUSR2)
    told = service.notified()
    assert told["READY"] == "1"
    second = int(told["MAINPID"])
    assert second != first
    assert service.process.wait(_PATIENCE_S) == 0
    assert service.ask() in service.workers(second)
    # And once more: it is as good as the first, once it has noticed that this is gone.
    service.wait_until(lambda: "Master has been promoted" in service.log())
    os.kill(second, signal.SIGUSR2)
    third = int(service.notified()["MAINPID"])
    service.wait_until(lambda: _has_ended(second))
    assert service.ask() in service.workers(third)


def _has_ended(pid: int) -> bool:
    # Whoever is its parent now may not have noticed yet.
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("what", ["no-start", "no-worker"])
def test_where_no_other_service_can_start_this_one_goes_on(what: str, service: _Service):
    before = service.workers()
    (service.folder / what).touch()
    service.process.send_signal(signal.SIGUSR2)
    service.wait_until(lambda: "this one goes on" in service.log())
    assert service.workers() == before
    assert service.ask() in before
