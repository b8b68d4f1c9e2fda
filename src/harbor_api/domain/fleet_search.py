"""Which vessels of a fleet somebody asks for: pure functions of what is shown of each.

Nothing here knows more of a vessel than the caller is shown. Else one who sees coarsely could learn by asking
for small boxes where she really is.
"""

import math
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from harbor_api.domain.judgement import distance_m

MOST_WANTED = 1_000
"""How many vessels may be asked for by their numbers at once, and how many values any list may hold."""
RADIUS_M, LARGEST_RADIUS_M = 10_000.0, 1_000_000.0
# A little less than a degree of latitude is.
_LEAST_M_A_DEGREE = 111_000.0
_POLE = 90.0
_HALF_TURN, _TURN = 180.0, 360.0


class Candidate(Protocol):
    """What is looked at of a vessel; ``lat`` and ``lon`` are None for one that was never seen."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def imo(self) -> str | None: ...
    @property
    def mmsi(self) -> str | None: ...
    @property
    def call_sign(self) -> str | None: ...
    @property
    def kind(self) -> str | None: ...
    @property
    def flag(self) -> str | None: ...
    @property
    def lat(self) -> float | None: ...
    @property
    def lon(self) -> float | None: ...
    @property
    def received_at(self) -> datetime | None: ...
    @property
    def stale(self) -> bool: ...


Vessel = TypeVar("Vessel", bound=Candidate)
Check = Callable[[Candidate], bool]


class Box(NamedTuple):
    """A box of WGS 84 degrees with its edges (RFC 7946, section 5): from ``west`` eastwards to ``east``.

    One whose west is greater than its east lies across the 180th meridian, which is -180 and 180. At a pole
    all longitudes are one place.
    """

    west: float
    south: float
    east: float
    north: float

    def holds(self, lat: float, lon: float) -> bool:
        """Return whether a place is in the box."""
        if not self.south <= lat <= self.north:
            return False
        return abs(lat) == _POLE or self._spans(lon) or (abs(lon) == _HALF_TURN and self._spans(-lon))

    def _spans(self, lon: float) -> bool:
        if self.west <= self.east:
            return self.west <= lon <= self.east
        return lon >= self.west or lon <= self.east


class Bearing(NamedTuple):
    """Where something is, seen from a point: metres along the great circle, and degrees from true north.

    Both to one decimal. The bearing is that at the point itself, in [0, 360), and 0 for what is there.
    """

    distance_m: float
    bearing: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A circle about a point, in WGS 84 degrees and metres."""

    lat: float
    lon: float
    radius_m: float = RADIUS_M

    def holds(self, lat: float, lon: float) -> bool:
        """Return whether a place is in the circle."""
        # A look at the latitude spares most of a large fleet the sines.
        if abs(lat - self.lat) * _LEAST_M_A_DEGREE > self.radius_m:
            return False
        return self._metres(lat, lon) <= self.radius_m

    def to(self, lat: float, lon: float) -> Bearing:
        """Return where a place is, seen from the point."""
        metres = self._metres(lat, lon)
        return Bearing(metres, round(self._bearing(lat, lon), 1) % _TURN if metres else 0.0)

    def _metres(self, lat: float, lon: float) -> float:
        return round(distance_m(self.lat, self.lon, lat, lon), 1)

    def _bearing(self, lat: float, lon: float) -> float:
        here, there = math.radians(self.lat), math.radians(lat)
        east = math.radians(lon - self.lon)
        return math.degrees(
            math.atan2(
                math.sin(east) * math.cos(there),
                math.cos(here) * math.sin(there) - math.sin(here) * math.cos(there) * math.cos(east),
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which vessels are asked for; all that is given must hold, and None is not given.

    ``q`` is looked for in name, call sign, IMO number and MMSI, and ``kinds`` are compared, in capitals or
    not. A vessel that was never seen is in no box, near nothing and received at no time.
    """

    box: Box | None = None
    near: Near | None = None
    vessel_ids: frozenset[int] | None = None
    imos: frozenset[str] | None = None
    mmsis: frozenset[str] | None = None
    q: str | None = None
    kinds: frozenset[str] | None = None
    flags: frozenset[str] | None = None
    updated_since: datetime | None = None
    stale: bool | None = None
    _checks: tuple[Check, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_checks", tuple(self._asked()))

    def keeps(self, one: Candidate) -> bool:
        """Return whether a vessel is one of those that are asked for."""
        return all(check(one) for check in self._checks)

    def among(self, vessels: Iterable[Vessel]) -> Sequence[tuple[Vessel, Bearing | None]]:
        """Return those of some vessels that are asked for, each with where it is from the point.

        They are in the order that they came in; where a point is given the nearest comes first, and of two as
        near to the decimetre the one with the lower id.
        """
        for check in self._checks:
            vessels = filter(check, vessels)
        if self.near is None:
            return [(one, None) for one in vessels]
        seen = [(one, self.near.to(one.lat or 0.0, one.lon or 0.0)) for one in vessels]
        return sorted(seen, key=lambda each: (each[1].distance_m, each[0].id))

    def _asked(self) -> Iterator[Check]:
        """Yield what is to be asked of each vessel, and nothing that is not."""
        ids, imos, mmsis = self.vessel_ids, self.imos, self.mmsis
        stale, flags, since = self.stale, self.flags, self.updated_since
        if ids is not None:
            yield lambda one: one.id in ids
        if imos is not None:
            yield lambda one: one.imo in imos
        if mmsis is not None:
            yield lambda one: one.mmsi in mmsis
        if stale is not None:
            yield lambda one: one.stale is stale
        if flags is not None:
            yield lambda one: one.flag in flags
        if since is not None:
            yield lambda one: one.received_at is not None and one.received_at >= since
        for place in (self.box, self.near):
            if place is not None:
                yield partial(_is_there, place)
        if self.kinds is not None:
            kinds = frozenset(_folded(kind.strip()) for kind in self.kinds)
            yield lambda one: one.kind is not None and _folded(one.kind.strip()) in kinds
        if self.q is not None:
            yield partial(_is_named, _folded(self.q.strip()))


EVERYTHING = Search()


def _is_there(place: Box | Near, one: Candidate) -> bool:
    return one.lat is not None and one.lon is not None and place.holds(one.lat, one.lon)


def _is_named(text: str, one: Candidate) -> bool:
    known = (one.name, one.call_sign, one.imo, one.mmsi)
    return any(each is not None and text in _folded(each) for each in known)


def _folded(text: str) -> str:
    """Return a text as it is compared: without regard to case, or to how accents are written."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
