"""Servers under load: how they are started, and what is measured of them."""

import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from tests.benchmarks import fleet, load
from tests.benchmarks.machine import Watch
from tests.support.factories import MASTER_KEY
from tests.support.live_service import LiveService, free_port

from harbor_api.settings import Settings

ROOT = Path(__file__).parents[2]
WORKERS = 2
_PATIENCE_S = 30
# One worker answers first; connections that are opened then would all be its own.
_UNTIL_ALL_WORKERS_ANSWER_S = 1


@dataclass(frozen=True)
class Bench:
    """Where and for how long candidates run."""

    postgres: fleet.Postgres
    logs: Path
    seconds: float
    warmup_s: float = 1


@dataclass(frozen=True)
class Running:
    """A server that answers, the first of its processes, and that of a proxy before it."""

    port: int
    pid: int
    proxy: int | None = None
    since: float = field(default_factory=time.monotonic)

    @property
    def parts(self) -> dict[str, int]:
        return {"service": self.pid} | ({"proxy": self.proxy} if self.proxy else {})


@dataclass
class Measured:
    """What came of a load, and what was spent on each thing counted, in microseconds of CPU.

    ``others`` is the share of the CPUs that was not spent on it, ``load_average`` that of the minute before.
    """

    outcome: load.Outcome
    others: float
    load_average: float
    cpu_us: dict[str, float] = field(default_factory=dict)
    worker_shares: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._took = sorted(self.outcome.latencies_ms) if self.outcome.rate else []

    @property
    def mean_ms(self) -> float | None:
        return sum(self._took) / len(self._took) if self._took else None

    def percentile_ms(self, percent: int) -> float | None:
        return self._took[len(self._took) * percent // 100] if self._took else None

    @property
    def note(self) -> str:
        if set(self.outcome.statuses) <= {404, 405}:
            return "not there yet"
        return f"also answered: {self.outcome.refusal}" if self.outcome.refusal else ""


def measure(
    bench: Bench,
    running: Running,
    requests: Iterable[bytes],
    *,
    connections: int,
    counted_in: load.CountedIn,
    least: int = 0,
    strangers: Collection[int] = (),
) -> Measured:
    """Put a server under load. What the processes of ``strangers`` spend is nobody's of these."""
    time.sleep(max(0, running.since + _UNTIL_ALL_WORKERS_ANSWER_S - time.monotonic()))
    parts = {**running.parts, "PostgreSQL": bench.postgres.pid, "load": os.getpid()}
    watch = Watch(parts, strangers=strangers)
    outcome = load.replay(
        running.port,
        requests,
        connections=connections,
        warmup_s=bench.warmup_s,
        seconds=bench.seconds,
        counted_in=counted_in,
        least=least,
        at_edges=watch.look,
    )
    measured = Measured(outcome, watch.others, watch.load_average)
    if outcome.rate:
        spent = watch.spent
        many = outcome.rate * outcome.measured_s
        measured.cpu_us = {part: sum(each) / many * 1e6 for part, each in spent.items()}
        # A moment in which nothing was used that the kernel counts has no shares.
        of_service = sum(spent["service"]) or 1
        measured.worker_shares = [each / of_service for each in spent["service"][:WORKERS]]
    return measured


@contextmanager
def service(url: str, logs: Path, **settings: Any) -> Iterator[Running]:
    """Run `harbor-api serve` as it is shipped, but for the limit: its thousand trackers are busy ones."""
    settings = {"workers": WORKERS, "database_pool": Settings().database_pool, **settings}
    with LiveService(url, log=logs / "service.log", **settings) as service:
        yield Running(service.port, service.pid)


@contextmanager
def peer(url: str, logs: Path, *, app: str = "tests.benchmarks.peer:app") -> Iterator[Running]:
    """Run an application of the peer's with uvicorn."""
    port = free_port()
    environ = {"PEER_DATABASE_URL": url, "PEER_MASTER_KEY": base64.b64encode(MASTER_KEY).decode()}
    options = [f"--port={port}", f"--workers={WORKERS}", "--no-access-log", "--log-level=warning"]
    command = [sys.executable, "-m", "uvicorn", app, *options]
    with process(command, logs / "peer.log", **environ) as pid:
        wait_for(port, logs / "peer.log")
        yield Running(port, pid)


@contextmanager
def nothing(_: str, logs: Path) -> Iterator[Running]:
    """Run the server that does nothing: what the load reaches against it is the load's own ceiling."""
    port = free_port()
    with process([sys.executable, "-m", "tests.benchmarks.load", str(port)], logs / "nothing.log") as pid:
        wait_for(port, logs / "nothing.log")
        yield Running(port, pid)


@contextmanager
def process(command: list[str], log: Path, **environ: str) -> Iterator[int]:
    """Run a program of this tree, and end it with all that it has started."""
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


def wait_for(port: int, log: Path) -> None:
    """Wait until a server answers anything at all."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/", timeout=_PATIENCE_S, verify=False)
            return
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise RuntimeError(f"did not start: {log.read_text()}") from None
            time.sleep(0.05)
