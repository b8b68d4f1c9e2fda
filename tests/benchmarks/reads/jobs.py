"""The jobs of the reads: in each case candidates one after the other, A, B, C, A, B, C."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

from tests.benchmarks import fleet
from tests.benchmarks.reads import cases
from tests.benchmarks.reads.candidates import Readers, ReadRun, readers
from tests.benchmarks.reads.cases import PEER, SERVICE, Case
from tests.benchmarks.reads.seas import Sea, sea
from tests.benchmarks.servers import Bench

SIZES = (12, 1_000, 10_000)
GROWTH, MOST_GROWTH = "read_growth", 1.2
SMALL = 100_000
# Enough fixes in the last minutes for a key that sees them late, and fresh ones when the last case is run.
_RECENT = {"fixes": 20, "every_s": 30.0, "silent": True}
# A day of a fix each nine seconds, or of one each minute and a half.
_DAY, _GROWING = {"vessels": 100, "fixes": 10_000, "every_s": 8.64}, {"vessels": 100, "every_s": 86.4}


def fleets(bench: Bench, rounds: int, *, peer: bool, sizes: tuple[int, ...] = SIZES) -> Iterator[ReadRun]:
    """The fleet as it is. Each round has new databases, in which vessels were heard of just now."""
    for _ in range(rounds):
        for vessels in sizes:
            with sea(bench.postgres, vessels=vessels, peer=peer, **_RECENT) as filled:
                yield from _in_turns(bench, filled, [*cases.fleet(filled)], 1)


def as_of(bench: Bench, rounds: int, *, peer: bool, sizes: tuple[int, ...] = (1_000,)) -> Iterator[ReadRun]:
    """The fleet as it was."""
    for vessels in sizes:
        with sea(bench.postgres, vessels=vessels, peer=peer, **_RECENT) as filled:
            yield from _in_turns(bench, filled, [*cases.as_of(filled)], rounds)


def history(bench: Bench, rounds: int, *, peer: bool) -> Iterator[ReadRun]:
    """Pages of history."""
    return _of_a_day(bench, rounds, cases.history, peer=peer)


def track(bench: Bench, rounds: int, *, peer: bool) -> Iterator[ReadRun]:
    """Tracks."""
    return _of_a_day(bench, rounds, cases.track, peer=peer)


def feed(bench: Bench, rounds: int, *, peer: bool) -> Iterator[ReadRun]:
    """Pages of the change feed."""
    return _of_a_day(bench, rounds, cases.feed, peer=peer)


def growth(bench: Bench, rounds: int, *, rows: int, small: int = SMALL) -> Iterator[ReadRun]:
    """The same reads of the service beside few stored positions and beside many."""
    with ExitStack() as stack:
        beside: list[tuple[Readers, list[Case], int]] = []
        for size in (small, rows):
            fixes = size // int(_GROWING["vessels"])
            filled = stack.enter_context(sea(bench.postgres, fixes=fixes, peer=False, **_GROWING))
            asked = [
                replace(each, job=GROWTH, name=f"{each.job}, {each.name}") for each in cases.growing(filled)
            ]
            beside.append((stack.enter_context(readers(bench, filled, asked)), asked, filled.positions))
        for _ in range(rounds):
            for number in range(len(beside[0][1])):
                for started, asked, positions in beside:
                    run = started.run(SERVICE, asked[number], number)
                    run.positions = positions
                    run.goal = MOST_GROWTH if positions > small else None
                    yield run


def _of_a_day(
    bench: Bench, rounds: int, asked: Callable[[Sea], Iterator[Case]], *, peer: bool
) -> Iterator[ReadRun]:
    with sea(bench.postgres, peer=peer, **_DAY) as filled:
        yield from _in_turns(bench, filled, [*asked(filled)], rounds)


def _in_turns(bench: Bench, filled: Sea, asked: list[Case], rounds: int) -> Iterator[ReadRun]:
    with readers(bench, filled, asked) as started:
        for _ in range(rounds):
            for number, case in enumerate(asked):
                for candidate in case.candidates:
                    if candidate != PEER or fleet.PEER in filled.urls:
                        yield started.run(candidate, case, number)
