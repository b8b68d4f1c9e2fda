"""Where a vessel was at a moment, by the fix before it and the fix after it: pure functions.

Both are fixes that the key sees, of all trackers of the vessel, in order of time and tracker. Of two at the
same time the tracker with the greater number counts as the later one, here as on the map.
"""

import math
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from harbor_api.domain.judgement import Thresholds, contradict
from harbor_api.domain.positions import Neighbour
from harbor_api.domain.vessels import is_stale

Basis = Literal["measured", "interpolated", "last_known"]

# For how long a vessel may be silent before nobody says where she was meanwhile, unless the caller does.
GAP = timedelta(minutes=30)
# Beyond it there is no telling the way between two fixes, whatever a caller wishes.
LONGEST_GAP = timedelta(days=1)
# Further north and south lines of latitude bend so much that no vessel goes along them.
_POLAR = 85.0


class Place(NamedTuple):
    """Where a vessel was, in WGS 84 degrees, and what that is known from.

    ``measured``: a fix was taken at the very moment. ``interpolated``: from two fixes, taken at the times
    ``between``. ``last_known``: where the fix before was; where she was at the moment nobody knows.
    """

    lat: float
    lon: float
    basis: Basis
    between: tuple[datetime, datetime] | None = None


class FixThen(NamedTuple):
    """The last fix of a vessel up to a moment, as a key is shown it, and its number in the order."""

    recorded_at: datetime
    received_at: datetime | None
    lat: float
    lon: float
    sog: float | None
    cog: float | None
    heading: float | None
    nav_status: int | None
    accuracy_m: float | None
    number: int


class Known(NamedTuple):
    """What a key knows of a vessel around a moment: the fix before, and the one after with its number."""

    before: FixThen
    after: Neighbour | None
    after_number: int | None


class VesselThen(NamedTuple):
    """A vessel as it was at a moment, as a key is shown it; what it is called and such as it is now.

    ``number`` is the greatest in the order of what is told of it. Without a place it had not been seen by
    then.
    """

    id: int
    number: int
    retired_at: datetime | None
    name: str
    imo: str | None
    mmsi: str | None
    call_sign: str | None
    flag: str | None
    kind: str | None
    length_m: float | None
    beam_m: float | None
    draught_m: float | None
    max_speed_kn: float | None
    lat: float | None = None
    lon: float | None = None
    basis: Basis | None = None
    between: tuple[datetime, datetime] | None = None
    stale_at: datetime | None = None
    stale: bool = True
    recorded_at: datetime | None = None
    received_at: datetime | None = None
    sog: float | None = None
    cog: float | None = None
    heading: float | None = None
    nav_status: int | None = None
    accuracy_m: float | None = None

    def at(self, moment: datetime, known: Known, place: Place, *, stale_at: datetime) -> "VesselThen":
        """Return the vessel at its place at a moment."""
        before = known.before
        number = max(self.number, before.number)
        if place.between is not None and known.after_number is not None:
            number = max(number, known.after_number)
        return VesselThen(
            self.id,
            number,
            *self[2:13],
            *place,
            stale_at,
            is_stale(stale_at, moment),
            before.recorded_at,
            before.received_at,
            before.sog,
            before.cog,
            before.heading,
            before.nav_status,
            before.accuracy_m,
        )


def place_at(
    moment: datetime, before: Neighbour | None, after: Neighbour | None, *, gap: timedelta, limits: Thresholds
) -> Place | None:
    """Return where a vessel was, None where it had not been seen by then.

    ``before`` is the last fix at the moment or earlier, ``after`` the first one later. Nothing is
    interpolated where the two are more than ``gap`` apart, or where no vessel within the ``limits`` (those of
    this one) can have sent both: how good each of them is counts there.
    """
    if before is None:
        return None
    if before.recorded_at == moment:
        return Place(before.lat, before.lon, "measured")
    if after is None or after.recorded_at - before.recorded_at > gap or contradict(before, after, limits):
        return Place(before.lat, before.lon, "last_known")
    share = (moment - before.recorded_at) / (after.recorded_at - before.recorded_at)
    lat, lon = between((before.lat, before.lon), (after.lat, after.lon), share)
    return Place(lat, lon, "interpolated", (before.recorded_at, after.recorded_at))


def between(start: tuple[float, float], end: tuple[float, float], share: float) -> tuple[float, float]:
    """Return the latitude and longitude that lie at a share, 0 to 1, of the way between two others.

    It is the straight line in degrees, the short way round, as GeoJSON draws it (RFC 7946, 3.1.1): so the
    place lies on the vessel's track. Of the great circle, in half an hour at 20 knots, it keeps within 12 m
    at 60 degrees. Beyond 85 degrees it is the great circle, over the pole where that is shorter.
    """
    (lat, lon), (other_lat, other_lon) = start, end
    if max(abs(lat), abs(other_lat)) > _POLAR:
        return _on_great_circle(start, end, share)
    east = (other_lon - lon + 180) % 360 - 180
    there = lon + east * share
    return lat + (other_lat - lat) * share, there - math.copysign(360, there) if abs(there) > 180 else there


def _on_great_circle(
    start: tuple[float, float], end: tuple[float, float], share: float
) -> tuple[float, float]:
    # The chord as it is seen from the middle of the Earth. On it the way is made as evenly as on the arc: to
    # one part in a hundred thousand where the two are 100 km apart.
    x, y, z = (a + (b - a) * share for a, b in zip(_vector(*start), _vector(*end), strict=True))
    return math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))


def _vector(lat: float, lon: float) -> tuple[float, float, float]:
    north, east = math.radians(lat), math.radians(lon)
    return math.cos(north) * math.cos(east), math.cos(north) * math.sin(east), math.sin(north)
