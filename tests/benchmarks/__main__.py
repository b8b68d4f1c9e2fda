"""Side-by-side benchmarks of the ingest and of the reads.

    pip install -e '.[dev,bench]'
    python -m tests.benchmarks                        # all of it, about half an hour on two cores
    python -m tests.benchmarks --job single --job batch --seconds 10 --rounds 5
    python -m tests.benchmarks --job growth --rows 1000000
    python -m tests.benchmarks --job reads --seconds 2 --rows 2000000    # all reads, about ten minutes

Each job runs its candidates in turns, A, B, C, A, B, C, on a PostgreSQL of its own with fsync on:

- `single`: one signed fix a request, over 32 connections that stay open (keep-alive);
- `batch`: a thousand fixes a signed request, over 16 such;
- `proxied`: both behind nginx, which keeps its connections open; left out where nginx is not installed;
- `growth`: `single` beside 100,000 stored positions and beside `--rows`;
- `layers`: where the time of one request goes, of a fix and of a batch;
- `flames`: a flame graph of a worker for one of each, beside the results;
- `fleet`: the fleet of 12, 1,000 and 10,000 vessels, over 32 connections or, of 10,000, over 8: at rest,
  not changed (304), beside a hundred writes a second; the largest also in gzip, and for keys with grants,
  with fewer decimals and with a delay;
- `as_of`: the fleet of 1,000 vessels as it was at moments all over its past;
- `history`, `track`: a page of a thousand fixes, tracks of a thousand and of ten thousand;
- `feed`: a page of a thousand changes, of ten thousand, and of none;
- `read_growth`: one of each of these beside 100,000 stored positions and beside `--rows`;
- `read_layers`: where the time of one read goes;
- `reads`: these last seven;
- `following`: the stream of one worker to 10,000 clients of ten vessels each, to 5,000 of the whole fleet,
  and beside a hundred that never read, at fifty fixes a second: what a client costs, and when it has a fix;
  the same of four hundred that wait for an answer, and of as many that ask each second instead; and what
  the ingest costs with a thousand that follow and without.

The candidates of the ingest are the service as it is shipped, with two workers; the peer (`peer.py`) with two
workers; and, as the ceiling, pgbench with the service's own statement (`pgbench.py`), with and without the
lock that keeps numbers in the order of commits. Every run but those of `growth` has a new database, and after
every run the positions in the database are counted: where they are not as many as were acknowledged,
the benchmark fails.

Those of the reads are the service; the peer (`reads/peer.py`); as the ceiling, answers of the service that
were rendered beforehand, from its own worker without an application (`reads/constant.py`); and pgbench with
the statements that the service sends, where each read needs the database (`reads/statements.py`). Every
answer has to have the status that was meant, and some of each run are looked at: where they are not about as
many vessels or fixes as they should be, the benchmark fails. What the service cannot answer yet is said to
be not there yet.

Load, service and PostgreSQL share the cores of one machine, for all candidates alike: ratios say more
than rates, CPU is the steadier measure, and ratios under 1.3 either way are ties. Goals are judged by both.
Where anything else had more than a twentieth of the CPUs during a run, it is told to be busy, no goal that
rests on it is judged, and the exit status is 75: try again later. What the load itself can
reach is measured first. The database lies in the folder for temporary files (`TMPDIR`), which has to be on a
real disk, with 8 GB for 20 million positions.
"""

import os
import platform
import signal
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import click
from rich.console import Console
from tests.benchmarks import flames, fleet, jobs, layers, machine, proxy, report
from tests.benchmarks.candidates import Run
from tests.benchmarks.comparing import is_busy
from tests.benchmarks.following import job as following
from tests.benchmarks.following import polls
from tests.benchmarks.reads import jobs as read_jobs
from tests.benchmarks.reads import layers as read_layers
from tests.benchmarks.reads import report as read_report
from tests.benchmarks.reads.candidates import ReadRun
from tests.benchmarks.servers import Bench

_OF_INGEST = ("single", "batch", "proxied", "growth", "layers", "flames")
_OF_READS = ("fleet", "as_of", "history", "track", "feed", read_jobs.GROWTH, "read_layers")
_READS = "reads"
_FOLLOWING = "following"
# Whatever they keep is warm with the first answers.
_WARMUP_OF_READS_S = 0.5
_PEER = ("fastapi", "uvicorn", "uvloop", "httptools", "asyncpg")


@click.command()
@click.option(
    "--job",
    "chosen",
    type=click.Choice([*_OF_INGEST, *_OF_READS, _READS, _FOLLOWING]),
    multiple=True,
    help="Which ones; all unless told.",
)
@click.option("--seconds", type=click.FloatRange(min=1), default=5, show_default=True, help="Of each run.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Of each job.")
@click.option(
    "--rows",
    type=click.IntRange(min=2 * jobs.SMALL),
    default=20_000_000,
    show_default=True,
    help="Stored positions that `growth` and `read_growth` end with.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=".benchmarks",
    show_default=True,
    help="Where results.json, chart.svg and flame graphs are written.",
)
def main(chosen: tuple[str, ...], seconds: float, rounds: int, rows: int, out: Path) -> None:
    """Measure the service beside what a team would write instead and beside what bounds it."""
    # As Ctrl-C does: nothing that was started is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    console = Console(width=190, soft_wrap=True)
    if _READS in chosen:
        chosen += _OF_READS
    chosen = chosen or (*_OF_INGEST, *_OF_READS, _FOLLOWING)
    peer = all(find_spec(name) for name in _PEER)
    if not peer:
        console.print("no peer: it needs pip install -e '.[bench]'", highlight=False, markup=False)
    runs: list[Run] = []
    reads: list[ReadRun] = []
    crowds: list[following.FanOut | following.Storm] = []
    of_layers: dict[str, dict[str, float]] = {}
    pictures: dict[str, str] = {}
    # Only posts need trackers.
    vessels = fleet.VESSELS if {*_OF_INGEST, _FOLLOWING} & {*chosen} else 0
    with tempfile.TemporaryDirectory(prefix="harbor-") as logs, fleet.Postgres(vessels=vessels) as postgres:
        bench = Bench(postgres, Path(logs), seconds)
        facts = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "cores": os.cpu_count(),
            "Python": platform.python_version(),
            **machine.at_rest(),
            **postgres.facts(),
        }
        console.print(facts, highlight=False)
        if "single" in chosen or "growth" in chosen:
            load = jobs.ceiling_of_load(bench)
            facts["load_ceiling"] = round(load.rate)
            console.print(f"the load's own ceiling: {load.rate:,.0f} requests a second\n", highlight=False)
        if "single" in chosen:
            _collect(console, runs, jobs.single(bench, rounds, peer=peer))
        if "batch" in chosen:
            _collect(console, runs, jobs.batch(bench, rounds, peer=peer))
        if "proxied" in chosen:
            if proxy.program():
                _collect(console, runs, jobs.proxied(bench, rounds, peer=peer))
            else:
                console.print("proxied: left out, as nginx is not installed", highlight=False)
        if "growth" in chosen:
            _collect(console, runs, jobs.growth(bench, rounds, rows=rows))
        if "flames" in chosen:
            pictures |= flames.measure(bench)
        if "layers" in chosen:
            of_layers |= layers.measure(postgres)
        bench = replace(bench, warmup_s=_WARMUP_OF_READS_S)
        of_reads = {
            "fleet": read_jobs.fleets,
            "as_of": read_jobs.as_of,
            "history": read_jobs.history,
            "track": read_jobs.track,
            "feed": read_jobs.feed,
        }
        for name, job in of_reads.items():
            if name in chosen:
                _collect_reads(console, reads, job(bench, rounds, peer=peer))
        if read_jobs.GROWTH in chosen:
            _collect_reads(console, reads, read_jobs.growth(bench, rounds, rows=rows))
        if "read_layers" in chosen:
            of_layers |= read_layers.measure(postgres)
        if _FOLLOWING in chosen:
            _collect(console, runs, following.beside(bench, rounds))
            for storm in following.resumes(bench, rounds):
                told = f"each {storm.positions:,} positions back: {storm.first_s:.1f} to {storm.last_s:.1f} s"
                console.print(
                    f"following, {storm.resumed} resume at once, {told}, {storm.most_mb:.0f} MB more, "
                    f"{storm.wrong} not right",
                    highlight=False,
                    markup=False,
                )
                crowds.append(storm)
            for crowd in chain(following.fan_out(bench, rounds), polls.polls(bench, rounds)):
                told = f"p99 {crowd.p99_ms:.0f} ms, {crowd.kb:.1f} kB a client"
                console.print(f"following, {crowd.crowd}: {told}", highlight=False, markup=False)
                crowds.append(crowd)
    report.show(console, runs)
    read_report.show(console, reads)
    following.show(console, [each for each in crowds if isinstance(each, following.FanOut)])
    if of_layers:
        report.show_layers(console, of_layers)
    for file in report.save(
        out, facts=facts, runs=runs, reads=reads, layers=of_layers, crowds=crowds, pictures=pictures
    ):
        console.print(f"written: {file}", highlight=False)
    wrong = [run for run in runs if not run.is_honest]
    for run in wrong:
        console.print(f"{run.job}, {run.candidate}: {run.acknowledged:,} acknowledged, {run.stored:,} stored")
    wrong_reads = [run for run in reads if run.wrong]
    for read in wrong_reads:
        console.print(
            f"{read.job}, {read.case}, {read.candidate}: {read.wrong}", highlight=False, markup=False
        )
    if wrong or wrong_reads:
        raise SystemExit(1)
    busy = [run for run in (*runs, *reads) if is_busy(run)]
    if busy:
        console.print(
            f"{len(busy)} of {len(runs) + len(reads)} runs were busy: goals that rest on them are not judged"
        )
        raise SystemExit(os.EX_TEMPFAIL)


def _collect_reads(console: Console, reads: list[ReadRun], measured: Iterable[ReadRun]) -> None:
    for run in measured:
        size = f" at {run.positions:,} positions" if run.positions else ""
        told = f"{run.rate:,.0f} answers/s, {run.cpu:,.0f} us each{_load(run)}" if run.rate else run.note
        console.print(f"{run.job} {run.case}: {run.candidate}{size}: {told}", highlight=False, markup=False)
        reads.append(run)


def _collect(console: Console, runs: list[Run], measured: Iterable[Run]) -> None:
    for run in measured:
        size = f" at {run.positions:,} positions" if run.positions else ""
        told = f"{run.rate:,.0f} fixes/s, {run.cpu:,.1f} us of CPU each{_load(run)}"
        console.print(f"{run.job}: {run.candidate}{size}: {told}", highlight=False)
        runs.append(run)


def _load(run: Run | ReadRun) -> str:
    if run.others is None:
        return ""
    busy = ", busy" if is_busy(run) else ""
    return f" (load average {run.load_average:.1f}, others had {run.others:.1%}{busy})"


if __name__ == "__main__":
    main()
