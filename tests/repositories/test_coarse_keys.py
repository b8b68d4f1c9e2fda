"""What somebody learns of a vessel who may see her coarsely, and asks as often as 500 times."""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from tests.support import sql
from tests.support.factories import EVERYTHING, World, fleet_of, rolled_back

from harbor_api.database import UnitOfWork
from harbor_api.domain.vessels import LatestPosition, VesselOnMap
from harbor_api.repositories import fleet

POLLS = 500
M_A_DEGREE = 111_195.0
M_S_A_KNOT = 1852 / 3600
# Where the voyage begins matters for what a grid tells: several, none at a border.
STARTS = [(57.5137, 10.6421), (57.4871, 10.7763), (57.5519, 10.7012)]
_ADD = text("""
INSERT INTO positions
    (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, cog, heading, accuracy_m, seq)
VALUES (:vessel, :at, 1, :at, :lat, :lon, :sog, :cog, :cog, 4, 1)
""")
_LATEST = text("""
INSERT INTO latest_positions
SELECT vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, cog, heading, nav_status, accuracy_m,
    battery_v, seq
FROM positions WHERE vessel_id = :vessel AND recorded_at = :at
ON CONFLICT (vessel_id) DO UPDATE SET (recorded_at, received_at, lat, lon, sog, cog, heading)
    = (excluded.recorded_at, excluded.received_at, excluded.lat, excluded.lon, excluded.sog, excluded.cog,
       excluded.heading)
""")
Place = tuple[float, float]


def _voyage(start: Place, *, knots: float, course: float, every_s: float) -> Iterable[tuple[float, Place]]:
    """Yield seconds and true places of a vessel that keeps course and speed."""
    north = knots * M_S_A_KNOT * math.cos(math.radians(course)) / M_A_DEGREE
    east = knots * M_S_A_KNOT * math.sin(math.radians(course)) / M_A_DEGREE
    east /= math.cos(math.radians(start[0]))
    for number in range(POLLS):
        seconds = number * every_s
        yield seconds, (round(start[0] + north * seconds, 6), round(start[1] + east * seconds, 6))


def _poll(
    world: World, decimals: int | None, *, start: Place, knots: float, course: float, every_s: float
) -> tuple[list[VesselOnMap], list[Place]]:
    """Let a vessel report, ask after each fix, and return what was shown and where she truly was."""
    viewer = replace(EVERYTHING, coordinate_decimals=decimals)
    began = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    vessel = world.vessel().id
    shown, true = [], []
    with rolled_back(world.database) as unit_of_work:
        seen = fleet_of(unit_of_work, viewer)
        for seconds, (lat, lon) in _voyage(start, knots=knots, course=course, every_s=every_s):
            fix = {"vessel": vessel, "at": began + timedelta(seconds=seconds), "lat": lat, "lon": lon}
            _run(unit_of_work, fix | {"sog": knots, "cog": course})
            shown.append(seen.get(vessel))
            true.append((lat, lon))
    return shown, true


def _run(unit_of_work: UnitOfWork, fix: dict[str, object]) -> None:
    unit_of_work._connection.execute(_ADD, fix)
    unit_of_work._connection.execute(_LATEST, {"vessel": fix["vessel"], "at": fix["at"]})


def _latest(shown: VesselOnMap) -> LatestPosition:
    assert shown.latest is not None
    return shown.latest


def _guesses(shown: list[VesselOnMap], *, every_s: float) -> Iterator[Place]:
    """Yield where the vessel is at the last poll, by all that the answers tell and when they changed.

    She keeps course and speed, and the attacker knows it. A change of place tells the border that she crosses
    then, or the cell that she is in then: through either he draws a line by least squares. Or he reckons on
    from each border by the speed and course that he is shown, and averages.
    """
    places = [_latest(each).motion[:2] for each in shown]
    end = (len(shown) - 1) * every_s
    speeds = _speeds(shown)
    lines, middles, reckoned = [], [], []
    for axis in (0, 1):
        found = [(number * every_s, each[axis]) for number, each in enumerate(places)]
        changes = [(then, now) for then, now in itertools.pairwise(found) if then[1] != now[1]]
        borders = [(now[0], (then[1] + now[1]) / 2) for then, now in changes]
        lines.append(_line(borders, end) if len(borders) > 1 else places[-1][axis])
        cells = [found[0], *(now for _, now in changes)]
        middles.append(_line(cells, end) if len(cells) > 1 else places[-1][axis])
        onwards = [place + speeds[axis] * (end - seconds) for seconds, place in borders]
        reckoned.append(sum(onwards) / len(onwards) if onwards else places[-1][axis])
    yield places[-1]
    yield from (tuple(each) for each in (lines, middles, reckoned))  # type: ignore[misc]  # two axes


def _speeds(shown: list[VesselOnMap]) -> Place:
    """Return degrees a second north and east, by the speeds and courses that are shown."""
    motions = [_latest(each).motion for each in shown]
    sog = sum(each.sog or 0 for each in motions) / len(motions) * M_S_A_KNOT / M_A_DEGREE
    cog = math.radians(sum(each.cog or 0 for each in motions) / len(motions))
    return sog * math.cos(cog), sog * math.sin(cog) / math.cos(math.radians(motions[0].lat))


def _line(points: list[tuple[float, float]], at: float) -> float:
    """Return the value at a moment of the line through points, by least squares."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return mean_y + slope * (at - mean_x)


def _metres(one: Place, other: Place) -> float:
    north = (one[0] - other[0]) * M_A_DEGREE
    east = (one[1] - other[1]) * M_A_DEGREE * math.cos(math.radians(one[0]))
    return math.hypot(north, east)


class TestAttacker:
    """Who has 500 answers does not know a vessel much better than to her cell: he knew her to metres."""

    def _error(self, world: World, decimals: int, **voyage: float) -> float:
        """Return how far the guesses of the best way to guess lie from the truth, in cells of latitude."""
        errors = []
        for start, course in zip(STARTS, (22.0, 61.0, 118.0), strict=True):
            shown, true = _poll(world, decimals, start=start, course=course, **voyage)
            guesses = _guesses(shown, every_s=voyage["every_s"])
            errors.append([_metres(guess, true[-1]) for guess in guesses])
        means = [sum(each) / len(errors) for each in zip(*errors, strict=True)]
        print(f"{decimals} decimals: {[round(each) for each in means]} m")
        return float(min(means) / (M_A_DEGREE / 10**decimals))

    @pytest.mark.parametrize(
        ("decimals", "voyage", "least"),
        [
            (1, {"knots": 11.3, "every_s": 10.0}, 0.5),
            (1, {"knots": 11.3, "every_s": 60.0}, 0.2),
            # A straight course over ten cells is told by a line through them.
            (2, {"knots": 8.4, "every_s": 10.0}, 0.05),
        ],
    )
    def test_knows_a_vessel_about_to_her_cell(self, world: World, decimals, voyage, least):
        assert self._error(world, decimals, **voyage) > least

    def test_would_know_it_to_metres_if_only_the_place_were_coarse(self, world: World, monkeypatch):
        """Sabotage: as it was before, for one who counts each border that he sees her cross."""
        monkeypatch.setattr(fleet, "coarsened", lambda latest, _: latest)
        monkeypatch.setattr(fleet, "_TEXTS", {each: fleet._TEXTS[*each[:2], False] for each in fleet._TEXTS})
        assert self._error(world, 1, knots=11.3, every_s=10.0) < 0.01


def test_between_two_steps_nothing_changes(world: World):
    shown, _ = _poll(world, 1, start=STARTS[0], knots=20, course=45, every_s=60)
    distinct = {(each.latest, each.stale) for each in shown}
    # 500 minutes are seven steps of 72, or one more that has begun before.
    assert len(distinct) <= 8
    for latest, _ in distinct:
        assert latest.recorded_at.timestamp() % 4_320 == 0
        assert latest.received_at.timestamp() % 4_320 == 0
        assert (latest.motion.sog, latest.motion.cog, latest.motion.heading) == (20, 45, 45)
        assert latest.motion.accuracy_m == 7872


@pytest.mark.parametrize("decimals", [None, 6])
def test_a_key_with_all_decimals_sees_all_as_it_is(world: World, decimals):
    shown, true = _poll(world, decimals, start=STARTS[0], knots=8.4, course=181.2, every_s=10)
    assert [_latest(each).motion[:2] for each in shown] == true
    assert _latest(shown[-1]).motion.sog == pytest.approx(8.4)
    assert len({_latest(each).recorded_at for each in shown}) == POLLS


def test_a_delayed_key_does_not_see_a_late_fix_before_it_is_due(world: World):
    vessel = world.vessel().id
    sql.run(
        world.database,
        "INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq) VALUES "
        f"({vessel}, now() - interval '3 hours', 1, now() - interval '3 hours', 2, 2, 1), "
        f"({vessel}, now() - interval '2 hours', 1, now() - interval '30 minutes', 1, 1, 2), "
        # It is due, and stands behind one in the order that is not.
        f"({vessel}, now() - interval '1.9 hours', 1, now() - interval '1.9 hours', 3, 3, 3)",
    )
    viewer = replace(EVERYTHING, delay_s=3600)
    with world.database.autocommit() as unit_of_work:
        assert _latest(fleet_of(unit_of_work, viewer).get(vessel)).motion.lat == 2
    sql.run(world.database, "UPDATE positions SET received_at = now() - interval '90 minutes' WHERE lat = 1")
    with world.database.autocommit() as unit_of_work:
        latest = _latest(fleet_of(unit_of_work, viewer).get(vessel))
    assert latest.motion.lat == 3
    assert latest.received_at is not None
