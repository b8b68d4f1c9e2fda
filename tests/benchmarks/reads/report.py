"""What was measured of the reads, for people: one table, with each goal and whether it is met."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from tests.benchmarks.reads.candidates import ReadRun
from tests.benchmarks.reads.cases import CONSTANT, PEER, PGBENCH, SERVICE
from tests.benchmarks.reads.jobs import GROWTH

_PARTS = ("service", "PostgreSQL", "load")
_AGAINST = (PEER, CONSTANT, PGBENCH)


@dataclass(frozen=True)
class Line:
    """All runs of one candidate in one case."""

    runs: Sequence[ReadRun]

    @property
    def name(self) -> str:
        return f"{self.runs[0].candidate}{_size(self.runs[0])}"

    @property
    def rate(self) -> float:
        return statistics.median(run.rate for run in self.runs)

    @property
    def spread(self) -> tuple[float, float]:
        return min(run.rate for run in self.runs), max(run.rate for run in self.runs)

    def by_rate(self, other: "Line") -> list[float]:
        """Return how many times the other's rate this one has, least first, round by round."""
        return sorted(mine.rate / theirs.rate for mine, theirs in self._rounds(other) if theirs.rate)

    def by_cpu(self, other: "Line") -> list[float]:
        """Return how many times an answer of this one costs the other, in CPU, as with ``by_rate``."""
        return sorted(
            theirs.cpu / mine.cpu for mine, theirs in self._rounds(other) if mine.cpu and theirs.cpu
        )

    def _rounds(self, other: "Line") -> Iterator[tuple[ReadRun, ReadRun]]:
        return zip(self.runs, other.runs, strict=False)


def lines_of(runs: Iterable[ReadRun], job: str) -> list[Line]:
    """Return a line for each candidate in each case of a job, cases in their order."""
    grouped: dict[tuple[str, str, int], list[ReadRun]] = {}
    for run in runs:
        if run.job == job:
            grouped.setdefault((run.case, run.candidate, run.positions), []).append(run)
    order = [*dict.fromkeys(case for case, _, _ in grouped)]
    return [Line(grouped[key]) for key in sorted(grouped, key=lambda key: order.index(key[0]))]


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


def _row(line: Line, lines: Sequence[Line]) -> list[str]:
    run = line.runs[0]
    by_rate, by_cpu = _compared(line, lines)
    return [
        f"{run.job} {run.case}" if run.job != GROWTH else run.case,
        f"{run.candidate}{_size(run)}",
        _text(run.bytes / 1e3, 1),
        _text(line.rate, 0),
        " to ".join(_text(rate, 0) for rate in line.spread),
        *(_text(_median(getattr(each, name) for each in line.runs), 1) for name in ("p50_ms", "p99_ms")),
        ", ".join(_text(_median(each.cpu_us.get(part) for each in line.runs), 0) for part in _PARTS),
        _text(max((each.memory_mb or 0 for each in line.runs), default=0) or None, 0),
        _ratio(by_rate),
        _ratio(by_cpu),
        verdict(run.goal, by_rate, by_cpu, is_most=run.job == GROWTH),
    ]


def _compared(line: Line, lines: Sequence[Line]) -> tuple[list[float], list[float]]:
    """Return the service's ratios to a line, by rate and by CPU.

    The line of another candidate tells how the service does against that; a line with more positions how
    much more one answer costs than with fewest.
    """
    run = line.runs[0]
    same = [each for each in lines if each.runs[0].case == run.case]
    if run.job == GROWTH:
        few = min(same, key=lambda each: each.runs[0].positions)
        return ([], []) if few is line else (few.by_rate(line), few.by_cpu(line))
    service = next((each for each in same if each.runs[0].candidate == SERVICE), None)
    if run.candidate not in _AGAINST or service is None or not service.rate:
        return [], []
    return service.by_rate(line), service.by_cpu(line)


def verdict(goal: float | None, by_rate: list[float], by_cpu: list[float], *, is_most: bool = False) -> str:
    """Say what the goal is and whether it is met, judged by rate and by CPU."""
    if goal is None:
        return ""
    told = {"rate": by_rate, "CPU": by_cpu}
    met = {
        name: (statistics.median(ratios) <= goal) if is_most else (statistics.median(ratios) >= goal)
        for name, ratios in told.items()
        if ratios
    }
    wanted = f"at most {goal:g}" if is_most else f"{goal:g}"
    if not met:
        return f"{wanted}: not measured"
    if len(set(met.values())) == 1:
        return f"{wanted}: {'met' if all(met.values()) else 'missed'}"
    return f"{wanted}: " + ", ".join(f"{'met' if each else 'missed'} by {name}" for name, each in met.items())


def _size(run: ReadRun) -> str:
    return f" at {run.positions:,}" if run.positions else ""


def _ratio(ratios: list[float]) -> str:
    if not ratios:
        return "-"
    middle, least, most = (f"{each:.3g}" for each in (statistics.median(ratios), ratios[0], ratios[-1]))
    return middle if len(ratios) == 1 else f"{middle} ({least} to {most})"


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _text(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:,.{decimals}f}"
