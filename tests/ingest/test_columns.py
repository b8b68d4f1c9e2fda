"""Fixes that come by the column become exactly what they become one by one."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import sql
from tests.support.examples import many
from tests.support.factories import EPOCH, MASTER_KEY, World

from harbor_api.database import Database
from harbor_api.domain.judgement import LAST_RESET, ROLLOVER, Thresholds
from harbor_api.domain.positions import Submission
from harbor_api.domain.times import rfc3339
from harbor_api.domain.trackers import Assignment, Tracker
from harbor_api.ingest import intake, settling
from harbor_api.schemas import fix_columns
from harbor_api.schemas.positions import load_fix
from harbor_api.settings import Settings

_NOW = EPOCH + timedelta(days=1)
_THRESHOLDS = Thresholds(noise_m=25, retention=timedelta(days=30))
# One of ten metres north a second is fast for a ship, and no jump; one of a degree is.
_STEP = 1e-4
# When the trackers that move are on the next vessel.
_MOVES_S = (300, 301)
_KINDS = {
    "sound": 60,
    "a jump": 6,
    "far away": 4,
    "null island": 2,
    "on the equator": 1,
    "from the future": 2,
    "just not from the future": 1,
    "of weeks ago": 2,
    "kept no longer": 2,
    "of a clock that was reset": 1,
    "of just after a reset": 1,
    "at a move": 6,
    "just before a move": 3,
}


def _fixes(kinds: Sequence[str]) -> st.SearchStrategy[list[Any]]:
    return st.lists(
        st.tuples(
            st.sampled_from(kinds),
            st.integers(0, 600),
            st.sampled_from([None, 5.0, 40.0, 9_000.0, 20_000.0]),
        ),
        min_size=1,
        max_size=20,
        # Of most batches nothing is told but that they are sound.
        unique_by=(lambda each: each[1]) if len(kinds) == 1 else None,
    )


_submissions = st.tuples(
    st.integers(0, 5),
    st.one_of(_fixes(["sound"]), _fixes([each for each, weight in _KINDS.items() for _ in range(weight)])),
    st.sampled_from([None, None, 0, 10, 1_000]),
)
_KEPT = (
    "SELECT to_jsonb(p) FROM positions p ORDER BY seq",
    "SELECT to_jsonb(p) FROM latest_positions p ORDER BY vessel_id",
    "SELECT to_jsonb(q) - 'id' - 'decided_at' FROM quarantine q ORDER BY vessel_id, recorded_at, tracker_id",
    "SELECT to_jsonb(w) - 'at' FROM withdrawals w ORDER BY seq",
    "SELECT to_jsonb(a) FROM arrived_numbers a ORDER BY tracker_id",
)
_AFRESH = """
TRUNCATE positions, latest_positions, quarantine, withdrawals, arrived_numbers;
SELECT setval('fleet_order', 1)
"""


class _Noting:
    """Stands where groups are made: takes what is handed over."""

    def do(self, submission: Submission, *, weight: int) -> Submission:
        """Return a submission as it came."""
        assert weight == len(submission.fixes)
        return submission


@pytest.fixture
def noting(database: Database, monkeypatch) -> Any:
    """Return an intake that hands over to nobody, for batches of any size."""
    monkeypatch.setattr(fix_columns, "LEAST", 1)
    made: Any = intake.Intake(database, Settings(tracker_master_key=MASTER_KEY))
    made._settlings = _Noting()
    return made


def _item(
    tracker: Tracker, place: int, number: int | None, kind: str, second: int, accuracy_m: float | None
) -> Any:
    """Return a fix as JSON: the one at a place among those of a tracker, whose vessel says about where."""
    at: datetime = EPOCH + timedelta(seconds=second)
    lat = 59.9 + second * _STEP
    lon = 10.7
    match kind:
        case "a jump":
            lat += 1
        case "far away":
            lat -= 60
        case "null island":
            lat, lon = 0.0, 0.0
        case "on the equator":
            lat = 0.0
        case "from the future":
            at = _NOW + timedelta(minutes=6)
        case "just not from the future":
            at = _NOW + timedelta(minutes=5)
        case "of weeks ago":
            at = at - ROLLOVER
        case "kept no longer":
            at = _NOW - timedelta(days=30, microseconds=second)
        case "of a clock that was reset":
            at = LAST_RESET - timedelta(seconds=second + 1)
        case "of just after a reset":
            at = LAST_RESET + timedelta(seconds=second)
        case "at a move":
            at = EPOCH + timedelta(seconds=_MOVES_S[second % 2])
        case "just before a move":
            at = EPOCH + timedelta(seconds=_MOVES_S[second % 2], microseconds=-1)
    if lon and tracker.vessel_at(at) % 2:
        # About the 180th meridian, on either side of it.
        lon = (179.9999, 180.0, -180.0, -179.9999)[second % 4]
    fix = {
        "recorded_at": rfc3339(at),
        "lat": lat,
        "lon": lon,
        "sog": 8.4,
        "nav_status": 0,
        "accuracy_m": accuracy_m,
    }
    # Every other number: some are missing.
    return fix if number is None else {**fix, "number": number + 2 * place}


def _by_column(noting: Any, tracker: Tracker, items: list[Any], now: datetime) -> Submission:
    columns = fix_columns.load_columns(items)
    assert columns is not None
    made: Submission = noting.accept_columns(SimpleNamespace(tracker=tracker), columns, items, now=now)
    return made


def _one_by_one(noting: Any, tracker: Tracker, items: list[Any], now: datetime) -> Submission:
    fixes = [*map(load_fix, items)]
    numbers = [None if each is None else each.number for each in fixes]
    signer = SimpleNamespace(tracker=tracker)
    made: Submission = noting.accept(signer, [*zip(fixes, items, strict=True)], numbers=numbers, now=now)
    return made


def _settled(database: Database, groups: Sequence[Sequence[Submission]]) -> Any:
    """Return the receipts of groups that are settled in turn, and all that there is afterwards."""
    sql.run(database, _AFRESH)
    receipts = [
        database.transact(partial(settling.settle, submissions=group, thresholds=_THRESHOLDS))
        for group in groups
    ]
    return receipts, [sql.column(database, each) for each in _KEPT]


def _trackers(world: World) -> list[Tracker]:
    """Return trackers of three vessels, two of which move from one to the next."""
    vessels = [world.vessel("a"), world.vessel("b", max_speed_kn=500), world.vessel("c")]
    trackers = []
    for first, moves in ((0, 0), (0, 0), (1, 0), (2, 0), (0, 2), (1, 1)):
        tracker = world.tracker(vessels[first]).tracker
        moments = [EPOCH, *(EPOCH + timedelta(seconds=each) for each in _MOVES_S[:moves])]
        assignments = [
            Assignment(vessel_id=vessels[first + place].id, starts_at=at) for place, at in enumerate(moments)
        ]
        trackers.append(replace(tracker, assignments=tuple(assignments)))
    return trackers


@given(
    groups=st.lists(st.lists(_submissions, min_size=1, max_size=4), min_size=1, max_size=4),
    by_column=st.lists(st.booleans(), min_size=16, max_size=16),
    again=st.booleans(),
)
@settings(max_examples=many(120), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_becomes_of_fixes_does_not_depend_on_how_they_come(
    database: Database, world: World, noting: intake.Intake, groups, by_column, again
):
    trackers = _trackers(world)
    ways = iter(by_column)
    single, mixed = [], []
    for number, group in enumerate(groups):
        single.append([])
        mixed.append([])
        for turn, (which, fixes, first) in enumerate(group):
            at = _NOW + timedelta(seconds=number, microseconds=turn)
            items = [_item(trackers[which], place, first, *each) for place, each in enumerate(fixes)]
            single[-1].append(_one_by_one(noting, trackers[which], items, at))
            mixed[-1].append((_by_column if next(ways) else _one_by_one)(noting, trackers[which], items, at))
            assert [*mixed[-1][-1].fixes] == [*single[-1][-1].fixes]
    if again:
        # What is sent again, beside what is new.
        single.append(single[0] + single[-1][:1])
        mixed.append(mixed[0] + mixed[-1][:1])
    assert _settled(database, mixed) == _settled(database, single)
