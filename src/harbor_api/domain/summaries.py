"""What a vessel did in some time: how far she went, how long and how fast, on each day and in all.

Counted way by way, a way being what lies between one fix and the next. Fixes come in chunks and nothing of a
chunk is kept but its end, so that a year takes no more memory than a day.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import IntEnum
from itertools import pairwise
from math import fsum

import numpy as np
from numpy.typing import NDArray

from harbor_api.domain.columns import MICROSECONDS, Columns, Floats, joined, moment
from harbor_api.domain.judgement import METRES_PER_SECOND_PER_KNOT, Thresholds
from harbor_api.domain.track_events import STOPPED_KN
from harbor_api.domain.track_geometry import distances_m
from harbor_api.domain.tracks import jumps
from harbor_api.domain.vessels import EPOCH

# A speed that is told between two others, each so near in time, is a mistake where it is above both by more.
PEAK_KN, PEAK_WITHIN_S = 10.0, 60
# What a receiver is wrong by makes a speed of its own on a shorter way.
LEAST_WAY_S = 10
# The longest time that is summed up at once.
LONGEST = timedelta(days=366)
_DAY = 86_400 * MICROSECONDS
_NONE = -1.0


class _Kind(IntEnum):
    """What is known of a way."""

    UNDER_WAY = 0
    STOPPED = 1
    GAP = 2
    JUMP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a vessel did, in metres, seconds and knots; a speed is None where nothing tells it.

    ``distance_m`` is over ground, from fix to fix, ``stopped_distance_m`` what of it she was set while she
    was stopped. Nothing is known of gaps and jumps: ``gap_s`` is their time, and ``gap_distance_m`` the
    shortest way over the gaps.
    """

    distance_m: float
    stopped_distance_m: float
    gap_distance_m: float
    under_way_s: float
    stopped_s: float
    gap_s: float
    top_speed_kn: float | None
    fixes: int
    first_at: datetime | None
    last_at: datetime | None

    @property
    def mean_speed_kn(self) -> float | None:
        """Return the mean speed over ground under way."""
        if not self.under_way_s:
            return None
        metres = self.distance_m - self.stopped_distance_m
        return metres / self.under_way_s / METRES_PER_SECOND_PER_KNOT


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a vessel did in all, and on each day in UTC from that of her first fix to that of her last."""

    whole: Totals
    days: dict[date, Totals]


@dataclass(slots=True)
class _Sums:
    """What has been counted of a day, by the kind of way; microseconds are whole, so that they add up."""

    micros: list[float] = field(default_factory=lambda: [0.0] * len(_Kind))
    metres: list[float] = field(default_factory=lambda: [0.0] * len(_Kind))
    top_speed_kn: float = _NONE
    fixes: int = 0
    first: int | None = None
    last: int | None = None

    def add(self, kind: int, micros: float, metres: float) -> None:
        self.micros[kind] += micros
        self.metres[kind] += metres

    def total(self) -> Totals:
        seconds = [micros / MICROSECONDS for micros in self.micros]
        return Totals(
            distance_m=self.metres[_Kind.UNDER_WAY] + self.metres[_Kind.STOPPED],
            stopped_distance_m=self.metres[_Kind.STOPPED],
            gap_distance_m=self.metres[_Kind.GAP],
            under_way_s=seconds[_Kind.UNDER_WAY],
            stopped_s=seconds[_Kind.STOPPED],
            gap_s=seconds[_Kind.GAP] + seconds[_Kind.JUMP],
            top_speed_kn=None if self.top_speed_kn < 0 else self.top_speed_kn,
            fixes=self.fixes,
            first_at=_moment(self.first),
            last_at=_moment(self.last),
        )


class Tally:
    """Counts fixes that come in chunks, in order of time.

    A way of more than ``gap_s`` seconds is a gap, and one that contradicts itself (``judgement.contradict``)
    a jump. Of the others she was stopped on those at whose beginning she told less than ``STOPPED_KN``; where
    she told no speed, on those that took her no faster. What crosses midnight is of both days, by the time.

    The top speed is the greatest that she told: none beyond her limit, and no single one that stands out
    (``PEAK_KN``). Where neither end of a way tells one it is that of the way, of ``LEAST_WAY_S`` or longer.
    """

    def __init__(self, *, gap_s: float, thresholds: Thresholds) -> None:
        self._gap = gap_s * MICROSECONDS
        self._thresholds = thresholds
        self._days: dict[int, _Sums] = {}
        # The last two fixes: from the last one a way goes on, and its speed is not judged yet.
        self._end: Columns | None = None

    def add(self, fixes: Columns) -> None:
        """Count fixes that follow on those before."""
        if not len(fixes):
            return
        known = 0 if self._end is None else len(self._end)
        chunk = fixes if self._end is None else joined(self._end, fixes)
        self._count_fixes(fixes)
        self._count_speeds(chunk, max(known - 1, 0), len(chunk) - 1)
        if len(chunk) > 1:
            self._count_ways(chunk.since(max(known - 1, 0)))
        self._end = chunk.since(-2)

    def summary(self) -> Summary:
        """Return what was counted; nothing can be added to it."""
        if self._end is not None:
            self._count_speeds(self._end, len(self._end) - 1, len(self._end))
        days = dict(sorted(self._days.items()))
        return Summary(
            whole=_sum(list(days.values())).total(),
            days={(EPOCH + timedelta(days=day)).date(): sums.total() for day, sums in days.items()},
        )

    def _of(self, day: int) -> _Sums:
        return self._days.setdefault(day, _Sums())

    def _count_fixes(self, fixes: Columns) -> None:
        times = fixes.recorded_at
        for day, first, end in _by_day(times // _DAY):
            sums = self._of(day)
            sums.fixes += end - first
            sums.first = int(times[first]) if sums.first is None else sums.first
            sums.last = int(times[end - 1])

    def _count_speeds(self, fixes: Columns, first: int, end: int) -> None:
        """Count the speeds that some of the fixes tell, of which the ones around are there."""
        if first == end:
            return
        sog = fixes.sog
        near = np.diff(fixes.recorded_at) <= PEAK_WITHIN_S * MICROSECONDS
        is_peak = np.zeros(len(sog), dtype=np.bool_)
        is_peak[1:-1] = (
            near[:-1] & near[1:] & (sog[1:-1] > sog[:-2] + PEAK_KN) & (sog[1:-1] > sog[2:] + PEAK_KN)
        )
        speeds = np.where((sog <= self._thresholds.max_speed_kn) & ~is_peak, sog, _NONE)[first:end]
        self._raise_tops(fixes.recorded_at[first:end] // _DAY, speeds)

    def _raise_tops(self, days: NDArray[np.int64], speeds: Floats) -> None:
        for day, first, end in _by_day(days):
            sums = self._of(day)
            sums.top_speed_kn = max(sums.top_speed_kn, float(speeds[first:end].max()))

    def _count_ways(self, fixes: Columns) -> None:
        times, sog = fixes.recorded_at, fixes.sog
        micros = np.diff(times)
        metres = distances_m(fixes.lat[:-1], fixes.lon[:-1], fixes.lat[1:], fixes.lon[1:])
        with np.errstate(divide="ignore", invalid="ignore"):
            implied = metres / (micros / MICROSECONDS) / METRES_PER_SECOND_PER_KNOT
        is_told = ~np.isnan(sog[:-1])
        kinds = np.where(
            np.where(is_told, sog[:-1], implied) < STOPPED_KN, int(_Kind.STOPPED), int(_Kind.UNDER_WAY)
        )
        kinds[micros > self._gap] = _Kind.GAP
        kinds[jumps(fixes, self._thresholds)] = _Kind.JUMP

        first_days, last_days = times[:-1] // _DAY, (times[1:] - (micros > 0)) // _DAY
        is_of_two = first_days != last_days
        days = first_days - first_days[0]
        places = (days * len(_Kind) + kinds)[~is_of_two]
        sums_of_micros = np.bincount(places, micros[~is_of_two])
        sums_of_metres = np.bincount(places, metres[~is_of_two])
        for place in np.unique(places).tolist():
            day, kind = divmod(place, len(_Kind))
            sums = self._of(int(first_days[0]) + day)
            sums.add(kind, float(sums_of_micros[place]), float(sums_of_metres[place]))

        counts = (
            ~is_told
            & np.isnan(sog[1:])
            & (kinds < _Kind.GAP)
            & (micros >= LEAST_WAY_S * MICROSECONDS)
            & (implied <= self._thresholds.max_speed_kn)
        )
        speeds = np.where(counts, implied, _NONE)
        self._raise_tops(first_days, speeds)
        # One at a time: there are no more of them than midnights.
        for way in np.flatnonzero(is_of_two).tolist():
            for day, part in _over_midnight(int(times[way]), int(times[way + 1])):
                sums = self._of(day)
                sums.add(int(kinds[way]), part, float(metres[way]) * part / float(micros[way]))
                sums.top_speed_kn = max(sums.top_speed_kn, float(speeds[way]))


def _by_day(days: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Yield each of some days in order, and where it begins and ends among them."""
    edges = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]
    for first, end in pairwise(edges):
        yield int(days[first]), first, end


def _over_midnight(begins: int, ends: int) -> Iterator[tuple[int, int]]:
    """Yield the days that a time is of, and how much of each it takes."""
    while begins < ends:
        day = begins // _DAY
        until = min((day + 1) * _DAY, ends)
        yield day, until - begins
        begins = until


def _sum(days: list[_Sums]) -> _Sums:
    firsts = [each.first for each in days if each.first is not None]
    lasts = [each.last for each in days if each.last is not None]
    return _Sums(
        micros=[fsum(each.micros[kind] for each in days) for kind in _Kind],
        metres=[fsum(each.metres[kind] for each in days) for kind in _Kind],
        top_speed_kn=max((each.top_speed_kn for each in days), default=_NONE),
        fixes=sum(each.fixes for each in days),
        first=min(firsts, default=None),
        last=max(lasts, default=None),
    )


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else moment(micros)
