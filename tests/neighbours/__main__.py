"""A neighbours' test: what honest clients meet beside odd ones. For before every release.

    python -m tests.neighbours
    python -m tests.neighbours --seconds 120 --sockets 2000 --most-ms 500
    python -m tests.neighbours --only repeats --positions 1000000 --source ../older

A real service on a real PostgreSQL of its own, as it is shipped but for the requests a minute that a key or
a tracker may make. Two trackers post a fix and two partners read, one of each with a new connection each time
and one with a connection that it keeps, each with a rest of 50 ms after each answer; one more tracker sends a
batch over a slow line. They are measured alone, then beside each trouble, for which the service is started
anew. Clients and troubles are processes of their own. It takes Linux: epoll, and all of 127.0.0.0/8.

For each trouble the table tells what it got, what the honest met, and the worker's memory, open descriptors
and share of a core; of memory and descriptors it tells those before, the most, and those after. It says after
how many seconds all was well again: new clients were served as usual, and nothing of the trouble was left
open. A client that is held up asks less often, so the maximum says more of one long wait than the p99 does.

Load, service and PostgreSQL share the cores of one machine; the last column is its load average.
Exits with 1 where an honest client failed, had a p99 above ``--most-ms``, or the service did not recover.
"""

import json
import os
import platform
import resource
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from tests.neighbours import beside, report
from tests.neighbours.scene import PAST
from tests.neighbours.troubles import LARGEST_BATCH, TROUBLES
from tests.neighbours.world import World, package_in


def _chosen(only: tuple[str, ...]) -> list[str]:
    """Return the troubles that were asked for, by name or by how their names begin, or all of them."""
    chosen = set()
    for each in only:
        found = {each} & TROUBLES.keys() or {name for name in TROUBLES if name.startswith(each)}
        if not found:
            raise click.BadParameter(f"no trouble begins with {each}; there are {', '.join(TROUBLES)}")
        chosen |= found
    return [name for name in TROUBLES if not only or name in chosen]


@click.command()
@click.option("--seconds", type=click.FloatRange(1, 3_600), default=15, show_default=True, help="Of each.")
@click.option("--sockets", type=click.IntRange(1, 10_000), default=2_000, show_default=True, help="Of each.")
@click.option(
    "--addresses",
    type=click.IntRange(1, 200),
    default=8,
    show_default=True,
    help="Loopback addresses that the sockets come from; the first is that of the honest clients.",
)
@click.option("--only", multiple=True, help="Troubles whose names begin so; may be repeated.")
@click.option(
    "--positions",
    type=click.IntRange(LARGEST_BATCH * len(PAST)),
    default=100_000,
    show_default=True,
    help="Stored before.",
)
@click.option(
    "--source",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Run the service from another source tree: an older version, to compare it.",
)
@click.option("--most-ms", type=click.FloatRange(1), help="The p99 that an honest client may have.")
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures.")
def main(
    *,
    seconds: float,
    sockets: int,
    addresses: int,
    only: tuple[str, ...],
    positions: int,
    source: Path | None,
    most_ms: float | None,
    file: Path | None,
) -> None:
    """Measure honest clients beside odd neighbours."""
    # Whoever is told to end cleans up first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    console = Console(width=200, soft_wrap=True)
    names = [beside.ALONE, *_chosen(only)]
    facts = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "load average": os.getloadavg(),
        "Python": platform.python_version(),
        "descriptors the service may open": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "seconds": seconds,
        "sockets": sockets,
        "addresses": addresses,
        "positions": positions,
        "source": "another tree" if source else "this tree",
    }
    console.print(facts, highlight=False)
    rows: list[beside.Row] = []
    try:
        with World(
            positions=positions,
            source=package_in(source) if source else None,
            say=lambda line: console.print(line, highlight=False),
        ) as world:
            scene = world.scene(seconds=seconds, sockets=sockets, addresses=addresses)
            for name in names:
                world.start_anew()
                rows.append(beside.run(world, name, scene))
                console.print(report.line(rows[-1]), highlight=False)
    finally:
        # What was measured is told even where the rest was given up.
        report.show(console, rows)
        if file:
            table = {"facts": facts, "rows": [row.as_json() for row in rows]}
            file.write_text(json.dumps(table, indent=1) + "\n")
    faults = [fault for row in rows for fault in row.faults(most_ms)]
    for fault in faults:
        console.print(fault, highlight=False, markup=False)
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
