"""What a worker remembers of a tracker decides nothing: a change holds from the very next request on.

The application here has met the tracker; the changes are made past it, as another worker would make them.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import ACTOR, EPOCH, MASTER_KEY, SigningTracker, World, a_fix
from tests.support.urls import BATCH, POSITIONS

from harbor_api.database import Database
from harbor_api.domain.signatures import derive_secret
from harbor_api.domain.trackers import Tracker
from harbor_api.ingest import known_trackers
from harbor_api.ingest.known_trackers import KnownTrackers
from harbor_api.postgres.tables import VESSELS_LOCK
from harbor_api.services import trackers
from harbor_api.web import runtime


@pytest.fixture
def met(client: CheckedClient, world: World) -> SigningTracker:
    """Return a tracker that the application knows."""
    tracker = world.tracker()
    assert client.post(POSITIONS, **tracker.signed(a_fix())).status_code == 201
    return tracker


def _rotate(database: Database, number: int, grace: timedelta) -> SigningTracker:
    with database.unit_of_work() as unit_of_work:
        after = trackers.rotate(unit_of_work, number, grace=grace, now=datetime.now(UTC), actor=ACTOR)
    return SigningTracker(after, derive_secret(MASTER_KEY, after.id, after.generation))


def _disable(database: Database, number: int) -> None:
    with database.unit_of_work() as unit_of_work:
        trackers.disable(unit_of_work, number, now=datetime.now(UTC), actor=ACTOR)


def _count(database: Database) -> int:
    return sql.count(database, "positions")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (POSITIONS, a_fix(60)),
        (BATCH, {"fixes": [a_fix(60)]}),
        # Neither what is wrong with a fix nor its number is looked at before its caller is known.
        (POSITIONS, {"lat": 1}),
        (POSITIONS, {"lat": 1, "number": 7}),
        (POSITIONS, b"{"),
        (BATCH, {}),
        (f"{POSITIONS}?x=1", a_fix(60)),
    ],
)
def test_a_tracker_that_was_disabled_is_refused(client, database, met, path, body):
    _disable(database, met.tracker.number)
    answer = client.post(path, **met.signed(body))
    assert (answer.status_code, answer.json["code"]) == (403, "tracker_disabled")
    assert _count(database) == 1
    with database.autocommit() as unit_of_work:
        assert unit_of_work.arrived_numbers.missing(met.tracker.number) == ()


def test_a_secret_that_was_ended_is_refused_and_the_new_one_taken(client, database, met):
    renewed = _rotate(database, met.tracker.number, timedelta(0))
    refused = client.post(POSITIONS, **met.signed(a_fix(60)))
    assert (refused.status_code, refused.json["code"]) == (401, "signature_invalid")
    assert client.post(POSITIONS, **renewed.signed(a_fix(60))).status_code == 201


def test_the_first_request_after_a_rotation_is_taken_with_either_secret(client, database, met):
    renewed = _rotate(database, met.tracker.number, timedelta(hours=1))
    assert "secret_ends_at" in client.post(POSITIONS, **met.signed(a_fix(60))).json
    assert client.post(POSITIONS, **renewed.signed(a_fix(120))).status_code == 201


def test_one_that_is_enabled_again_may_post_at_once(client, database, met):
    _disable(database, met.tracker.number)
    assert client.post(POSITIONS, **met.signed(a_fix(60))).status_code == 403
    with database.unit_of_work() as unit_of_work:
        trackers.enable(unit_of_work, met.tracker.number, actor=ACTOR)
    assert client.post(POSITIONS, **met.signed(a_fix(60))).status_code == 201


def test_fixes_go_to_the_vessel_that_it_was_just_assigned_to(client, database, met, world):
    other = world.vessel("Other")
    with database.unit_of_work() as unit_of_work:
        trackers.reassign(
            unit_of_work,
            met.tracker.number,
            vessel_id=other.id,
            starts_at=EPOCH + timedelta(seconds=30),
            now=datetime.now(UTC),
            versions=None,
            actor=ACTOR,
        )
    assert client.post(POSITIONS, **met.signed(a_fix(60))).json["latest"]
    rows = sql.column(database, "SELECT vessel_id FROM positions ORDER BY recorded_at")
    assert rows == [met.tracker.vessel_id, other.id]


def test_one_that_is_changed_while_its_fix_waits_in_a_group_holds_up_no_other(
    client, database, met, world, app
):
    others = [world.tracker() for _ in range(3)]
    for each in others:
        assert client.post(POSITIONS, **each.signed(a_fix())).status_code == 201

    def post(tracker: SigningTracker) -> Any:
        return CheckedClient(app).post(POSITIONS, **tracker.signed(a_fix(60)))

    waiting = runtime.of(app).intake._settlings._waiting
    with ThreadPoolExecutor(len(others) + 1) as pool:
        with database.unit_of_work() as unit_of_work:
            # The first one waits for its vessel; those who come meanwhile make the next group.
            unit_of_work.positions.admit([others[0].tracker.vessel_id], [])
            asked = [pool.submit(post, others[0])]
            _eventually(lambda: _is_waited_for(database, others[0].tracker.vessel_id))
            asked += [pool.submit(post, each) for each in (met, *others[1:])]
            _eventually(lambda: len(waiting) == len(others))
            _disable(database, met.tracker.number)
        first, refused, *rest = [each.result(20) for each in asked]
    assert [each.status_code for each in (first, *rest)] == [201, 201, 201]
    assert (refused.status_code, refused.json["code"]) == (403, "tracker_disabled")


def _is_waited_for(database: Database, vessel_id: int) -> bool:
    waiting = (
        "pg_locks WHERE locktype = 'advisory' AND NOT granted "
        f"AND classid = {VESSELS_LOCK} AND objid = {vessel_id}"
    )
    return sql.count(database, waiting) > 0


def _eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 4
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)


@pytest.fixture
def found() -> list[int]:
    return []


@pytest.fixture
def find(found: list[int]) -> Callable[[int], Tracker | None]:
    """Return a look-up that knows every tracker but number 0, and notes what it was asked."""

    def look_up(number: int) -> Tracker | None:
        found.append(number)
        return Tracker(number=number, label="", generation=1, assignments=()) if number else None

    return look_up


def test_no_more_are_remembered_than_there_is_room_for(monkeypatch, find, found):
    monkeypatch.setattr(known_trackers, "_MOST", 3)
    known = KnownTrackers(find)
    for number in (1, 2, 3, 1, 4):
        known.look_up(number)
    # The one that was looked up longest ago had to go.
    assert [number for number in range(5) if known.recall(number)] == [1, 3, 4]
    assert found == [1, 2, 3, 1, 4]


def test_one_that_there_is_not_is_not_remembered(find):
    known = KnownTrackers(find)
    assert known.look_up(0) is None
    assert known.recall(0) is None
