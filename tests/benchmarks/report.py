"""What was measured, for people: tables, a chart, and the raw results beside them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console
from rich.table import Table
from tests.benchmarks.candidates import EXECUTEMANY, PEER, PGBENCH, SERVICE, UNNEST, UNORDERED, Run
from tests.benchmarks.comparing import Line, busiest, median, ratio, text, verdict
from tests.benchmarks.following.job import FanOut, Storm
from tests.benchmarks.layers import TOTAL
from tests.benchmarks.reads import report as of_reads
from tests.benchmarks.reads.candidates import ReadRun

# What the service is held against, round by round, and the goal for the median of that, by rate and by CPU.
# Ratios under 1.3 either way are ties.
GOALS: dict[str, dict[str, float]] = {
    "single": {PEER: 2.5, UNORDERED: 0.6},
    "batch": {EXECUTEMANY: 2.8, UNNEST: 2.4, PGBENCH: 0.8},
    "proxied": {PEER: 2.5},
    "proxied batch": {EXECUTEMANY: 2.8, UNNEST: 2.4},
}
MOST_GROWTH = 1.2
_PARTS = ("service", "PostgreSQL", "load", "proxy")
_BAR, _WIDTH, _LABELS = 22, 900, 330


def lines_of(runs: Sequence[Run], job: str) -> list[Line[Run]]:
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
        parts = [part for part in _PARTS if any(part in run.cpu_us for line in lines for run in line.runs)]
        table = Table(
            title=f"{job}: fixes a second, CPU in microseconds a fix, times as good by rate and by CPU",
            title_justify="left",
        )
        table.add_column("candidate", no_wrap=True)
        for name in (
            *("median", "least to most", *(f"to {other.name}" for other in against), "p50 ms", "p99 ms"),
            *(f"CPU {', '.join(parts)}", "in all", "busiest worker", "most of others"),
        ):
            table.add_column(name, justify="right")
        for line in lines:
            table.add_row(
                line.name,
                text(line.rate, 0),
                " to ".join(text(rate, 0) for rate in line.spread),
                *(
                    f"{text(median(line.by_rate(other)), 2)}, {text(median(line.by_cpu(other)), 2)}"
                    for other in against
                ),
                text(median(run.p50_ms for run in line.runs), 1),
                text(median(run.p99_ms for run in line.runs), 1),
                ", ".join(text(median(run.cpu_us.get(part) for run in line.runs), 1) for part in parts),
                text(median(run.cpu for run in line.runs), 1),
                text(median(max(run.worker_shares, default=None) for run in line.runs), 2),
                busiest(line.runs),
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
        return [
            _judged(_from_to(few, many), few, many, MOST_GROWTH, is_most=True) for few, many in _pairs(lines)
        ]
    by_name = {line.name: line for line in lines}
    return [
        _judged(f"{SERVICE} / {name}", by_name[SERVICE], by_name[name], goal)
        for name, goal in GOALS.get(job, {}).items()
        if name in by_name and SERVICE in by_name
    ]


def _judged(what: str, one: Line[Run], other: Line[Run], goal: float, *, is_most: bool = False) -> str:
    by_rate, by_cpu = one.by_rate(other), one.by_cpu(other)
    judged = verdict(goal, by_rate, by_cpu, is_most=is_most, is_busy=one.is_busy or other.is_busy)
    return f"{what}: {ratio(by_rate)} by rate, {ratio(by_cpu)} by CPU; the goal is {judged}"


def _pairs(lines: Sequence[Line[Run]]) -> list[tuple[Line[Run], Line[Run]]]:
    """Put together the few and the many positions of each candidate."""
    return [
        (few, many)
        for few in lines
        for many in lines
        if few.runs[0].candidate == many.runs[0].candidate and few.runs[0].positions < many.runs[0].positions
    ]


def _from_to(few: Line[Run], many: Line[Run]) -> str:
    return f"{few.runs[0].candidate}, from {few.runs[0].positions:,} to {many.runs[0].positions:,} positions"


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
                f"{text(took[layer], 0)} ({took[layer] / took[TOTAL]:.0%})" if took.get(layer) else "-"
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
    pictures: Mapping[str, str] = MappingProxyType({}),
) -> list[Path]:
    """Write the raw results, the chart and further pictures; return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = {"facts": facts, "layers_us": layers, "runs": [run.as_json() for run in (*runs, *reads, *crowds)]}
    files = [folder / "results.json", folder / "chart.svg"]
    files[0].write_text(json.dumps(raw, indent=1) + "\n")
    files[1].write_text(chart(runs, reads))
    for name, picture in pictures.items():
        files.append(folder / name)
        files[-1].write_text(picture)
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
) -> Iterator[tuple[str, Sequence[Line[Run] | Line[ReadRun]]]]:
    """Yield what is drawn to one scale: a job of the ingest, a case of the reads."""
    for job in dict.fromkeys(run.job for run in runs):
        yield f"{job}: fixes a second", lines_of(runs, job)
    for job, case in dict.fromkeys((run.job, run.case) for run in reads):
        alike = [run for run in reads if run.case == case]
        yield f"{job} {case}: answers a second", of_reads.lines_of(alike, job)


def _bar(line: Line[Run] | Line[ReadRun], bottom: int, scale: float) -> list[str]:
    least, most = (_LABELS + rate * scale for rate in line.spread)
    colour = "#0b6e99" if line.name.startswith(SERVICE) else "#b8c4cc"
    middle, length = bottom - 5, line.rate * scale
    return [
        _label(10, bottom, line.name),
        f'<rect x="{_LABELS}" y="{bottom - 14}" width="{length:.1f}" height="18" fill="{colour}"/>',
        f'<path d="M{least:.1f} {middle} H{most:.1f}" stroke="black" stroke-width="2"/>',
        _label(most + 8, bottom, text(line.rate, 0)),
    ]


def _label(x: float, y: float, text: str, weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y}" font-weight="{weight}">{escape(text)}</text>'
