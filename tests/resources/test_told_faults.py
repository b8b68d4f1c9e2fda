"""An answer does not outgrow its request: of many mistakes the first ones are told."""

import gc
import gzip
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from marshmallow import ValidationError
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.urls import BATCH, KEYS, ME, POSITIONS, VESSELS

from harbor_api.web.problems import MOST_TOLD

MANY = 1_000


def _post(client: FlaskClient, world: World, path: str, body: Any) -> Any:
    """Post a body, packed as small as it can be where the operation takes that."""
    sent = gzip.compress(json.dumps(body).encode())
    request = world.tracker().signed(sent)
    return client.post(path, data=sent, headers={**request["headers"], "Content-Encoding": "gzip"})


def _unknown(many: int) -> dict[str, int]:
    return {f"a{number}": 0 for number in range(many)}


class TestABatch:
    def test_of_many_faults_the_first_are_told_and_every_verdict(self, client: CheckedClient, world: World):
        items = [{**a_fix(number), "lat": "x", "lon": "y"} for number in range(MANY)]
        answer = _post(client, world, BATCH, {"fixes": items})
        verdicts = answer.json["verdicts"]
        assert len(verdicts) == MANY
        assert {(each["verdict"], each["code"]) for each in verdicts} == {("invalid", "validation_failed")}
        told = [fault["pointer"] for each in verdicts for fault in each.get("errors", [])]
        assert len(told) == MOST_TOLD
        assert told[:2] == ["#/fixes/0/lat", "#/fixes/0/lon"]
        assert told[-1] == f"#/fixes/{MOST_TOLD // 2 - 1}/lon"

    def test_a_good_fix_behind_many_faults_is_stored(self, client: CheckedClient, world: World):
        answer = _post(client, world, BATCH, {"fixes": [*[_unknown(100)] * 999, a_fix()]})
        verdicts = answer.json["verdicts"]
        assert verdicts[-1]["verdict"] == "stored"
        assert [each["pointer"] for each in verdicts[0]["errors"]] == [
            f"#/fixes/0/{name}" for name in ("recorded_at", "lat", "lon", *(f"a{n}" for n in range(8)))
        ]

    @pytest.mark.parametrize(
        "items",
        [
            [_unknown(100)] * MANY,
            [_unknown(18)] * MANY,
            [_unknown(60_000)],
            [{"x" * 900: 0}] * MANY,
            [{}] * MANY,
        ],
        ids=["100 each", "18 each", "60,000 in one", "long names", "empty"],
    )
    def test_the_answer_is_small_and_quickly_made(self, client: CheckedClient, world: World, items):
        answer = _post(client, world, BATCH, {"fixes": items})
        assert answer.status_code == 200
        assert len(answer.data) < 100 * len(items) + 10_000
        # Without the steps of the check against the document.
        unchecked = FlaskClient(client.application, client.application.response_class)
        steps = _steps(lambda: _post(unchecked, world, BATCH, {"fixes": items}))
        assert steps < 40 * len(items) + 20_000


class TestWhatIsPassedOver:
    def test_of_one_fix(self, client: CheckedClient, world: World):
        answer = _post(client, world, POSITIONS, {**_unknown(5_000), **a_fix()})
        assert answer.status_code == 201
        assert answer.json["ignored"] == [f"a{number}" for number in range(MOST_TOLD)]

    def test_a_long_name_is_cut_off(self, client: CheckedClient, world: World):
        answer = _post(client, world, POSITIONS, {**a_fix(), "%" * 20_000: 0})
        assert answer.json["ignored"] == ["%" * 64]

    def test_of_a_batch_the_first_are_told(self, client: CheckedClient, world: World):
        items = [{**a_fix(number), "hdop": 1, "vdop": 1} for number in range(MANY)]
        verdicts = _post(client, world, BATCH, {"fixes": items}).json["verdicts"]
        assert {each["verdict"] for each in verdicts} == {"stored"}
        told = [each.get("ignored", []) for each in verdicts]
        assert told == [["hdop", "vdop"]] * (MOST_TOLD // 2) + [[]] * (MANY - MOST_TOLD // 2)


class TestAProblem:
    def test_of_one_fix(self, client: CheckedClient, world: World):
        answer = _post(client, world, POSITIONS, {**a_fix(lat="x"), **_unknown(5_000)})
        assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
        told = [each["pointer"] for each in answer.json["errors"]]
        assert told == ["#/lat", *(f"#/a{number}" for number in range(8))]

    def test_a_long_name_is_not_repeated(self, client: CheckedClient, world: World):
        answer = _post(client, world, POSITIONS, {**a_fix(lat="x"), "%" * 20_000: 0})
        assert answer.json["errors"][1:] == [{"pointer": "#", "detail": "Unknown field."}]

    def test_a_list_of_far_too_many_items(self, client: CheckedClient, world: World):
        body = gzip.compress(
            json.dumps({"name": "x", "scopes": ["vessels:read"], "vessel_ids": [0] * 300_000}).encode()
        )
        headers = {
            **world.bearer("keys:write"),
            "Content-Encoding": "gzip",
            "Content-Type": "application/json",
        }
        answer = client.post(KEYS, data=body, headers=headers)
        assert answer.status_code == 422
        assert answer.json["errors"] == [
            {"pointer": "#/vessel_ids", "detail": "Has 300000 items, more than any list may have."}
        ]

    def test_of_a_list_of_bad_items(self, client: CheckedClient, world: World):
        body = {"name": "x", "scopes": ["vessels:read"], "vessel_ids": [0] * 5_000}
        answer = client.post(KEYS, json=body, headers=world.bearer("keys:write"))
        assert len(answer.json["errors"]) == MOST_TOLD

    def test_of_a_query(self, client: CheckedClient, world: World):
        query = "&".join(f"a{number}=" for number in range(500))
        for path in (ME, VESSELS):
            answer = client.get(f"{path}?{query}", headers=world.bearer())
            assert len(answer.json["errors"]) == MOST_TOLD


def _steps(function: Callable[[], object]) -> int:
    """Return how many Python and C functions a call enters."""
    count = 0

    def note(_: object, event: str, __: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("url", [POSITIONS, BATCH, f"{VESSELS}?limit=x"])
def test_what_is_refused_is_let_go_of_at_once(client: CheckedClient, world: World, url):
    """And not when Python looks for cycles, before which many large bodies may have come."""
    wrong = {"fixes": [_unknown(100)]} if url == BATCH else _unknown(100)
    bearer = world.bearer()

    def ask() -> None:
        answer = (
            client.get(url, headers=bearer) if url.startswith(VESSELS) else _post(client, world, url, wrong)
        )
        assert answer.status_code in {200, 400, 422}

    ask()
    gc.collect()
    gc.disable()
    try:
        ask()
        assert [each for each in gc.get_objects() if isinstance(each, ValidationError)] == []
    finally:
        gc.enable()
