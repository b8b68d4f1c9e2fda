"""What is done to the service, and what was promised for that case."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import psutil
import psycopg
from tests.faults.stage import Activated, Stage
from tests.support.live_service import LiveService

# PostgreSQL lies still, or is away, for so long.
_AWAY_S = 4.0


@dataclass(frozen=True)
class Fault:
    """One fault: ``do`` brings it about and returns once it is over.

    ``allowed`` are the outcomes that callers may meet besides success. Nothing that was acknowledged may be
    lost, and no fix be given up, whatever is done.
    """

    name: str
    promise: str
    done: str
    do: Callable[[Stage], None]
    allowed: frozenset[str] = frozenset()
    kind: type[LiveService] = LiveService
    settings: dict[str, Any] = field(default_factory=dict)


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


def _crash_database(stage: Stage) -> None:
    stage.postgres.crash()
    time.sleep(_AWAY_S)
    stage.postgres.start()
    stage.wait_until(stage.is_well, "the service is well")


def _freeze_database(stage: Stage) -> None:
    family = stage.postgres.processes()
    for process in family:
        process.suspend()
    time.sleep(_AWAY_S)
    for process in family:
        process.resume()
    stage.wait_until(stage.is_well, "the service is well")


def _fill_database(stage: Stage) -> None:
    with ExitStack() as others:
        with suppress(psycopg.OperationalError):
            while True:
                others.enter_context(psycopg.connect(stage.postgres.url))
        time.sleep(_AWAY_S)


def _kill_redis(stage: Stage) -> None:
    stage.redis.kill()
    time.sleep(_AWAY_S)
    stage.redis.start()
    time.sleep(_AWAY_S)


def _hang_redis(stage: Stage) -> None:
    stage.redis.hang()
    time.sleep(_AWAY_S)
    stage.redis.go_on()


# nginx says 502 for who was being answered by a worker that was killed.
_LOST_WORKER = frozenset({"502"})
_AWAY = frozenset({"503"})

FAULTS = {
    each.name: each
    for each in (
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
        Fault(
            "database-crashed",
            "503 with Retry-After meanwhile; well again by itself",
            f"kill -9 of PostgreSQL, {_AWAY_S:.0f} s away, started again",
            _crash_database,
            allowed=_AWAY,
        ),
        Fault(
            "database-hangs",
            "Requests wait, 503 after HARBOR_DATABASE_TIMEOUT_MS; well again by itself",
            f"PostgreSQL lies still for {_AWAY_S:.0f} s",
            _freeze_database,
            allowed=_AWAY,
        ),
        Fault(
            "database-full",
            "Requests wait for the connections that there are",
            f"others take all connections of PostgreSQL for {_AWAY_S:.0f} s",
            _fill_database,
        ),
        Fault("redis-killed", "Nobody notices", f"kill -9 of Redis, {_AWAY_S:.0f} s away", _kill_redis),
        Fault("redis-hangs", "Nobody notices", f"Redis lies still for {_AWAY_S:.0f} s", _hang_redis),
    )
}
