"""The stream to very many: one worker, so many fixes a second, and when whose client had each of them."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table
from tests.benchmarks import fleet, jobs, machine, servers
from tests.benchmarks.candidates import SERVICE, SINGLE, Run, Server
from tests.benchmarks.servers import Bench
from tests.support import urls
from tests.support.factories import MASTER_KEY
from tests.support.live_service import LiveService

from harbor_api.database import Database
from harbor_api.domain import cursors, feed_cursors
from harbor_api.domain.judgement import Thresholds
from harbor_api.domain.positions import Fix, Motion, ReceivedFix, Submission
from harbor_api.domain.times import rfc3339
from harbor_api.ingest import settling
from harbor_api.settings import Settings

FIXES_A_SECOND = 50
_LOOKED_AT = 50
_MOST = 20_000
_MANY_BESIDE = 1_000
SETTINGS = {
    "streams": _MOST,
    "streams_per_key": _MOST,
    # As behind a proxy, through which all of them come.
    "trusted_proxies": 1,
    "key_requests_per_minute": 1_000_000,
    "database_pool": Settings().database_pool,
}


@dataclass(frozen=True)
class Crowd:
    """Who follows: so many, each of so many vessels (None: of all); ``silent`` of them never read.

    The goals are kB a client, and milliseconds from the commit to the client for 99 of 100.
    """

    name: str
    followers: int
    vessels: int | None = None
    silent: int = 0
    goal_kb: float | None = None
    goal_p99_ms: float | None = None


CROWDS = (
    Crowd("1,000 of 10 vessels", 1_000, 10),
    Crowd("10,000 of 10 vessels", 10_000, 10, goal_kb=16, goal_p99_ms=100),
    Crowd("5,000 of the whole fleet", 5_000, goal_p99_ms=150),
    Crowd("1,000 of the whole fleet and 100 that never read", 1_100, silent=100),
)


@dataclass
class FanOut:
    """What came of one crowd. CPU is a part of a core; ``kb`` is what a client costs the worker (PSS)."""

    crowd: str
    followers: int
    fixes: int = 0
    seen: int = 0
    missed: int = 0
    doubled: int = 0
    ended: int = 0
    opened_s: float = 0
    kb: float = 0
    grown_kb: float = 0
    p50_ms: float = 0
    p99_ms: float = 0
    most_ms: float = 0
    cpu: dict[str, float] = field(default_factory=dict)
    megabytes_a_second: float = 0
    goal_kb: float | None = None
    goal_p99_ms: float | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def fan_out(bench: Bench, rounds: int, *, crowds: Sequence[Crowd] = CROWDS) -> Iterator[FanOut]:
    """Each crowd on a worker and a database of its own."""
    for _ in range(rounds):
        for crowd in crowds:
            with bench.postgres.database() as url:
                yield _measured(bench, url, crowd)


@dataclass
class Storm:
    """So many followers of the whole fleet that resume at once, each so many positions back."""

    resumed: int
    positions: int
    first_s: float
    last_s: float
    wrong: int
    most_mb: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def resumes(bench: Bench, rounds: int, *, many: int = 500, back: int = 10_000) -> Iterator[Storm]:
    """All followers of a worker come again at once, as after a restart."""
    for _ in range(rounds):
        with bench.postgres.database() as url:
            fleet.fill(url, 10 * back)
            with LiveService(url, log=bench.logs / "following.log", workers=1, **SETTINGS) as service:
                worker = psutil.Process(service.pid).children()[0]
                key, secret = service.world.key()
                behind = fleet.newest(url) - back
                master = cursors.cursor_key(MASTER_KEY)
                tag = feed_cursors.tag(master, holder=key.id, filters={})
                query = f"cursor={tag}.{feed_cursors.token(master, behind)}"
                before, most = pss(worker), 0
                arguments = ["resume", *(str(each) for each in (service.port, many, back)), secret, query]
                command = [sys.executable, "-m", "tests.benchmarks.following.followers", *arguments]
                with subprocess.Popen(command, cwd=servers.ROOT, stdout=subprocess.PIPE, text=True) as load:
                    while load.poll() is None:
                        most = max(most, pss(worker) - before)
                        time.sleep(0.05)
                    told = json.loads(heard(load))
            yield Storm(many, back, told["first_s"], told["last_s"], told["wrong"], most / 1e6)


def beside(bench: Bench, rounds: int) -> Iterator[Run]:
    """The ingest of single fixes with nobody who follows, and with very many who do."""
    candidates = [
        Server(f"service, {many:,} followers" if many else SERVICE, partial(_followed, many), urls.POSITIONS)
        for many in (0, _MANY_BESIDE)
    ]
    return jobs.each_anew(bench, replace(SINGLE, name="beside followers"), candidates, rounds)


@contextmanager
def _followed(many: int, url: str, logs: Path) -> Iterator[servers.Running]:
    with LiveService(url, log=logs / "service.log", workers=servers.WORKERS, **SETTINGS) as service:
        running = servers.Running(service.port, service.pid)
        if not many:
            yield running
            return
        asked = queries(fleet.VESSELS, 10)
        with _followers(service.port, many, 1, 0, service.world.key()[1], asked) as followers:
            heard(followers)
            yield running


def _measured(bench: Bench, url: str, crowd: Crowd) -> FanOut:
    vessels = len(bench.postgres.trackers)
    with LiveService(url, log=bench.logs / "following.log", workers=1, **SETTINGS) as service:
        secret = service.world.key()[1]
        worker = psutil.Process(service.pid).children()[0]
        # What is there once, for the first of them.
        with _followers(service.port, 20, 1, 0, secret, ["from=now"]) as first:
            say(first)
            say(first)
        before = pss(worker)
        asked = queries(vessels, crowd.vessels)
        with _followers(service.port, crowd.followers, _LOOKED_AT, crowd.silent, secret, asked) as many:
            opened_s = json.loads(heard(many))["opened_s"]
            held = pss(worker)
            say(many)
            time.sleep(1)
            writing = write_beside(bench, url, worker, many)
            grown = pss(worker)
            say(many)
            seen = json.loads(heard(many))
    result = FanOut(
        crowd.name,
        crowd.followers,
        fixes=len(writing.committed),
        ended=seen["ended"],
        opened_s=opened_s,
        kb=(held - before) / crowd.followers / 1e3,
        grown_kb=(grown - before) / crowd.followers / 1e3,
        cpu=writing.cpu,
        megabytes_a_second=seen["bytes"] / writing.took_s / 1e6,
        goal_kb=crowd.goal_kb,
        goal_p99_ms=crowd.goal_p99_ms,
    )
    step = max(1, (crowd.followers - crowd.silent) // _LOOKED_AT)
    wanted = cycle(groups(vessels, crowd.vessels))
    judge(result, writing.committed, zip(islice(wanted, 0, None, step), seen["arrivals"], strict=False))
    return result


@dataclass(frozen=True)
class Writing:
    """What was stored beside the followers and when it was there, and the part of a core that each took."""

    committed: Mapping[str, tuple[int, float]]
    took_s: float
    cpu: dict[str, float]


def write_beside(bench: Bench, url: str, worker: psutil.Process, clients: subprocess.Popen[str]) -> Writing:
    """Store fixes of all vessels for as long as the bench says, and wait until the last ones have arrived."""
    parts = {"worker": worker.pid, "PostgreSQL": bench.postgres.pid, "clients": clients.pid}
    used = {name: sum(machine.cpu_seconds(pid).values()) for name, pid in parts.items()}
    began = time.monotonic()
    committed = _write(url, len(bench.postgres.trackers), bench.seconds)
    took_s = time.monotonic() - began
    spent = {name: sum(machine.cpu_seconds(pid).values()) - used[name] for name, pid in parts.items()}
    time.sleep(2)
    return Writing(committed, took_s, {name: each / took_s for name, each in spent.items()})


def judge(
    result: FanOut,
    committed: Mapping[str, tuple[int, float]],
    arrivals: Iterable[tuple[frozenset[int], Sequence[tuple[str, float]]]],
) -> None:
    """Compare what was told to those who are looked at, each of some vessels, with what was committed."""
    took: list[float] = []
    for wanted, told in arrivals:
        due = {name for name, (vessel, _) in committed.items() if vessel in wanted}
        names = [name for name, _ in told]
        result.seen += len(names)
        result.missed += len(due - set(names))
        result.doubled += len(names) - len(set(names))
        took += [(at - committed[name][1]) * 1e3 for name, at in told if name in committed]
    if took:
        took.sort()
        result.p50_ms, result.most_ms = statistics.median(took), took[-1]
        result.p99_ms = took[len(took) * 99 // 100]


def groups(vessels: int, many: int | None) -> list[frozenset[int]]:
    """Return the vessels of each kind of follower."""
    size = many or vessels
    return [frozenset(range(first, first + size)) for first in range(1, vessels + 1, size)]


def queries(vessels: int, many: int | None) -> list[str]:
    """Return what each kind of follower asks for."""
    if many is None:
        return ["from=now"]
    return [f"from=now&vessel_id={','.join(map(str, sorted(each)))}" for each in groups(vessels, many)]


def _write(url: str, vessels: int, seconds: float) -> dict[str, tuple[int, float]]:
    """Store fixes one by one as the ingest does; return by its time whose each is, and when it was there."""
    committed: dict[str, tuple[int, float]] = {}
    database = Database(url, pool_size=2)
    try:
        began = time.monotonic()
        for number in range(round(seconds * FIXES_A_SECOND)):
            time.sleep(max(0, began + number / FIXES_A_SECOND - time.monotonic()))
            # Neighbours in time are not neighbours in the fleet.
            vessel, now = number * 617 % vessels + 1, datetime.now(UTC)
            fix = ReceivedFix(vessel, vessel, now, Fix(now, Motion(lat=59.9, lon=10.7, sog=0.1)))
            submission = Submission(tracker_id=vessel, fixes=(fix,))
            database.transact(
                lambda u, one=submission: settling.settle(u, [one], thresholds=Thresholds())  # type: ignore[misc]  # bound at once
            )
            committed[rfc3339(now)] = vessel, time.monotonic()
    finally:
        database.dispose()
    return committed


@contextmanager
def _followers(
    port: int, many: int, looked_at: int, silent: int, secret: str, queries: list[str]
) -> Iterator[subprocess.Popen[str]]:
    arguments = [str(each) for each in (port, many, looked_at, silent, secret)]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.following.followers", *arguments, *queries],
        cwd=servers.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def say(process: subprocess.Popen[str]) -> None:
    """Tell a load to go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def heard(process: subprocess.Popen[str]) -> str:
    """Return the next line of a load."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("The followers have ended")
    return line


def pss(process: psutil.Process) -> int:
    """Return the bytes that a process holds for itself, and its part of what it shares."""
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def show(console: Console, results: Sequence[FanOut]) -> None:
    """Print one table of all crowds."""
    if not results:
        return
    table = Table(
        title=f"followers of one worker at {FIXES_A_SECOND} fixes/s: milliseconds from commit to client",
        title_justify="left",
    )
    table.add_column("followers", no_wrap=True)
    names = (
        "opened s",
        "kB each",
        "kB at the end",
        "p50",
        "p99",
        "most",
        "worker, PostgreSQL, clients",
        "MB/s",
    )
    for name in (*names, "missed, doubled", "goal"):
        table.add_column(name, justify="right")
    for each in results:
        table.add_row(
            each.crowd,
            *(f"{value:.1f}" for value in (each.opened_s, each.kb, each.grown_kb)),
            *(f"{value:.0f}" for value in (each.p50_ms, each.p99_ms, each.most_ms)),
            ", ".join(f"{part:.0%}" for part in each.cpu.values()),
            f"{each.megabytes_a_second:.1f}",
            f"{each.missed}, {each.doubled} of {each.seen:,}",
            verdict(each),
        )
    console.print(table)


def verdict(result: FanOut) -> str:
    """Say what the goals are and whether they are met."""
    told = []
    for name, goal, value in (
        ("kB", result.goal_kb, result.kb),
        ("ms", result.goal_p99_ms, result.p99_ms),
    ):
        if goal is not None:
            told.append(f"under {goal:g} {name}: {'met' if value < goal else 'missed'}")
    return ", ".join(told)
