"""What to run for a fleet of 12, 1,000, 100,000 and a million trackers, reckoned from measured figures.

    python -m tests.benchmarks.sizing             # the table, from sizing.json
    python -m tests.benchmarks.sizing --measure   # measures anew first, some ten minutes

Nothing is assumed to be faster on more cores than it was on those it was measured on: what a fix costs in CPU
is multiplied, and all is to be busy for half of the time.
"""

import json
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from tests.benchmarks import fleet, sizing_figures
from tests.benchmarks.machine import at_rest
from tests.benchmarks.servers import Bench

from harbor_api.settings import Settings

_BUSY = 0.5
_DAY_S, _DAYS_OF_A_YEAR = 86_400, 365
_MOST_REMEMBERED_MB = 32
_STREAMS_OF_A_WORKER = Settings().streams
POOL = Settings().database_pool


@dataclass(frozen=True)
class Fleet:
    """So many trackers, of which each sends a fix in so many seconds, ``at_once`` in a request."""

    trackers: int
    every_s: int
    at_once: str = "single"
    followers: int = 20

    @property
    def fixes_a_second(self) -> float:
        return self.trackers / self.every_s


FLEETS = (
    Fleet(12, 10),
    Fleet(1_000, 30),
    Fleet(100_000, 60),
    Fleet(1_000_000, 180),
    Fleet(1_000_000, 180, "batch"),
)


@dataclass(frozen=True)
class Need:
    """What a fleet takes. Cores are busy for half of the time; memory is a worker's, in MB."""

    fixes_a_second: float
    service_cores: float
    postgres_cores: float
    workers: int
    worker_mb: float
    connections: int
    gb_a_day: float
    gb_a_year: float
    logged_gb_a_day: float


def need(asked: Fleet, figures: dict[str, Any]) -> Need:
    """Reckon what a fleet takes."""

    def middle(name: str) -> float:
        value = figures[name]
        return float(value[0] if isinstance(value, list) else value)

    a_second = asked.fixes_a_second
    service = a_second * middle(f"{asked.at_once}: service us") / 1e6 / _BUSY
    postgres = a_second * middle(f"{asked.at_once}: PostgreSQL us") / 1e6 / _BUSY
    # What all follow is told to each.
    service += a_second * asked.followers * middle("stream: worker us an event") / 1e6 / _BUSY
    workers = max(2, math.ceil(service))
    nearest = min((1_000, 10_000, 100_000), key=lambda size: abs(size - asked.trackers))
    worker_mb = (
        middle("worker: MB, 1,000 vessels not read yet")
        + asked.trackers * middle(f"worker: bytes a vessel of {nearest:,}") / 1e6
        + asked.followers / workers * middle("stream: kB once it has been told") / 1e3
        + _MOST_REMEMBERED_MB
    )
    bytes_each = sum(middle(f"bytes a position at 20,000,000: {part}") for part in ("table", "indexes"))
    gb_a_day = a_second * _DAY_S * bytes_each / 1e9
    return Need(
        a_second,
        service,
        postgres,
        workers,
        worker_mb,
        # One more of each worker listens while somebody follows.
        workers * (POOL + 1),
        gb_a_day,
        gb_a_day * _DAYS_OF_A_YEAR,
        a_second * _DAY_S * middle(f"{asked.at_once}: bytes logged") / 1e9,
    )


def rows(figures: dict[str, Any]) -> list[str]:
    names = (
        *("trackers", "a fix each", "fixes/s", "cores: service + PostgreSQL", "workers", "MB a worker"),
        *("connections", "GB a day", "GB a year", "log GB a day"),
    )
    rows = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for asked in FLEETS:
        found = need(asked, figures)
        how = "" if asked.at_once == "single" else f", {fleet.BATCH:,} at once"
        cells = (
            f"{asked.trackers:,}",
            f"{asked.every_s} s{how}",
            f"{found.fixes_a_second:,.1f}" if found.fixes_a_second < 10 else f"{found.fixes_a_second:,.0f}",
            f"{_told(found.service_cores)} + {_told(found.postgres_cores)}",
            str(found.workers),
            f"{found.worker_mb:,.0f}",
            str(found.connections),
            _told(found.gb_a_day),
            _told(found.gb_a_year),
            _told(found.logged_gb_a_day),
        )
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def _told(value: float) -> str:
    """Say a number with two places that count."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


@click.command()
@click.option("--measure", "is_anew", is_flag=True, help="Measure figures first.")
@click.option(
    "--part", "parts", type=click.Choice([*sizing_figures.PARTS]), multiple=True, help="These only."
)
@click.option("--seconds", type=click.FloatRange(1), default=4, show_default=True, help="Of each run.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Of each figure.")
def main(*, is_anew: bool, parts: tuple[str, ...], seconds: float, rounds: int) -> None:
    """Print the table."""
    console = Console(width=170, soft_wrap=True)
    if is_anew:
        with tempfile.TemporaryDirectory(prefix="harbor-") as logs, fleet.Postgres() as postgres:
            console.print({"cores": os.cpu_count(), **at_rest(), **postgres.facts()}, highlight=False)
            sizing_figures.measure(Bench(postgres, Path(logs), seconds), rounds, console.print, parts)
    figures = json.loads(sizing_figures.FILE.read_text())
    for row in rows(figures):
        console.print(row, highlight=False, markup=False)


if __name__ == "__main__":
    main()
