"""Two hosts as one service: what callers notice when a part of it breaks.

    make hosts
    python -m tests.hosts --only replica --per-second 200 --calm 10

Two services of two workers each, at two addresses, over PgBouncer, a PostgreSQL with a streaming replica, and
Redis; nginx in front. Trackers and partners go by way of nginx, as with ``make faults``; watchers ask the one
host and then the other, and compare. Exits with 1 where a promise was not kept.
"""

import signal
import sys
from pathlib import Path

import click
from rich.console import Console
from tests.benchmarks import proxy
from tests.faults.telling import tell
from tests.faults.traffic import Order
from tests.hosts.acts import ACTS
from tests.hosts.playing import HostsRow, play
from tests.support import pgbouncer

_OF_FIXES = 0.8


@click.command()
@click.option("--only", multiple=True, help="Acts whose names begin so; may be repeated.")
@click.option(
    "--per-second", type=click.FloatRange(1, 5_000), default=60, show_default=True, help="Requests to nginx."
)
@click.option("--connections", type=click.IntRange(1, 40), default=8, show_default=True, help="Of trackers.")
@click.option(
    "--calm", type=click.FloatRange(0.5, 600), default=3, show_default=True, help="Seconds before and after."
)
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures.")
def main(
    *, only: tuple[str, ...], per_second: float, connections: int, calm: float, file: Path | None
) -> None:
    """Break what two hosts stand on, and tell what callers met."""
    # Whoever is told to end cleans up first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    console = Console(width=240, soft_wrap=True)
    for name, is_there in (("nginx", proxy.program()), ("pgbouncer", pgbouncer.program())):
        if not is_there:
            raise click.ClickException(f"{name} is not installed: on Debian or Ubuntu, apt install {name}")
    chosen = [act for name, act in ACTS.items() if not only or name.startswith(only)]
    if not chosen:
        raise click.BadParameter(f"no act begins so; there are {', '.join(ACTS)}")
    order = Order(
        fixes_per_second=per_second * _OF_FIXES,
        reads_per_second=per_second * (1 - _OF_FIXES),
        connections=connections,
    )
    rows: list[HostsRow] = []
    try:
        for act in chosen:
            console.print(f"{act.name}: {act.done}", highlight=False)
            rows.append(play(act, order, calm_s=calm))
    finally:
        status = tell(console, rows, file)
    raise SystemExit(status)


if __name__ == "__main__":
    main()
