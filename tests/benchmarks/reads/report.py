"""What was measured of the reads, for people: one table, with each goal and whether it is met."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from tests.benchmarks.comparing import Line, median, ratio, text, verdict
from tests.benchmarks.reads.candidates import ReadRun
from tests.benchmarks.reads.cases import CONSTANT, PEER, PGBENCH, SERVICE
from tests.benchmarks.reads.jobs import GROWTH

_PARTS = ("service", "PostgreSQL", "load")
_AGAINST = (PEER, CONSTANT, PGBENCH)


def lines_of(runs: Iterable[ReadRun], job: str) -> list[Line[ReadRun]]:
    """Return a line for each candidate in each case of a job, cases in their order."""
    grouped: dict[tuple[str, str, int], list[ReadRun]] = {}
    for run in runs:
        if run.job == job:
            grouped.setdefault((run.case, run.candidate, run.positions), []).append(run)
    order = [*dict.fromkeys(case for case, _, _ in grouped)]
    return [
        Line(f"{candidate}{_size(positions)}", grouped[case, candidate, positions])
        for case, candidate, positions in sorted(grouped, key=lambda key: order.index(key[0]))
    ]


def show(console: Console, runs: Sequence[ReadRun]) -> None:
    """Print one table of all reads."""
    if not runs:
        return
    table = Table(
        title="reads: answers a second, CPU in microseconds an answer, MB of the largest worker (PSS); "
        "how many times as good the service is, by rate and by CPU without the load",
        title_justify="left",
    )
    for name in ("case", "candidate"):
        table.add_column(name, no_wrap=True)
    for name in (
        *("kB", "median", "least to most", "p50 ms", "p99 ms", "CPU service, PostgreSQL, load", "MB"),
        *("by rate", "by CPU"),
    ):
        table.add_column(name, justify="right")
    table.add_column("goal")
    for job in dict.fromkeys(run.job for run in runs):
        table.add_section()
        lines = lines_of(runs, job)
        for line in lines:
            if line.rate:
                table.add_row(*_row(line, lines))
    console.print(table)
    for note in dict.fromkeys(
        f"{run.job}, {run.case}, {run.candidate}: {run.note}" for run in runs if run.note
    ):
        console.print(note, highlight=False, markup=False)


def _row(line: Line[ReadRun], lines: Sequence[Line[ReadRun]]) -> list[str]:
    run = line.runs[0]
    by_rate, by_cpu, is_busy = _compared(line, lines)
    return [
        f"{run.job} {run.case}" if run.job != GROWTH else run.case,
        line.name,
        text(run.bytes / 1e3, 1),
        text(line.rate, 0),
        " to ".join(text(rate, 0) for rate in line.spread),
        *(text(median(getattr(each, name) for each in line.runs), 1) for name in ("p50_ms", "p99_ms")),
        ", ".join(text(median(each.cpu_us.get(part) for each in line.runs), 0) for part in _PARTS),
        text(max((each.memory_mb or 0 for each in line.runs), default=0) or None, 0),
        ratio(by_rate),
        ratio(by_cpu),
        verdict(run.goal, by_rate, by_cpu, is_most=run.job == GROWTH, is_busy=is_busy),
    ]


def _compared(line: Line[ReadRun], lines: Sequence[Line[ReadRun]]) -> tuple[list[float], list[float], bool]:
    """Return the service's ratios to a line, by rate and by CPU, and whether the machine was busy.

    The line of another candidate tells how the service does against that; a line with more positions how
    much more one answer costs than with fewest.
    """
    run = line.runs[0]
    same = [each for each in lines if each.runs[0].case == run.case]
    if run.job == GROWTH:
        few = min(same, key=lambda each: each.runs[0].positions)
        basis = few if few is not line else None
    elif run.candidate in _AGAINST:
        basis = next((each for each in same if each.runs[0].candidate == SERVICE and each.rate), None)
    else:
        basis = None
    if basis is None:
        return [], [], False
    return basis.by_rate(line), basis.by_cpu(line), basis.is_busy or line.is_busy


def _size(positions: int) -> str:
    return f" at {positions:,}" if positions else ""
