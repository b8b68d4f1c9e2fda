"""What an operator does with a tracker: reassign, rotate, disable and enable."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import ACTOR, EPOCH, MASTER_KEY, SigningTracker, World
from tests.support.urls import POSITIONS

from harbor_api.domain import authentication, signatures
from harbor_api.domain.changes import Edit
from harbor_api.domain.errors import Conflict, NotFound, PreconditionFailed, SignatureInvalid, TrackerDisabled
from harbor_api.domain.signatures import SignedMessage, derive_secret
from harbor_api.domain.times import rfc3339
from harbor_api.domain.trackers import Tracker
from harbor_api.services import trackers, vessels

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def _accept(client: CheckedClient, signing: SigningTracker, recorded_at: datetime) -> str:
    fix = {"recorded_at": rfc3339(recorded_at), "lat": 59.9, "lon": 10.7}
    verdict: str = client.post(POSITIONS, **signing.signed(fix)).json["verdict"]
    return verdict


def _stored(world: World, vessel_id: int) -> int:
    return sql.count(world.database, f"positions WHERE vessel_id = {vessel_id}")


def _reassign(world: World, tracker: Tracker, vessel_id: int, starts_at: datetime, **how: Any) -> Tracker:
    with world.database.unit_of_work() as unit_of_work:
        return trackers.reassign(
            unit_of_work,
            tracker.number,
            vessel_id=vessel_id,
            starts_at=starts_at,
            now=EPOCH + timedelta(days=300),
            **{"versions": None, "actor": ACTOR, **how},
        )


class TestReassign:
    def test_late_fixes_go_to_the_vessel_on_which_they_were_taken(self, client: CheckedClient, world: World):
        old, new = world.vessel("Old"), world.vessel("New")
        signing = world.tracker(old)
        tracker = signing.tracker
        assert _accept(client, signing, EPOCH) == "stored"

        _reassign(world, tracker, new.id, EPOCH + HOUR)
        for minutes in (1, 59, 60, 61):
            assert _accept(client, signing, EPOCH + timedelta(minutes=minutes)) == "stored"

        assert (_stored(world, old.id), _stored(world, new.id)) == (3, 2)

    def test_a_fix_that_is_sent_again_after_it_is_still_a_duplicate(
        self, client: CheckedClient, world: World
    ):
        old, new = world.vessel("Old"), world.vessel("New")
        signing = world.tracker(old)
        tracker = signing.tracker
        _accept(client, signing, EPOCH)
        _reassign(world, tracker, new.id, EPOCH + HOUR)
        assert _accept(client, signing, EPOCH) == "duplicate"

    def test_a_tracker_may_come_back(self, world: World):
        old, new = world.vessel("Old"), world.vessel("New")
        tracker = world.tracker(old).tracker
        _reassign(world, tracker, new.id, EPOCH)
        back = _reassign(world, tracker, old.id, EPOCH + HOUR)
        assert [back.vessel_at(EPOCH + delta) for delta in (-HOUR, HOUR / 2, HOUR)] == [
            old.id,
            new.id,
            old.id,
        ]

    @pytest.mark.parametrize("seconds", [-1, 0])
    def test_conflict_where_a_fix_is_stored_already(self, client: CheckedClient, world: World, seconds):
        signing, new = world.tracker(), world.vessel("New")
        tracker = signing.tracker
        _accept(client, signing, EPOCH)
        with pytest.raises(Conflict, match="is stored already"):
            _reassign(world, tracker, new.id, EPOCH + timedelta(seconds=seconds))
        _reassign(world, tracker, new.id, EPOCH + timedelta(seconds=1))

    @pytest.mark.parametrize("seconds", [-1, 0])
    def test_conflict_where_another_assignment_starts_then_or_later(self, world: World, seconds):
        tracker, new = world.tracker().tracker, world.vessel("New")
        _reassign(world, tracker, new.id, EPOCH)
        with pytest.raises(Conflict, match="already"):
            _reassign(world, tracker, new.id, EPOCH + timedelta(seconds=seconds))

    def test_conflict_where_the_vessel_is_retired_or_not_there(self, world: World):
        tracker, retired = world.tracker().tracker, world.vessel("Retired")
        with world.database.unit_of_work() as unit_of_work:
            vessels.retire(unit_of_work, retired.id, actor=ACTOR)
        for vessel_id in (retired.id, 2_000_000_000):
            with pytest.raises(Conflict):
                _reassign(world, tracker, vessel_id, EPOCH)

    def test_precondition_failed_where_somebody_was_faster(self, world: World):
        tracker, new = world.tracker().tracker, world.vessel("New")
        with pytest.raises(PreconditionFailed):
            _reassign(world, tracker, new.id, EPOCH, versions={tracker.version + 1})
        assert _reassign(world, tracker, new.id, EPOCH, versions={tracker.version}).version > tracker.version

    def test_not_found_where_there_is_no_such_tracker(self, world: World):
        vessel = world.vessel()
        with pytest.raises(NotFound), world.database.unit_of_work() as unit_of_work:
            trackers.reassign(
                unit_of_work,
                9999,
                vessel_id=vessel.id,
                starts_at=EPOCH,
                now=EPOCH + timedelta(days=300),
                versions=None,
                actor=ACTOR,
            )


def _authenticate(
    world: World, tracker: Tracker, generation: int, now: datetime
) -> authentication.SigningTracker:
    secret = derive_secret(MASTER_KEY, tracker.id, generation)
    message_id, timestamp = f"{tracker.id}-1", int(now.timestamp())
    signature = signatures.sign(secret, message_id, timestamp, b"{}")
    message = SignedMessage(tracker.id, message_id, str(timestamp), signature, b"{}", now)
    with world.database.autocommit() as unit_of_work:
        found = unit_of_work.trackers.find(tracker.number)
    return authentication.authenticate(found, message, secrets=signatures.Secrets(MASTER_KEY))


def _rotate(world: World, tracker: Tracker, grace: timedelta, now: datetime) -> Tracker:
    with world.database.unit_of_work() as unit_of_work:
        return trackers.rotate(unit_of_work, tracker.number, grace=grace, now=now, actor=ACTOR)


class TestRotate:
    def test_both_secrets_hold_for_the_grace_time_and_the_older_one_is_told_its_end(self, world: World):
        tracker = world.tracker().tracker
        _rotate(world, tracker, DAY, EPOCH)

        assert _authenticate(world, tracker, 1, EPOCH + HOUR).secret_ends_at == EPOCH + DAY
        assert _authenticate(world, tracker, 2, EPOCH + HOUR).secret_ends_at is None
        with pytest.raises(SignatureInvalid):
            _authenticate(world, tracker, 1, EPOCH + DAY)
        assert _authenticate(world, tracker, 2, EPOCH + DAY).tracker.generation == 2

    def test_the_next_secret_does_not_hold_before_the_rotation(self, world: World):
        with pytest.raises(SignatureInvalid):
            _authenticate(world, world.tracker().tracker, 2, EPOCH)

    def test_conflict_while_a_rotation_is_under_way(self, world: World):
        tracker = world.tracker().tracker
        _rotate(world, tracker, DAY, EPOCH)
        with pytest.raises(Conflict):
            _rotate(world, tracker, DAY, EPOCH + HOUR)
        assert _rotate(world, tracker, DAY, EPOCH + DAY).generation == 3

    def test_without_grace_all_earlier_secrets_end_at_once(self, world: World):
        tracker = world.tracker().tracker
        _rotate(world, tracker, DAY, EPOCH)
        _rotate(world, tracker, timedelta(0), EPOCH + HOUR)
        for generation in (1, 2):
            with pytest.raises(SignatureInvalid):
                _authenticate(world, tracker, generation, EPOCH + HOUR)
        assert _authenticate(world, tracker, 3, EPOCH + HOUR).secret_ends_at is None


class TestDisable:
    def test_its_signature_is_refused_until_it_is_enabled(self, world: World):
        tracker = world.tracker().tracker
        with world.database.unit_of_work() as unit_of_work:
            trackers.disable(unit_of_work, tracker.number, now=EPOCH, actor=ACTOR)
        with pytest.raises(TrackerDisabled):
            _authenticate(world, tracker, 1, EPOCH)
        with world.database.unit_of_work() as unit_of_work:
            trackers.enable(unit_of_work, tracker.number, actor=ACTOR)
        assert _authenticate(world, tracker, 1, EPOCH).tracker.disabled_at is None

    def test_one_that_is_disabled_or_enabled_stays_as_it_is(self, world: World):
        tracker = world.tracker().tracker
        with world.database.unit_of_work() as unit_of_work:
            assert trackers.enable(unit_of_work, tracker.number, actor=ACTOR) == tracker
            first = trackers.disable(unit_of_work, tracker.number, now=EPOCH, actor=ACTOR)
            second = trackers.disable(unit_of_work, tracker.number, now=EPOCH + DAY, actor=ACTOR)
        assert first == second
        assert first.disabled_at == EPOCH


def test_a_change_of_nothing_is_none(world: World):
    """As with vessels and keys: no version and no entry for what stays as it is."""
    tracker = world.tracker().tracker
    with world.database.unit_of_work() as unit_of_work:
        same = trackers.change(
            unit_of_work, tracker.number, Edit({"label": tracker.label}), versions=None, actor=ACTOR
        )
        entries = unit_of_work.audit.search(after=None, limit=9, newest_first=True)
    assert same.version == tracker.version
    assert "tracker.changed" not in {each.action for each in entries}
