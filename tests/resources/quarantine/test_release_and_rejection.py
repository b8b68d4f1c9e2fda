"""What a decision does: a released fix takes its place, a rejected one stays off the map."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from tests.resources.quarantine.held_fixes import NOWHERE, decide_on, history_of, hold, listed, on_map, post
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix

from harbor_api.schemas.fields import rfc3339


class TestRelease:
    def test_puts_a_fix_in_its_place_and_leaves_a_newer_latest(
        self, client: CheckedClient, world: World, operator
    ):
        tracker = world.tracker()
        for seconds in (0, 60):
            post(client, tracker, a_fix(seconds))
        hold(client, tracker, 30, sog=102.3)
        before = on_map(client, operator)
        [held] = listed(client, operator)

        released = decide_on(client, operator, held["id"], "release")

        assert released.status_code == 200
        assert released.json["decided_at"] is not None
        decision = {name: released.json[name] for name in ("decided_at", "decided_by")}
        assert released.json == {**held, "state": "released", **decision}
        assert decision["decided_by"].startswith("key ")
        assert listed(client, operator) == [released.json]
        assert on_map(client, operator) == before
        times = [a_fix(n)["recorded_at"] for n in (0, 30, 60)]
        # What AIS means by 102.3 is stored as it would have been without the doubt.
        assert history_of(world.database) == list(zip(times, (59.9, 0, 59.9), (8.4, None, 8.4), strict=True))

    def test_moves_the_latest_where_it_is_the_newest(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        post(client, tracker, a_fix(0))
        hold(client, tracker, 30)
        [held] = listed(client, operator)
        vessel_id = tracker.tracker.vessel_id
        assert on_map(client, operator)[vessel_id] == ([10.7, 59.9], a_fix(0)["recorded_at"])

        decide_on(client, operator, held["id"], "release")

        assert on_map(client, operator)[vessel_id] == ([0, 0], a_fix(30)["recorded_at"])

    @pytest.mark.parametrize("reason", ["null_island", "impossible_jump"])
    def test_is_what_brings_a_fix_on_the_map(self, client: CheckedClient, world: World, operator, reason):
        tracker = world.tracker()
        post(client, tracker, a_fix(0))
        doubtful = {
            "null_island": a_fix(60, **NOWHERE),
            "impossible_jump": a_fix(60, lat=20),
        }[reason]
        before = on_map(client, operator)
        assert post(client, tracker, doubtful)["reason"] == reason
        assert on_map(client, operator) == before
        [held] = listed(client, operator, reason=reason)

        decide_on(client, operator, held["id"], "release")

        assert on_map(client, operator) == {
            tracker.tracker.vessel_id: ([doubtful["lon"], doubtful["lat"]], doubtful["recorded_at"])
        }

    def test_of_a_fix_that_is_still_in_the_future_is_refused(
        self, client: CheckedClient, world: World, operator
    ):
        tracker = world.tracker()
        post(client, tracker, a_fix(0))
        before = on_map(client, operator)
        hold(client, tracker, lat=59.9, lon=10.7, recorded_at="2038-01-19T03:14:07Z")
        [held] = listed(client, operator)

        answer = decide_on(client, operator, held["id"], "release")

        assert (answer.status_code, answer.json["code"]) == (409, "still_in_the_future")
        assert "2038-01-19T03:09:07.000000Z" in answer.json["detail"]
        assert listed(client, operator) == [held]
        assert on_map(client, operator) == before
        # It can be rejected; and within the tolerance it may be released.
        soon = rfc3339(datetime.now(UTC) + timedelta(seconds=302))
        hold(client, tracker, lat=59.9, lon=10.7, recorded_at=soon)
        time.sleep(3)
        assert [
            decide_on(client, operator, each["id"], what).status_code
            for each, what in zip(listed(client, operator), ("reject", "release"), strict=True)
        ] == [200, 200]

    def test_makes_it_a_duplicate_when_it_is_sent_again(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        hold(client, tracker)
        [held] = listed(client, operator)
        decide_on(client, operator, held["id"], "release")

        same, other = (post(client, tracker, a_fix(**NOWHERE, **more)) for more in ({}, {"sog": 1}))

        assert same == {"verdict": "duplicate", "latest": True, "differs": False}
        assert other == {"verdict": "duplicate", "latest": True, "differs": True}
        assert len(history_of(world.database)) == 1

    def test_of_a_jump_lets_the_next_ones_follow_it(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        post(client, tracker, a_fix(0))
        assert post(client, tracker, a_fix(60, lat=20))["verdict"] == "quarantined"
        [held] = listed(client, operator)
        decide_on(client, operator, held["id"], "release")
        assert post(client, tracker, a_fix(120, lat=20)) == {"verdict": "stored", "latest": True}


class TestRejection:
    def test_keeps_a_fix_off_the_map_for_good(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        hold(client, tracker)
        [held] = listed(client, operator)

        rejected = decide_on(client, operator, held["id"], "reject")

        assert rejected.status_code == 200
        assert rejected.json["decided_at"] is not None
        decision = {name: rejected.json[name] for name in ("decided_at", "decided_by")}
        assert rejected.json == {**held, "state": "rejected", **decision}
        assert decision["decided_by"].startswith("key ")
        # Sent again it stays where it is, whatever else it says.
        for more in ({}, {"sog": 1}, {"lat": 59.9}):
            assert post(client, tracker, a_fix(**{**NOWHERE, **more})) == {
                "verdict": "quarantined",
                "latest": False,
                "reason": "null_island",
            }
        assert listed(client, operator) == [rejected.json]
        assert history_of(world.database) == []
        assert on_map(client, operator) == {tracker.tracker.vessel_id: (None, None)}

    def test_of_jumps_takes_away_their_say(self, client: CheckedClient, world: World, operator):
        """Three that are held and agree make the next one believed; rejected ones are known to be wrong."""
        tracker = world.tracker()
        post(client, tracker, a_fix(0))
        for seconds in (60, 120, 180):
            post(client, tracker, a_fix(seconds, lat=20))
        held = listed(client, operator)
        assert len(held) == 3
        decide_on(client, operator, held[1]["id"], "reject")
        assert post(client, tracker, a_fix(240, lat=20))["verdict"] == "quarantined"
        # Three are left that agree.
        assert post(client, tracker, a_fix(300, lat=20))["verdict"] == "stored"
