"""A fix of a batch that is invalid is told what it would be told alone, and blocks no other."""

import json

import pytest
from tests.resources.position_batch.batches import LATEST, STORED, stored_in, verdicts_of
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.urls import POSITIONS as ALONE

WRONG = [
    {},
    {"lat": 1},
    a_fix(lat="59.9"),
    a_fix(lat=True),
    a_fix(lat=None),
    a_fix(lat=90.5),
    a_fix(lon=[]),
    a_fix(lat=-91, lon=-181, sog=-1, heading=400),
    a_fix(nav_status=1.5),
    a_fix(number=-1),
    a_fix(number="1"),
    a_fix(recorded_at="2026-01-02 03:04:05Z"),
    a_fix(recorded_at=0),
    {**a_fix(), "a/b~c d": 1},
    a_fix(lat=91),
    a_fix(lon=181.0),
    a_fix(lat=91, lon="x"),
    [],
    [a_fix()],
    1,
    1.5,
    "x",
    True,
    None,
]


class TestAnInvalidFix:
    @pytest.mark.parametrize("wrong", WRONG, ids=lambda each: json.dumps(each)[:40])
    def test_is_told_what_it_would_be_told_alone(self, client: CheckedClient, world: World, wrong):
        tracker = world.tracker()
        alone = client.post(ALONE, **tracker.signed(json.dumps(wrong).encode()))
        assert alone.status_code == 422

        verdicts = verdicts_of(client, tracker, [a_fix(0), a_fix(1), a_fix(2), wrong, a_fix(3)])

        errors = [
            {**error, "pointer": error["pointer"].replace("#", "#/fixes/3", 1)}
            for error in alone.json.get("errors", [])
        ]
        invalid = {"verdict": "invalid", "latest": False, "code": alone.json["code"]}
        assert verdicts[3] == invalid | ({"errors": errors} if errors else {})
        # It blocks nothing.
        assert [*verdicts[:3], verdicts[4]] == [STORED, STORED, STORED, LATEST]

    def test_has_a_pointer_to_its_member(self, client: CheckedClient, world: World):
        verdicts = verdicts_of(client, world.tracker(), [a_fix(), a_fix(1), a_fix(2), a_fix(3, lat=100)])
        assert [error["pointer"] for error in verdicts[3]["errors"]] == ["#/fixes/3/lat"]

    def test_may_be_all_that_there_is(self, client: CheckedClient, world: World):
        verdicts = verdicts_of(client, world.tracker(), WRONG)
        assert {each["verdict"] for each in verdicts} == {"invalid"}
        assert stored_in(world) == []
