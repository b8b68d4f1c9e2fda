"""Where faults are played: PostgreSQL, Redis, a service of two workers, and nginx as it is shipped."""

import json
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
from tests.faults.grounds import Ground
from tests.faults.helper import Helper
from tests.faults.traffic import Order, Seen
from tests.support import sql
from tests.support.live_service import LiveService
from tests.support.nginx import Nginx
from tests.support.redis_server import RedisServer
from tests.support.signed_posts import register_fleet

from harbor_api.database import Database

_PATIENCE_S = 120.0
# How systemd hands over a socket: as descriptor 3, to the process of which the environment says so.
_AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""


class Activated(LiveService):
    """A service whose socket is held open for it while there is none, as systemd does."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=2048)

    def command(self) -> list[str]:
        return [sys.executable, "-c", _AS_SYSTEMD, str(self.listener.fileno()), *super().command()]

    def handed_over(self) -> tuple[int, ...]:
        return (self.listener.fileno(),)

    def __exit__(self, *args: object) -> None:
        super().__exit__(*args)
        self.listener.close()


class Stage:
    """All that runs, and what may be done to it."""

    def __init__(
        self,
        folder: Path,
        *,
        ground: Ground,
        redis: RedisServer,
        service: LiveService,
        nginx: Nginx,
    ) -> None:
        self.folder = folder
        self.ground = ground
        self.postgres = ground.postgres
        self.redis = redis
        self.service = service
        self.nginx = nginx
        self.key = self.new_key()

    def new_key(self) -> str:
        """Return a new partner's key."""
        return self.service.world.key()[1]

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds; AssertionError where it does not in time."""
        until = time.monotonic() + _PATIENCE_S
        while not holds():
            last = self.service.log()[-2_000:]
            assert time.monotonic() < until, f"{what}: not within {_PATIENCE_S:.0f} s\n{last}"
            time.sleep(0.05)

    def is_well(self) -> bool:
        """Return whether the service answers that it is ready."""
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.service.base_url}/health/ready", timeout=5, verify=False).is_success
        return False

    def sql(self, statement: str, **values: Any) -> Sequence[Any]:
        """Run a statement where the service runs its own, and return the rows."""
        database = Database(self.ground.url, pool_size=1)
        try:
            return sql.run(database, statement, **values)
        finally:
            database.dispose()

    def lost(self, seen: Seen) -> int:
        """Return how many fixes were acknowledged and are neither stored nor held."""
        vessels, times = zip(*seen.acknowledged, strict=True)
        [[lost]] = self.sql(
            """
            SELECT count(*)
            FROM unnest(CAST(:vessels AS integer[]), CAST(:times AS bigint[])) AS sent (vessel_id, us)
            WHERE NOT EXISTS (
                SELECT FROM positions WHERE vessel_id = sent.vessel_id
                AND recorded_at = 'epoch'::timestamptz + us * interval '1 microsecond'
            ) AND NOT EXISTS (
                SELECT FROM quarantine WHERE vessel_id = sent.vessel_id
                AND recorded_at = 'epoch'::timestamptz + us * interval '1 microsecond'
            )
            """,
            vessels=list(vessels),
            times=list(times),
        )
        return int(lost)


@contextmanager
def set_up(
    kind: type[LiveService] = LiveService,
    ground: type[Ground] = Ground,
    *,
    trackers: int = 40,
    **settings: Any,
) -> Iterator[Stage]:
    """Start everything, with a fleet whose trackers are those of ``Order``."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="harbor-faults-")))
        under = stack.enter_context(ground())
        redis = stack.enter_context(RedisServer())
        database = Database(under.postgres.url, pool_size=1)
        register_fleet(database, trackers)
        database.dispose()
        service = kind(
            under.url,
            log=folder / "service.log",
            **{"workers": 2, "redis_url": redis.url, "trusted_proxies": 1} | settings,
        )
        stack.enter_context(service)
        nginx = stack.enter_context(Nginx(f"127.0.0.1:{service.port}"))
        yield Stage(folder, ground=under, redis=redis, service=service, nginx=nginx)


class Traffic(Helper):
    """Callers in a process of their own."""

    def __init__(self, order: Order) -> None:
        super().__init__("tests.faults.traffic", json.dumps(asdict(order)))

    def end(self) -> Seen:
        """Let no new fixes be made, and return what was met once all are acknowledged or given up."""
        self.say("end")
        seen = json.loads(self.line())
        return Seen(
            [(what, began, ended, outcome) for what, began, ended, outcome in seen["attempts"]],
            [(vessel, at) for vessel, at in seen["acknowledged"]],
            seen["given_up"],
            seen["untold"],
        )
