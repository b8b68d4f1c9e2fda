"""Settling fixes: each is stored once, in committed order, and the latest never moves back."""

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import sql
from tests.support.examples import many
from tests.support.factories import EPOCH, EVERYTHING, World, fleet_of

from harbor_api.database import Database, UnitOfWork
from harbor_api.domain.judgement import Thresholds
from harbor_api.domain.positions import Fix, Motion, ReceivedFix, Submission, Verdict
from harbor_api.ingest import settling
from harbor_api.ingest.known_trackers import TrackerChanged
from harbor_api.postgres import statements

received_fixes = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 12), st.integers(0, 2)),
    min_size=1,
    max_size=30,
)


@pytest.fixture
def arrive(world: World) -> Callable[[int, int, int, float], ReceivedFix]:
    """Return a function that makes received_fixes of two vessels with two trackers each."""
    vessels = [world.vessel("One"), world.vessel("Two")]
    trackers = [[world.tracker(vessel).tracker for _ in range(2)] for vessel in vessels]

    def make(vessel: int, tracker: int, second: int, lat: float) -> ReceivedFix:
        return ReceivedFix(
            vessel_id=vessels[vessel].id,
            tracker_id=trackers[vessel][tracker].number,
            received_at=EPOCH,
            fix=Fix(recorded_at=EPOCH + timedelta(seconds=second), motion=Motion(lat=lat, lon=1.5, sog=0.1)),
        )

    return make


def settle(unit_of_work: UnitOfWork, fixes: Sequence[tuple[int, int, int, int]], arrive) -> list[Verdict]:
    """Settle fixes of vessels that may jump as they like."""
    submission = Submission(tracker_id=1, fixes=tuple(arrive(*each) for each in fixes))
    [receipt] = settling.settle(unit_of_work, [submission], thresholds=Thresholds(noise_m=1e9))
    return list(receipt.verdicts)


def _by_key(group: Sequence[tuple[int, int, int, int]]) -> dict[tuple[int, int, int], list[tuple[int, int]]]:
    """Return the contents of each key, each with its place in the group."""
    contents: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
    for place, (vessel, tracker, second, lat) in enumerate(group):
        contents.setdefault((vessel, tracker, second), []).append((lat, place))
    return contents


@given(groups=st.lists(received_fixes, min_size=1, max_size=4))
@settings(max_examples=many(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_and_any_repeats_end_alike(database: Database, arrive, groups):
    """Against a model: a dict by key, in which the first content stays."""
    sql.run(database, "TRUNCATE positions, latest_positions")
    stored: dict[tuple[int, int, int], float] = {}
    for group in groups:
        verdicts = database.transact(partial(settle, fixes=group, arrive=arrive))
        newest = {}
        # Of several contents for one key the first in order is stored, whichever came first.
        first = {key: min(run) for key, run in _by_key(group).items() if key not in stored}
        expected = []
        for place, (vessel, tracker, second, lat) in enumerate(group):
            key = (vessel, tracker, second)
            is_new = first.get(key) == (lat, place)
            expected.append((is_new, not is_new and stored.get(key, first.get(key, (lat,))[0]) != lat))
        stored |= {key: lat for key, (lat, _) in first.items()}
        for vessel, tracker, second in stored:
            newest[vessel] = max(newest.get(vessel, (-1, -1)), (second, tracker))
        assert [(v.verdict == "stored", bool(v.differs)) for v in verdicts] == expected
        assert [v.latest for v in verdicts] == [
            newest[vessel] == (second, tracker) for vessel, tracker, second, _ in group
        ]
    with database.autocommit() as unit_of_work:
        fleet = fleet_of(unit_of_work, EVERYTHING).after(0, most=1_000)
        [count] = sql.run(unit_of_work, "SELECT count(*), count(DISTINCT seq) FROM positions")
    assert tuple(count) == (len(stored), len(stored))
    for index, shown in enumerate(fleet):
        if index in newest:
            second, tracker = newest[index]
            assert shown.latest is not None
            assert shown.latest.recorded_at == EPOCH + timedelta(seconds=second)
            assert shown.latest.motion.lat == stored[index, tracker, second]
        else:
            assert shown.latest is None


def test_concurrent_writers_store_once_and_agree(database: Database, arrive):
    verdicts: list[list[object]] = [[] for _ in range(4)]
    start = threading.Barrier(4)

    def write(mine: list[object]) -> None:
        start.wait()
        for second in range(60):
            fixes = [(0, 0, second, 1), (1, 0, 60 - second, 1)]
            mine += database.transact(partial(settle, fixes=fixes, arrive=arrive))

    threads = [threading.Thread(target=write, args=(mine,)) for mine in verdicts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    everything = [verdict for mine in verdicts for verdict in mine]
    assert sum(verdict.verdict == "stored" for verdict in everything) == 120
    assert not any(verdict.differs for verdict in everything)
    with database.autocommit() as unit_of_work:
        assert [
            shown.latest.recorded_at for shown in fleet_of(unit_of_work, EVERYTHING).after(0, most=1_000)
        ] == [
            EPOCH + timedelta(seconds=59),
            EPOCH + timedelta(seconds=60),
        ]


def test_numbers_become_visible_in_their_order(database: Database, arrive):
    """A reader that remembers the highest number it saw never meets a lower one afterwards."""
    done = threading.Event()
    seen: list[int] = []
    late: list[int] = []

    def read() -> None:
        known: set[int] = set()
        while not done.is_set():
            rows = sql.column(database, "SELECT seq FROM positions")
            new = set(rows) - known
            if known:
                late.extend(number for number in new if number < max(known))
            known |= new
        seen.extend(known)

    def write(tracker: int) -> None:
        for second in range(0, 200, 2):
            try:
                with database.unit_of_work() as unit_of_work:
                    settle(unit_of_work, [(0, tracker, second, 1), (1, tracker, second, 1)], arrive)
                    if second % 20 == 0:
                        raise KeyError
            except KeyError:
                continue

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(tracker,)) for tracker in range(2)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert late == []
    assert len(seen) > 0


def test_a_group_is_two_round_trips_of_statements_that_are_prepared(database: Database, arrive, monkeypatch):
    trips: list[list[str]] = []
    run_all = statements.run_all

    def counted(connection, several):
        several = [*several]
        trips.append([each.text.split()[0].decode() for each in several])
        return run_all(connection, several)

    monkeypatch.setattr(statements, "run_all", counted)
    monkeypatch.setattr(statements, "rows", None)
    monkeypatch.setattr(statements, "run", None)
    for second in range(20):
        database.transact(partial(settle, fixes=[(0, 0, second, 1)], arrive=arrive))
    assert trips == [["BEGIN", "WITH", "SELECT"], ["WITH", "COMMIT"]] * 20
    monkeypatch.undo()
    prepared = "\n".join(sql.column(database, "SELECT statement FROM pg_prepared_statements"))
    for part in ("pg_advisory_xact_lock($1, vessel_id)", "near.reason", "INSERT INTO positions "):
        assert prepared.count(part) == 1, prepared


@pytest.mark.parametrize("is_known", [True, False])
def test_a_tracker_that_was_changed_leaves_nothing(database: Database, arrive, is_known: bool):
    tracker = arrive(0, 0, 0, 1).tracker_id
    versions = [1, 0] if is_known else [0, 1]
    submissions = [
        Submission(
            tracker_id=tracker, fixes=(arrive(0, 0, second, 1),), numbers=(second,), tracker_version=version
        )
        for second, version in enumerate(versions)
    ]
    with pytest.raises(TrackerChanged):
        database.transact(partial(settling.settle, submissions=submissions, thresholds=Thresholds()))
    for table in ("positions", "latest_positions", "quarantine", "arrived_numbers"):
        assert sql.count(database, table) == 0, table
