"""What is known around fixes, against a look at everything; and the locks that come before it."""

import threading
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import sql
from tests.support.examples import many
from tests.support.factories import EPOCH, World, rolled_back

from harbor_api.database import Database, UnitOfWork
from harbor_api.domain.positions import Fix, FixKey, Motion, ReceivedFix, stretches_of
from harbor_api.domain.received_columns import ReceivedColumns
from harbor_api.postgres.connections import StatementFailed

_keys = st.tuples(st.integers(0, 90), st.integers(1, 2))


def _received_fix(vessel_id: int, second: int, tracker: int) -> ReceivedFix:
    fix = Fix(recorded_at=EPOCH + timedelta(seconds=second), motion=Motion(lat=second / 100, lon=10.7))
    return ReceivedFix(vessel_id=vessel_id, tracker_id=tracker, received_at=EPOCH, fix=fix)


def _key(second: int, tracker: int) -> FixKey:
    return EPOCH + timedelta(seconds=second), tracker


def test_the_nearest_on_each_side_are_among_what_is_found(database: Database, world: World):
    vessel, other = world.vessel("One"), world.vessel("Other")

    @settings(max_examples=many(120), deadline=None, derandomize=True)
    @given(st.sets(_keys, max_size=80), st.sets(_keys), st.sets(_keys, min_size=1, max_size=6))
    def check(stored, held, asked):
        def look(unit_of_work: UnitOfWork):
            unit_of_work.positions.admit([vessel.id, other.id], [])
            if stored:
                rows = [_received_fix(each.id, *key) for each in (vessel, other) for key in sorted(stored)]
                unit_of_work.run_last(unit_of_work.positions.addition(ReceivedColumns.of(rows)))
            if held:
                unit_of_work.quarantine.hold((_received_fix(vessel.id, *key), "future") for key in held)
            return unit_of_work.positions.around(
                stretches_of([_received_fix(vessel.id, *key) for key in sorted(asked)])
            )

        with rolled_back(database) as unit_of_work:
            around = look(unit_of_work)
        assert list(around) == [vessel.id]
        known = around[vessel.id]
        found = [each.key for each in known.stored]
        everything = sorted(_key(*key) for key in stored)
        assert found == sorted(set(found))
        assert set(found) <= set(everything)
        assert all(each.lat == (each.recorded_at - EPOCH).total_seconds() / 100 for each in known.stored)
        assert known.newest == max(everything, default=None)
        for key in (_key(*each) for each in asked):
            assert (key in found) == (key in everything)
            assert max((each for each in found if each < key), default=None) == max(
                (each for each in everything if each < key), default=None
            )
            assert min((each for each in found if each > key), default=None) == min(
                (each for each in everything if each > key), default=None
            )
            assert (key in known.held) == (key in {_key(*each) for each in held})

    check()


@pytest.mark.parametrize("trackers", [[], [1]])
def test_nobody_else_is_admitted_to_a_vessel_before_the_end(database: Database, world: World, trackers):
    vessel = world.tracker().tracker.vessel_id
    order: list[str] = []

    def follow() -> None:
        with database.unit_of_work() as unit_of_work:
            unit_of_work.positions.admit([vessel], trackers)
            order.append("second")

    thread = threading.Thread(target=follow)
    with database.unit_of_work() as unit_of_work:
        assert unit_of_work.positions.admit([vessel], trackers) == dict.fromkeys(trackers, 1)
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_commit_that_fails_with_its_last_statement_leaves_nothing(database: Database, world: World):
    tracker = world.tracker().tracker
    fixes = [_received_fix(tracker.vessel_id, second, tracker.number) for second in (0, 60)]

    def add(unit_of_work: UnitOfWork, received_fixes: list[ReceivedFix]) -> None:
        unit_of_work.arrived_numbers.note([(tracker.number, len(received_fixes))])
        unit_of_work.run_last(unit_of_work.positions.addition(ReceivedColumns.of(received_fixes)))

    database.transact(lambda unit_of_work: add(unit_of_work, fixes[:1]))
    with pytest.raises(StatementFailed, match="UniqueViolation"):
        database.transact(lambda unit_of_work: add(unit_of_work, fixes))
    # The connection goes on, and neither the second fix nor the note is there.
    with database.autocommit() as unit_of_work:
        read = sql.connection_of(unit_of_work).exec_driver_sql
        assert read("SELECT recorded_at FROM positions").scalars().all() == [EPOCH]
        assert read("SELECT numbers::text FROM arrived_numbers").scalars().all() == ["{[1,2)}"]
    database.transact(lambda unit_of_work: add(unit_of_work, fixes[1:]))
