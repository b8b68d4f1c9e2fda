"""POST /api/v1/positions/batch answers with a verdict for each fix, in the order of the batch."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.resources.position_batch.batches import LATEST, STORED, verdicts_of
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.urls import POSITIONS as ALONE
from tests.support.urls import QUARANTINE, VESSELS

from harbor_api.app import create_app
from harbor_api.domain.judgement import REASONS
from harbor_api.domain.positions import Verdict
from harbor_api.schemas.positions import BatchVerdictSchema, as_members
from harbor_api.web import runtime

pytestmark = pytest.mark.usefixtures("either_way")


def _ago(span: timedelta) -> str:
    return (datetime.now(UTC) - span).isoformat()


class TestVerdicts:
    def test_come_in_the_order_of_the_batch(self, client: CheckedClient, world: World):
        tracker = world.tracker()
        client.post(ALONE, **tracker.signed(a_fix(0)))

        verdicts = verdicts_of(
            client,
            tracker,
            [
                a_fix(120),
                a_fix(0, sog=9),
                a_fix(30, lat=0, lon=0),
                {},
                a_fix(60),
                a_fix(0),
                a_fix(90, lat=50),
            ],
        )

        assert [each["verdict"] for each in verdicts] == [
            "stored",
            "duplicate",
            "quarantined",
            "invalid",
            "stored",
            "duplicate",
            "quarantined",
        ]
        assert verdicts[0] == LATEST
        assert verdicts[1] == {"verdict": "duplicate", "latest": False, "differs": True}
        assert verdicts[2] == {"verdict": "quarantined", "latest": False, "reason": "null_island"}
        assert verdicts[4] == STORED
        assert verdicts[5] == {"verdict": "duplicate", "latest": False, "differs": False}
        assert verdicts[6] == {"verdict": "quarantined", "latest": False, "reason": "impossible_jump"}

    @pytest.fixture
    def forgetful(self, app: Flask, client: CheckedClient) -> Iterator[CheckedClient]:
        """Return a client of a service over the same database that takes no fix older than 20,000 days."""
        application = create_app(replace(runtime.of(app).settings, oldest_fix_days=20_000))
        yield CheckedClient(application)
        runtime.of(application).database.dispose()

    def test_tell_each_reason_to_hold_a_fix(self, forgetful: CheckedClient, world: World):
        doubtful = {
            "null_island": a_fix(0, lat=0, lon=0),
            "future": a_fix(recorded_at=_ago(-timedelta(hours=1))),
            "clock_reset": a_fix(recorded_at="2000-01-01T00:00:07Z"),
            "week_rollover": a_fix(recorded_at=_ago(timedelta(weeks=1024))),
            "too_old": a_fix(recorded_at="1905-06-07T00:00:00Z"),
            "impossible_jump": a_fix(61, lat=20),
        }
        # The other two come later: when others have come, or an operator.
        assert set(doubtful) == set(REASONS) - {"outvoted", "withdrawn"}
        good = [a_fix(60), a_fix(62)]

        verdicts = verdicts_of(forgetful, world.tracker(), [*doubtful.values(), *good])

        assert verdicts == [
            *({"verdict": "quarantined", "latest": False, "reason": reason} for reason in doubtful),
            STORED,
            LATEST,
        ]

    def test_say_of_each_fix_whether_it_is_the_latest(self, client: CheckedClient, world: World):
        tracker = world.tracker()
        first = verdicts_of(client, tracker, [a_fix(60), a_fix(120), a_fix(0)])
        second = verdicts_of(client, tracker, [a_fix(119), a_fix(120), a_fix(1)])

        assert [each["latest"] for each in first] == [False, True, False]
        assert [each["latest"] for each in second] == [False, True, False]
        [feature] = client.get(VESSELS, headers=world.bearer()).json["features"]
        assert feature["properties"]["recorded_at"] == a_fix(120)["recorded_at"]

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
    def test_of_repeats_the_same_one_is_stored_in_any_order(self, client: CheckedClient, world: World, order):
        fixes = [a_fix(sog=8), a_fix(sog=9), a_fix(sog=8)]

        verdicts = verdicts_of(client, world.tracker(), [fixes[place] for place in order])

        by_place = dict(zip(order, verdicts, strict=True))
        assert by_place[1] == {"verdict": "duplicate", "latest": True, "differs": True}
        assert sorted((by_place[0]["verdict"], by_place[2]["verdict"])) == ["duplicate", "stored"]
        sog = sql.value(world.database, "SELECT sog FROM positions")
        assert sog == 8

    def test_a_second_sending_changes_nothing(self, client: CheckedClient, world: World):
        tracker = world.tracker()
        batch = [a_fix(0), a_fix(30, lat=0, lon=0), a_fix(60), {"lat": 1}]
        first = verdicts_of(client, tracker, batch)
        second = verdicts_of(client, tracker, batch)

        assert [each["verdict"] for each in first] == ["stored", "quarantined", "stored", "invalid"]
        assert [each["verdict"] for each in second] == ["duplicate", "quarantined", "duplicate", "invalid"]
        assert [each.get("differs") for each in second] == [False, None, False, None]
        assert [first[1], first[3]] == [second[1], second[3]]

    def test_of_two_contents_of_one_moment_the_one_that_was_judged_is_held(
        self, client: CheckedClient, world: World
    ):
        verdicts_of(client, world.tracker(), [a_fix(lat=0, lon=0), a_fix()])

        [held] = client.get(QUARANTINE, headers=world.bearer("quarantine:read")).json["quarantine"]

        assert (held["reason"], held["lat"], held["lon"]) == ("null_island", 0, 0)

    def test_a_fix_at_the_beginning_of_time_blocks_no_other(self, client: CheckedClient, world: World):
        tracker = world.tracker()
        client.post(ALONE, **tracker.signed(a_fix(recorded_at="0001-01-01T00:00:00Z")))

        verdicts = verdicts_of(client, tracker, [a_fix(recorded_at="0001-01-01T00:00:30Z", lat=10), a_fix()])

        assert verdicts[1] == LATEST


class TestAClockThatWasReset:
    """It tells the same times again: no two fixes of it are taken for the same one."""

    RESET = "2000-01-01T00:00:07Z"

    def test_two_positions_of_one_time_are_both_held(self, client: CheckedClient, world: World):
        tracker = world.tracker()
        told = {"verdict": "quarantined", "latest": False, "reason": "clock_reset"}
        first = client.post(ALONE, **tracker.signed(a_fix(recorded_at=self.RESET)))
        second = client.post(ALONE, **tracker.signed(a_fix(recorded_at=self.RESET, lat=12.5)))
        assert (first.status_code, first.json, second.status_code, second.json) == (202, told, 202, told)

        # A fix that is sent again, as after a lost answer, is held once; in a batch as alone.
        again = [a_fix(recorded_at=self.RESET, lat=lat) for lat in (59.9, 12.5, 13.5, 13.5)]
        assert verdicts_of(client, tracker, again) == [told] * 4

        held = client.get(QUARANTINE, headers=world.bearer("quarantine:read")).json["quarantine"]
        assert [each["lat"] for each in held] == [59.9, 12.5, 13.5]
        assert {each["raw"]["recorded_at"] for each in held} == {self.RESET}
        assert {each["recorded_at"][:19] for each in held} == {self.RESET[:19]}
        assert len({each["recorded_at"] for each in held}) == 3

    def test_neither_is_one_that_was_released_a_duplicate_of_another(
        self, client: CheckedClient, world: World
    ):
        tracker, operator = world.tracker(), world.bearer("quarantine:read", "quarantine:write")
        client.post(ALONE, **tracker.signed(a_fix(recorded_at=self.RESET)))
        [held] = client.get(QUARANTINE, headers=operator).json["quarantine"]
        assert client.post(f"{QUARANTINE}/{held['id']}/release", headers=operator).status_code == 200
        answer = client.post(ALONE, **tracker.signed(a_fix(recorded_at=self.RESET, lat=12.5)))
        assert answer.json["reason"] == "clock_reset"


@given(
    verdict=st.builds(
        Verdict,
        verdict=st.sampled_from(["stored", "duplicate", "quarantined"]),
        latest=st.booleans(),
        differs=st.none() | st.booleans(),
        reason=st.none() | st.sampled_from(sorted(REASONS)),
    )
)
@settings(derandomize=True)
def test_what_is_written_by_hand_is_what_the_schema_dumps(verdict):
    dumped = BatchVerdictSchema().dump(verdict)
    assert as_members(verdict) == {name: value for name, value in dumped.items() if value is not None}
    assert BatchVerdictSchema().validate(as_members(verdict)) == {}
