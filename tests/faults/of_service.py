"""The service itself is replaced, or loses a worker."""

import os
import signal

import psutil
from tests.faults.fault import Fault
from tests.faults.stage import Activated, Stage

# nginx says 502 for who was being answered by a worker that was killed.
_LOST_WORKER = frozenset({"502"})


def _pids(stage: Stage) -> set[int]:
    return {each.pid for each in psutil.Process(stage.service.pid).children()}


def _reload(stage: Stage) -> None:
    before = _pids(stage)
    os.kill(stage.service.pid, signal.SIGHUP)
    stage.wait_until(
        lambda: not before & _pids(stage) and len(_pids(stage)) == len(before), "the workers are replaced"
    )


def _upgrade(stage: Stage) -> None:
    first = psutil.Process(stage.service.pid)
    os.kill(first.pid, signal.SIGUSR2)
    stage.wait_until(lambda: first.status() == psutil.STATUS_ZOMBIE, "the first service ends")
    # Of the same group, it ends with the stage.
    stage.wait_until(stage.is_well, "the second service answers")


def _restart_activated(stage: Stage) -> None:
    assert stage.service.stop() == 0
    stage.service.start()
    stage.wait_until(stage.is_well, "the service answers again")


def _kill_worker(stage: Stage) -> None:
    before = _pids(stage)
    os.kill(min(before), signal.SIGKILL)
    stage.wait_until(lambda: len(_pids(stage) - before) == 1, "another worker begins")
    stage.wait_until(stage.is_well, "the service is well")


OF_SERVICE = (
    Fault("reload", "No request is refused or broken", "SIGHUP", _reload),
    Fault("upgrade", "No request is refused or broken", "SIGUSR2: another service takes over", _upgrade),
    Fault(
        "restart",
        "Requests wait; none is refused or broken",
        "SIGTERM, and started again on a socket that systemd holds",
        _restart_activated,
        kind=Activated,
    ),
    Fault(
        "worker-killed",
        "What it was answering fails at most, and is sent again",
        "kill -9 of one of two workers",
        _kill_worker,
        allowed=_LOST_WORKER,
    ),
)
