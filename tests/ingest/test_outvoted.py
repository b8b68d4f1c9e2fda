"""A wrong fix that came first: it is held and the right ones are stored, in whatever order they come."""

import random
import threading
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import sql
from tests.support.examples import many
from tests.support.factories import EPOCH, EVERYTHING, fleet_of
from tests.support.signed_posts import register_fleet

from harbor_api.database import Database
from harbor_api.domain.judgement import Thresholds
from harbor_api.domain.positions import Fix, FixKey, Motion, NamedFix, ReceivedFix, Submission
from harbor_api.ingest import settling

# So far apart that no two are within a day of each other, nor of the track.
FAR = [(lat, lon) for lat in (-60, -20, 20) for lon in (-150, -90, -30, 60, 120)]
# More than three on one side, wherever the first wrong one lies.
ENOUGH = 7
THRESHOLDS = Thresholds()


def _fix(seconds: float, lat: float, lon: float, tracker: int = 1, vessel: int = 1) -> ReceivedFix:
    fix = Fix(EPOCH + timedelta(seconds=seconds), Motion(lat, lon, sog=0.1))
    return ReceivedFix(vessel, tracker, EPOCH + timedelta(days=30), fix, {"lat": lat})


def _track(count: int, vessel: int = 1) -> list[ReceivedFix]:
    return [
        _fix(60 * n, 59.9, round(10.7 + n / 200, 3), 1 + n % 2 + 10 * (vessel - 1), vessel)
        for n in range(count)
    ]


def _settle(database: Database, group: Sequence[ReceivedFix]) -> list[str]:
    submission = Submission(tracker_id=1, fixes=tuple(group))
    work = partial(settling.settle, submissions=[submission], thresholds=THRESHOLDS)
    [receipt] = database.transact(work)
    return [each.reason or each.verdict for each in receipt.verdicts]


def _keys(database: Database, table: str, condition: str = "true") -> set[FixKey]:
    rows = sql.run(database, f"SELECT recorded_at, tracker_id FROM {table} WHERE {condition}")
    return {(row.recorded_at, row.tracker_id) for row in rows}


def _assert_right(database: Database, right: Sequence[ReceivedFix], wrong: Sequence[ReceivedFix]) -> None:
    """Assert that the right ones are stored and shown, the wrong ones held, and followers told of both."""
    assert _keys(database, "positions") == {each.key for each in right}
    assert _keys(database, "quarantine", "state = 'held'") == {each.key for each in wrong}
    with database.autocommit() as unit_of_work:
        [shown] = [
            each
            for each in fleet_of(unit_of_work, EVERYTHING).after(0, most=1_000)
            if each.vessel.id == right[0].vessel_id
        ]
    assert shown.latest is not None
    newest = max(right, key=lambda each: each.key)
    assert (shown.latest.recorded_at, shown.latest.motion.lon) == (
        newest.fix.recorded_at,
        newest.fix.motion.lon,
    )
    # By the order alone: what was upserted and not deleted later.
    order = sql.run(
        database,
        "SELECT seq, 'upsert' AS op, recorded_at, tracker_id FROM positions "
        "UNION ALL SELECT seq, 'delete', recorded_at, tracker_id FROM withdrawals ORDER BY seq",
    )
    assert len({row.seq for row in order}) == len(order)
    left = {}
    for row in order:
        left[row.recorded_at, row.tracker_id] = row.op
    assert {key for key, op in left.items() if op == "upsert"} == {each.key for each in right}


@pytest.fixture
def fleet(database: Database) -> Database:
    """Return a database with two vessels."""
    register_fleet(database, 2)
    return database


def _clear(database: Database) -> None:
    sql.run(database, "TRUNCATE positions, latest_positions, quarantine, withdrawals")


@given(
    count=st.integers(ENOUGH, 16),
    places=st.lists(st.sampled_from(FAR), unique=True, min_size=1, max_size=6),
    seed=st.integers(0, 2**32),
    cuts=st.integers(0, 12),
    wrong_first=st.booleans(),
)
@settings(
    max_examples=many(120),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_order_in_any_batches_comes_to_the_same_end(
    fleet: Database, count: int, places: Any, seed: int, cuts: int, wrong_first: bool
):
    _clear(fleet)
    chance = random.Random(seed)
    right = _track(count)
    wrong = [_fix(chance.randrange(-30, 60 * count, 7) + 3, *place, 3) for place in places]
    arriving = right + wrong
    chance.shuffle(arriving)
    if wrong_first:
        arriving.sort(key=lambda each: each not in wrong)
    # Some come twice.
    arriving += chance.sample(arriving, len(arriving) // 3)
    ends = sorted({0, len(arriving), *chance.sample(range(len(arriving)), cuts)})
    for first, last in pairwise(ends):
        _settle(fleet, arriving[first:last])
    _assert_right(fleet, right, wrong)
    # Whatever is sent again is known.
    told = dict(zip([each.key for each in arriving], _settle(fleet, arriving), strict=True))
    assert {told[each.key] for each in right} == {"duplicate"}
    assert {told[each.key] for each in wrong} <= {"impossible_jump", "outvoted"}


@pytest.mark.parametrize("seed", range(3))
def test_two_writers_at_once_come_to_the_same_end(fleet: Database, seed: int):
    chance = random.Random(seed)
    right = _track(24)
    wrong = [_fix(60 * 5 * n + 1, *place) for n, place in enumerate(FAR[:4])]
    halves: list[list[ReceivedFix]] = [[*wrong[:1]], [*wrong[1:2]]]
    rest = right + wrong[2:]
    chance.shuffle(rest)
    for place, each in enumerate(rest):
        halves[place % 2].append(each)
    # Both send some that the other one sends as well.
    halves[0] += halves[1][:5]
    failed: list[BaseException] = []
    start = threading.Barrier(2)

    def write(mine: Sequence[ReceivedFix]) -> None:
        start.wait()
        try:
            for first in range(0, len(mine), 2):
                _settle(fleet, mine[first : first + 2])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(half,)) for half in halves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    _assert_right(fleet, right, wrong)


def test_several_vessels_of_one_group_are_decided_on_at_once(fleet: Database):
    wrong = [_fix(-60, 20, -30, 1, 1), _fix(-60, 20, -30, 11, 2)]
    assert _settle(fleet, wrong) == ["stored", "stored"]
    tracks = [_track(5, vessel) for vessel in (1, 2)]
    assert _settle(fleet, [each for track in tracks for each in track]) == ["stored"] * 10
    assert sql.column(fleet, "SELECT count(*) FROM withdrawals GROUP BY vessel_id") == [1, 1]
    assert sql.column(fleet, "SELECT DISTINCT reason FROM quarantine WHERE state = 'held'") == ["outvoted"]


def test_of_a_vessel_that_is_outvoted_to_the_past_the_latest_moves_back(fleet: Database):
    """The wrong one is the newest; what is left is older."""
    _settle(fleet, [_fix(4_000, 20, -30)])
    track = _track(4)
    for each in track[:3]:
        assert _settle(fleet, [each]) == ["impossible_jump"]
    [shown] = sql.run(fleet, "SELECT seq FROM latest_positions")
    assert _settle(fleet, track[3:]) == ["stored"]
    [moved] = sql.run(fleet, "SELECT seq, recorded_at FROM latest_positions")
    assert moved.recorded_at == track[-1].fix.recorded_at
    # Who has read the fleet up to a number finds it beyond that.
    assert moved.seq > shown.seq


def test_what_an_operator_released_is_never_taken_back(fleet: Database):
    track = _track(10)
    _settle(fleet, track[:1])
    odd = _fix(30, 20, -30)
    assert _settle(fleet, [odd]) == ["impossible_jump"]
    with fleet.unit_of_work() as unit_of_work:
        unit_of_work.run_last(
            unit_of_work.revisions.releasing([NamedFix(1, *odd.key)], by="somebody", at=EPOCH)
        )
    for each in track[1:]:
        _settle(fleet, [each])
    assert odd.key in _keys(fleet, "positions")
    assert _keys(fleet, "positions") >= {each.key for each in track[4:]}
    assert sql.run(fleet, "SELECT * FROM withdrawals") == []


def test_what_was_outvoted_may_be_company_in_its_turn(fleet: Database):
    """One was alone for a while, and those that agree with it came late: each side is believed at last."""
    there = [_fix(60 * n, 20, -30) for n in range(6)]
    here = [_fix(600 + 60 * n, 59.9, 10.7) for n in range(8)]
    _settle(fleet, there[:1])
    for each in here:
        _settle(fleet, [each])
    assert _keys(fleet, "positions") == {each.key for each in here}
    for each in there[1:]:
        _settle(fleet, [each])
    assert _keys(fleet, "positions") == {each.key for each in here + there}
