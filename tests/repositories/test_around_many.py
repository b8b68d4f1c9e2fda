"""What is known around many fixes all over a longer history, which is found in several rounds."""

import bisect
from datetime import timedelta

import pytest
from tests.support.factories import EPOCH, World, rolled_back

from harbor_api.database import Database
from harbor_api.domain.positions import Fix, FixKey, Motion, ReceivedFix, stretches_of
from harbor_api.domain.received_columns import ReceivedColumns


def _received_fix(vessel_id: int, second: int) -> ReceivedFix:
    fix = Fix(recorded_at=EPOCH + timedelta(seconds=second), motion=Motion(lat=59.9, lon=10.7))
    return ReceivedFix(vessel_id=vessel_id, tracker_id=1, received_at=EPOCH, fix=fix)


def _key(second: int) -> FixKey:
    return EPOCH + timedelta(seconds=second), 1


# Of 2,000 fixes, ten seconds apart: all over, dense but for the first, on the stored ones, and one by one.
@pytest.mark.parametrize(
    "asked",
    [
        range(5, 20_000, 200),
        [-5, *range(19_001, 19_101)],
        range(0, 20_000, 190),
        [5, 19_995],
        [*range(5, 400), 10_000, 19_990, 30_000],
    ],
)
def test_the_nearest_of_each_are_among_what_is_found(database: Database, world: World, asked):
    vessel = world.vessel().id
    stored = [_key(second) for second in range(0, 20_000, 10)]
    with rolled_back(database) as unit_of_work:
        history = [_received_fix(vessel, second) for second in range(0, 20_000, 10)]
        unit_of_work.run_last(unit_of_work.positions.addition(ReceivedColumns.of(history)))
        around = unit_of_work.positions.around(
            stretches_of([_received_fix(vessel, second) for second in asked])
        )[vessel]
    found = [each.key for each in around.stored]
    assert around.newest == stored[-1]
    assert found == sorted(set(found))
    for key in map(_key, asked):
        for place in (bisect.bisect_left(stored, key) - 1, bisect.bisect_right(stored, key)):
            if 0 <= place < len(stored):
                assert stored[place] in found
        assert (key in found) == (key in stored)
