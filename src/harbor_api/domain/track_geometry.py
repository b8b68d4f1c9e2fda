"""Ways over the sphere, by the column: how long they are, and how a line is drawn across 180 degrees.

Coordinates are WGS 84 degrees. Between two fixes a line is straight in longitude and latitude, the short way
around the Earth: as GeoJSON has it (RFC 7946, 3.1.1), and as a map draws it.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harbor_api.domain.columns import Floats, Times
from harbor_api.domain.judgement import EARTH_RADIUS_M
from harbor_api.domain.positions import COORDINATE_DECIMALS


class Line(NamedTuple):
    """Positions in order, none of them beyond 180 degrees from the one before."""

    times: Times
    lons: Floats
    lats: Floats


def distances_m(lats: Floats, lons: Floats, other_lats: Floats, other_lons: Floats) -> Floats:
    """Return great-circle distances in metres: ``judgement.distance_m`` of each pair."""
    north = np.sin(np.radians(other_lats - lats) / 2)
    east = np.sin(np.radians(other_lons - lons) / 2)
    chord = north * north + np.cos(np.radians(lats)) * np.cos(np.radians(other_lats)) * east * east
    metres: Floats = 2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.minimum(chord, 1.0)))
    return metres


def unwrapped(lons: Floats) -> Floats:
    """Return longitudes that go on beyond 180 degrees where the way does, instead of around the world."""
    steps = np.diff(lons)
    turns = (steps < -180).astype(np.float64) - (steps > 180)
    if not turns.any():
        return lons
    ways: Floats = lons + 360 * np.concatenate(([0.0], np.cumsum(turns)))
    return ways


def crossings(lons: Floats) -> NDArray[np.bool_]:
    """Return between which longitudes and the ones after them the short way is across 180 degrees."""
    return np.abs(np.diff(lons)) > 180


def pieces(line: Line) -> list[Line]:
    """Return a line of two positions or more in pieces, none of which crosses 180 degrees (RFC 7946, 3.1.9).

    Where it crosses, both pieces touch the meridian, at the latitude and the time that lie on the way. What
    is on the meridian is on either side: it has the longitude of the piece that it is in.
    """
    times, lats, ways = _with_meridians(line)
    worlds = _worlds(ways, line.lons[0])
    edges = [0, *(np.flatnonzero(np.diff(worlds)) + 1), len(worlds)]
    return [
        Line(
            times[first : last + 1],
            np.round(ways[first : last + 1] - 360 * worlds[first], COORDINATE_DECIMALS) + 0.0,
            lats[first : last + 1],
        )
        for first, last in pairwise(edges)
    ]


def _with_meridians(line: Line) -> tuple[Times, Floats, Floats]:
    """Return times, latitudes and unwrapped longitudes with a position more wherever the way crosses."""
    times, lats, ways = line.times, line.lats, unwrapped(line.lons)
    east = np.maximum(ways[:-1], ways[1:])
    meridians = np.floor((east + 180) / 360) * 360 - 180
    [crossed] = np.nonzero((np.minimum(ways[:-1], ways[1:]) < meridians) & (meridians < east))
    meridians = meridians[crossed]
    parts = (meridians - ways[crossed]) / (ways[crossed + 1] - ways[crossed])
    lat = lats[crossed] + parts * (lats[crossed + 1] - lats[crossed])
    time = times[crossed] + np.rint(parts * (times[crossed + 1] - times[crossed])).astype(np.int64)
    return (
        np.insert(times, crossed + 1, time),
        np.insert(lats, crossed + 1, np.round(lat, COORDINATE_DECIMALS) + 0.0),
        np.insert(ways, crossed + 1, meridians),
    )


def _worlds(ways: Floats, first: float) -> Floats:
    """Return which turn of the Earth each step is on: from -180 to 180 degrees and 360 for each turn.

    A step along the meridian itself is on the one that the step before it is on.
    """
    middles = (ways[:-1] + ways[1:]) / 2 + 180
    worlds = np.floor(middles / 360)
    is_along = middles % 360 == 0
    if not is_along.any():
        return worlds
    if is_along.all():
        return np.full_like(worlds, round((ways[0] - first) / 360))
    sources = np.maximum.accumulate(np.where(is_along, -1, np.arange(len(worlds))))
    return worlds[np.where(sources < 0, np.argmin(is_along), sources)]
