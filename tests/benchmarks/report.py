"""What was measured, for people: tables, a chart, and the raw results beside them."""

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from tests.benchmarks.candidates import EXECUTEMANY, PEER, SERVICE, UNNEST, UNORDERED, Run
from tests.benchmarks.following.job import FanOut, Storm
from tests.benchmarks.layers import TOTAL
from tests.benchmarks.reads import report as of_reads
from tests.benchmarks.reads.candidates import ReadRun

# What the service's rate is divided by, round by round, and the goal for the median of that. Ratios under
# 1.3 either way are ties.
GOALS: dict[str, dict[str, float]] = {
    "single": {PEER: 1.6, UNORDERED: 0.35},
    "batch": {EXECUTEMANY: 1.9, UNNEST: 1.0, UNORDERED: 0.8},
}
MOST_GROWTH = 1.2
_PARTS = ("service", "PostgreSQL", "load")
_BAR, _WIDTH, _LABELS = 22, 900, 330


@dataclass(frozen=True)
class Line:
    """All runs of one candidate at one job."""

    name: str
    runs: Sequence[Run]

    @property
    def rate(self) -> float:
        return statistics.median(run.rate for run in self.runs)

    @property
    def spread(self) -> tuple[float, float]:
        return min(run.rate for run in self.runs), max(run.rate for run in self.runs)

    def to(self, other: "Line") -> list[float]:
        """Return this one's rate over the other's, least first, round by round: both met the same minute."""
        pairs = zip(self.runs, other.runs, strict=False)
        return sorted(mine.rate / theirs.rate for mine, theirs in pairs if theirs.rate)


def lines_of(runs: Sequence[Run], job: str) -> list[Line]:
    """Return a line for each candidate of a job, and for each size where there are several."""
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        if run.job == job:
            name = f"{run.candidate} at {run.positions:,} positions" if run.positions else run.candidate
            grouped.setdefault(name, []).append(run)
    return [Line(name, each) for name, each in grouped.items()]


def show(console: Console, runs: Sequence[Run]) -> None:
    """Print a table for each job."""
    for job in dict.fromkeys(run.job for run in runs):
        lines = lines_of(runs, job)
        by_name = {line.name: line for line in lines}
        against = [by_name[name] for name in GOALS.get(job, {}) if name in by_name]
        table = Table(title=f"{job}: fixes a second, CPU in microseconds a fix", title_justify="left")
        table.add_column("candidate", no_wrap=True)
        for name in (
            *("median", "least to most", *(f"to {other.name}" for other in against)),
            *("p50 ms", "p99 ms", "CPU service, PostgreSQL, load", "busiest worker"),
        ):
            table.add_column(name, justify="right")
        for line in lines:
            table.add_row(
                line.name,
                _text(line.rate, 0),
                " to ".join(_text(rate, 0) for rate in line.spread),
                *(_text(_median(line.to(other)) or None, 2) for other in against),
                _text(_median(run.p50_ms for run in line.runs), 1),
                _text(_median(run.p99_ms for run in line.runs), 1),
                ", ".join(_text(_median(run.cpu_us.get(part) for run in line.runs), 0) for part in _PARTS),
                _text(_median(max(run.worker_shares, default=None) for run in line.runs), 2),
            )
        console.print(table)
        for note in dict.fromkeys(
            f"{line.name}: {run.note}" for line in lines for run in line.runs if run.note
        ):
            console.print(note, highlight=False)
        for goal in goals_of(runs, job):
            console.print(goal, highlight=False)
        console.print()


def goals_of(runs: Sequence[Run], job: str) -> list[str]:
    """Return a sentence for each goal of a job that these runs can judge."""
    lines = lines_of(runs, job)
    if job == "growth":
        return [_growth(few, many) for few, many in _pairs(lines) if few.rate and many.rate]
    by_name = {line.name: line for line in lines}
    return [
        f"{SERVICE} / {name}: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); "
        f"the goal is {goal}"
        for name, goal in GOALS.get(job, {}).items()
        if name in by_name and SERVICE in by_name and (ratios := by_name[SERVICE].to(by_name[name]))
    ]


def _pairs(lines: Sequence[Line]) -> list[tuple[Line, Line]]:
    """Put together the few and the many positions of each candidate."""
    return [
        (few, many)
        for few in lines
        for many in lines
        if few.runs[0].candidate == many.runs[0].candidate and few.runs[0].positions < many.runs[0].positions
    ]


def _growth(few: Line, many: Line) -> str:
    positions = f"from {few.runs[0].positions:,} to {many.runs[0].positions:,} positions"
    cost = f"{1e6 / few.rate:.0f} to {1e6 / many.rate:.0f} us a fix"
    ratio = few.rate / many.rate
    return f"{few.runs[0].candidate}: {cost} {positions}, {ratio:.2f} times; the goal is {MOST_GROWTH}"


def show_layers(console: Console, layers: Mapping[str, Mapping[str, float]]) -> None:
    """Print where the time goes: for each kind of request the microseconds of each layer."""
    table = Table(title="layers: one request in one process, microseconds (share)", title_justify="left")
    table.add_column("layer")
    for kind in layers:
        table.add_column(kind, justify="right")
    for layer in dict.fromkeys(layer for took in layers.values() for layer in took):
        table.add_row(
            layer,
            *(
                f"{_text(took[layer], 0)} ({took[layer] / took[TOTAL]:.0%})" if layer in took else "-"
                for took in layers.values()
            ),
        )
    console.print(table)


def save(
    folder: Path,
    *,
    facts: Mapping[str, Any],
    runs: Sequence[Run],
    reads: Sequence[ReadRun],
    layers: Mapping[str, Mapping[str, float]],
    crowds: Sequence[FanOut | Storm] = (),
) -> list[Path]:
    """Write the raw results and the chart; return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = {"facts": facts, "layers_us": layers, "runs": [run.as_json() for run in (*runs, *reads, *crowds)]}
    files = [folder / "results.json", folder / "chart.svg"]
    files[0].write_text(json.dumps(raw, indent=1) + "\n")
    files[1].write_text(chart(runs, reads))
    return files


def chart(runs: Sequence[Run], reads: Sequence[ReadRun]) -> str:
    """Return an SVG with a bar for each candidate's median and a line from its least to its most."""
    parts: list[str] = []
    top = 10
    for title, lines in _groups(runs, reads):
        most = max(line.spread[1] for line in lines) or 1
        top += _BAR
        parts.append(_label(10, top, title, "bold"))
        for line in lines:
            top += _BAR
            parts += _bar(line, top, (_WIDTH - _LABELS - 90) / most)
        top += _BAR // 2
    frame = f'width="{_WIDTH}" height="{top + _BAR}" font-family="sans-serif" font-size="13"'
    background = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {frame}>', background, *parts, "</svg>\n"])


def _groups(
    runs: Sequence[Run], reads: Sequence[ReadRun]
) -> Iterator[tuple[str, Sequence[Line | of_reads.Line]]]:
    """Yield what is drawn to one scale: a job of the ingest, a case of the reads."""
    for job in dict.fromkeys(run.job for run in runs):
        yield f"{job}: fixes a second", lines_of(runs, job)
    for job, case in dict.fromkeys((run.job, run.case) for run in reads):
        alike = [run for run in reads if run.case == case]
        yield f"{job} {case}: answers a second", of_reads.lines_of(alike, job)


def _bar(line: Line | of_reads.Line, bottom: int, scale: float) -> list[str]:
    least, most = (_LABELS + rate * scale for rate in line.spread)
    colour = "#0b6e99" if line.name.startswith(SERVICE) else "#b8c4cc"
    middle, length = bottom - 5, line.rate * scale
    return [
        _label(10, bottom, line.name),
        f'<rect x="{_LABELS}" y="{bottom - 14}" width="{length:.1f}" height="18" fill="{colour}"/>',
        f'<path d="M{least:.1f} {middle} H{most:.1f}" stroke="black" stroke-width="2"/>',
        _label(most + 8, bottom, _text(line.rate, 0)),
    ]


def _label(x: float, y: float, text: str, weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y}" font-weight="{weight}">{escape(text)}</text>'


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _text(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:,.{decimals}f}"
