"""How commands print: lists as tables or JSON, and text that somebody gave as nothing but text."""

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import click
from rich.cells import cell_len

from harbor_api.domain.times import rfc3339

# Controls (an escape sequence begins with one), what is invisible or turns the direction of writing, halves
# of characters, and other ends of lines: what does something to a terminal instead of being seen on it.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# Persian names and emoji need them; they do nothing to their surroundings.
_JOINERS = "\u200c\u200d"

as_json = click.option("--json", "as_json", is_flag=True, help="As JSON, whole, for programs.")


def printable(text: str) -> str:
    """Return text on one line, with whatever would not be seen written as ``\\x1b`` and the like."""
    if text.isprintable():
        return text
    return "".join(each.encode("unicode_escape").decode() if _is_unseen(each) else each for each in text)


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in _UNSEEN and character not in _JOINERS


def print_now(text: str) -> None:
    """Print at once, so that a secret that nobody could read is noticed before it holds.

    For use in the unit of work that makes it, which is rolled back where the output is full or closed.
    """
    click.echo(text)
    sys.stdout.flush()


def print_list(rows: Sequence[Mapping[str, object]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print a list: all members of its rows as JSON, or some of them as a table.

    JSON is one array of objects in plain ASCII, which is the same in every locale and on every terminal;
    times are RFC 3339 in UTC.
    """
    if as_json:
        click.echo(json.dumps(rows, indent=2, default=_json))
    else:
        headings = [column.replace("_", " ") for column in columns]
        print_table(headings, [[row[column] for column in columns] for row in rows])


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their columns, a line each and whole; what is not known is a hyphen."""
    head = [click.style(column, bold=True) for column in columns]
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    for shown, plain in [(head, columns), *((row, row) for row in cells)]:
        padding = [" " * (width - cell_len(text)) for width, text in zip(widths, plain, strict=True)]
        click.echo("  ".join(map("".join, zip(shown, padding, strict=True))).rstrip())


def _cell(value: object) -> str:
    if value is None or (isinstance(value, (str, list)) and not value):
        return "-"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if isinstance(value, list):
        return printable(" ".join(map(str, value)))
    return printable(str(value))


def _json(value: object) -> str:
    if isinstance(value, datetime):
        return rfc3339(value)
    raise TypeError(f"{type(value)} has no JSON form")
