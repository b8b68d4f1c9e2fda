"""How commands print lists."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their columns; what is not known is a hyphen."""
    table = Table(*columns, box=None, header_style="bold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    Console(soft_wrap=True).print(table)


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    return str(value)
