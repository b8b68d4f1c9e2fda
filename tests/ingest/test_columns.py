"""Fixes that come by the column become exactly what they become one by one."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import sql
from tests.support.examples import many
from tests.support.factories import EPOCH, World

from harbor_api.database import Database
from harbor_api.domain.judgement import Thresholds
from harbor_api.domain.positions import Fix, Motion, ReceivedFix, Submission
from harbor_api.domain.received_columns import ByColumn, ReceivedColumns
from harbor_api.ingest import settling

# One of ten metres north a second is fast for a ship, and no jump; one of a degree is.
_STEP = 1e-4
_NOW = EPOCH + timedelta(days=1)
_fixes = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(0, 1),
        st.integers(0, 600),
        st.sampled_from([0, 0, 0, 0, 0, 0, 1, 60]),
        st.sampled_from([None, 5.0, 9_000.0]),
    ),
    min_size=1,
    max_size=25,
)
_STORED = "SELECT to_jsonb(p) - 'seq' FROM positions p ORDER BY vessel_id, recorded_at, tracker_id"
_LATEST = "SELECT to_jsonb(p) - 'seq' FROM latest_positions p ORDER BY vessel_id"
_HELD = """
SELECT to_jsonb(q) - 'id' - 'decided_at' FROM quarantine q ORDER BY vessel_id, recorded_at, tracker_id
"""
# What was held and released later has a later number.
_IN_ORDER = """
SELECT count(*) FROM (
    SELECT seq, lag(seq) OVER (PARTITION BY vessel_id, received_at ORDER BY recorded_at, tracker_id) AS before
    FROM positions AS p WHERE NOT EXISTS (
        SELECT FROM quarantine AS q
        WHERE (q.vessel_id, q.recorded_at, q.tracker_id) = (p.vessel_id, p.recorded_at, p.tracker_id)
    )
) AS each WHERE seq <= before
"""


def _received(world_ids, fixes, at) -> list[ReceivedFix]:
    vessels, trackers = world_ids
    return [
        ReceivedFix(
            vessels[vessel],
            trackers[vessel][tracker],
            at,
            Fix(
                EPOCH + timedelta(seconds=second, milliseconds=tracker),
                Motion(59.9 + second * _STEP + jump, 10.7, sog=8.4, nav_status=0, accuracy_m=accuracy_m),
            ),
            {"second": second},
        )
        for vessel, tracker, second, jump, accuracy_m in fixes
    ]


def _settled(database: Database, groups: Sequence[Sequence[Submission]]):
    """Return the verdicts of groups that are settled in turn, and all that there is afterwards."""
    sql.run(database, "TRUNCATE positions, latest_positions, quarantine, withdrawals")
    thresholds = Thresholds(noise_m=25, retention=timedelta(days=30))
    verdicts = [
        [
            receipt.verdicts
            for receipt in database.transact(
                partial(settling.settle, submissions=group, thresholds=thresholds)
            )
        ]
        for group in groups
    ]
    kept = [[row for (row,) in sql.run(database, statement)] for statement in (_STORED, _LATEST, _HELD)]
    [(disorder,)] = sql.run(database, _IN_ORDER)
    assert disorder == 0
    return verdicts, kept


@given(
    groups=st.lists(st.lists(_fixes, min_size=1, max_size=3), min_size=1, max_size=4),
    by_column=st.lists(st.booleans(), min_size=12, max_size=12),
)
@settings(max_examples=many(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_becomes_of_fixes_does_not_depend_on_how_they_come(
    database: Database, world: World, groups, by_column
):
    vessels = [world.vessel(name) for name in "ab"]
    trackers = [[world.tracker(each).tracker.number for _ in range(2)] for each in vessels]
    ids = [each.id for each in vessels], trackers
    ways = iter(by_column)
    one_by_one, mixed = [], []
    for number, group in enumerate(groups):
        at = _NOW + timedelta(seconds=number)
        one_by_one.append([Submission(tracker_id=1, fixes=_received(ids, each, at)) for each in group])
        mixed.append(
            [
                Submission(
                    tracker_id=1,
                    fixes=ByColumn(ReceivedColumns.of(each.fixes), [one.raw for one in each.fixes])
                    if next(ways)
                    else each.fixes,
                )
                for each in one_by_one[-1]
            ]
        )
    assert _settled(database, mixed) == _settled(database, one_by_one)
