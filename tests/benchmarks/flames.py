"""Flame graphs: what a worker does with its CPU for one fix, under load, as it is shipped.

A box is a function, as wide as the time spent in it and in all that it calls, which stands on it. Pictures
need no script: whoever points at a box is told its whole name and its microseconds.
"""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from zlib import crc32

import psutil
from tests.benchmarks import load
from tests.benchmarks.candidates import BATCH, SINGLE, Job
from tests.benchmarks.machine import Watch
from tests.benchmarks.servers import Bench
from tests.support import urls
from tests.support.live_service import LiveService

from harbor_api.settings import Settings

_WIDTH, _BAR, _MARGIN, _LETTER = 1600, 17, 10, 6.1
# A box that is thinner is left out, with all that stands on it: nobody can point at it.
_THINNEST = 1.0
_OURS = "harbor_api"
# For each connection: so few that all are known after the warm-up, and no vessel has two requests under way.
_TRACKERS = 2


@dataclass
class Box:
    """A function as it was called from one place: how often it was seen, and how often it called nothing."""

    times: int = 0
    own: int = 0
    calls: dict[str, "Box"] = field(default_factory=dict)


def measure(bench: Bench) -> Iterator[tuple[str, str]]:
    """Yield the names and the SVG texts of the pictures of a single fix and of a batch."""
    for job, path, what in (
        (SINGLE, urls.POSITIONS, "a signed fix"),
        (BATCH, urls.BATCH, "a signed batch of 1,000 fixes"),
    ):
        folded, spent_us, others = _sampled(bench, job, path)
        told = f"{what}, while others had {others:.0%} of the CPUs"
        yield f"flame-{job.name}.svg", drawn(folded, told, spent_us)


def _sampled(bench: Bench, job: Job, path: str) -> tuple[str, float, float]:
    """Return the folded stacks of a worker, its microseconds of CPU for one request, and what others had."""
    requests = job.requests(
        bench.postgres.trackers[: _TRACKERS * job.connections],
        path,
        first_turn=0,
        count=round(job.signed_a_second * (bench.warmup_s + bench.seconds)),
    )
    file = bench.logs / f"{job.name}.folded"
    with bench.postgres.database() as url:
        service = LiveService(
            url,
            log=bench.logs / "sampled.log",
            module="tests.benchmarks.sampled",
            workers=1,
            database_pool=Settings().database_pool,
        )
        service.environ["SAMPLED_STACKS"] = str(file)
        with service:
            [worker] = psutil.Process(service.pid).children()
            watch = Watch({"worker": worker.pid, "PostgreSQL": bench.postgres.pid})

            def turn() -> None:
                os.kill(worker.pid, signal.SIGPROF)
                watch.look()

            outcome = load.replay(
                service.port,
                requests,
                connections=job.connections,
                warmup_s=bench.warmup_s,
                seconds=bench.seconds,
                counted_in=job.stored_in,
                at_edges=turn,
            )
    many = outcome.rate * outcome.measured_s / job.fixes
    return file.read_text(), sum(watch.spent["worker"]) / many * 1e6, watch.others


def drawn(folded: str, what: str, spent_us: float) -> str:
    """Return an SVG of folded stacks, of which all together took so many microseconds."""
    whole = Box()
    for line in folded.splitlines():
        stack, _, times = line.rpartition(" ")
        box = whole
        box.times += int(times)
        for name in stack.split(";"):
            box = box.calls.setdefault(name, Box())
            box.times += int(times)
        box.own += int(times)
    scale = (_WIDTH - 2 * _MARGIN) / max(whole.times, 1)
    boxes = [*_boxes("all", whole, 0, 0, scale)]
    height = (3 + max(depth for *_, depth in boxes)) * _BAR + 2 * _MARGIN
    title = f"{what}: {spent_us:,.0f} us of a worker's CPU, seen {whole.times:,} times; blue is ours"
    parts = [
        _box(
            name,
            box,
            _MARGIN + left * scale,
            height - _MARGIN - (depth + 1) * _BAR,
            scale,
            spent_us / whole.times,
        )
        for name, box, left, depth in boxes
    ]
    frame = f'width="{_WIDTH}" height="{height}" font-family="monospace" font-size="10"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {frame}>',
            "<style>g:hover rect { stroke: black }</style>",
            '<rect width="100%" height="100%" fill="white"/>',
            f'<text x="{_MARGIN}" y="{_MARGIN + 10}" font-size="14">{escape(title)}</text>',
            *parts,
            "</svg>\n",
        ]
    )


def _boxes(name: str, box: Box, left: int, depth: int, scale: float) -> Iterator[tuple[str, Box, int, int]]:
    if box.times * scale < _THINNEST:
        return
    yield name, box, left, depth
    for each in sorted(box.calls):
        yield from _boxes(each, box.calls[each], left, depth + 1, scale)
        left += box.calls[each].times


def _box(name: str, box: Box, x: float, y: int, scale: float, us: float) -> str:
    width = box.times * scale
    share = width / (_WIDTH - 2 * _MARGIN)
    told = f"{name}: {box.times * us:,.1f} us ({share:.1%}), {box.own * us:,.1f} us its own"
    letters = int((width - 4) / _LETTER)
    # Of a name that is too long, where it ends says more.
    short = name if len(name) <= letters else name.rpartition(":")[2].rpartition(".")[2]
    if len(short) > letters:
        short = f"{short[: letters - 1]}…"
    label = f'<text x="{x + 2:.1f}" y="{y + 12}">{escape(short)}</text>' if letters >= 3 else ""
    shape = f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR - 1}" fill="{_colour(name)}"/>'
    return f"<g><title>{escape(told)}</title>{shape}{label}</g>"


def _colour(name: str) -> str:
    """Return blue for what is ours, and one warm colour for each package else."""
    package = name.partition(":")[0].partition(".")[0]
    if package == _OURS:
        return f"hsl(200, 60%, {65 + crc32(name.encode()) % 15}%)"
    return f"hsl({crc32(package.encode()) % 70}, 75%, 75%)"
