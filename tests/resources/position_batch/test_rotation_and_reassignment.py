"""Batches of a tracker whose secret is rotated or that has moved to another vessel."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.resources.position_batch.batches import LATEST, STORED, post, stored_in, verdicts_of
from tests.support.checked_client import CheckedClient
from tests.support.factories import ACTOR, EPOCH, MASTER_KEY, SigningTracker, World, a_fix
from tests.support.urls import POSITIONS as ALONE
from tests.support.urls import QUARANTINE

from harbor_api.domain.signatures import derive_secret
from harbor_api.domain.times import rfc3339
from harbor_api.domain.vessels import Vessel
from harbor_api.services import trackers

pytestmark = pytest.mark.usefixtures("either_way")


class TestATracker:
    def test_that_signs_with_the_secret_before_a_rotation_is_told_until_when(
        self, client: CheckedClient, world: World
    ):
        before = world.tracker()
        number, now = before.tracker.number, datetime.now(UTC).replace(microsecond=0)
        with world.database.unit_of_work() as unit_of_work:
            tracker = trackers.rotate(unit_of_work, number, grace=timedelta(days=7), now=now, actor=ACTOR)
        after = SigningTracker(tracker, derive_secret(MASTER_KEY, tracker.id, tracker.generation))
        ends = rfc3339(now + timedelta(days=7))

        assert post(client, before, [a_fix(0)]).json == {"verdicts": [LATEST], "secret_ends_at": ends}
        assert post(client, before, [1]).json["secret_ends_at"] == ends
        assert client.post(ALONE, **before.signed(a_fix(1))).json["secret_ends_at"] == ends
        assert post(client, after, [a_fix(2)]).json == {"verdicts": [LATEST]}

    @staticmethod
    def _reassigned(world: World, seconds: float) -> tuple[SigningTracker, Vessel, Vessel]:
        earlier, later = world.vessel("Earlier"), world.vessel("Later")
        signing = world.tracker(earlier)
        with world.database.unit_of_work() as unit_of_work:
            tracker = trackers.reassign(
                unit_of_work,
                signing.tracker.number,
                vessel_id=later.id,
                starts_at=EPOCH + timedelta(seconds=seconds),
                now=EPOCH + timedelta(days=300),
                versions=None,
                actor=ACTOR,
            )
        return replace(signing, tracker=tracker), earlier, later

    def test_that_is_reassigned_sends_each_fix_to_the_vessel_of_its_time(
        self, client: CheckedClient, world: World
    ):
        tracker, earlier, later = self._reassigned(world, 60)
        fixes = {120: 1, 0: 50, 60: 1, 59: 50, 30: 50}

        verdicts = verdicts_of(client, tracker, [a_fix(n, lat=lat) for n, lat in fixes.items()])

        # The two are far apart: judged as one vessel's, some would be jumps.
        assert verdicts == [LATEST, STORED, STORED, LATEST, STORED]
        assert stored_in(world) == [
            *((earlier.id, seconds) for seconds in (0, 30, 59)),
            *((later.id, seconds) for seconds in (60, 120)),
        ]
        # One that is later still in its memory, too.
        assert verdicts_of(client, tracker, [a_fix(45, lat=50), a_fix(90, lat=1)]) == [STORED, STORED]
        assert len(stored_in(world)) == 7

    def test_that_is_reassigned_repeats_itself_on_the_same_vessels(self, client: CheckedClient, world: World):
        tracker, earlier, later = self._reassigned(world, 60)
        batch = [a_fix(0), a_fix(60), a_fix(30, lat=0, lon=0), a_fix(90, lat=0, lon=0)]
        verdicts_of(client, tracker, batch)

        again = verdicts_of(client, tracker, batch)

        assert [each["verdict"] for each in again] == ["duplicate", "duplicate", "quarantined", "quarantined"]
        held = client.get(QUARANTINE, headers=world.bearer("quarantine:read")).json["quarantine"]
        assert [each["vessel_id"] for each in held] == [earlier.id, later.id]
