"""A fix of a batch that is invalid is told what it would be told alone, and blocks no other."""

import json

import pytest
from tests.resources.position_batch.batches import LATEST, STORED, stored_in, verdicts_of
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.urls import BATCH
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
    {**a_fix(lat="x"), "a/b~c d": 1},
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


GOOD = json.dumps(a_fix(0))
DOUBTFUL = {
    '"sog": NaN': ("#/sog", "NaN is not a JSON number"),
    '"sog": -Infinity': ("#/sog", "-Infinity is not a JSON number"),
    # As C prints them.
    '"sog": -nan, "note": "nan"': ("#/sog", "NaN is not a JSON number"),
    '"sog": +INF': ("#/sog", "Infinity is not a JSON number"),
    '"sog": 1e999': ("#/sog", "A number is too large for a double"),
    f'"number": {"9" * 400}': ("#/number", "A number is too large for a double"),
    '"sog": 1, "sog": 1': ("", "A member name is repeated in an object"),
    '"lat": 1, "\\u006cat": 2': ("", "A member name is repeated in an object"),
    '"note": {"a": 1, "a": 2}': ("#/note", "A member name is repeated in an object"),
    '"note": [[NaN]]': ("#/note", "NaN is not a JSON number"),
    '"note": "\\u0000"': ("#/note", "A text holds NUL or a lone surrogate"),
    '"note": "\\ud800"': ("#/note", "A text holds NUL or a lone surrogate"),
    '"\\udfff": 1': ("", "A text holds NUL or a lone surrogate"),
}


class TestAFixThatIsNoJsonBeyondDoubt:
    @pytest.mark.parametrize("member", DOUBTFUL)
    def test_costs_no_other(self, client: CheckedClient, world: World, member):
        tracker = world.tracker()
        doubtful = f'{{"recorded_at": "2026-01-02T03:04:06Z", "lat": 59.9, "lon": 10.7, {member}}}'
        alone = client.post(ALONE, **tracker.signed(doubtful.encode()))
        assert (alone.status_code, alone.json["code"]) == (400, "malformed_json")

        body = f'{{"fixes": [{GOOD}, {doubtful}, {json.dumps(a_fix(2))}]}}'
        answer = client.post(BATCH, **tracker.signed(body.encode()))

        place, detail = DOUBTFUL[member]
        assert answer.json["verdicts"] == [
            STORED,
            {
                "verdict": "invalid",
                "latest": False,
                "code": "malformed_json",
                "errors": [{"pointer": f"#/fixes/1{place.removeprefix('#')}", "detail": detail}],
            },
            LATEST,
        ]

    @pytest.mark.parametrize("item", ["NaN", "nan", "1e999", '"\\u0000"', '[{"a": 1, "a": 2}]'])
    def test_may_be_no_object(self, client: CheckedClient, world: World, item):
        body = f'{{"fixes": [{item}, {GOOD}]}}'.encode()
        answer = client.post(BATCH, **world.tracker().signed(body))
        assert [each["verdict"] for each in answer.json["verdicts"]] == ["invalid", "stored"]
        assert answer.json["verdicts"][0]["errors"][0]["pointer"] == "#/fixes/0"

    def test_has_arrived_all_the_same(self, client: CheckedClient, world: World):
        doubtful = b'{"number": 2, "sog": NaN}, {"number": 3, "a": 1, "a": 2}'
        body = b'{"fixes": [{"number": 1}, %s, {"number": 5}]}' % doubtful
        answer = client.post(BATCH, **world.tracker().signed(body))
        assert answer.json["missing"] == [{"first": 4, "last": 4}]

    @pytest.mark.parametrize(
        "body",
        [
            f'{{"fixes": [{GOOD}], "fixes": [{GOOD}]}}',
            f'{{"fixes": [{GOOD}], "more": NaN}}',
            f'{{"fixes": [{GOOD}], "\\ud800": 1}}',
            f'{{"fixes": [{GOOD}, {{]}}',
            f'{{"fixes": [{GOOD}, nano]}}',
            f'{{"fixes": [{GOOD}, {{nan: 1}}]}}',
            f'{{"fixes": [{GOOD}, nan], "fixes": 01}}',
            f'{{"fixes": [{GOOD}, nan, "]}}',
            f'{{"fixes": [{GOOD}]}} {{}}',
            f'[{{"lat": NaN}}, {GOOD}]',
        ],
    )
    def test_costs_the_batch_where_it_stands_beside_the_fixes(
        self, client: CheckedClient, world: World, body
    ):
        answer = client.post(BATCH, **world.tracker().signed(body.encode()))
        assert (answer.status_code, answer.json["code"]) == (400, "malformed_json")
        assert stored_in(world) == []
