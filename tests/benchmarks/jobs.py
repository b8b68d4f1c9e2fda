"""The jobs: candidates one after the other, A, B, C, A, B, C, so that a slow minute hits all alike."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tests.benchmarks import fleet
from tests.benchmarks.candidates import (
    BATCH,
    BATCHES,
    GROWING,
    NOTHING,
    PROXIED_BATCHES,
    PROXIED_SINGLES,
    SINGLE,
    SINGLES,
    TURNS,
    Candidate,
    Job,
    Run,
)
from tests.benchmarks.servers import Bench

SMALL = 100_000


def ceiling_of_load(bench: Bench) -> Run:
    """Tell how many requests a second the load can send and count."""
    fast = replace(SINGLE, name="load", signed_a_second=40_000)
    return NOTHING.run(replace(bench, seconds=min(bench.seconds, 2)), fast, "", 0)


def single(bench: Bench, rounds: int, *, peer: bool) -> Iterator[Run]:
    """One signed fix a request, over connections that are open before the time begins and stay so."""
    return each_anew(bench, SINGLE, _candidates(SINGLES, peer=peer), rounds)


def batch(bench: Bench, rounds: int, *, peer: bool) -> Iterator[Run]:
    """A thousand fixes a signed request, over connections as of ``single``."""
    return each_anew(bench, BATCH, _candidates(BATCHES, peer=peer), rounds)


def proxied(bench: Bench, rounds: int, *, peer: bool) -> Iterator[Run]:
    """The same two behind nginx: it keeps its connections to the service and to the peer open, too."""
    for job, candidates in ((SINGLE, PROXIED_SINGLES), (BATCH, PROXIED_BATCHES)):
        behind = replace(job, name="proxied" if job is SINGLE else f"proxied {job.name}")
        yield from each_anew(bench, behind, _candidates(candidates, peer=peer), rounds)


def growth(bench: Bench, rounds: int, *, rows: int) -> Iterator[Run]:
    """One signed fix a request, beside few stored positions and beside many."""
    with bench.postgres.database() as small, bench.postgres.database() as large:
        sizes = ((small, SMALL), (large, rows))
        for url, size in sizes:
            fleet.fill(url, size)
        for number in range(rounds):
            for order, candidate in enumerate(GROWING):
                for url, size in sizes:
                    first_turn = TURNS * (number * len(GROWING) + order)
                    run = _once(bench, replace(SINGLE, name="growth"), candidate, url, first_turn)
                    run.positions = size
                    yield run


def _candidates(all_of_them: Sequence[Candidate], *, peer: bool) -> list[Candidate]:
    return [each for each in all_of_them if peer or each.tables != fleet.PEER]


def each_anew(bench: Bench, job: Job, candidates: Sequence[Candidate], rounds: int) -> Iterator[Run]:
    """Each candidate on a database of its own, in turns."""
    for _ in range(rounds):
        for candidate in candidates:
            with bench.postgres.database(candidate.tables) as url:
                yield _once(bench, job, candidate, url, 0)


def _once(bench: Bench, job: Job, candidate: Candidate, url: str, first_turn: int) -> Run:
    before = fleet.stored(url)
    run = candidate.run(bench, job, url, first_turn)
    run.stored = fleet.stored(url) - before
    return run
