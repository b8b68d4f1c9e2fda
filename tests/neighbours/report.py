"""What neighbours met, as one table for people and as JSON."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from tests.neighbours.beside import Row, Span
from tests.neighbours.scene import Outcome
from tests.neighbours.troubles import TROUBLES

_COLUMNS = ("honest client", "asked", "p50 ms", "p99 ms", "max ms", "failed", "reopened")


def show(console: Console, rows: Sequence[Row]) -> None:
    """Print a table with a part for each trouble, and what its names mean."""
    if not rows:
        return
    table = Table(show_lines=True)
    table.add_column("beside", no_wrap=True)
    table.add_column("what it got", max_width=44)
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name == _COLUMNS[0] else "right", no_wrap=True)
    for name in ("worker\nMiB", "open\nfiles", "CPU", "well\nafter s", "load"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.trouble,
            describe(row.outcome),
            "\n".join(row.met),
            *_lines(row),
            _span(row.memory_mib),
            _span(row.descriptors),
            f"{row.cpu_share:.0%}",
            "never" if row.well_after_s is None else f"{row.well_after_s:.1f}",
            "\n".join(f"{each:.1f}" for each in row.load),
        )
    console.print(table)
    meanings: dict[str, list[str]] = {}
    for row in rows:
        if row.trouble in TROUBLES:
            meanings.setdefault(TROUBLES[row.trouble].about, []).append(row.trouble)
    for meaning, names in meanings.items():
        console.print(f"{', '.join(names)}: {meaning}", highlight=False)
    for row in rows:
        for event, times in row.errors_logged.items():
            console.print(f"beside {row.trouble} the service logged {times} times: {event}", highlight=False)


def describe(outcome: Outcome | None) -> str:
    """Return in words what a trouble got."""
    if outcome is None:
        return "-"
    statuses = ", ".join(f"{status}: {count:,}" for status, count in sorted(outcome.statuses.items()))
    if not outcome.opened:
        took = f"p50 {outcome.took_p50_ms:,.0f} ms, max {outcome.took_max_ms:,.0f} ms"
        verdicts = ", ".join(f"{verdict}: {count:,}" for verdict, count in outcome.verdicts.items())
        size = f"answers up to {outcome.largest_answer:,} bytes"
        return "\n".join(filter(None, (statuses or "no answer", verdicts, took, size)))
    cut = f"{outcome.cut:,} cut"
    if outcome.cut_after_s:
        first, median, last = outcome.cut_after_s
        cut += f" after {first:.1f} to {last:.1f} s (half of them after {median:.1f})"
    parts = [f"{outcome.opened:,} opened", cut, f"{outcome.held:,} held, up to {outcome.oldest_s:.0f} s"]
    if outcome.unreached:
        parts.append(f"{outcome.unreached:,} not reached")
    if statuses:
        parts.append(f"answered {statuses}")
    return "; ".join(parts)


def line(row: Row) -> str:
    """Return one line that says how it went, for those who wait."""
    met = "; ".join(
        f"{client}: p50 {each.p50_ms:.0f}, p99 {each.p99_ms:.0f}, max {each.max_ms:.0f} ms, "
        f"{sum(each.failures.values())} of {each.asked} failed"
        for client, each in row.met.items()
    )
    return f"{row.trouble}: {met}"


def _lines(row: Row) -> list[str]:
    """Return a cell for each column, with a line for each client."""
    met = row.met.values()
    return [
        "\n".join(f"{each.asked:,}" for each in met),
        "\n".join(f"{each.p50_ms:,.0f}" for each in met),
        "\n".join(f"{each.p99_ms:,.0f}" for each in met),
        "\n".join(f"{each.max_ms:,.0f}" for each in met),
        "\n".join(_failed(each.failures) for each in met),
        "\n".join(f"{each.reopened:,}" for each in met),
    ]


def _failed(failures: dict[str, int]) -> str:
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in failures.items())
    return kinds or "0"


def _span(span: Span) -> str:
    return f"{span.before:,.0f}\n{span.peak:,.0f}\n{span.after:,.0f}"
