"""The candidates: each stores a fleet's fixes in a database and says how many it acknowledged."""

import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import psutil
from tests.benchmarks import fleet, load, pgbench
from tests.support import urls
from tests.support.factories import MASTER_KEY
from tests.support.live_service import LiveService, free_port

from harbor_api.settings import Settings

ROOT = Path(__file__).parents[2]
WORKERS = 2
# A run has so many turns of the fleet for itself: where more are made in one database, none meet.
TURNS = 500
_PATIENCE_S = 30
# One worker answers first; connections that are opened then would all be its own.
_UNTIL_ALL_WORKERS_ANSWER_S = 1
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
    stored_in: Callable[[int, bytes], int]


SINGLE = Job("single", 1, 32, 8_000, fleet.singles, fleet.stored_of_single)
BATCH = Job("batch", fleet.BATCH, 16, 150, fleet.batches, fleet.stored_of_batch)


@dataclass
class Run:
    """One candidate measured once. Rates are fixes a second, CPU is microseconds a fix.

    ``positions`` were in the database before; ``worker_shares`` tells how evenly workers were busy.
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
    note: str = ""

    @property
    def is_honest(self) -> bool:
        """Whether the database holds exactly what was acknowledged."""
        return self.acknowledged == self.stored

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Bench:
    """Where and for how long candidates run."""

    postgres: fleet.Postgres
    logs: Path
    seconds: float
    warmup_s: float = 1


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
        program = bench.postgres.programs / "pgbench"
        prepared = pgbench.prepare(program, url, fixes=job.fixes, connections=job.connections, lock=self.lock)
        # The first tenth of its turns is for the warm-up.
        warmup, _, _ = prepared.run(bench.warmup_s, first_turn=first_turn)
        sent, rate, mean_ms = prepared.run(bench.seconds, first_turn=first_turn + TURNS // 10)
        return Run(job.name, self.name, rate, warmup + sent, mean_ms=mean_ms)


@dataclass(frozen=True)
class Server:
    """A service in processes of its own, under the load of `load.py`."""

    name: str
    start: Callable[[str, Path], AbstractContextManager["Running"]]
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
            time.sleep(_UNTIL_ALL_WORKERS_ANSWER_S)
            pids = {"service": running.pid, "PostgreSQL": bench.postgres.pid}
            seen: list[dict[str, dict[int, float]]] = []

            def look() -> None:
                used = {part: _cpu_seconds(pid) for part, pid in pids.items()}
                seen.append({**used, "load": {0: time.process_time()}})

            outcome = load.replay(
                running.port,
                requests,
                connections=job.connections,
                warmup_s=bench.warmup_s,
                seconds=bench.seconds,
                stored_in=job.stored_in,
                at_edges=look,
            )
        run = Run(job.name, self.name, outcome.rate, outcome.stored, statuses=dict(outcome.statuses))
        if set(outcome.statuses) <= {404, 405}:
            run.note = "not there yet"
        elif outcome.refusal:
            run.note = f"also answered: {outcome.refusal}"
        if outcome.rate:
            spent = {part: _spent(seen[0][part], seen[1][part]) for part in seen[0]}
            fixes = outcome.rate * outcome.measured_s
            run.cpu_us = {part: sum(each) / fixes * 1e6 for part, each in spent.items()}
            run.worker_shares = [each / sum(spent["service"]) for each in spent["service"][:WORKERS]]
            took = sorted(outcome.latencies_ms)
            run.mean_ms = sum(took) / len(took)
            run.p50_ms, run.p99_ms = took[len(took) // 2], took[len(took) * 99 // 100]
        return run


@dataclass(frozen=True)
class Running:
    """A server that answers, and the first of its processes."""

    port: int
    pid: int


@contextmanager
def _service(url: str, logs: Path) -> Iterator[Running]:
    """Run `harbor-api serve` as it is shipped, but for the limit: its thousand trackers are busy ones."""
    pool = Settings().database_pool
    with LiveService(url, log=logs / "service.log", workers=WORKERS, database_pool=pool) as service:
        yield Running(service.port, service.pid)


@contextmanager
def _peer(url: str, logs: Path) -> Iterator[Running]:
    port = free_port()
    environ = {"PEER_DATABASE_URL": url, "PEER_MASTER_KEY": base64.b64encode(MASTER_KEY).decode()}
    options = [f"--port={port}", f"--workers={WORKERS}", "--no-access-log", "--log-level=warning"]
    command = [sys.executable, "-m", "uvicorn", "tests.benchmarks.peer:app", *options]
    with _process(command, logs / "peer.log", **environ) as pid:
        _wait_for(port, logs / "peer.log")
        yield Running(port, pid)


@contextmanager
def _nothing(_: str, logs: Path) -> Iterator[Running]:
    """Run the server that does nothing: what the load reaches against it is the load's own ceiling."""
    port = free_port()
    with _process([sys.executable, "-m", "tests.benchmarks.load", str(port)], logs / "nothing.log") as pid:
        _wait_for(port, logs / "nothing.log")
        yield Running(port, pid)


NOTHING = Server("a server that does nothing", _nothing, "/")
SINGLES: tuple[Candidate, ...] = (
    Ceiling(PGBENCH, lock=True),
    Ceiling(UNORDERED, lock=False),
    Server(SERVICE, _service, urls.POSITIONS),
    Server(PEER, _peer, urls.POSITIONS, fleet.PEER),
)
BATCHES: tuple[Candidate, ...] = (
    Ceiling(PGBENCH, lock=True),
    Ceiling(UNORDERED, lock=False),
    Server(SERVICE, _service, urls.BATCH),
    Server(EXECUTEMANY, _peer, f"{urls.BATCH}/executemany", fleet.PEER),
    Server(UNNEST, _peer, f"{urls.BATCH}/unnest", fleet.PEER),
)
GROWING: tuple[Candidate, ...] = (SINGLES[1], SINGLES[2])


@contextmanager
def _process(command: list[str], log: Path, **environ: str) -> Iterator[int]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(_PATIENCE_S)


def _wait_for(port: int, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/", timeout=_PATIENCE_S)
            return
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise RuntimeError(f"did not start: {log.read_text()}") from None
            time.sleep(0.05)


def _cpu_seconds(pid: int) -> dict[int, float]:
    """Return what a process and its descendants have used so far."""
    parent = psutil.Process(pid)
    used = {}
    for process in (parent, *parent.children(recursive=True)):
        # PostgreSQL's helpers come and go by themselves.
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            used[process.pid] = times.user + times.system
    return used


def _spent(before: dict[int, float], after: dict[int, float]) -> list[float]:
    """Return what each process has used in between, the most first."""
    return sorted((used - before.get(pid, 0) for pid, used in after.items()), reverse=True)
