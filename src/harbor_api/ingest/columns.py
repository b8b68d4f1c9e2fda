"""Fixes that come by the thousand, judged by the column where all of a vessel's are new and believed.

``settling.settle`` asks here first where fixes came by the column. What it is told is what it would find fix
by fix: each rule that may hold one back is asked of the whole, and where it applies to any of a vessel's, or
might, each of hers takes a look of its own; those of other vessels do not. So nothing is decided here that is
not decided there, and no rule stands twice: where a column does not settle it, ``judgement`` itself is asked
about the two.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harbor_api.domain.columns import MICROSECONDS, Floats, Times, microseconds, microseconds_in, moment
from harbor_api.domain.judgement import (
    LONG_AGO,
    METRES_PER_DEGREE,
    METRES_PER_SECOND_PER_KNOT,
    Thresholds,
    contradict,
)
from harbor_api.domain.positions import Neighbour, ReceivedFix, Stretch, Submission, Surroundings
from harbor_api.domain.received_columns import ByColumn, Keys, ReceivedColumns


class Run(NamedTuple):
    """The fixes of one vessel: from one place up to another."""

    vessel_id: int
    first: int
    end: int


class Believed(NamedTuple):
    """What comes of fixes by the column: which are to be stored and late, and the places of vessels' latest.

    Of the ``doubtful`` runs nothing is said: each of their fixes is to be judged.
    """

    is_stored: NDArray[np.bool_]
    late: NDArray[np.bool_]
    latest: Sequence[int]
    doubtful: Sequence[Run]


class Ranked:
    """Fixes in order of vessel, time and tracker, and where each of them came."""

    def __init__(self, several: Sequence[Sequence[ReceivedFix]]) -> None:
        """Put the fixes of several submissions in order, at least one of each."""
        self._several = several
        self._ends = [*accumulate(map(len, several))]
        received = ReceivedColumns.joined(
            [each.columns if isinstance(each, ByColumn) else ReceivedColumns.of(each) for each in several]
        )
        places = np.lexsort((received.tracker_id, received.fixes.recorded_at, received.vessel_id))
        self.places = places
        self.received = ranked = received.at(places)
        begins = np.flatnonzero(np.diff(ranked.vessel_id, prepend=-1)).tolist()
        ids = ranked.vessel_id[begins].tolist()
        self.runs = [*map(Run, ids, begins, [*begins[1:], len(places)])]

    def stretches(self) -> Iterator[Stretch]:
        """Yield what names the fixes, vessel by vessel."""
        keys = Keys(self.received.fixes.recorded_at, self.received.tracker_id)
        for vessel_id, first, end in self.runs:
            yield vessel_id, keys[first:end]

    def one_by_one(self, run: Run) -> Iterator[tuple[int, ReceivedFix]]:
        """Yield each fix of a run, and where it came."""
        for place in self.places[run.first : run.end].tolist():
            number = bisect_right(self._ends, place)
            yield place, self._several[number][place - self._ends[number]]

    def neighbour(self, place: int) -> Neighbour:
        """Return one of the fixes as it looks to the ones around it."""
        fixes = self.received.fixes
        accuracy_m = float(fixes.accuracy_m[place])
        return Neighbour(
            moment(int(fixes.recorded_at[place])),
            float(fixes.lat[place]),
            float(fixes.lon[place]),
            None if np.isnan(accuracy_m) else accuracy_m,
            int(self.received.tracker_id[place]),
        )


def ranked(submissions: Sequence[Submission]) -> Ranked | None:
    """Return the fixes of some submissions in order, where some came by the column; None where none did."""
    several = [each.fixes for each in submissions if each.fixes]
    return Ranked(several) if any(isinstance(each, ByColumn) for each in several) else None


def believed(ranked: Ranked, around: Mapping[int, Surroundings], thresholds: Thresholds) -> Believed:
    """Return what comes of fixes, vessel by vessel where all of hers are new and none is to be held.

    ``around`` is what is stored and held around each vessel's.
    """
    is_odd = _are_odd(ranked, thresholds)
    is_stored = np.ones(len(is_odd), np.bool_)
    late = np.zeros(len(is_odd), np.bool_)
    latest = []
    doubtful = []
    for run in ranked.runs:
        own = slice(run.first, run.end)
        known = around[run.vessel_id]
        beside = None if is_odd[own].any() else _beside(ranked, run, known)
        if beside is None or not _fits(ranked, run, beside, _of_vessel(thresholds, known)):
            is_stored[own] = False
            doubtful.append(run)
        elif known.newest is None or known.newest < ranked.neighbour(run.end - 1).key:
            latest.append(run.end - 1)
        else:
            late[own] = True
    return Believed(is_stored, late, latest, doubtful)


def _of_vessel(thresholds: Thresholds, known: Surroundings) -> Thresholds:
    return thresholds if known.max_speed_kn is None else replace(thresholds, max_speed_kn=known.max_speed_kn)


def _are_odd(ranked: Ranked, thresholds: Thresholds) -> NDArray[np.bool_]:
    """Return which fixes have the name of the one before, or a place or a time that takes no neighbours."""
    received = ranked.received
    fixes = received.fixes
    is_same = np.zeros(len(received), np.bool_)
    is_same[1:] = (
        (np.diff(received.vessel_id) == 0)
        & (np.diff(fixes.recorded_at) == 0)
        & (np.diff(received.tracker_id) == 0)
    )
    age = received.received_at - fixes.recorded_at
    oldest = LONG_AGO if thresholds.retention is None else min(LONG_AGO, thresholds.retention)
    is_odd: NDArray[np.bool_] = (
        is_same
        | ((fixes.lat == 0) & (fixes.lon == 0))
        | (age < -microseconds_in(thresholds.future_tolerance))
        | (age > microseconds_in(oldest))
    )
    return is_odd


Beside = tuple[Neighbour | None, Neighbour | None]
"""The nearest stored fixes of a vessel before a run and after it."""


def _beside(ranked: Ranked, run: Run, known: Surroundings) -> Beside | None:
    """Return what is stored beside a run; None where something is stored within it, or held."""
    first, last = ranked.neighbour(run.first).key, ranked.neighbour(run.end - 1).key
    if known.held or (known.newest is not None and first <= known.newest <= last):
        return None
    before = after = None
    for each in known.stored:
        if each.key < first:
            before = each
        elif each.key <= last:
            return None
        else:
            after = each
            break
    return before, after


def _fits(ranked: Ranked, run: Run, beside: Beside, thresholds: Thresholds) -> bool:
    """Return whether no fix of a run contradicts the one before it, nor any the stored one after them."""
    before, after = beside
    if before is not None and contradict(ranked.neighbour(run.first), before, thresholds):
        return False
    own = slice(run.first, run.end)
    at = ranked.received.fixes.at(own)
    one, other = at.at(slice(1, None)), at.at(slice(None, -1))
    far = _maybe_far(
        one.recorded_at - other.recorded_at, one.lat - other.lat, one.lon - other.lon, thresholds
    )
    for place in (np.flatnonzero(far) + run.first + 1).tolist():
        if contradict(ranked.neighbour(place), ranked.neighbour(place - 1), thresholds):
            return False
    if after is None:
        return True
    far = _maybe_far(
        microseconds(after.recorded_at) - at.recorded_at, after.lat - at.lat, after.lon - at.lon, thresholds
    )
    return not any(
        contradict(ranked.neighbour(place), after, thresholds)
        for place in (np.flatnonzero(far) + run.first).tolist()
    )


def _maybe_far(span: Times, north: Floats, east: Floats, thresholds: Thresholds) -> NDArray[np.bool_]:
    """Return which of two may be too far apart for the time between: the first, short test of ``contradict``.

    With the least radii that there are, so that it spares none that would fail there.
    """
    possible = (
        span / MICROSECONDS * thresholds.max_speed_kn * METRES_PER_SECOND_PER_KNOT
        + thresholds.noise_m
        + thresholds.noise_m
    )
    east = np.abs(east)
    east = np.where(east > 180, 360 - east, east)
    far: NDArray[np.bool_] = (np.abs(north) + east) * METRES_PER_DEGREE > possible
    return far
