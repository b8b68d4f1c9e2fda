"""How long things took, and how things move over time."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.support.signed_posts import percentile


@dataclass
class Taken:
    """Seconds that things took, kept until somebody asks."""

    _seconds: list[float] = field(default_factory=list)

    def add(self, seconds: float) -> None:
        self._seconds.append(seconds)

    def taken(self) -> dict[str, float]:
        """Return how many there were since this was asked last, and what they took, in milliseconds."""
        seconds, self._seconds = self._seconds, []
        if not seconds:
            return {"many": 0}
        return {
            "many": len(seconds),
            "p50": 1000 * percentile(seconds, 0.5),
            "p99": 1000 * percentile(seconds, 0.99),
            "max": 1000 * max(seconds),
        }


def slope(times: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Return by how much a value grows in a unit of time, by least squares, and its standard error."""
    if len(set(times)) < 3:
        return math.nan, math.nan
    line = statistics.linear_regression(times, values)
    left = [value - line.slope * at - line.intercept for at, value in zip(times, values, strict=True)]
    middle = statistics.fmean(times)
    spread = sum((at - middle) ** 2 for at in times)
    return line.slope, math.sqrt(sum(each * each for each in left) / (len(times) - 2) / spread)
