"""Which fixes of a track can be left out: time-synchronised Douglas-Peucker.

A fix is left out only where the line of the others says that the ship was within the tolerance of it *at its
time*: so that speed and stops stay true, where the plain algorithm keeps only the shape. The line goes evenly
from one fix that is kept to the next, straight in longitude and latitude, as ``track_geometry`` draws it.

Each fix is given the tolerance up to which it must be kept, its significance, so that one look answers for
all tolerances: which fixes a tolerance keeps, and which tolerance keeps no more than so many.

The algorithm is that of Douglas and Peucker (1973) with the distance of Meratnia and de By (2004). All
stretches are divided at the same time, by the column.
"""

import numpy as np
from numpy.typing import NDArray

from harbor_api.domain.columns import Floats, Times
from harbor_api.domain.judgement import EARTH_RADIUS_M, METRES_PER_DEGREE
from harbor_api.domain.track_geometry import distances_m

# A tenth of the last decimal is beyond what arithmetic and rounding leave of a distance.
_EXACT_M = 1e-6
# Half a unit of the sixth decimal of a latitude, and a little: how far off a meridian's position is rounded.
_ROUNDED_M = 0.06
# After so many divisions at the farthest fix stretches are divided in the middle. Ships' tracks take about
# twice the logarithm of their length; one that was made for it would take as many as it has fixes.
_MOST_FARTHEST = 40


def significances(
    times: Times, lats: Floats, ways: Floats, is_kept: NDArray[np.bool_], *, least: float = 0.0
) -> Floats:
    """Return for each fix the tolerance in metres below which it is to be kept.

    Infinite for those that are kept anyway, the first and the last among them; 0 where that is not above
    ``least``. ``ways`` are unwrapped longitudes. What a tolerance keeps are the fixes of more than that.
    """
    found = np.where(is_kept, np.inf, 0.0)
    north, east = np.radians(lats), np.radians(ways)
    width = np.cos(north)
    spreads = _spreads(times, lats, ways)
    [edges] = np.nonzero(is_kept)
    firsts, lasts = edges[:-1], edges[1:]
    limits = np.full(len(firsts), np.inf)
    level = 0
    while True:
        is_long = lasts - firsts > 1
        firsts, lasts, limits = firsts[is_long], lasts[is_long], limits[is_long]
        if not len(firsts):
            return found
        counts = lasts - firsts - 1
        starts = np.cumsum(counts) - counts
        within = np.arange(counts.sum()) + np.repeat(firsts + 1 - starts, counts)

        spans = (times[lasts] - times[firsts]).astype(np.float64)
        rates = np.divide(1.0, spans, out=np.zeros_like(spans), where=spans > 0)
        passed = (times[within] - np.repeat(times[firsts], counts)) * np.repeat(rates, counts)
        off_north = north[within] - np.repeat(north[firsts], counts)
        off_north -= passed * np.repeat(north[lasts] - north[firsts], counts)
        off_east = east[within] - np.repeat(east[firsts], counts)
        off_east -= passed * np.repeat(east[lasts] - east[firsts], counts)
        # No way between the two is shorter than the great circle, and the straight one, measured where
        # degrees of longitude are widest on it, is no shorter than it is. A cosine is steep by 1 at most.
        off_east *= np.minimum(width[within] + np.abs(off_north), 1.0)
        squares = off_north * off_north + off_east * off_east
        if spreads is not None:
            squares = np.maximum(squares, spreads[within])

        farthest = np.maximum.reduceat(squares, starts)
        distances = np.sqrt(farthest) * EARTH_RADIUS_M + _doubt_m(times, ways, lats, firsts, lasts)
        if level < _MOST_FARTHEST:
            [hits] = np.nonzero(squares == np.repeat(farthest, counts))
            divisions = within[hits[np.searchsorted(hits, starts)]]
        else:
            divisions = (firsts + lasts) // 2
        limits = np.minimum(limits, distances)
        is_divided = limits > least
        firsts, lasts, limits = firsts[is_divided], lasts[is_divided], limits[is_divided]
        divisions = divisions[is_divided]
        found[divisions] = limits
        firsts, lasts = np.concatenate((firsts, divisions)), np.concatenate((divisions, lasts))
        limits = np.concatenate((limits, limits))
        level += 1


def _doubt_m(
    times: Times, ways: Floats, lats: Floats, firsts: NDArray[np.intp], lasts: NDArray[np.intp]
) -> Floats:
    """Return by how much the line as it is sent may differ from the one that is measured, in metres.

    Where it crosses 180 degrees there is a position more, which is rounded in place and in time. A line that
    would go on the other way around the Earth is another one.
    """
    doubts = np.full(len(firsts), _EXACT_M)
    steps = ways[lasts] - ways[firsts]
    doubts[np.abs(steps) >= 180] = np.inf
    [crossed] = np.nonzero(np.floor((ways[firsts] + 180) / 360) != np.floor((ways[lasts] + 180) / 360))
    if len(crossed):
        one, other = firsts[crossed], lasts[crossed]
        # A microsecond, half of which is rounded away, at the speed that the line tells.
        spans = np.maximum(times[other] - times[one], 1)
        lengths = np.hypot(steps[crossed], lats[other] - lats[one]) * METRES_PER_DEGREE
        doubts[crossed] += _ROUNDED_M + lengths / spans
    return doubts


def _spreads(times: Times, lats: Floats, ways: Floats) -> Floats | None:
    """Return for each fix how far others of its very time may be from it, as squares of radians.

    At one time a line may only be at one place. None where no two fixes are of one time.
    """
    begins = np.concatenate(([True], times[1:] != times[:-1]))
    if begins.all():
        return None
    [starts] = np.nonzero(begins)
    counts = np.diff(starts, append=len(times))
    ones = np.repeat(starts, counts)
    apart = distances_m(lats, ways, lats[ones], ways[ones]) / EARTH_RADIUS_M
    # Two that lie on either side of the first one may be twice as far apart.
    widest = np.maximum.reduceat(apart, starts) * np.where(counts > 2, 2, 1)
    return np.repeat(widest * widest, counts)


def tolerance_for(found: Floats, most: int) -> float:
    """Return the least tolerance, in metres and whole millimetres, that keeps no more than so many fixes.

    Where more of them are to be kept anyway, the least that keeps those alone.
    """
    finite = np.sort(found[np.isfinite(found)])
    room = max(0, most - (len(found) - len(finite)))
    if room >= len(finite):
        return 0.0
    # As many as there is room for are above it.
    exact = float(finite[-1 - room])
    tolerance = np.ceil(exact * 1000) / 1000
    return float(tolerance if tolerance >= exact else tolerance + 0.001)
