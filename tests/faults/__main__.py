"""Faults: each states a promise, breaks what it is about, and reports what callers saw.

    make faults
    python -m tests.faults --only database --per-second 500 --calm 10

A real service with two workers on a PostgreSQL and a Redis of its own, behind nginx as it is shipped.
Trackers send fixes, each until it is acknowledged, and partners read. After each fault all that was
acknowledged is looked up. Exits with 1 where a promise was not kept.
"""

import signal
import sys
from pathlib import Path

import click
from rich.console import Console
from tests.benchmarks import proxy
from tests.faults.faults import FAULTS
from tests.faults.playing import Row, play
from tests.faults.telling import tell
from tests.faults.traffic import Order

_OF_FIXES = 0.8


@click.command()
@click.option("--only", multiple=True, help="Faults whose names begin so; may be repeated.")
@click.option(
    "--per-second", type=click.FloatRange(1, 5_000), default=100, show_default=True, help="Requests."
)
@click.option("--connections", type=click.IntRange(1, 40), default=8, show_default=True, help="Of trackers.")
@click.option(
    "--calm", type=click.FloatRange(0.5, 600), default=3, show_default=True, help="Seconds before and after."
)
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures.")
def main(
    *, only: tuple[str, ...], per_second: float, connections: int, calm: float, file: Path | None
) -> None:
    """Break what the service stands on, and tell what callers met."""
    # Whoever is told to end cleans up first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    console = Console(width=220, soft_wrap=True)
    if proxy.program() is None:
        raise click.ClickException("nginx is not installed: on Debian or Ubuntu, apt install nginx")
    chosen = [fault for name, fault in FAULTS.items() if not only or name.startswith(only)]
    if not chosen:
        raise click.BadParameter(f"no fault begins so; there are {', '.join(FAULTS)}")
    order = Order(
        fixes_per_second=per_second * _OF_FIXES,
        reads_per_second=per_second * (1 - _OF_FIXES),
        connections=connections,
    )
    rows: list[Row] = []
    try:
        for fault in chosen:
            if why := fault.lacks():
                console.print(f"{fault.name}: left out, as {why}", highlight=False)
                continue
            console.print(f"{fault.name}: {fault.done}", highlight=False)
            rows.append(play(fault, order, calm_s=calm))
    finally:
        told = tell(console, rows, file)
    raise SystemExit(told)


if __name__ == "__main__":
    main()
