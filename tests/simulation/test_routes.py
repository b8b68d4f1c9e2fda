"""The fleet of the demonstration: well-formed identities, and routes that stay on water."""

import importlib.util
import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest

from harbor_api.domain.identifiers import is_imo_number
from harbor_api.simulation import ais
from harbor_api.simulation.routes import FLEET, FleetShip
from harbor_api.simulation.voyage import EARTH_RADIUS_M, Voyage

# Countries' maritime identification digits, as the ITU lists them.
MIDS = {
    "NO": {"257", "258", "259"},
    "DK": {"219", "220"},
    "SE": {"265", "266"},
    "DE": {"211", "218"},
}
BY_NAME = [pytest.param(ship, id=ship.mmsi) for ship in FLEET]
# Nearer to a quay than this no land mask knows the basins and piers.
AT_THE_QUAY_M = 2000.0
# Fairways that are narrower than a cell of one kilometre: west, south, east, north.
NARROWS = {
    "Limfjord, Hals to Aalborg": (9.90, 56.95, 10.36, 57.10),
    "Oslofjord at Drøbak": (10.52, 59.55, 10.67, 59.76),
    "Halmstad's bay": (12.79, 56.64, 12.86, 56.67),
}


def metres(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Return the distance of two near positions, (lon, lat) each."""
    north = math.radians(b[1] - a[1])
    east = math.radians(b[0] - a[0]) * math.cos(math.radians((a[1] + b[1]) / 2))
    return math.hypot(north, east) * float(EARTH_RADIUS_M)


def samples(ship: FleetShip) -> list[tuple[float, float]]:
    """Return where the simulated ship passes, out and back, (lat, lon) every 100 m or less.

    It is the track that is sailed and not the route, because arcs cut the route's corners.
    """
    voyage = Voyage(ship, seed=0)
    step = 100 / (ship.cruise_kn * 1852 / 3600)
    # Longer than any voyage there and back with its stays, so that the seed's phase does not matter.
    length = sum(metres(a, b) for a, b in itertools.pairwise(ship.route))
    lasts = 2 * (length / (ship.cruise_kn * 1852 / 3600) + 2 * 3600)
    motions = (voyage.motion_at(n * step) for n in range(int(lasts / step)))
    return [(motion.lat, motion.lon) for motion in motions]


def at_sea(ship: FleetShip) -> list[tuple[float, float]]:
    """Return the samples that are farther from both quays than a mask's trust goes."""
    quays = (ship.route[0], ship.route[-1])
    return [
        (lat, lon)
        for lat, lon in samples(ship)
        if min(metres((lon, lat), quay) for quay in quays) > AT_THE_QUAY_M
    ]


def test_fleet_is_twelve_distinct_vessels():
    assert len(FLEET) == 12
    for name in ("name", "imo", "mmsi", "call_sign", "ports", "route"):
        assert len({getattr(ship, name) for ship in FLEET}) == 12


@pytest.mark.parametrize("ship", BY_NAME)
def test_identity_is_well_formed(ship):
    assert is_imo_number(ship.imo)
    assert re.fullmatch(r"[0-9]{9}", ship.mmsi)
    assert ship.mmsi[:3] in MIDS[ship.flag]
    assert re.fullmatch(r"[A-Z][A-Z0-9]{3,5}", ship.call_sign)
    assert ship.kind in ais.KINDS


@pytest.mark.parametrize("ship", BY_NAME)
def test_dimensions_are_a_coasters(ship):
    assert 40 <= ship.length_m <= 100
    assert 4 < ship.length_m / ship.beam_m < 8
    assert ship.draught_m is None or 2 < ship.draught_m < ship.beam_m / 2
    assert 8 <= ship.cruise_kn <= 16


@pytest.mark.parametrize("ship", BY_NAME)
def test_route_is_a_passage_in_home_waters(ship):
    assert all(7.5 < lon < 13.5 and 54.0 < lat < 60.0 for lon, lat in ship.route)
    legs = [metres(a, b) for a, b in itertools.pairwise(ship.route)]
    assert min(legs) > 100
    assert 20 < sum(legs) / 1852 < 200


@pytest.fixture(scope="module")
def is_land():
    """Return what tells of a place near the routes whether it is land.

    Of the mask of global-land-mask, which has a byte for each of 933 million places, only the rows of their
    latitudes are kept: a process that has imported the library never becomes smaller again.
    """
    found = importlib.util.find_spec("global_land_mask")
    if found is None:
        pytest.skip("needs global-land-mask")
    [folder] = found.submodule_search_locations or []
    with np.load(Path(folder) / "globe_combined_mask_compressed.npz") as arrays:
        lats, lons = arrays["lat"], arrays["lon"]
        places = [place for ship in FLEET for place in at_sea(ship)]
        rows = [_index(lats, lat) for lat, _ in places]
        first, last = min(rows), max(rows)
        with arrays.zip.open("mask.npy") as file:
            np.lib.format.read_magic(file)
            (_, width), _, kind = np.lib.format.read_array_header_1_0(file)
            for _ in range(first):
                file.read(width * kind.itemsize)
            count = (last - first + 1) * width
            sea = np.frombuffer(file.read(count * kind.itemsize), kind).reshape(-1, width)
    return lambda lat, lon: not sea[_index(lats, lat) - first, _index(lons, lon)]


def _index(axis, value):
    return int((value - axis[0]) / (axis[1] - axis[0]))


@pytest.mark.parametrize("ship", BY_NAME)
def test_route_stays_on_water_by_a_coarse_mask(ship, is_land):
    ashore = [
        (lat, lon)
        for lat, lon in at_sea(ship)
        if is_land(lat, lon) and not any(w < lon < e and s < lat < n for w, s, e, n in NARROWS.values())
    ]
    assert ashore == []


@pytest.fixture(scope="module")
def coastline():
    """Return OpenStreetMap's coastline; it takes some 12 s to load and 100 MB to install."""
    module = pytest.importorskip("roaring_landmask", reason="needs roaring-landmask")
    return module.RoaringLandmask.new_with_provider(module.LandmaskProvider.Osm)


@pytest.mark.parametrize("ship", BY_NAME)
def test_route_stays_on_water_by_a_fine_coastline(ship, coastline):
    # Narrows and quays included: nothing is excused here.
    assert [(lat, lon) for lat, lon in samples(ship) if coastline.contains(lon, lat)] == []
