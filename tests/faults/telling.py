"""What came of faults, as a table for people and as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tests.faults.playing import Row

_FIGURES = (
    *("asked", "in\nflight", "errors", "acknow-\nledged", "lost"),
    *("took s", "last error\nafter s", "p50\nms", "slowest\nms"),
)


def tell(console: Console, rows: Sequence[Row], file: Path | None) -> int:
    """Show the rows, write them to a file if one is named, and return the status to end with.

    That is 1 where a promise was not kept; which one is told.
    """
    _show(console, rows)
    if file:
        file.write_text(json.dumps([_as_json(row) for row in rows], indent=1) + "\n")
    broken = [each for row in rows for each in row.faults()]
    for each in broken:
        console.print(each, highlight=False, markup=False)
    return int(bool(broken))


def _show(console: Console, rows: Sequence[Row]) -> None:
    table = Table(show_lines=True)
    for name in ("fault", "promise", "what was done"):
        table.add_column(name, max_width=34)
    for name in _FIGURES:
        table.add_column(name, justify="right")
    table.add_column("what came of it", max_width=34)
    for row in rows:
        table.add_row(
            row.fault.name,
            row.fault.promise,
            row.fault.done,
            f"{row.asked:,}",
            str(row.in_flight),
            ", ".join(f"{name}: {many:,}" for name, many in row.errors.items()) or "0",
            f"{row.acknowledged:,}",
            str(row.lost),
            f"{row.took_s:.1f}",
            f"{row.recovered_s:.1f}",
            f"{row.p50_ms:.0f}",
            f"{row.slowest_ms:,.0f}",
            row.told,
        )
    console.print(table)


def _as_json(row: Row) -> dict[str, object]:
    told = {name: value for name, value in vars(row).items() if name != "fault"}
    return {"fault": row.fault.name, "promise": row.fault.promise, "done": row.fault.done, **told}
