"""The candidates: each stores a fleet's fixes in a database and says how many it acknowledged."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from tests.benchmarks import fleet, load, pgbench, proxy
from tests.benchmarks.servers import Bench, Running, measure, nothing, peer, service
from tests.support import urls

# A run has so many turns of the fleet for itself: where more are made in one database, none meet.
TURNS = 500
PGBENCH, UNORDERED, SERVICE, PEER = "pgbench", "pgbench, no lock", fleet.SERVICE, fleet.PEER
EXECUTEMANY, UNNEST = "peer, executemany", "peer, unnest"


@dataclass(frozen=True)
class Job:
    """What all candidates of a table are asked to do."""

    name: str
    fixes: int
    connections: int
    # Requests are signed beforehand: for so many a second. A candidate that is faster ends earlier.
    signed_a_second: int
    requests: Callable[..., list[bytes]]
    stored_in: load.CountedIn


SINGLE = Job("single", 1, 32, 8_000, fleet.singles, fleet.stored_of_single)
BATCH = Job("batch", fleet.BATCH, 16, 150, fleet.batches, fleet.stored_of_batch)


@dataclass
class Run:
    """One candidate measured once. Rates are fixes a second, CPU is microseconds a fix.

    ``positions`` were in the database before. ``worker_shares`` tells how evenly workers were busy,
    ``others`` what share of the CPUs went elsewhere, ``load_average`` is that of the minute before.
    """

    job: str
    candidate: str
    rate: float
    acknowledged: int
    stored: int = 0
    positions: int = 0
    mean_ms: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu_us: dict[str, float] = field(default_factory=dict)
    worker_shares: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    others: float | None = None
    load_average: float | None = None
    note: str = ""

    @property
    def cpu(self) -> float:
        """What a fix costs all parts together: whatever stands in its way, and who sends it."""
        return sum(self.cpu_us.values())

    @property
    def is_honest(self) -> bool:
        """Whether the database holds exactly what was acknowledged."""
        return self.acknowledged == self.stored

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Candidate(Protocol):
    """Something that stores fixes."""

    @property
    def name(self) -> str: ...

    @property
    def tables(self) -> str:
        """Whose tables its database has."""

    def run(self, bench: Bench, job: Job, url: str, first_turn: int) -> Run: ...


@dataclass(frozen=True)
class Ceiling:
    """pgbench with the service's own statement."""

    name: str
    lock: bool
    tables: str = fleet.SERVICE

    def run(self, bench: Bench, job: Job, url: str, first_turn: int) -> Run:
        prepared = pgbench.prepare(
            bench.postgres, url, fixes=job.fixes, connections=job.connections, lock=self.lock
        )
        # The first tenth of its turns is for the warm-up.
        warmup = prepared.run(bench.warmup_s, first_turn=first_turn)
        sent = prepared.run(bench.seconds, first_turn=first_turn + TURNS // 10)
        return Run(
            job.name,
            self.name,
            sent.rate,
            warmup.fixes + sent.fixes,
            mean_ms=sent.mean_ms,
            cpu_us=sent.cpu_us,
            others=sent.watch.others,
            load_average=sent.watch.load_average,
        )


@dataclass(frozen=True)
class Server:
    """A service in processes of its own, under the load of `load.py`."""

    name: str
    start: Callable[[str, Path], AbstractContextManager[Running]]
    path: str
    tables: str = fleet.SERVICE

    def run(self, bench: Bench, job: Job, url: str, first_turn: int) -> Run:
        requests = job.requests(
            bench.postgres.trackers,
            self.path,
            first_turn=first_turn,
            count=round(job.signed_a_second * (bench.warmup_s + bench.seconds)),
        )
        with self.start(url, bench.logs) as running:
            measured = measure(
                bench, running, requests, connections=job.connections, counted_in=job.stored_in
            )
        outcome = measured.outcome
        return Run(
            job.name,
            self.name,
            outcome.rate,
            outcome.counted,
            mean_ms=measured.mean_ms,
            p50_ms=measured.percentile_ms(50),
            p99_ms=measured.percentile_ms(99),
            cpu_us=measured.cpu_us,
            worker_shares=measured.worker_shares,
            statuses=dict(outcome.statuses),
            others=measured.others,
            load_average=measured.load_average,
            note=measured.note,
        )


NOTHING = Server("a server that does nothing", nothing, "/")
SINGLES: tuple[Candidate, ...] = (
    Ceiling(PGBENCH, lock=True),
    Ceiling(UNORDERED, lock=False),
    Server(SERVICE, service, urls.POSITIONS),
    Server(PEER, peer, urls.POSITIONS, fleet.PEER),
)
BATCHES: tuple[Candidate, ...] = (
    Ceiling(PGBENCH, lock=True),
    Ceiling(UNORDERED, lock=False),
    Server(SERVICE, service, urls.BATCH),
    Server(EXECUTEMANY, peer, f"{urls.BATCH}/executemany", fleet.PEER),
    Server(UNNEST, peer, f"{urls.BATCH}/unnest", fleet.PEER),
)
# In front of the service a proxy is to be believed; uvicorn believes any of this machine as it comes.
_PROXIED = Server(SERVICE, partial(proxy.before, partial(service, trusted_proxies=1)), urls.POSITIONS)
PROXIED_SINGLES: tuple[Candidate, ...] = (
    _PROXIED,
    Server(PEER, partial(proxy.before, peer), urls.POSITIONS, fleet.PEER),
)
PROXIED_BATCHES: tuple[Candidate, ...] = (
    replace(_PROXIED, path=urls.BATCH),
    Server(EXECUTEMANY, partial(proxy.before, peer), f"{urls.BATCH}/executemany", fleet.PEER),
    Server(UNNEST, partial(proxy.before, peer), f"{urls.BATCH}/unnest", fleet.PEER),
)
GROWING: tuple[Candidate, ...] = (SINGLES[1], SINGLES[2])
