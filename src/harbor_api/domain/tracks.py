"""The track of a vessel: her fixes in parts, with what lies between them, and as few as is asked for.

By the column: a track of ten thousand fixes one by one would hold up everybody whom the worker serves.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harbor_api.domain.columns import Columns, Floats
from harbor_api.domain.errors import TrackTooLong
from harbor_api.domain.judgement import METRES_PER_DEGREE, METRES_PER_SECOND_PER_KNOT, Thresholds
from harbor_api.domain.positions import COORDINATE_DECIMALS
from harbor_api.domain.track_events import events
from harbor_api.domain.track_geometry import Line, distances_m, unwrapped
from harbor_api.domain.track_simplification import significances, tolerance_for

MOST_FIXES = 100_000
MOST_PARTS = 10_000


class Part(NamedTuple):
    """Fixes ``first`` to ``last`` of a track.

    ``track``: the ship was followed. Between two of these is a ``gap``, in which nothing is known, or a
    ``jump``, which she cannot have made: the last fix before and the first one after.
    """

    kind: Literal["track", "gap", "jump"]
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Track:
    """The fixes that were kept, in order of time, and where their parts begin.

    ``is_jump`` says of each part but the first what lies before it. Every fix that was left out is within
    ``tolerance_m`` of where the line says the ship was at its time.
    """

    line: Line
    begins: NDArray[np.intp]
    is_jump: NDArray[np.bool_]
    fixes: int
    tolerance_m: float

    def parts(self) -> Iterator[Part]:
        """Return all parts in order of time, those between two others among them."""
        edges = [*self.begins.tolist(), len(self.line.times)]
        for number, (first, end) in enumerate(pairwise(edges)):
            if number:
                yield Part("jump" if self.is_jump[number - 1] else "gap", first - 1, first)
            yield Part("track", first, end - 1)


def track_of(
    fixes: Columns,
    *,
    gap_s: float,
    thresholds: Thresholds,
    tolerance_m: float | None = None,
    most: int | None = None,
) -> Track:
    """Return the track that fixes make; TrackTooLong where it falls into too many parts.

    A part ends where the next fix is more than ``gap_s`` later, or contradicts the one before. With a
    ``tolerance_m`` fixes that the line is no further from are left out; with ``most`` as many as leave no
    more than so many, by the least tolerance that does. The ends of each part and ``events`` always stay,
    even where they are more.
    """
    line = Line(fixes.recorded_at, _told(fixes.lon), _told(fixes.lat))
    count = len(line.times)
    if not count:
        nothing = np.zeros(0, dtype=np.intp)
        return Track(line=line, begins=nothing, is_jump=nothing > 0, fixes=0, tolerance_m=0.0)
    is_jump = jumps(fixes, thresholds)
    is_break = is_jump | (np.diff(line.times) > gap_s * 1_000_000)
    begins = np.concatenate(([True], is_break))
    if begins.sum() > MOST_PARTS:
        raise TrackTooLong(
            f"The track has more than {MOST_PARTS:,} parts: ask for a shorter time, or with a longer gap"
        )
    is_left = np.ones(count, dtype=np.bool_)
    if most is not None or tolerance_m:
        is_left, tolerance_m = _simplified(line, fixes, begins, tolerance_m, most)
    return Track(
        line=Line(line.times[is_left], line.lons[is_left], line.lats[is_left]),
        begins=np.flatnonzero(begins[is_left]),
        is_jump=is_jump[is_break],
        fixes=count,
        tolerance_m=tolerance_m or 0.0,
    )


def jumps(fixes: Columns, thresholds: Thresholds) -> NDArray[np.bool_]:
    """Return whether each fix and the next contradict each other: the rule of ``judgement.contradict``."""
    radii = np.clip(np.nan_to_num(fixes.accuracy_m), None, thresholds.accuracy_cap_m)
    radii = np.maximum(radii, thresholds.noise_m)
    seconds = np.diff(fixes.recorded_at) / 1_000_000
    possible = seconds * thresholds.max_speed_kn * METRES_PER_SECOND_PER_KNOT + radii[:-1] + radii[1:]
    north, east = np.abs(np.diff(fixes.lat)), np.abs(np.diff(fixes.lon))
    # As there: a way that is short enough in degrees takes no sine to measure.
    is_far = (north + np.minimum(east, 360 - east)) * METRES_PER_DEGREE > possible
    [far] = np.nonzero(is_far)
    metres = distances_m(fixes.lat[far], fixes.lon[far], fixes.lat[far + 1], fixes.lon[far + 1])
    is_far[far] = metres > possible[far]
    return np.asarray(is_far)


def _simplified(
    line: Line, fixes: Columns, begins: NDArray[np.bool_], tolerance_m: float | None, most: int | None
) -> tuple[NDArray[np.bool_], float]:
    """Return which fixes are left, and by which tolerance."""
    if most is not None and len(begins) <= most:
        return np.ones_like(begins), 0.0
    ends = np.concatenate((begins[1:], [True]))
    is_kept = begins | ends | events(line, fixes.sog, fixes.cog, begins)
    found = significances(line.times, line.lats, unwrapped(line.lons), is_kept, least=tolerance_m or 0.0)
    if most is not None:
        tolerance_m = tolerance_for(found, most)
    return found > (tolerance_m or 0.0), tolerance_m or 0.0


def _told(degrees: Floats) -> Floats:
    return np.round(degrees, COORDINATE_DECIMALS) + 0.0
