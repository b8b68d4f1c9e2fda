"""The judgement of a fix: what it makes of real ships."""

import itertools
import random
from collections import defaultdict
from pathlib import Path

import pytest
from tests.domain.test_judgement import moved, track_of

from harbor_api.domain.judgement import Neighbour, Thresholds, contradict
from harbor_api.simulation import ais

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture(scope="module")
def ships() -> dict[str, list[Neighbour]]:
    """Return what each ship sent, as published: with repeats, and some with another place at one time."""
    files = [DATA / "ais-denmark-2026-04-26.csv", DATA / "ais-us-2014-01-01.csv"]
    if not all(file.exists() for file in files):
        pytest.skip("the AIS data is not beside the checkout, in ../shared/data")
    rows: dict[str, list[Neighbour]] = defaultdict(list)
    for file in files:
        for item in ais.Reader(file.read_bytes().splitlines(keepends=True)):
            if isinstance(item, ais.AisRow):
                rows[item.ship.mmsi].append(Neighbour(item.recorded_at, item.lat, item.lon))
    return rows


def test_no_two_fixes_of_a_real_ship_contradict_each_other(ships):
    """And so no order in which they arrive can hold any of them: the promise of the default radius."""
    assert sum(map(len, ships.values())) == 18_711
    narrow = Thresholds(noise_m=45)
    for fixes in ships.values():
        assert not any(contradict(*pair, narrow) for pair in itertools.combinations(set(fixes), 2))


def test_without_a_radius_real_ships_would_be_held_and_the_order_would_decide_which(ships):
    bare, chance = Thresholds(noise_m=0), random.Random(1)
    differing = held = 0
    for fixes in ships.values():
        in_order = track_of(sorted(set(fixes)), thresholds=bare)
        shuffled = sorted(set(fixes))
        chance.shuffle(shuffled)
        differing += track_of(shuffled, thresholds=bare).held != in_order.held
        held += len(in_order.held)
    assert held > 0
    assert differing > 0


def test_real_ships_end_in_one_state_from_shuffled_and_overlapping_batches(ships):
    chance = random.Random(2)
    for fixes in ships.values():
        arriving = fixes + chance.sample(fixes, len(fixes) // 2)
        chance.shuffle(arriving)
        arrived = track_of(arriving)
        assert arrived.stored == sorted(set(fixes))
        assert arrived.held == []


def test_wrong_fixes_among_real_ones_are_found_in_any_order_after_a_right_one(ships):
    """One in twenty is thrown 20 to 1,000 km away, each elsewhere."""
    chance = random.Random(3)
    thrown = 0
    for fixes in ships.values():
        right, wrong = sorted(set(fixes)), []
        if not 12 <= len(right) <= 40:
            continue
        for each in right[:]:
            if chance.random() < 0.05:
                right.remove(each)
                metres = 10 ** chance.uniform(4.3, 6)
                lat, lon = moved(each.lat, each.lon, chance.uniform(0, 360), metres)
                wrong.append(each._replace(lat=lat, lon=lon))
        if not wrong:
            continue
        thrown += len(wrong)
        for _ in range(4):
            first = chance.choice(right)
            others = [each for each in right + wrong if each is not first]
            chance.shuffle(others)
            arrived = track_of([first, *others])
            assert arrived.stored == right
            assert arrived.held == wrong
    assert thrown > 50
