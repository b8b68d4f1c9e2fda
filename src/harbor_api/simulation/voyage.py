"""How a vessel of the demonstration sails for ever: a pure function of time.

A demonstration that is stopped and started again finds every vessel where she would have been, and a
fix that is sent twice has the same content twice.
"""

import bisect
import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from harbor_api.simulation.routes import FleetShip

# The mean radius of the Earth (IUGG), for the sphere on which the fleet sails.
EARTH_RADIUS_M = 6_371_008.8
METRES_PER_SECOND_PER_KNOT = 1852 / 3600

UNDER_WAY, MOORED = 0, 5

_ACCELERATION = 0.03  # m/s²: a laden coaster needs some minutes to reach her speed.
_TURN_RADIUS_M = 450.0
_TURN_RATE = math.radians(1.0)  # rad/s, the fastest; a tighter corner is taken more slowly.
_SLOWEST = 1.0  # m/s, in the tightest corner.
# Within so many metres of a quay the ship makes no more than so many knots.
_PORT_LIMITS = ((800.0, 4.0), (3000.0, 8.0))
_SHORTEST_STAY_S, _LONGEST_STAY_S = 5 * 60.0, 30 * 60.0
# Before she leaves, the ship turns in the basin from her arrival heading to her departure course.
_SWING_S = 300.0
_LEEWAY_DEG = 3.0


@dataclass(frozen=True)
class Motion:
    """What a tracker measures at one moment.

    ``lat`` and ``lon`` are WGS 84 degrees with a metre or two of receiver noise, ``sog`` knots over
    ground without it, ``cog`` and ``heading`` degrees in [0, 360), ``nav_status`` the AIS integer:
    0 under way or 5 moored.
    """

    lat: float
    lon: float
    sog: float
    cog: float
    heading: float
    nav_status: int


class Voyage:
    """One ship's endless journey along her route and back.

    The ship stays some minutes in each port, turns there, and sails rhumb lines joined by arcs.
    ``seed`` decides how long she stays, where in her journey she is, and the noise.
    """

    def __init__(self, ship: FleetShip, seed: int) -> None:
        chance = random.Random(f"{seed}:{ship.mmsi}")  # noqa: S311 - variety, not secrecy
        cruise = ship.cruise_kn * METRES_PER_SECOND_PER_KNOT
        out = _Passage(_Track(ship.route), cruise)
        back = _Passage(_Track(ship.route[::-1]), cruise)
        stay_here, stay_there = (chance.uniform(_SHORTEST_STAY_S, _LONGEST_STAY_S) for _ in range(2))
        # Each stage: when it begins in the cycle, and what tells the state so many seconds into it.
        self._starts: list[float] = []
        self._stages: list[Callable[[float], _State]] = []
        self._period = 0.0
        for stay, arriving, leaving in ((stay_here, back, out), (stay_there, out, back)):
            self._add(stay, _lie(arriving))
            self._add(_SWING_S, _swing(arriving, leaving))
            self._add(leaving.duration, leaving.state)
        self._phase = chance.uniform(0.0, self._period)
        self._noise_north, self._noise_east = (
            _Waves(chance, ((0.7, 97.0), (0.5, 41.0), (0.3, 13.0))) for _ in range(2)
        )
        self._leeway = _Waves(chance, ((0.7 * _LEEWAY_DEG, 420.0), (0.3 * _LEEWAY_DEG, 95.0)))

    def state_at(self, t: datetime) -> Motion:
        """Return the ship's motion at the aware time ``t``; the same for the same ``t``, always."""
        if t.tzinfo is None:
            raise ValueError("a time without an offset is no moment")
        return self.motion_at(t.timestamp())

    def motion_at(self, seconds: float) -> Motion:
        """Return the ship's motion so many seconds after 1970-01-01T00:00:00Z."""
        into = (seconds + self._phase) % self._period
        stage = bisect.bisect_right(self._starts, into) - 1
        state = self._stages[stage](into - self._starts[stage])
        lat, lon = _offset(state.lat, state.lon, self._noise_north.at(seconds), self._noise_east.at(seconds))
        # A ship that makes no way makes no leeway either, and lies as she was moored.
        leeway = self._leeway.at(seconds) * min(1.0, state.speed / 3.0)
        return Motion(
            lat=lat,
            lon=lon,
            sog=state.speed / METRES_PER_SECOND_PER_KNOT,
            cog=_circle(state.course),
            heading=_circle(state.course + leeway),
            nav_status=state.nav_status,
        )

    def _add(self, duration: float, stage: "Callable[[float], _State]") -> None:
        self._starts.append(self._period)
        self._stages.append(stage)
        self._period += duration


@dataclass(frozen=True)
class _State:
    """A motion without noise: degrees, metres a second, and a course that may exceed a circle."""

    lat: float
    lon: float
    speed: float
    course: float
    nav_status: int


class _Waves:
    """A sum of sines: smooth, bounded, and the same for the same time."""

    def __init__(self, chance: random.Random, waves: Sequence[tuple[float, float]]) -> None:
        self._waves = [
            (amplitude, math.tau / (period * chance.uniform(0.9, 1.1)), chance.uniform(0, math.tau))
            for amplitude, period in waves
        ]

    def at(self, seconds: float) -> float:
        return sum(amplitude * math.sin(rate * seconds + phase) for amplitude, rate, phase in self._waves)


@dataclass(frozen=True)
class _Piece:
    """A stretch of constant curvature: a rhumb line (radius infinite) or an arc of a turn."""

    start: float
    length: float
    lat: float
    lon: float
    course: float
    radius: float
    side: int

    def at(self, along: float) -> tuple[float, float, float]:
        if math.isinf(self.radius):
            return (*_sail(self.lat, self.lon, self.course, along), self.course)
        angle = along / self.radius
        ahead = self.radius * math.sin(angle)
        abeam = self.side * self.radius * (1 - math.cos(angle))
        course = math.radians(self.course)
        north = ahead * math.cos(course) - abeam * math.sin(course)
        east = ahead * math.sin(course) + abeam * math.cos(course)
        # A turn is a few hundred metres wide, where the plane and the sphere agree to centimetres.
        return (
            *_offset(self.lat, self.lon, north, east),
            self.course + self.side * math.degrees(angle),
        )


class _Track:
    """A route as lines and arcs, by distance from its beginning in metres."""

    def __init__(self, route: Sequence[tuple[float, float]]) -> None:
        points = [(lat, lon) for lon, lat in route]
        legs = [_rhumb(*a, *b) for a, b in itertools.pairwise(points)]
        self.pieces: list[_Piece] = []
        self.length = 0.0
        lat, lon = points[0]
        for n, corner in enumerate(points[1:-1]):
            (length_in, course_in), (length_out, course_out) = legs[n], legs[n + 1]
            turn = (course_out - course_in + 180.0) % 360.0 - 180.0
            half = math.tan(math.radians(abs(turn)) / 2)
            # An arc may use less than half of either leg, because the next corner needs its part.
            reach = min(_TURN_RADIUS_M * half, 0.45 * length_in, 0.45 * length_out)
            if reach < 0.1:
                continue
            lat, lon = self._straight(lat, lon, *_sail(*corner, course_in + 180.0, reach))
            radius = reach / half
            arc = _Piece(
                self.length,
                radius * math.radians(abs(turn)),
                lat,
                lon,
                course_in,
                radius,
                1 if turn > 0 else -1,
            )
            self._append(arc)
            lat, lon, _ = arc.at(arc.length)
        self._straight(lat, lon, *points[-1])
        self._starts = [piece.start for piece in self.pieces]

    def at(self, along: float) -> tuple[float, float, float]:
        """Return latitude, longitude and course at a distance from the beginning."""
        piece = self.pieces[max(0, bisect.bisect_right(self._starts, along) - 1)]
        return piece.at(min(along - piece.start, piece.length))

    def _straight(self, lat: float, lon: float, to_lat: float, to_lon: float) -> tuple[float, float]:
        length, course = _rhumb(lat, lon, to_lat, to_lon)
        self._append(_Piece(self.length, length, lat, lon, course, math.inf, 0))
        return to_lat, to_lon

    def _append(self, piece: _Piece) -> None:
        self.pieces.append(piece)
        self.length += piece.length


class _Passage:
    """A track sailed from rest to rest within its speed limits, by time from departure."""

    def __init__(self, track: _Track, cruise: float) -> None:
        self._track = track
        stretches = _stretches(track, cruise)
        speeds = _boundary_speeds(stretches)
        # Each phase: beginning in seconds and metres, speed then, acceleration.
        self._phases: list[tuple[float, float, float, float]] = []
        self.duration = 0.0
        at = 0.0
        for (length, limit), enter, leave in zip(stretches, speeds, speeds[1:], strict=False):
            peak = min(limit, math.sqrt(_ACCELERATION * length + (enter**2 + leave**2) / 2))
            gain = (peak**2 - enter**2) / (2 * _ACCELERATION)
            loss = (peak**2 - leave**2) / (2 * _ACCELERATION)
            steady = max(0.0, length - gain - loss)
            for distance, speed, acceleration, lasts in (
                (gain, enter, _ACCELERATION, (peak - enter) / _ACCELERATION),
                (steady, peak, 0.0, steady / peak),
                (loss, peak, -_ACCELERATION, (peak - leave) / _ACCELERATION),
            ):
                if lasts > 0:
                    self._phases.append((self.duration, at, speed, acceleration))
                    self.duration += lasts
                    at += distance
        self._begins = [phase[0] for phase in self._phases]
        self.berth = track.at(track.length)
        self.first_course = track.at(0.0)[2]

    def state(self, seconds: float) -> _State:
        begin, at, speed, acceleration = self._phases[max(0, bisect.bisect_right(self._begins, seconds) - 1)]
        into = seconds - begin
        along = at + speed * into + acceleration * into**2 / 2
        lat, lon, course = self._track.at(min(max(along, 0.0), self._track.length))
        return _State(lat, lon, max(0.0, speed + acceleration * into), course, UNDER_WAY)


def _stretches(track: _Track, cruise: float) -> list[tuple[float, float]]:
    """Return (length, speed limit) along a track: ports, bends and the ship's own speed."""
    cuts = {0.0, track.length}
    for reach, _ in _PORT_LIMITS:
        cuts |= {min(reach, track.length), max(0.0, track.length - reach)}
    for piece in track.pieces:
        cuts |= {piece.start, min(piece.start + piece.length, track.length)}
    edges = sorted(cuts)
    piece_starts = [piece.start for piece in track.pieces]
    stretches = []
    for a, b in itertools.pairwise(edges):
        if b - a < 1e-6:
            continue
        middle = (a + b) / 2
        piece = track.pieces[bisect.bisect_right(piece_starts, middle) - 1]
        limit = cruise
        if piece.side:
            limit = min(limit, max(_SLOWEST, _TURN_RATE * piece.radius))
        for reach, knots in _PORT_LIMITS:
            if min(middle, track.length - middle) < reach:
                limit = min(limit, knots * METRES_PER_SECOND_PER_KNOT)
        stretches.append((b - a, limit))
    return stretches


def _boundary_speeds(stretches: Sequence[tuple[float, float]]) -> list[float]:
    """Return the speed between stretches that acceleration and both neighbours' limits allow."""
    limits = [limit for _, limit in stretches]
    between = [min(pair) for pair in itertools.pairwise(limits)]
    speeds = [0.0, *between, 0.0]
    for n, (length, _) in enumerate(stretches):
        speeds[n + 1] = min(speeds[n + 1], math.sqrt(speeds[n] ** 2 + 2 * _ACCELERATION * length))
    for n in range(len(stretches) - 1, -1, -1):
        length = stretches[n][0]
        speeds[n] = min(speeds[n], math.sqrt(speeds[n + 1] ** 2 + 2 * _ACCELERATION * length))
    return speeds


def _lie(arriving: _Passage) -> Callable[[float], _State]:
    lat, lon, course = arriving.berth
    moored = _State(lat, lon, 0.0, course, MOORED)
    return lambda _: moored


def _swing(arriving: _Passage, leaving: _Passage) -> Callable[[float], _State]:
    lat, lon, course = arriving.berth
    turn = (leaving.first_course - course + 180.0) % 360.0 - 180.0

    def state(seconds: float) -> _State:
        part = min(1.0, seconds / _SWING_S)
        # Begins and ends gently: the rate of turn is zero at both ends.
        return _State(lat, lon, 0.0, course + turn * part * part * (3 - 2 * part), UNDER_WAY)

    return state


def _circle(degrees: float) -> float:
    """Return an angle in [0, 360); the remainder of a tiny negative number rounds up to 360."""
    turned = degrees % 360.0
    return 0.0 if turned >= 360.0 else turned


def _offset(lat: float, lon: float, north: float, east: float) -> tuple[float, float]:
    """Move a position by metres in its tangent plane."""
    parallel = EARTH_RADIUS_M * math.cos(math.radians(lat))
    return lat + math.degrees(north / EARTH_RADIUS_M), lon + math.degrees(east / parallel)


def _stretched_latitude(lat: float) -> float:
    # Mercator's ordinate, on which rhumb lines are straight.
    return math.log(math.tan(math.pi / 4 + math.radians(lat) / 2))


def _mean_parallel(lat: float, to_lat: float) -> float:
    """Return how long a radian of longitude is along a rhumb line, in radii of the Earth."""
    stretched = _stretched_latitude(to_lat) - _stretched_latitude(lat)
    # On a line due east or west the quotient below is 0/0, and its limit is the cosine.
    if abs(stretched) < 1e-9:
        return math.cos(math.radians(lat))
    return math.radians(to_lat - lat) / stretched


def _rhumb(lat: float, lon: float, to_lat: float, to_lon: float) -> tuple[float, float]:
    """Return the length in metres and the constant course in degrees between two positions."""
    north = math.radians(to_lat - lat)
    east = math.radians(to_lon - lon) * _mean_parallel(lat, to_lat)
    return EARTH_RADIUS_M * math.hypot(north, east), _circle(math.degrees(math.atan2(east, north)))


def _sail(lat: float, lon: float, course: float, metres: float) -> tuple[float, float]:
    """Return the position after so many metres on a constant course."""
    angle = metres / EARTH_RADIUS_M
    direction = math.radians(course)
    to_lat = lat + math.degrees(angle * math.cos(direction))
    east = angle * math.sin(direction) / _mean_parallel(lat, to_lat)
    return to_lat, lon + math.degrees(east)
