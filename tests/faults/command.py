"""The command that plays faults one by one, and tells what came of them."""

import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, TypeVar

import click
from rich.console import Console
from tests.faults.fault import Promised
from tests.faults.playing import Row
from tests.faults.telling import tell
from tests.faults.traffic import Order

_OF_FIXES = 0.8
Played_contra = TypeVar("Played_contra", bound=Promised, contravariant=True)


class Play(Protocol[Played_contra]):
    """Plays a fault beside traffic, with some seconds before and after it."""

    def __call__(self, fault: Played_contra, order: Order, /, *, calm_s: float) -> Row: ...


def command(
    faults: Mapping[str, Played_contra],
    play: Play[Played_contra],
    *,
    about: str,
    per_second: float,
    programs: Mapping[str, str | None],
) -> click.Command:
    """Return a command that is ``about`` faults by their names.

    ``programs`` are those that it cannot do without, and where they are, None where one is not installed.
    """

    @click.command(help=about)
    @click.option("--only", multiple=True, help="Faults whose names begin so; may be repeated.")
    @click.option(
        "--per-second",
        type=click.FloatRange(1, 5_000),
        default=per_second,
        show_default=True,
        help="Requests.",
    )
    @click.option(
        "--connections", type=click.IntRange(1, 40), default=8, show_default=True, help="Of trackers."
    )
    @click.option(
        "--calm",
        type=click.FloatRange(0.5, 600),
        default=3,
        show_default=True,
        help="Seconds before and after.",
    )
    @click.option(
        "--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures."
    )
    def main(
        *, only: tuple[str, ...], per_second: float, connections: int, calm: float, file: Path | None
    ) -> None:
        # Whoever is told to end cleans up first.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        console = Console(width=220, soft_wrap=True)
        if lacking := [name for name, place in programs.items() if place is None]:
            named = " ".join(lacking)
            raise click.ClickException(f"not installed: {named}; on Debian or Ubuntu, apt install {named}")
        chosen = [fault for name, fault in faults.items() if not only or name.startswith(only)]
        if not chosen:
            raise click.BadParameter(f"no fault begins so; there are {', '.join(faults)}")
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
            status = tell(console, rows, file)
        raise SystemExit(status)

    return main
