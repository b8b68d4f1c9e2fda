"""The simulated fleet: plausible, deterministic motion that a chart would believe."""

import itertools
import math
import threading
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.examples import many
from tests.support.http_service import Answer, running, secret_of

from harbor_api.domain.identifiers import is_imo_number, is_mmsi
from harbor_api.simulation.routes import FLEET
from harbor_api.simulation.simulator import simulate
from harbor_api.simulation.tracker import Credentials
from harbor_api.simulation.voyage import Voyage

NOW = datetime(2026, 11, 21, tzinfo=UTC)
moments = st.integers(0, 30 * 86_400).map(lambda seconds: NOW + timedelta(seconds=seconds))
ships = st.sampled_from(FLEET)
_COUNTRIES = {"NO": ("257", "258", "259"), "DK": ("219", "220"), "SE": ("265", "266"), "DE": ("211", "218")}


def _metres(one, other) -> float:
    north = math.radians(other.lat - one.lat)
    east = math.radians(other.lon - one.lon) * math.cos(math.radians((one.lat + other.lat) / 2))
    return math.hypot(north, east) * 6_371_000


def test_twelve_ships_with_numbers_that_hold():
    assert len(FLEET) == 12
    assert len({ship.imo for ship in FLEET} | {ship.mmsi for ship in FLEET}) == 24
    for ship in FLEET:
        assert is_imo_number(ship.imo)
        assert is_mmsi(ship.mmsi)
        assert ship.mmsi.startswith(_COUNTRIES[ship.flag])


@given(ships, moments)
@settings(max_examples=many(150), deadline=None)
def test_a_state_is_a_state_of_a_ship_and_always_the_same(ship, moment):
    state = Voyage(ship, 1).state_at(moment)
    assert state == Voyage(ship, 1).state_at(moment)
    assert 53 < state.lat < 61
    assert 5 < state.lon < 15
    assert 0 <= state.sog < ship.cruise_kn + 2
    assert 0 <= state.cog < 360
    assert 0 <= state.heading < 360
    assert state.nav_status in range(9)


@given(ships, moments)
@settings(max_examples=many(200), deadline=None)
def test_a_minute_moves_a_ship_as_far_as_her_speed_says(ship, moment):
    voyage = Voyage(ship, 1)
    states = [voyage.state_at(moment + timedelta(seconds=second)) for second in range(0, 61, 5)]
    for one, other in itertools.pairwise(states):
        sailed = _metres(one, other)
        said = (one.sog + other.sog) / 2 * 1852 / 3600 * 5
        assert abs(sailed - said) < 6
        assert abs(one.sog - other.sog) < 2


def test_most_ships_move_at_any_time():
    for hour in range(0, 24 * 7, 5):
        moment = NOW + timedelta(hours=hour)
        later = moment + timedelta(seconds=5)
        moved = 0
        for ship in FLEET:
            voyage = Voyage(ship, 1)
            one, other = voyage.state_at(moment), voyage.state_at(later)
            moved += (round(one.lat, 6), round(one.lon, 6)) != (round(other.lat, 6), round(other.lon, 6))
        assert moved >= 10


def test_every_ship_reports_and_an_outage_loses_nothing():
    crew = [
        (ship, Credentials(f"trk_{n:04d}", secret_of(f"trk_{n:04d}")))
        for n, ship in enumerate(FLEET, start=1)
    ]
    stop = threading.Event()
    with running() as service:
        service.script = [Answer(503), Answer(0, hang_up=True)] * 6
        threading.Timer(4.0, stop.set).start()
        outcome = simulate(crew, service.base_url, 0.5, stop)
    stored = [attempt for attempt in service.attempts if attempt.verified]
    assert {attempt.tracker_id for attempt in stored} == {f"trk_{n:04d}" for n in range(1, 13)}
    assert outcome.lost == 0
    assert outcome.verdicts["stored"] > 24
