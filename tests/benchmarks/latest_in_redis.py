"""Whether latest positions in Redis would be read for less than they are today, read by read.

    python -m tests.benchmarks.latest_in_redis [--rounds 5] [--vessels 12 --vessels 1000]

Redis would hold each vessel's rendered Feature in one hash, ready to be joined, and the newest fix of each as
JSON; it is read over the client that the service has, on the same machine as PostgreSQL. Each read is done in
turns as the service does it today and with what Redis holds, in this process, without HTTP, which is the same
for both. Told is the median over rounds of the CPU that one read costs (this process and the server), and how
long it takes; and what it would cost to keep Redis up to date: a script that compares times, once a fix or a
thousand at once.

The reads by Redis do less than they have to: keys with grants, a delay or fewer decimals, filters, staleness,
tags and cursors are left out, and what is committed after the read of the rows is not looked for.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import orjson
import psycopg
import redis
from rich.console import Console
from rich.table import Table
from tests.benchmarks import fleet, machine, servers
from tests.benchmarks.comparing import ratio
from tests.benchmarks.reads import seas
from tests.benchmarks.reads.cases import Case
from tests.benchmarks.servers import Bench
from tests.support.factories import EVERYTHING, MASTER_KEY
from tests.support.redis_server import RedisServer
from tests.support.urls import VESSELS

from harbor_api.database import Database, UnitOfWork
from harbor_api.domain import fleet_search
from harbor_api.domain.positions import Fix, Motion, ReceivedFix, stretches_of
from harbor_api.live.fleet import LiveFleet
from harbor_api.live.fragments import Question
from harbor_api.postgres.sight import Sight
from harbor_api.schemas.vessels import feature_text
from harbor_api.settings import Settings

_TODAY, _REDIS = "today", "Redis"
_FEATURES, _NEWEST = "features", "newest"
_STALE_AFTER = timedelta(minutes=15)
_SIGHT = Sight.of(EVERYTHING, None)
_ALL = Question(search=fleet_search.EVERYTHING, retired=False, limit=1_000_000, behind=None, granted=None)
# Each is read for so long at least, as a server's CPU is told in hundredths of a second.
_LEAST_S, _LEAST_READS = 0.5, 3
_GROUP = 100
# What is larger takes seconds to be sent, by which nothing is learned.
_MOST_OVER_HTTP = 10_000
# As it would have to be: a fix that is older than what is kept changes nothing.
_FORWARD = """
for place = 1, #ARGV, 3 do
    local known = redis.call('HGET', KEYS[2], ARGV[place])
    if not known or known < ARGV[place + 1] then
        redis.call('HSET', KEYS[2], ARGV[place], ARGV[place + 1])
        redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 2])
    end
end
"""

# What the ingest leaves: a fix with the next number, and the latest position with the same.
_MOVE = """
WITH stored AS (
    INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
    VALUES (%s, now(), 1, now(), 50 + random(), 10.7, nextval('fleet_order'))
    RETURNING vessel_id, recorded_at, lat, seq
)
UPDATE latest_positions AS p SET recorded_at = stored.recorded_at, lat = stored.lat, seq = stored.seq
FROM stored WHERE p.vessel_id = stored.vessel_id
"""

Work = Callable[[], Any]


@dataclass(frozen=True)
class Cost:
    """Microseconds of one read: CPU here and at the server, and how long it took."""

    here: float
    server: float
    took: float

    @property
    def cpu(self) -> float:
        return self.here + self.server


class _Place:
    """A fleet in PostgreSQL and in Redis, and the reads of it."""

    def __init__(self, stack: ExitStack, postgres: fleet.Postgres, server: RedisServer, vessels: int) -> None:
        self.vessels = vessels
        sea = stack.enter_context(
            seas.sea(postgres, vessels=vessels, fixes=3, every_s=30.0, peer=False, silent=True)
        )
        self._sea = sea
        self._url = sea.urls[fleet.SERVICE]
        self._database = Database(self._url, pool_size=2)
        stack.callback(self._database.dispose)
        self._redis = redis.Redis.from_url(server.url)
        stack.callback(self._redis.close)
        self._redis.flushall()
        self._script = self._redis.register_script(_FORWARD)
        self._ids = [str(number) for number in range(1, vessels + 1)]
        self._fill()
        self._fleet = self._cold()
        self._fleet.read(EVERYTHING)
        self._turn = 0
        self._writer = stack.enter_context(psycopg.connect(self._url, autocommit=True))

    def _fill(self) -> None:
        last, found = 0, 500
        while found == 500:
            with self._database.autocommit() as unit_of_work:
                shown = unit_of_work.fleet(_SIGHT, stale_after=_STALE_AFTER).after(last, most=500)
            found = len(shown)
            if shown:
                last = shown[-1].vessel.id
                features = {str(each.vessel.id): feature_text(each) for each in shown}
                self._redis.hset(_FEATURES, mapping=features)
                self._redis.hset(_NEWEST, mapping=dict.fromkeys(features, "2026-01-02T03:04:05.000000Z"))

    def _cold(self) -> LiveFleet:
        return LiveFleet(self._database, Settings(tracker_master_key=MASTER_KEY))

    def reads(self) -> Iterator[tuple[str, dict[str, Work]]]:
        """Yield what is read, and both ways of it."""
        yield "the whole fleet, at rest", {_TODAY: self._whole, _REDIS: self._whole_of_redis}
        yield (
            "the whole fleet, a vessel has moved since",
            {_TODAY: self._moved_then(self._whole), _REDIS: self._moved_then(self._whole_of_redis)},
        )
        yield "one vessel", {_TODAY: self._one, _REDIS: self._one_of_redis}
        few = min(_GROUP, self.vessels)
        yield (
            "what is newest, for a fix",
            {_TODAY: lambda: self._around(1), _REDIS: lambda: self._newest_of_redis(1)},
        )
        yield (
            f"what is newest, for a group of {few}",
            {_TODAY: lambda: self._around(few), _REDIS: lambda: self._newest_of_redis(few)},
        )
        yield (
            "a worker's first read",
            {_TODAY: lambda: self._cold().read(EVERYTHING), _REDIS: self._first_of_redis},
        )

    def writes(self) -> dict[str, tuple[Work, int]]:
        """Return what would have to be done for each fix beside, and for how many at once it is done."""
        many = min(1_000, self.vessels)
        return {"kept up to date, one": (lambda: self._forward(1), 1)} | (
            {f"kept up to date, {many} at once": (lambda: self._forward(many), many)} if many > 1 else {}
        )

    def over_http(self, bench: Bench) -> Iterator[tuple[str, float, float]]:
        """Yield what whole requests cost today, in CPU and in time."""
        some = [f"{VESSELS}/{number}" for number in range(1, min(97, self.vessels) + 1)]
        asked = {"the whole fleet, at rest": [VESSELS], "one vessel": some}
        with servers.service(self._url, bench.logs) as running:
            for name, paths in asked.items():
                case = Case("latest", name, paths, len, 1, (_TODAY,), connections=8)
                requests = case.requests(_TODAY, self._sea.keys[seas.WHOLE])
                measured = servers.measure(
                    bench,
                    running,
                    requests,
                    connections=case.connections,
                    counted_in=lambda status, _: int(status == 200),
                )
                cpu = measured.cpu_us["service"] + measured.cpu_us["PostgreSQL"]
                yield name, cpu, measured.percentile_ms(50) or 0

    def _whole(self) -> bytes:
        return self._fleet.read(EVERYTHING).picture.find(_ALL).text

    def _whole_of_redis(self) -> bytes:
        return b",".join(self._redis.hmget(_FEATURES, self._ids))

    def _moved_then(self, read: Work) -> Work:
        def both() -> Any:
            # Another worker's, by the shortest way; it is the same for both.
            self._turn += 1
            self._writer.execute(_MOVE, [self._turn % self.vessels + 1])
            return read()

        return both

    def _one(self) -> bytes:
        with self._database.autocommit() as unit_of_work:
            return feature_text(unit_of_work.fleet(_SIGHT, stale_after=_STALE_AFTER).get(self._next()))

    def _one_of_redis(self) -> Any:
        return self._redis.hget(_FEATURES, str(self._next()))

    def _around(self, many: int) -> Any:
        now = datetime.now(UTC)
        first = self._next() % (self.vessels - many + 1) + 1
        fixes = [
            ReceivedFix(number, number, now, Fix(now, Motion(lat=59.9, lon=10.7)))
            for number in range(first, first + many)
        ]

        def ask(unit_of_work: UnitOfWork) -> Any:
            return unit_of_work.positions.around(stretches_of(fixes))

        with self._database.autocommit() as unit_of_work:
            return ask(unit_of_work)

    def _newest_of_redis(self, many: int) -> Any:
        first = self._next() % (self.vessels - many + 1)
        return self._redis.hmget(_NEWEST, self._ids[first : first + many])

    def _first_of_redis(self) -> Any:
        # Filters look at members, so all are read.
        return [orjson.loads(each) for each in self._redis.hmget(_FEATURES, self._ids)]

    def _forward(self, many: int) -> None:
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        values: list[str] = []
        first = self._next() % (self.vessels - many + 1)
        for each in self._ids[first : first + many]:
            values += (each, now, "x" * 450)
        self._script(keys=[_FEATURES, _NEWEST], args=values)

    def _next(self) -> int:
        self._turn += 1
        return self._turn * 617 % self.vessels + 1


def _cost(work: Work, server: int, *, each: int = 1) -> Cost:
    """Return what something costs, once it was done for a while."""
    work()
    before, here, began = _used(server), time.process_time(), time.perf_counter()
    took: list[float] = []
    while len(took) < _LEAST_READS or time.perf_counter() - began < _LEAST_S:
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    many = len(took) * each
    return Cost(
        (time.process_time() - here) / many * 1e6,
        (_used(server) - before) / many * 1e6,
        statistics.median(took) / each * 1e6,
    )


def _used(server: int) -> float:
    return sum(machine.cpu_seconds(server).values())


def _row(costs: list[Cost]) -> str:
    middle = [statistics.median(getattr(each, name) for each in costs) for name in ("cpu", "server", "took")]
    return "{:,.1f} ({:,.1f}), {:,.1f}".format(*middle)


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--vessels", "sizes", type=click.IntRange(1), multiple=True, default=(12, 1_000, 100_000))
def main(*, rounds: int, sizes: tuple[int, ...]) -> None:
    """Hold Redis against what there is."""
    console = Console(width=170, soft_wrap=True)
    table = Table(
        title="microseconds of CPU (of it the server's), and how long it took: medians", title_justify="left"
    )
    for name in ("vessels", "read", _TODAY, _REDIS, "CPU, Redis / today", "time, Redis / today"):
        table.add_column(name, justify="left" if name == "read" else "right")
    with (
        tempfile.TemporaryDirectory(prefix="harbor-") as logs,
        RedisServer() as server,
        fleet.Postgres(vessels=0) as postgres,
    ):
        servers = {_TODAY: postgres.pid, _REDIS: server.pid}
        console.print(machine.at_rest(), highlight=False)
        for vessels in sizes:
            with ExitStack() as stack:
                place = _Place(stack, postgres, server, vessels)
                for name, ways in place.reads():
                    costs: dict[str, list[Cost]] = {each: [] for each in ways}
                    for _ in range(rounds):
                        for each, work in ways.items():
                            costs[each].append(_cost(work, servers[each]))
                    pairs = list(zip(costs[_TODAY], costs[_REDIS], strict=True))
                    table.add_row(
                        f"{vessels:,}",
                        name,
                        *(_row(costs[each]) for each in ways),
                        ratio([new.cpu / old.cpu for old, new in pairs]),
                        ratio([new.took / old.took for old, new in pairs]),
                    )
                if vessels <= _MOST_OVER_HTTP:
                    for name, cpu, p50_ms in place.over_http(Bench(postgres, Path(logs), 2)):
                        told = f"{cpu:,.0f}, {1000 * p50_ms:,.0f} with 8 at once"
                        table.add_row(f"{vessels:,}", f"{name}, over HTTP", told, "", "", "")
                for name, (work, many) in place.writes().items():
                    written = [_cost(work, server.pid, each=many) for _ in range(rounds)]
                    table.add_row(f"{vessels:,}", f"{name} (each)", "-", _row(written), "", "")
        console.print(machine.at_rest(), highlight=False)
    console.print(table)


if __name__ == "__main__":
    main()
