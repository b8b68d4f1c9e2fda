"""Two hosts that are one service: what faults are played on, with a second host and all that stands between.

Each host is a service of two workers with an address of its own. Both reach PostgreSQL by a PgBouncer in
transaction mode, with the file that we ship, and hear of news past it; both read the past from a streaming
replica, and count limits in one Redis. nginx, with the file that we ship, shares requests out among them.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import psycopg
from tests.faults.grounds import Ground
from tests.faults.helper import Helper
from tests.faults.stage import Stage
from tests.hosts.watcher import Report, Task
from tests.hosts.watching import Watched
from tests.support.live_service import LiveService, free_port
from tests.support.nginx import Nginx
from tests.support.pgbouncer import PgBouncer
from tests.support.redis_server import RedisServer
from tests.support.scraped import samples_of
from tests.support.signed_posts import register_fleet
from tests.support.standby import Standby
from tests.support.urls import VESSELS

from harbor_api.database import Database

_ADDRESSES = ("127.0.0.2", "127.0.0.3")
# Trackers that watchers send for, and keys whose limit they try.
_OF_WATCHERS, _LIMITED = 2, 60


class Cluster(Ground):
    """A primary, its streaming replica, and a PgBouncer before the one that takes changes."""

    is_synchronous = False
    standby: Standby
    pooler: PgBouncer

    def _begin(self, stack: ExitStack) -> None:
        super()._begin(stack)
        database = Database(self.postgres.url)
        database.let_pool()
        database.dispose()
        self.standby = stack.enter_context(Standby(self.postgres))
        self.url = Standby.either(self.postgres, self.standby)
        if self.is_synchronous:
            with psycopg.connect(self.postgres.url, autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
                connection.execute("SELECT pg_reload_conf()")
        self.pooler = stack.enter_context(PgBouncer(self.postgres.url, connections=None))


class Synchronous(Cluster):
    """One whose primary tells nobody of a commit before its standby has it on disk."""

    is_synchronous = True


class Hosts(Stage):
    """All that runs, and what may be done to it. ``service`` is the first of both hosts."""

    ground: Cluster

    def __init__(self, *args: Any, services: list[LiveService], **named: Any) -> None:
        super().__init__(*args, **named)
        self.services = services
        # What was recorded between these times may have reached the primary only.
        self.unreplicated_us = (0, 0)

    def is_well(self) -> bool:
        """Return whether both hosts answer that they are ready."""
        return all(_is_ready(each) for each in self.services)

    def counts_together(self) -> bool:
        """Return whether both hosts count limits in Redis, as they say."""
        told = [httpx.get(f"{each.base_url}/health", verify=False).json() for each in self.services]
        return all(each["limits"] == "shared" for each in told)

    def reads(self) -> tuple[int, int]:
        """Return how many reads that the replica is for it has done, and how many the primary had to do."""
        done = [0, 0]
        for each in self.services:
            url = f"http://{each.environ['HARBOR_METRICS_BIND']}/metrics"
            for (name, labels), value in samples_of(httpx.get(url, verify=False, timeout=30).text).items():
                if name == "harbor_replica_reads_total":
                    done[dict(labels)["server"] != "replica"] += int(value)
        return done[0], done[1]

    def task(self, trackers: int, **more: Any) -> Task:
        """Return what is to be watched; trackers behind the first ones are those of the watchers."""
        made, key = self.service.world.key()
        fleet = httpx.get(
            f"{self.service.base_url}{VESSELS}", headers={"Authorization": f"Bearer {key}"}, verify=False
        )
        return Task(
            hosts=[(each.address.partition(":")[0], each.port) for each in self.services],
            key=key,
            holder=made.id,
            cursor=fleet.json()["cursor"],
            trackers=[trackers + 1 + number for number in range(_OF_WATCHERS)],
            limited=[self.service.world.key(requests_per_minute=60)[1] for _ in range(_LIMITED)],
            **more,
        )

    def stored(self) -> int:
        """Return how many fixes are stored."""
        [[many]] = self.sql("SELECT count(*) FROM positions")
        return int(many)


@contextmanager
def set_up(ground: type[Cluster], *, trackers: int) -> Iterator[Hosts]:
    """Start everything, with a fleet whose first trackers are those of the traffic."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="harbor-hosts-")))
        under = stack.enter_context(ground())
        redis = stack.enter_context(RedisServer())
        database = Database(under.postgres.url, pool_size=1)
        register_fleet(database, trackers + _OF_WATCHERS)
        database.dispose()
        services = [_host(address, under, redis, folder) for address in _ADDRESSES]
        for each in services:
            stack.enter_context(each)
        nginx = stack.enter_context(Nginx(*(each.address for each in services)))
        yield Hosts(folder, ground=under, redis=redis, service=services[0], nginx=nginx, services=services)


class Watchers(Helper):
    """Those who watch both hosts, in a process of their own."""

    def __init__(self, task: Task) -> None:
        super().__init__("tests.hosts.watching", json.dumps(asdict(task)))

    def end(self) -> Watched:
        """Let them read to the end, and return what they met."""
        self.say("end")
        met = json.loads(self.line())
        return Watched(
            [Report(**each) for each in met["reports"]],
            [(vessel, at) for vessel, at in met["told"]],
            [(vessel, at) for vessel, at in met["acknowledged"]],
            met["answered"],
        )


def _host(address: str, ground: Cluster, redis: RedisServer, folder: Path) -> LiveService:
    service = LiveService(
        ground.url,
        log=folder / f"{address}.log",
        address=address,
        workers=2,
        trusted_proxies=1,
        redis_url=redis.url,
        database_pooler="transaction",
        database_direct_url=ground.url,
        database_replica_url=ground.standby.url,
        metrics_bind=f"{address}:{free_port(address)}",
    )
    service.environ["HARBOR_DATABASE_URL"] = ground.pooler.url(ground.postgres.url)
    return service


def _is_ready(service: LiveService) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{service.base_url}/health/ready", timeout=5, verify=False).is_success
    return False
