"""What a simplified track keeps whatever the tolerance: where stops begin and end, and where ships turn.

Speed and course are those that the tracker sent. Where a fix has none, they are those of the way from the fix
before: a course only of a way of ``LEAST_WAY_M`` at least, since that of a shorter one is noise.

Stops are told as zones and trips tell them: stopped below ``STOPPED_KN``, under way again above
``UNDER_WAY_KN``, so that speeds in between change nothing.
"""

import numpy as np
from numpy.typing import NDArray

from harbor_api.domain.columns import Floats, Times
from harbor_api.domain.judgement import METRES_PER_SECOND_PER_KNOT
from harbor_api.domain.track_geometry import Line, distances_m

STOPPED_KN, UNDER_WAY_KN, LEAST_STOP_S = 0.5, 1.5, 300
TURN_DEGREES, TURN_S, TURNING_KN = 30.0, 60, 3.0
LEAST_WAY_M = 100.0

Flags = NDArray[np.bool_]


def events(line: Line, sog: Floats, cog: Floats, begins: Flags) -> Flags:
    """Return which fixes are where a stop begins or ends, and which lie on either side of a change of course.

    A stop is ``LEAST_STOP_S`` seconds at least. A change of course is ``TURN_DEGREES`` or more above
    ``TURNING_KN``, from one fix to the next or within ``TURN_S`` seconds: then of all steps the sharpest.

    ``begins`` says which fixes begin a part of the track: nothing is known of the way to them. Speed and
    course are knots and degrees, NaN where there is none.
    """
    speed, course = _motion(line, sog, cog, begins)
    return _stops(line.times, speed, begins) | _turns(line.times, speed, course, begins)


def _motion(line: Line, sog: Floats, cog: Floats, begins: Flags) -> tuple[Floats, Floats]:
    if not (np.isnan(sog).any() or np.isnan(cog).any()):
        return sog, cog
    times, lons, lats = line
    speed, course = np.full_like(sog, np.nan), np.full_like(cog, np.nan)
    metres = distances_m(lats[:-1], lons[:-1], lats[1:], lons[1:])
    seconds = np.diff(times) / 1e6
    np.divide(metres, seconds * METRES_PER_SECOND_PER_KNOT, out=speed[1:], where=seconds > 0)
    is_way = metres >= LEAST_WAY_M
    course[1:][is_way] = _bearings(lats, lons)[is_way]
    # Of the way to the first fix of a part nothing is known: it is as fast as on the way from there.
    course[begins] = speed[begins] = np.nan
    [first] = np.nonzero(begins[:-1])
    speed[first] = speed[first + 1]
    return np.where(np.isnan(sog), speed, sog), np.where(np.isnan(cog), course, cog)


def _bearings(lats: Floats, lons: Floats) -> Floats:
    """Return from each fix to the next the direction of a line on the map, in degrees from north."""
    east = (np.diff(lons) + 180) % 360 - 180
    middles = np.radians((lats[:-1] + lats[1:]) / 2)
    return np.degrees(np.arctan2(east * np.cos(middles), np.diff(lats))) % 360


def _stops(times: Times, speed: Floats, begins: Flags) -> Flags:
    is_slow = speed < STOPPED_KN
    found = np.zeros(len(times), dtype=np.bool_)
    if not is_slow.any():
        return found
    # What the newest fix that decides says holds until the next one does; a part begins with none.
    decides = is_slow | (speed > UNDER_WAY_KN) | begins
    newest = np.maximum.accumulate(np.where(decides, np.arange(len(times)), 0))
    is_stopped = is_slow[newest]
    is_first = is_stopped & (begins | ~np.concatenate(([False], is_stopped[:-1])))
    [firsts] = np.nonzero(is_first)
    if not len(firsts):
        return found
    # A stop ends at the last of its fixes that was slow.
    slow = np.where(is_slow & is_stopped, np.arange(len(times)), -1)
    lasts = np.maximum.reduceat(slow, firsts)
    is_long = times[lasts] - times[firsts] >= LEAST_STOP_S * 1_000_000
    found[firsts[is_long]] = found[lasts[is_long]] = True
    return found


def _turns(times: Times, speed: Floats, course: Floats, begins: Flags) -> Flags:
    found = np.zeros(len(times), dtype=np.bool_)
    # From each fix to the next one of its part, at speed.
    is_fast = speed > TURNING_KN
    is_step = is_fast[:-1] & is_fast[1:] & ~begins[1:]
    steps = np.where(is_step, np.nan_to_num(_turned(course[:-1], course[1:])), 0.0)
    sharp = steps >= TURN_DEGREES
    # Of a turn that takes several steps the sharpest: it lies where the course of a minute ago was another.
    numbers = np.arange(len(times))
    parts = np.maximum.accumulate(np.where(begins, numbers, 0))
    before = np.maximum(np.searchsorted(times, times - TURN_S * 1_000_000), parts)
    [after] = np.nonzero(is_fast & is_fast[before] & (_turned(course[before], course) >= TURN_DEGREES))
    depth = np.bincount(before[after], minlength=len(times)) - np.bincount(after, minlength=len(times))
    is_turning = np.cumsum(depth)[:-1] > 0
    [firsts] = np.nonzero(is_turning & ~np.concatenate(([False], is_turning[:-1])))
    if len(firsts):
        turning = np.where(is_turning, steps, 0.0)
        sharpest = np.maximum.reduceat(turning, firsts)
        counts = np.diff(firsts, append=len(turning))
        [hits] = np.nonzero(turning[firsts[0] :] == np.repeat(sharpest, counts))
        sharp[(hits + firsts[0])[np.searchsorted(hits + firsts[0], firsts)]] = True
    found[:-1] |= sharp
    found[1:] |= sharp
    return found


def _turned(course: Floats, other: Floats) -> Floats:
    """Return by how many degrees courses differ, from 0 to 180."""
    return np.abs((other - course + 180) % 360 - 180)
