"""Fixes that come by the thousand, judged by the column: all at once, where all of them are new and believed.

``settling.settle`` asks here first where fixes came by the column. What it is told is what it would find fix
by fix: each rule that may hold one back is asked of the whole, and where it applies to any, or might, it is
None, and each takes a look of its own. So nothing is decided here that is not decided there, and no rule
stands twice: where a column does not settle it, ``judgement`` itself is asked about the two.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harbor_api.domain.columns import MICROSECONDS, Floats, Times
from harbor_api.domain.judgement import (
    LONG_AGO,
    METRES_PER_DEGREE,
    METRES_PER_SECOND_PER_KNOT,
    Thresholds,
    contradict,
)
from harbor_api.domain.positions import Neighbour, Stretch, Submission, Surroundings
from harbor_api.domain.received_columns import ByColumn, Keys, ReceivedColumns, microseconds, moment


class Run(NamedTuple):
    """The fixes of one vessel: from one place up to another."""

    vessel_id: int
    first: int
    end: int


class Believed(NamedTuple):
    """What comes of fixes that are all stored: which are late, and the places of their vessels' latest."""

    late: NDArray[np.bool_]
    latest: Sequence[int]


class Ranked:
    """Fixes in order of vessel, time and tracker, and where each of them came."""

    def __init__(self, received: ReceivedColumns) -> None:
        """Put fixes in order."""
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
    parts = [each.fixes.columns if isinstance(each.fixes, ByColumn) else None for each in submissions]
    if all(each is None for each in parts):
        return None
    return Ranked(
        ReceivedColumns.joined(
            [
                ReceivedColumns.of(each.fixes) if part is None else part
                for part, each in zip(parts, submissions, strict=True)
                if each.fixes
            ]
        )
    )


def believed(ranked: Ranked, around: Mapping[int, Surroundings], thresholds: Thresholds) -> Believed | None:
    """Return what comes of fixes where all of them are new and none is to be held, None where one may not be.

    ``around`` is what is stored and held around each vessel's.
    """
    if not _are_plain(ranked, thresholds):
        return None
    late = np.zeros(len(ranked.places), np.bool_)
    latest = []
    for run in ranked.runs:
        known = around[run.vessel_id]
        beside = _beside(ranked, run, known)
        if beside is None or not _fits(ranked, run, beside, _of_vessel(thresholds, known)):
            return None
        last = ranked.neighbour(run.end - 1).key
        if known.newest is None or known.newest < last:
            latest.append(run.end - 1)
        else:
            late[run.first : run.end] = True
    return Believed(late, latest)


def _of_vessel(thresholds: Thresholds, known: Surroundings) -> Thresholds:
    return thresholds if known.max_speed_kn is None else replace(thresholds, max_speed_kn=known.max_speed_kn)


def _are_plain(ranked: Ranked, thresholds: Thresholds) -> bool:
    """Return whether each fix has a name of its own, and a place and a time that need no neighbours."""
    received = ranked.received
    fixes = received.fixes
    is_same = (
        (np.diff(received.vessel_id) == 0)
        & (np.diff(fixes.recorded_at) == 0)
        & (np.diff(received.tracker_id) == 0)
    )
    age = received.received_at - fixes.recorded_at
    oldest = LONG_AGO if thresholds.retention is None else min(LONG_AGO, thresholds.retention)
    return not (
        is_same.any()
        or ((fixes.lat == 0) & (fixes.lon == 0)).any()
        or (age < -_microseconds(thresholds.future_tolerance)).any()
        or (age > _microseconds(oldest)).any()
    )


def _microseconds(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


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
