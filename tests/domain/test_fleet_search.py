"""Which vessels are asked for, against a plainer model of each filter."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harbor_api.domain.fleet_search import EVERYTHING, Box, Near, Search

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Ship:
    id: int = 1
    name: str = "Skagerrak Trader"
    imo: str | None = None
    mmsi: str | None = None
    call_sign: str | None = None
    kind: str | None = None
    flag: str | None = None
    lat: float | None = 59.9
    lon: float | None = 10.7
    received_at: datetime | None = NOON
    stale: bool = False


UNSEEN = Ship(lat=None, lon=None, received_at=None, stale=True)


@pytest.mark.parametrize(
    ("box", "lat", "lon", "holds"),
    [
        (Box(179, -20, -179, -10), -15, 179.5, True),
        (Box(179, -20, -179, -10), -15, -179.5, True),
        (Box(179, -20, -179, -10), -15, 178.9, False),
        (Box(179, -20, -179, -10), -15, 0, False),
        # The meridian is one, however it is written.
        (Box(170, -20, 180, -10), -15, -180, True),
        (Box(-180, -20, -170, -10), -15, 180, True),
        (Box(180, -20, -170, -10), -15, -175, True),
        (Box(180, -20, -170, -10), -15, 175, False),
        (Box(180, -20, -180, -10), -15, 180, True),
        (Box(180, -20, -180, -10), -15, -180, True),
        (Box(180, -20, -180, -10), -15, 179.999999, False),
        (Box(180, 0, 180, 0), 0, -180, True),
        (Box(-180, -90, 180, 90), 12, -180, True),
        # Lines and points have edges, too.
        (Box(10, 50, 10, 60), 55, 10, True),
        (Box(10, 50, 10, 60), 55, 10.000001, False),
        (Box(10.7, 59.9, 10.7, 59.9), 59.9, 10.7, True),
        # At a pole all longitudes are one place.
        (Box(0, 80, 10, 90), 90, -120, True),
        (Box(0, 80, 10, 89.999999), 90, 5, False),
        (Box(170, -90, -170, -80), -90, 3, True),
        (Box(0, 80, 10, 90), 89.999999, -120, False),
    ],
)
def test_a_box_holds_what_is_on_the_map_in_it(box, lat, lon, holds):
    assert box.holds(lat, lon) is holds
    assert Search(box=box).keeps(Ship(lat=lat, lon=lon)) is holds


_lons = st.integers(-180, 180) | st.floats(-180, 180, allow_nan=False)
_lats = st.integers(-89, 89) | st.floats(-89.9, 89.9, allow_nan=False)


@given(west=_lons, east=_lons, south=_lats, north=_lats, lat=_lats, lon=_lons)
def test_a_box_goes_from_west_eastwards_to_east(west, east, south, north, lat, lon):
    # All the way round is 360 degrees; from a meridian to itself written otherwise is none.
    width = 360 if (west, east) == (-180, 180) else (east - west) % 360
    way = (lon - west) % 360
    # What is a hair west of an edge is rounded to the edge by arithmetic, and not by comparison.
    if not math.isclose(way, 360, abs_tol=1e-9) or way == 360:
        expected = south <= lat <= north and (way <= width or width == 360)
        if not math.isclose(way, width, abs_tol=1e-9) or way == width == 0:
            assert Box(west, south, east, north).holds(lat, lon) is expected


def _vector(lat: float, lon: float) -> tuple[float, float, float]:
    north, east = math.radians(lat), math.radians(lon)
    return math.cos(north) * math.cos(east), math.cos(north) * math.sin(east), math.sin(north)


@given(lat=_lats, lon=_lons, to_lat=_lats, to_lon=_lons)
def test_distance_and_bearing_are_those_of_the_sphere(lat, lon, to_lat, to_lon):
    here, there = _vector(lat, lon), _vector(to_lat, to_lon)
    apart = math.sqrt(sum((a - b) ** 2 for a, b in zip(here, there, strict=True)))
    metres = 2 * 6_371_008.8 * math.asin(min(1, apart / 2))
    seen = Near(lat=lat, lon=lon).to(to_lat, to_lon)
    assert seen.distance_m == pytest.approx(metres, abs=1, rel=1e-6)
    assert 0 <= seen.bearing < 360
    if 1 < metres < 19_000_000:
        # The part of the way there that goes north and east, in the plane that touches the sphere here.
        sin, cos = math.sin(math.radians(lon)), math.cos(math.radians(lon))
        east = -sin * there[0] + cos * there[1]
        north = (
            math.cos(math.radians(lat)) * there[2]
            - math.sin(math.radians(lat)) * cos * there[0]
            - math.sin(math.radians(lat)) * sin * there[1]
        )
        off = (seen.bearing - math.degrees(math.atan2(east, north)) + 180) % 360 - 180
        assert abs(off) < 0.06


@pytest.mark.parametrize(
    ("near", "lat", "lon", "distance_m", "bearing"),
    [
        # A degree of longitude at 15 degrees south, across the date line both ways.
        (Near(lat=-15, lon=179.5), -15, -179.5, 107_406, 90),
        (Near(lat=-15, lon=-179.5), -15, 179.5, 107_406, 270),
        (Near(lat=0, lon=180), 0, -180, 0, 0),
        (Near(lat=89, lon=0), 89, 180, 222_390, 0),
        # From a pole every way leads to the other: by the meridian of the longitude that was given.
        (Near(lat=90, lon=0), 89, 90, 111_195, 90),
        (Near(lat=-90, lon=0), -89, 90, 111_195, 90),
        (Near(lat=89, lon=45), 90, -120, 111_195, 0),
        (Near(lat=59.9, lon=10.7), 59.9, 10.7, 0, 0),
    ],
)
def test_bearings_at_the_ends_of_the_map(near, lat, lon, distance_m, bearing):
    seen = near.to(lat, lon)
    assert seen.distance_m == pytest.approx(distance_m, abs=60)
    assert seen.bearing == pytest.approx(bearing, abs=0.2)


def test_the_nearest_come_first_and_of_two_as_near_the_lower_id():
    ships = [
        Ship(id=3, lat=59.91),
        Ship(id=2, lat=59.91),
        Ship(id=1, lat=59.95),
        Ship(id=4, lat=80.0),
        UNSEEN,
    ]
    found = Search(near=Near(lat=59.9, lon=10.7, radius_m=6_000)).among(ships)
    assert [(one.id, seen.distance_m) for one, seen in found if seen] == [
        (2, 1112.0),
        (3, 1112.0),
        (1, 5559.8),
    ]


@pytest.mark.parametrize(
    ("search", "ship", "keeps"),
    [
        (EVERYTHING, UNSEEN, True),
        (Search(box=Box(-180, -90, 180, 90)), UNSEEN, False),
        (Search(near=Near(lat=0, lon=0, radius_m=1e6)), UNSEEN, False),
        (Search(updated_since=datetime.min.replace(tzinfo=UTC)), UNSEEN, False),
        (Search(updated_since=NOON), Ship(), True),
        (Search(updated_since=NOON + timedelta(microseconds=1)), Ship(), False),
        (Search(stale=True), UNSEEN, True),
        (Search(stale=True), Ship(), False),
        (Search(stale=False), Ship(), True),
        (Search(vessel_ids=frozenset({1, 7})), Ship(), True),
        (Search(vessel_ids=frozenset({7})), Ship(), False),
        (Search(imos=frozenset({"9074729"})), Ship(), False),
        (Search(imos=frozenset({"9074729"})), Ship(imo="9074729"), True),
        (Search(mmsis=frozenset({"257123450"})), Ship(mmsi="257123450"), True),
        (Search(mmsis=frozenset({"257123450"})), Ship(imo="2571234"), False),
        (Search(flags=frozenset({"NO", "SE"})), Ship(flag="NO"), True),
        (Search(flags=frozenset({"NO", "SE"})), Ship(), False),
        (Search(kinds=frozenset({"tug", " CARGO"})), Ship(kind="cargo"), True),
        (Search(kinds=frozenset({"carg"})), Ship(kind="cargo"), False),
        (Search(kinds=frozenset({"cargo"})), Ship(), False),
        (Search(q="rak tra"), Ship(), True),
        (Search(q=" RAK "), Ship(), True),
        (Search(q="laxy"), Ship(call_sign="LAXY5"), True),
        (Search(q="7472"), Ship(imo="9074729"), True),
        (Search(q="1234"), Ship(mmsi="257123450"), True),
        (Search(q="none"), Ship(), False),
        # However it is written: ß, capitals, and accents that stand alone.
        (Search(q="STRASSE"), Ship(name="Hohe Straße"), True),
        (Search(q="A\u030angstro\u0308m"), Ship(name="ÅNGSTRÖM"), True),
        (Search(q="%"), Ship(), False),
        (Search(q=".*"), Ship(), False),
        (Search(q="skag", flags=frozenset({"NO"})), Ship(), False),
        (
            Search(q="skag", stale=False, box=Box(10, 59, 11, 60), flags=frozenset({"NO"})),
            Ship(flag="NO"),
            True,
        ),
    ],
)
def test_what_is_given_must_hold(search, ship, keeps):
    assert search.keeps(ship) is keeps
