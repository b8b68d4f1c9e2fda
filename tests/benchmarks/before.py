"""What partitions cost through HTTP: the service as it was before them beside that of today, in one run.

    python -m tests.benchmarks.before [--millions 3] [--months 41] [--rounds 6] [--seconds 4]

The code and the schema before migration 0012 come out of the repository's history. Both have the same past,
one in one table, the other in a partition for each month, on one PostgreSQL server. In turns both get single
fixes, late single fixes, batches of a thousand, and are asked for the track of a day. What counts is the
CPU that each thing costs the service and PostgreSQL together, round by round; rates are told beside it, and
are no measure where anybody else uses the machine.
"""

import io
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click
import psycopg
from rich.console import Console
from rich.table import Table
from tests.benchmarks import fleet, load, servers
from tests.benchmarks.comparing import ratio
from tests.benchmarks.machine import at_rest
from tests.benchmarks.reads.cases import Case, Judge
from tests.benchmarks.servers import Bench, Measured, Running
from tests.benchmarks.years import LATEST
from tests.support.live_service import LiveService
from tests.support.partitions import split
from tests.support.signed_posts import register_fleet
from tests.support.urls import BATCH, POSITIONS, VESSELS

from harbor_api.database import Database
from harbor_api.domain.times import rfc3339

_MIGRATION = "alembic/versions/0012_partitions.py"
_BEFORE, _TODAY = "before", "today"
# So many have a fix each few minutes, of whom tracks are asked for; the others a fix a day.
_DENSE, _STEP_OF_OTHERS = 10, timedelta(days=1)
_CONNECTIONS = {"batch": 16, "track of a day": 8}
# Turns of a run are hours of its own: those of all rounds are over before so many days are.
_TURNS, _MOST_ROUNDS, _DAYS_OF_RUNS = 40, 12, 60
_FILL = """
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, cog, heading, seq)
SELECT v, at, v, at, 59.9, 10.7, 8.4, 181.2, 180, nextval('fleet_order')
FROM generate_series(0, %(many)s) AS n,
    -- One turn after the other, so that numbers are in order of time.
    LATERAL generate_series(%(first)s, %(last)s + 0 * n) AS v,
    LATERAL (SELECT %(since)s::timestamptz + n * %(every)s::interval AS at) AS moment
"""


@dataclass(frozen=True)
class Past:
    """What both have stored: dense vessels have a fix each ``every`` from ``since`` to ``until``."""

    since: datetime
    until: datetime
    every: timedelta

    @property
    def a_day(self) -> int:
        return timedelta(days=1) // self.every


class _AsItWas(LiveService):
    """A service of another tree."""

    def __init__(self, tree: Path, url: str, *, log: Path) -> None:
        super().__init__(url, log=log, workers=servers.WORKERS)
        self.environ["PYTHONPATH"] = str(tree / "src")

    def command(self) -> list[str]:
        """Leave the directory that it is run in, which has today's, out of where modules are."""
        return [sys.executable, "-P", "-m", "harbor_api.cli", "serve"]


def _run(service: LiveService, folder: Path, *arguments: str) -> str:
    """Run a command of a service's own code, and return what it prints."""
    asked = [*service.command()[:-1], *arguments]
    done = subprocess.run(
        asked, env=service.environ, cwd=folder, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def _key(service: LiveService, folder: Path) -> str:
    """Return a new key, made by the code that the tables are of."""
    return _run(service, folder, "keys", "add", "bench", "--limit", "1000000").split()[-1]


def _tree_before(folder: Path) -> str:
    """Put the code before the migration into a folder, and return its commit."""
    root = Path(__file__).parents[2]
    git = partial(subprocess.run, cwd=root, check=True, capture_output=True)
    added = git(["git", "log", "--diff-filter=A", "--format=%H", "--", _MIGRATION]).stdout.split()
    if not added:
        raise click.ClickException(f"the history does not say when {_MIGRATION} came")
    commit = f"{added[-1].decode()}^"
    archive = git(["git", "archive", commit, "src", "alembic", "openapi", "pyproject.toml"]).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        packed.extractall(folder, filter="data")
    return str(git(["git", "rev-parse", "--short", commit]).stdout.decode().strip())


def _fill(url: str, past: Past) -> None:
    dense: dict[str, Any] = {"first": 1, "last": _DENSE, "every": past.every}
    others: dict[str, Any] = {"first": _DENSE + 1, "last": fleet.VESSELS, "every": _STEP_OF_OTHERS}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        for each in (dense, others):
            many = (past.until - past.since) // each["every"] - 1
            connection.execute(_FILL, {"since": past.since, "many": many, **each})
        connection.execute(LATEST)
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def _track(past: Past) -> Case:
    """Return the track of one day of the dense vessels, of days all over the past without late fixes."""
    first = past.since + timedelta(days=_DAYS_OF_RUNS)
    days = (past.until - first).days - 2
    paths = []
    for number in range(97):
        begin = first + timedelta(days=number * days // 97) - past.every / 2
        window = f"from={rfc3339(begin)}&to={rfc3339(begin + timedelta(days=1))}"
        paths.append(f"{VESSELS}/{number % _DENSE + 1}/track?{window}")
    return Case("track", "of a day", paths, _points, past.a_day, ())


def _points(answer: Any) -> int:
    parts = [each["properties"] for each in answer["features"]]
    return sum(len(each["coordTimes"]) for each in parts if each["kind"] == "track")


class _Rounds:
    """Both services, and what each was measured at."""

    def __init__(self, bench: Bench, past: Past, services: dict[str, tuple[Running, str]]) -> None:
        self._bench = bench
        self._past = past
        self._services = services
        self._turn = 0
        self.measured: dict[str, dict[str, list[Measured]]] = {}

    def run(self, number: int) -> None:
        """Measure each job of each service once; who is first changes with each round."""
        jobs: dict[str, Callable[[int], Iterable[bytes]]] = {
            "single": partial(self._posts, fleet.singles, POSITIONS, self._past.until),
            "late single": partial(self._posts, fleet.singles, POSITIONS, self._past.since),
            "batch": partial(self._posts, fleet.batches, BATCH, self._past.until),
        }
        for job, requests in jobs.items():
            counted = fleet.stored_of_batch if job == "batch" else fleet.stored_of_single
            self._turn += _TURNS
            for name in self._order(number):
                self._measure(job, name, requests(self._turn), counted)
        for name in self._order(number):
            judge = Judge(case := _track(self._past))
            self._measure("track of a day", name, case.requests("", self._services[name][1]), judge)
            if wrong := judge.wrong():
                raise click.ClickException(f"track of a day, {name}: {wrong}")

    def _order(self, number: int) -> Iterator[str]:
        names = [*self._services]
        return iter(names if number % 2 else names[::-1])

    def _posts(
        self, made: Callable[..., list[bytes]], path: str, begin: datetime, turn: int
    ) -> Iterable[bytes]:
        hours = (begin - fleet.FIRST_HOUR) // timedelta(hours=1)
        many = _TURNS * fleet.VESSELS if made is fleet.singles else 2_000
        return made(self._bench.postgres.trackers, path, first_turn=hours + turn, count=many)

    def _measure(self, job: str, name: str, requests: Iterable[bytes], counted: load.CountedIn) -> None:
        running, _ = self._services[name]
        connections = _CONNECTIONS.get(job, 32)
        measured = servers.measure(
            self._bench, running, requests, connections=connections, counted_in=counted
        )
        if not measured.outcome.rate or measured.outcome.refusal:
            raise click.ClickException(f"{job}, {name}: {measured.note}")
        self.measured.setdefault(job, {}).setdefault(name, []).append(measured)


def _cost(measured: Measured) -> float:
    return measured.cpu_us["service"] + measured.cpu_us["PostgreSQL"]


def _show(console: Console, rounds: _Rounds) -> None:
    title = "CPU of service and PostgreSQL in microseconds for each: median, and today / before of each round"
    table = Table(title=title, title_justify="left")
    for name in ("", _BEFORE, _TODAY, "today / before", "of it PostgreSQL", "by rate", "others had at most"):
        table.add_column(name, justify="right" if name else "left")
    for job, found in rounds.measured.items():
        before, today = found[_BEFORE], found[_TODAY]
        pairs = list(zip(before, today, strict=True))
        table.add_row(
            job,
            *(f"{statistics.median(map(_cost, each)):,.1f}" for each in (before, today)),
            ratio([_cost(new) / _cost(old) for old, new in pairs]),
            ratio([new.cpu_us["PostgreSQL"] / old.cpu_us["PostgreSQL"] for old, new in pairs]),
            ratio([new.outcome.rate / old.outcome.rate for old, new in pairs]),
            f"{max(each.others for each in (*before, *today)):.0%}",
        )
    console.print(table)


@click.command()
@click.option("--millions", type=click.FloatRange(0.1), default=3, show_default=True, help="Stored rows.")
@click.option("--months", type=click.IntRange(6, 120), default=41, show_default=True, help="Of the past.")
@click.option("--rounds", type=click.IntRange(1, _MOST_ROUNDS), default=6, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.5), default=4, show_default=True, help="Of each run.")
def main(*, millions: float, months: int, rounds: int, seconds: float) -> None:
    """Hold the service before partitions against today's."""
    console = Console(width=160, soft_wrap=True)
    until = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=_DAYS_OF_RUNS)
    since = until - timedelta(days=30.44 * (months - 2))
    dense = millions * 1e6 - fleet.VESSELS * ((until - since) / _STEP_OF_OTHERS)
    if dense <= 0:
        raise click.ClickException("so few positions are fewer than one a vessel and day")
    # A whole number of them a day, and none where runs put theirs: at the full hour.
    a_day = round(dense / _DENSE / (until - since).days)
    past = Past(since + timedelta(minutes=0.5), until, timedelta(days=1) / a_day)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="harbor-before-")))
        commit = _tree_before(folder / "before")
        postgres = stack.enter_context(fleet.Postgres())
        bench = Bench(postgres, folder, seconds)
        urls = {_TODAY: stack.enter_context(postgres.database())}
        urls[_BEFORE] = stack.enter_context(postgres.nothing())
        old = _AsItWas(folder / "before", urls[_BEFORE], log=folder / "before.log")
        _run(old, folder, "migrate")
        database = Database(urls[_BEFORE], pool_size=1)
        register_fleet(database, fleet.VESSELS)
        database.dispose()
        database = Database(urls[_TODAY], pool_size=1)
        split(database, months=months)
        database.dispose()
        for url in urls.values():
            _fill(url, past)
        console.print(
            f"before: {commit}; {fleet.stored(urls[_TODAY]):,} positions of {months} months, a day of one "
            f"of {_DENSE} vessels has {past.a_day} fixes; {at_rest()}",
            highlight=False,
        )
        stack.enter_context(old)
        new = stack.enter_context(
            LiveService(urls[_TODAY], log=folder / "today.log", workers=servers.WORKERS)
        )
        services = {
            name: (Running(each.port, each.pid), _key(each, folder))
            for name, each in ((_BEFORE, old), (_TODAY, new))
        }
        measuring = _Rounds(bench, past, services)
        for number in range(rounds):
            measuring.run(number)
            console.print(f"round {number + 1} of {rounds}", highlight=False)
        _show(console, measuring)


if __name__ == "__main__":
    main()
