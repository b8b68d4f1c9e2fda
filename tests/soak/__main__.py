"""Soak: half of what the machine can do, for long, and whether anything grows, slows down or goes wrong.

    make soak
    python -m tests.soak --minutes 30 --streams 1000 --json soak.json

A real service with two workers and its exporter on a PostgreSQL and a Redis of its own, behind nginx as it is
shipped, where it is installed. A thousand trackers send signed fixes; partners read the map, vessels,
histories, tracks and the past; one named consumer and one reader with a cursor take the feed; a thousand
streams tell everything. First the rate is raised until posts or streams take too long; then half of that goes
on for the minutes. Everything shares one machine, the callers, too: what they take of it is told.

Exits with 1 where anything unexpected was met: an answer other than 2xx, 304 and 429, a fix that was
acknowledged and is not stored, a follower that was not told everything once and in order, a line of the
service's log that warns, a process that ended, anything left behind. Times and memory are told, and never
judged.
"""

import json
import math
import signal
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from tests.soak.soaking import Result, soak
from tests.soak.stage import Scale
from tests.soak.timing import slope
from tests.soak.watching import Sample

# The start is the second minute. What grows is told from where workers have filled what they keep: they
# remember each message for ten minutes (``ingest/repeats.py``).
_WARM_S, _WINDOW_S, _FILLED_S = 60.0, 60.0, 660.0


@click.command()
@click.option("--minutes", type=click.FloatRange(0.1), default=30, show_default=True)
@click.option("--streams", type=click.IntRange(1, 20_000), default=1_000, show_default=True)
@click.option("--trackers", type=click.IntRange(1, 100_000), default=1_000, show_default=True)
@click.option("--fixes", type=click.FloatRange(1), help="Fixes a second; half of the capacity unless told.")
@click.option(
    "--each", type=click.FloatRange(0.5), default=10, show_default=True, help="Seconds between looks."
)
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures.")
def main(
    *, minutes: float, streams: int, trackers: int, fixes: float | None, each: float, file: Path | None
) -> None:
    """Let the service work for long at half of what it can do."""
    # Whoever is told to end cleans up first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    console = Console(width=150, soft_wrap=True)

    def tell(line: str) -> None:
        console.print(line, highlight=False, markup=False)

    result = soak(
        Scale(trackers, streams), seconds=60 * minutes, each_s=each, fixes_per_second=fixes, tell=tell
    )
    show(console, result)
    if file:
        file.write_text(json.dumps(result.as_json(), indent=1) + "\n")
    if result.unexpected:
        raise SystemExit(1)


def show(console: Console, result: Result) -> None:
    """Print everything."""
    last = result.samples[-1].at_s
    warm, window, filled = min(_WARM_S, last / 4), min(_WINDOW_S, last / 4), min(_FILLED_S, last / 3)
    windows = (warm, warm + window), ((last - window) / 2, (last + window) / 2), (last - window, math.inf)
    table = Table(
        title=f"{result.fixes_per_second:.0f} fixes/s for {last / 60:.1f} minutes", title_justify="left"
    )
    table.add_column("figure")
    for name in ("start", "middle", "end", f"an hour, from minute {filled / 60:.0f} on, ± standard error"):
        table.add_column(name, justify="right")
    for name in result.samples[-1].figures:
        middles = [_median(result.samples, name, first, until) for first, until in windows]
        table.add_row(name, *(f"{each:,.1f}" for each in middles), _trend(result.samples, name, filled))
    console.print(table)
    shares = ", ".join(f"{part} {share:.0%}" for part, share in result.shares.items())
    told = {
        "CPU, of one core": f"{shares}; others had {result.others:.1%} of the machine",
        "answers": ", ".join(f"{name} {many:,}" for name, many in sorted(result.statuses.items())),
        **result.proofs,
        "unexpected": ", ".join(f"{name}: {many:,}" for name, many in result.unexpected.items()) or "nothing",
    }
    for name, text in told.items():
        console.print(f"{name}: {text}", highlight=False, markup=False)


def _median(samples: Sequence[Sample], name: str, first: float, until: float) -> float:
    values = [each.figures[name] for each in samples if first <= each.at_s <= until and name in each.figures]
    return statistics.median(values) if values else math.nan


def _trend(samples: Sequence[Sample], name: str, since: float) -> str:
    points = [
        (each.at_s / 3600, each.figures[name])
        for each in samples
        if each.at_s >= since and name in each.figures
    ]
    grows, error = slope([at for at, _ in points], [value for _, value in points])
    return f"{grows:+,.1f} ± {error:,.1f}"


if __name__ == "__main__":
    main()
