"""How one candidate is held against another: by rate and by CPU, round by round, never on a busy machine."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from tests.benchmarks.machine import MOST_OTHERS


class Measured(Protocol):
    """One run: how many a second, what one costs in CPU, and the share of the CPUs that others had."""

    rate: float
    others: float | None

    @property
    def cpu(self) -> float: ...


Run_co = TypeVar("Run_co", bound=Measured, covariant=True)


def is_busy(run: Measured) -> bool:
    """Return whether others had so much of the machine that a run is no ground for a verdict."""
    return run.others is not None and run.others > MOST_OTHERS


def busiest(runs: Sequence[Measured]) -> str:
    """Say what others had at most, and how many of several runs were busy."""
    most = max((run.others for run in runs if run.others is not None), default=None)
    if most is None:
        return "-"
    busy = sum(map(is_busy, runs))
    return f"{most:.0%}" + (f", busy: {busy}" if busy else "")


@dataclass(frozen=True)
class Line(Generic[Run_co]):
    """All runs of one candidate at one job."""

    name: str
    runs: Sequence[Run_co]

    @property
    def rate(self) -> float:
        return statistics.median(run.rate for run in self.runs)

    @property
    def spread(self) -> tuple[float, float]:
        return min(run.rate for run in self.runs), max(run.rate for run in self.runs)

    @property
    def is_busy(self) -> bool:
        """Whether any of the runs was."""
        return any(map(is_busy, self.runs))

    def by_rate(self, other: "Line[Measured]") -> list[float]:
        """Return this one's rate over the other's, least first, round by round: both met the same minute."""
        return sorted(mine.rate / theirs.rate for mine, theirs in self._rounds(other) if theirs.rate)

    def by_cpu(self, other: "Line[Measured]") -> list[float]:
        """Return the other's CPU for one over this one's, as with ``by_rate``."""
        return sorted(
            theirs.cpu / mine.cpu for mine, theirs in self._rounds(other) if mine.cpu and theirs.cpu
        )

    def _rounds(self, other: "Line[Measured]") -> Iterator[tuple[Measured, Measured]]:
        return zip(self.runs, other.runs, strict=False)


def verdict(
    goal: float | None,
    by_rate: Sequence[float],
    by_cpu: Sequence[float],
    *,
    is_most: bool = False,
    is_busy: bool = False,
) -> str:
    """Say what the goal is and whether it is met, judged by rate and by CPU; on a busy machine neither."""
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
    if is_busy:
        return f"{wanted}: not judged, the machine was busy"
    if len(set(met.values())) == 1:
        return f"{wanted}: {'met' if all(met.values()) else 'missed'}"
    return f"{wanted}: " + ", ".join(f"{'met' if each else 'missed'} by {name}" for name, each in met.items())


def ratio(ratios: Sequence[float]) -> str:
    """Say the median of ratios, and the least and the most of them."""
    if not ratios:
        return "-"
    middle, least, most = (f"{each:.3g}" for each in (statistics.median(ratios), min(ratios), max(ratios)))
    return middle if len(ratios) == 1 else f"{middle} ({least} to {most})"


def median(values: Iterable[float | None]) -> float | None:
    """Return the median of what is known."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def text(value: float | None, decimals: int) -> str:
    """Say a number that may not be known."""
    return "-" if value is None else f"{value:,.{decimals}f}"
