"""The candidates of the reads, and what one of them does in one case."""

import http.client
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from tests.benchmarks import fleet, servers
from tests.benchmarks.reads import constant, statements
from tests.benchmarks.reads.cases import CONSTANT, PEER, PGBENCH, SERVICE, Case, Judge
from tests.benchmarks.reads.seas import Sea
from tests.benchmarks.reads.writes import writing
from tests.benchmarks.servers import Bench, Running
from tests.support.live_service import free_port

_APP = "tests.benchmarks.reads.peer:app"
_PATIENCE_S = 60
# Of fewer, those that are under way when the time begins and ends would be too large a part.
_LEAST = 24


@dataclass
class ReadRun:
    """One candidate measured once in one case. Rates are answers as meant a second, CPU is microseconds each.

    ``positions`` lay in the database where that is what differs; ``memory_mb`` is what the largest worker
    holds for itself and its part of what workers share (PSS). ``goal`` is how many times this one's rate, or
    which part of its costs, the service is to reach. ``others`` and ``load_average`` as in ``Measured``.
    """

    job: str
    case: str
    candidate: str
    rate: float = 0
    answers: int = 0
    as_meant: int = 0
    bytes: int = 0
    positions: int = 0
    mean_ms: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu_us: dict[str, float] = field(default_factory=dict)
    worker_shares: list[float] = field(default_factory=list)
    memory_mb: float | None = None
    statuses: dict[int, int] = field(default_factory=dict)
    written: int = 0
    written_a_second: float = 0
    goal: float | None = None
    others: float | None = None
    load_average: float | None = None
    wrong: str = ""
    note: str = ""

    @property
    def cpu(self) -> float:
        """What an answer costs the service and PostgreSQL together, the steadier measure."""
        return self.cpu_us.get("service", 0) + self.cpu_us.get("PostgreSQL", 0)

    @property
    def is_honest(self) -> bool:
        """Whether all that came back is as meant; what is not there yet claims nothing."""
        return not self.wrong

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def tag(self) -> str:
        return next((value for name, value in self.headers if name.lower() == "etag"), "")


class Readers:
    """All candidates beside one sea, started once; those that are not measured do nothing meanwhile."""

    def __init__(self, bench: Bench, sea: Sea, running: Mapping[str, Running]) -> None:
        self._bench = bench
        self._sea = sea
        self._running = running

    def run(self, candidate: str, case: Case, number: int) -> ReadRun:
        """Measure one candidate; ``number`` is the case's among those that pre-rendered answers are for."""
        if candidate == PGBENCH:
            return self._pgbench(case)
        run = ReadRun(case.job, case.name, candidate, goal=case.goals.get(candidate))
        below = f"/{number}" if candidate == CONSTANT else ""
        tables = fleet.PEER if candidate == PEER else fleet.SERVICE
        tags = []
        if case.again:
            for path in case.paths_of(candidate):
                answer = ask(self._running[candidate].port, below + path, case, self._sea.keys[case.key])
                tags.append(answer.tag)
        requests = case.requests(candidate, self._sea.keys[case.key], below=below, tags=tags)
        judge, running = Judge(case), self._running[candidate]
        measure = partial(
            servers.measure,
            self._bench,
            running,
            requests,
            connections=case.connections,
            counted_in=judge,
            least=_LEAST,
        )
        try:
            if case.writes_a_second:
                url, many = self._sea.urls[tables], case.writes_a_second
                with writing(url, tables, vessels=self._sea.vessels, a_second=many) as writer:
                    began = time.monotonic()
                    measured = measure(strangers=[writer.backend])
                    took_s = time.monotonic() - began
                run.written, run.written_a_second = writer.written, writer.written / took_s
            else:
                measured = measure()
        except (ConnectionError, TimeoutError) as error:
            run.wrong = str(error)
            return run
        outcome = measured.outcome
        run.rate, run.as_meant, run.answers = outcome.rate, outcome.counted, outcome.statuses.total()
        run.bytes, run.wrong, run.note = judge.bytes, judge.wrong(), measured.note
        run.statuses = dict(outcome.statuses)
        run.cpu_us, run.worker_shares = measured.cpu_us, measured.worker_shares
        run.others, run.load_average = measured.others, measured.load_average
        run.mean_ms, run.p50_ms, run.p99_ms = (
            measured.mean_ms,
            measured.percentile_ms(50),
            measured.percentile_ms(99),
        )
        if run.written_a_second < case.writes_a_second * 0.8:
            run.note = f"beside {run.written_a_second:.0f} writes/s only"
        if run.as_meant and run.as_meant < run.answers:
            run.wrong = run.wrong or f"{run.answers - run.as_meant} of {run.answers} answers: {run.note}"
        elif not run.answers or (run.as_meant and not run.rate):
            run.note = "too slow: nothing was answered in the measured time"
        elif not run.as_meant:
            run.note = f"not there yet, answers {sorted(run.statuses)}"
        run.memory_mb = _largest_worker_mb(running.pid)
        return run

    def _pgbench(self, case: Case) -> ReadRun:
        run = ReadRun(case.job, case.name, PGBENCH, goal=case.goals.get(PGBENCH))
        url, secret = self._sea.urls[fleet.SERVICE], self._sea.keys[case.key]
        scripts = statements.of(url, case, secret)
        if not scripts:
            run.note = "not there yet: the service sends no statement for it"
            return run
        measured = statements.replay(self._bench, url, scripts, connections=case.connections)
        run.rate, run.mean_ms, run.answers = measured.rate, measured.mean_ms, measured.transactions
        run.as_meant, run.cpu_us = run.answers, {"PostgreSQL": measured.cpu_us}
        run.others, run.load_average = measured.others, measured.load_average
        return run


@contextmanager
def readers(bench: Bench, sea: Sea, cases: list[Case]) -> Iterator[Readers]:
    """Start the candidates that these cases ask for."""
    wanted = {name for case in cases for name in case.candidates}
    with ExitStack() as stack:
        running = {SERVICE: stack.enter_context(servers.service(sea.urls[fleet.SERVICE], bench.logs))}
        if PEER in wanted and fleet.PEER in sea.urls:
            running[PEER] = stack.enter_context(servers.peer(sea.urls[fleet.PEER], bench.logs, app=_APP))
        if CONSTANT in wanted:
            running[CONSTANT] = stack.enter_context(_constant(bench.logs, sea, cases, running))
        yield Readers(bench, sea, running)


def ask(port: int, path: str, case: Case, secret: str, **headers: str) -> _Answer:
    """Ask once, and return the answer as it came over the wire."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    try:
        sent = {"Authorization": f"Bearer {secret}", **case.headers, **headers}
        connection.request("GET", path, headers=sent)
        response = connection.getresponse()
        return _Answer(response.status, response.getheaders(), response.read())
    finally:
        connection.close()


@contextmanager
def _constant(logs: Path, sea: Sea, cases: list[Case], running: Mapping[str, Running]) -> Iterator[Running]:
    """Serve what the service answers; what it cannot answer yet, as the peer does."""
    port, folder = free_port(), logs / f"constant-{free_port()}"
    folder.mkdir()
    for number, case in enumerate(cases):
        if CONSTANT not in case.candidates:
            continue
        secret = sea.keys[case.key]
        answers = [ask(each.port, case.paths_of(name)[0], case, secret) for name, each in running.items()]
        right = next((each for each in answers if each.status == 200), None)
        if right is None:
            continue
        if case.again:
            server = running[SERVICE if right is answers[0] else PEER]
            right = ask(server.port, case.paths[0], case, secret, **{"If-None-Match": right.tag})
        constant.keep(folder, number, right.status, right.headers, right.body)
    arguments = [str(folder), str(port), str(servers.WORKERS)]
    command = [sys.executable, "-m", "tests.benchmarks.reads.constant", *arguments]
    with servers.process(command, logs / "constant.log") as pid:
        servers.wait_for(port, logs / "constant.log")
        yield Running(port, pid)


def _largest_worker_mb(pid: int) -> float:
    workers = psutil.Process(pid).children()
    return max((each.memory_full_info().pss for each in workers), default=0) / 1e6
