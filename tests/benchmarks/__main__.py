"""Side-by-side benchmarks of the ingest.

    pip install -e '.[dev,bench]'
    python -m tests.benchmarks                        # all of it, under ten minutes on two cores
    python -m tests.benchmarks --job single --job batch --seconds 10 --rounds 5
    python -m tests.benchmarks --job growth --rows 1000000

Each job runs its candidates in turns, A, B, C, A, B, C, on a PostgreSQL of its own with fsync on:

- `single`: one signed fix a request, over 32 connections;
- `batch`: a thousand fixes a signed request, over 16 connections;
- `growth`: `single` beside 100,000 stored positions and beside `--rows`;
- `layers`: where the time of one request goes.

The candidates are the service as it is shipped, with two workers; the peer (`peer.py`) with two workers;
and, as the ceiling, pgbench with the service's own statement (`pgbench.py`), with and without the lock
that keeps numbers in the order of commits. Every run but those of `growth` has a new database, and after
every run the positions in the database are counted: where they are not as many as were acknowledged,
the benchmark fails.

Load, service and PostgreSQL share the cores of one machine, for all candidates alike: ratios say more
than rates, and ratios under 1.3 either way are ties. What the load itself can reach is measured first. The
database lies in the folder for temporary files (`TMPDIR`), which has to be on a real disk.
"""

import os
import platform
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import click
from rich.console import Console
from tests.benchmarks import fleet, jobs, layers, report
from tests.benchmarks.candidates import Run
from tests.benchmarks.servers import Bench

_JOBS = ("single", "batch", "growth", "layers")
_PEER = ("fastapi", "uvicorn", "uvloop", "httptools", "asyncpg")


@click.command()
@click.option("--job", "chosen", type=click.Choice(_JOBS), multiple=True, help="Which ones; all unless told.")
@click.option("--seconds", type=click.FloatRange(min=1), default=5, show_default=True, help="Of each run.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Of each job.")
@click.option(
    "--rows",
    type=click.IntRange(min=2 * jobs.SMALL),
    default=20_000_000,
    show_default=True,
    help="Stored positions that `growth` ends with.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=".benchmarks",
    show_default=True,
    help="Where results.json and chart.svg are written.",
)
def main(chosen: tuple[str, ...], seconds: float, rounds: int, rows: int, out: Path) -> None:
    """Measure the ingest beside what a team would write instead and beside the bare database."""
    console = Console(width=170, soft_wrap=True)
    chosen = chosen or _JOBS
    peer = all(find_spec(name) for name in _PEER)
    if not peer:
        console.print("no peer: it needs pip install -e '.[bench]'", highlight=False, markup=False)
    runs: list[Run] = []
    of_layers: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="harbor-") as logs, fleet.Postgres() as postgres:
        bench = Bench(postgres, Path(logs), seconds)
        facts = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "cores": os.cpu_count(),
            "Python": platform.python_version(),
            **postgres.facts(),
        }
        console.print(facts, highlight=False)
        if "single" in chosen or "growth" in chosen:
            load = jobs.ceiling_of_load(bench)
            facts["load_ceiling"] = round(load.rate)
            console.print(f"the load's own ceiling: {load.rate:,.0f} requests a second\n", highlight=False)
        if "single" in chosen:
            _collect(console, runs, jobs.single(bench, rounds, peer=peer))
        if "batch" in chosen:
            _collect(console, runs, jobs.batch(bench, rounds, peer=peer))
        if "growth" in chosen:
            _collect(console, runs, jobs.growth(bench, rounds, rows=rows))
        if "layers" in chosen:
            of_layers = layers.measure(postgres)
    report.show(console, runs)
    if of_layers:
        report.show_layers(console, of_layers)
    for file in report.save(out, facts=facts, runs=runs, layers=of_layers):
        console.print(f"written: {file}", highlight=False)
    wrong = [run for run in runs if not run.is_honest]
    for run in wrong:
        console.print(f"{run.job}, {run.candidate}: {run.acknowledged:,} acknowledged, {run.stored:,} stored")
    if wrong:
        raise SystemExit(1)


def _collect(console: Console, runs: list[Run], measured: Iterable[Run]) -> None:
    for run in measured:
        size = f" at {run.positions:,} positions" if run.positions else ""
        console.print(f"{run.job}: {run.candidate}{size}: {run.rate:,.0f} fixes/s", highlight=False)
        runs.append(run)


if __name__ == "__main__":
    main()
