"""The examples of the document: true to the schemas, to each other, and to the service that takes them."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.openapi_check import closed
from tests.support.operations import Operation, operations_of
from tests.support.streams import events_in
from tests.support.urls import POSITIONS, VESSELS

from harbor_api.domain.api_keys import SCOPES
from harbor_api.domain.identifiers import is_imo_number, is_mmsi
from harbor_api.domain.judgement import REASONS
from harbor_api.schemas.examples import ANSWERS, REQUESTS

Document = dict[str, Any]
_PROBLEM = "application/problem+json"


def _contents(operation: Operation) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield what an operation takes, and what it answers where nothing is wrong."""
    bodies = {"request": operation.described.get("requestBody", {})}
    bodies |= {
        status: answer for status, answer in operation.described["responses"].items() if int(status) < 400
    }
    for which, body in bodies.items():
        for content in body.get("content", {}).values():
            yield which, content


def _values(document: Document) -> Iterator[tuple[str, Any]]:
    """Yield each example with its place: operation, status or "request", name."""
    for operation in operations_of(document):
        for which, content in _contents(operation):
            for name, example in content.get("examples", {}).items():
                place, value = f"{operation.described['operationId']} {which} {name}", example["value"]
                if operation.described["operationId"] == "streamPositions":
                    yield from ((place, event.data) for event in events_in(value))
                else:
                    yield place, value


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _objects(item)


class TestEveryOperation:
    def test_shows_what_it_takes_and_what_it_answers(self, document: Document):
        bare = [
            f"{operation} {which}: examples go to schemas/examples/"
            for operation in operations_of(document)
            for which, content in _contents(operation)
            if not content.get("examples")
        ]
        assert bare == []

    def test_has_only_examples_that_say_what_they_show(self, document: Document):
        for operation in operations_of(document):
            for which, content in _contents(operation):
                said = [example["summary"] for example in content["examples"].values()]
                assert all(len(each) > 5 for each in said), f"{operation} {which}"

    def test_has_examples_of_nothing_that_is_not_there(self, document: Document):
        named = {operation.described["operationId"] for operation in operations_of(document)}
        assert (set(REQUESTS) | set(ANSWERS)) - named == set()

    def test_is_answered_nothing_that_is_not_described(self, document: Document):
        strict = closed(document)
        for operation in operations_of(strict):
            for which, content in _contents(operation):
                if which == "request":
                    continue
                schema = {**content["schema"], "components": strict["components"]}
                validator = Draft202012Validator(schema, format_checker=FormatChecker(["date-time"]))
                for name, example in content["examples"].items():
                    faults = [error.message for error in validator.iter_errors(example["value"])]
                    assert faults == [], f"{operation} {which} {name}"

    def test_shows_every_member_that_it_answers(self, document: Document):
        shown = {
            name
            for where, value in _values(document)
            if " request " not in where
            for each in _objects(value)
            for name in each
        }
        # Only of errors: how it was signed, and which parameter is wrong.
        hidden = {"Problem", "SignedBytes", "Fault"}
        described = {
            f"{schema}.{name}"
            for schema, whole in document["components"]["schemas"].items()
            if schema not in hidden
            for name in whole.get("properties", {})
        }
        sent = {name for examples in REQUESTS.values() for _, value in examples.values() for name in value}
        sent |= {name for each in REQUESTS["postPosition"].values() for name in each[1]}
        assert {each for each in described if each.partition(".")[2] not in shown | sent} == set()


class TestExamplesAgree:
    def test_on_which_verdict_comes_with_which_status(self, document: Document):
        status = {"stored": "201", "duplicate": "200", "quarantined": "202"}
        met = set()
        for where, value in _values(document):
            operation, which, _ = where.split()
            if operation == "postPosition" and which != "request":
                assert status[value["verdict"]] == which, where
                met.add(value["verdict"])
        assert met == set(status)

    def test_on_what_belongs_to_a_verdict(self, document: Document):
        met = set()
        for where, value in _values(document):
            for each in _objects(value):
                verdict = each.get("verdict") or each.get("would_be")
                if verdict is None:
                    continue
                assert ("reason" in each) == (verdict == "quarantined"), where
                assert ("differs" in each) == (verdict == "duplicate"), where
                assert ("code" in each) == (verdict == "invalid"), where
                assert not each["latest"] or verdict == "stored", where
                met.add(each.get("reason") or verdict)
        assert met == {"stored", "duplicate", "invalid", *REASONS}

    def test_on_how_many_verdicts_a_batch_gets(self):
        answers = ANSWERS["postPositionBatch"][200]
        for name, (_, batch) in REQUESTS["postPositionBatch"].items():
            assert len(batch["fixes"]) == len(answers[name][1]["verdicts"]), name
        for name, (_, receipt) in answers.items():
            for place, verdict in enumerate(receipt["verdicts"]):
                for fault in verdict.get("errors", ()):
                    assert fault["pointer"].startswith(f"#/fixes/{place}/"), name

    def test_on_what_a_request_brings_about(self):
        for operation, requests in REQUESTS.items():
            if operation in {"postPosition", "checkPosition", "postPositionBatch"}:
                continue
            answers = {name: each for told in ANSWERS[operation].values() for name, each in told.items()}
            assert set(requests) >= set(answers), operation
            for name in answers:
                asked, got = requests[name][1], answers[name][1]
                got = got.get("properties", got)
                for member in set(asked) & set(got):
                    assert _same(asked[member], got[member]), f"{operation} {name} {member}"

    def test_on_who_is_who(self, document: Document):
        features = [
            each
            for _, value in _values(document)
            for each in _objects(value)
            if each.get("type") == "Feature" and "id" in each
        ]
        names = {each["id"]: each["properties"]["name"] for each in features}
        assert len(names) > 2
        for each in features:
            properties = each["properties"]
            assert properties["name"] == names[each["id"]]
            assert properties["imo"] is None or is_imo_number(properties["imo"])
            assert properties["mmsi"] is None or is_mmsi(properties["mmsi"])
        for where, value in _values(document):
            for each in _objects(value):
                named = each.get("vessel_id", each.get("vessel_ids")) or ()
                assert set(named if isinstance(named, list | tuple) else [named]) <= set(names), where
                if "assignments" in each:
                    assert each["id"] == f"trk_{each['number']:04}", where
                    assert each["vessel_id"] == each["assignments"][-1]["vessel_id"], where
                if "prefix" in each and "secret" in each:
                    assert each["secret"].startswith(each["prefix"]), where

    def test_on_what_is_in_service_and_what_is_seen(self, document: Document):
        for where, value in _values(document):
            for each in _objects(value):
                if each.get("type") == "FeatureCollection" and "vessel_id" not in each:
                    retired = {one["properties"]["retired_at"] is not None for one in each["features"]}
                    assert retired <= {where.endswith(" retired")}, where
                    ids = [one["id"] for one in each["features"]]
                    assert ids == sorted(set(ids)), where
                    assert (each["now"] is None) == (not ids), where
                if each.get("type") == "Feature" and "id" in each:
                    properties = each["properties"]
                    assert (each["geometry"] is None) == (properties["recorded_at"] is None), where
                    assert properties["stale"] or properties["recorded_at"], where

    def test_on_the_order_of_times(self, document: Document):
        for where, value in _values(document):
            for each in _objects(value):
                if each.get("recorded_at") and each.get("received_at") and each.get("reason") != "future":
                    assert _moment(each["recorded_at"]) <= _moment(each["received_at"]), where
                if "state" in each and "decided_at" in each:
                    assert (each["state"] == "held") == (each["decided_at"] is None), where
                if each.get("decided_at") and each.get("received_at"):
                    assert _moment(each["received_at"]) < _moment(each["decided_at"]), where

    def test_on_a_held_fix_and_what_the_tracker_sent(self, document: Document):
        for where, value in _values(document):
            for each in _objects(value):
                if "raw" in each:
                    assert all(_same(each[name], each["raw"][name]) for name in ("lat", "lon")), where
                    assert _same(each["recorded_at"], each["raw"]["recorded_at"]), where

    def test_on_where_a_list_goes_on(self, document: Document):
        paths = {each.described["operationId"]: each.path for each in operations_of(document)}
        for where, value in _values(document):
            if isinstance(value, dict) and value.get("links", {}).get("next"):
                path = re.sub("{[^}]+}", "1", paths[where.split()[0]])
                assert value["links"]["next"].startswith(f"{path}?"), where
                [items] = [each for each in value.values() if isinstance(each, list)]
                if "cursor=after-" not in value["links"]["next"]:
                    # It is sealed.
                    assert f"limit={len(items)}&" in value["links"]["next"], where
                    is_geojson = "positions" not in value
                    assert ("format=json" not in value["links"]["next"]) is is_geojson, where
                    continue
                last = items[-1].get("number", items[-1]["id"])
                assert value["links"]["next"].endswith(f"limit={len(items)}&cursor=after-{last}"), where


@pytest.mark.parametrize("operation_id", REQUESTS)
def test_the_service_takes_every_request(
    operation_id: str, client: CheckedClient, world: World, document: Document
):
    [operation] = [each for each in operations_of(document) if each.described["operationId"] == operation_id]
    for name, (_, body) in REQUESTS[operation_id].items():
        headers: dict[str, str] = {}
        # A world for each: what one request has made must not stand in another's way.
        tracker = world.tracker(world.vessel("One"))
        others = [world.vessel(each) for each in ("Two", "Three")]
        key, _ = world.key("vessels:read")
        subject = {
            "number": tracker.tracker.number,
            "vessel_id": others[1].id,
            "key_id": key.id,
            "name": "mine",
        }
        url = operation.path.format(**subject)
        sent = _renumbered(body, {1: tracker.tracker.vessel_id, 2: others[0].id, 3: others[1].id})
        if "cursor" in sent:
            # That of another service opens nothing here.
            headers = world.bearer(*SCOPES)
            sent = sent | {"cursor": client.get(VESSELS, headers=headers).json["cursor"]}
        if operation_id == "withdrawFix":
            client.post(POSITIONS, **tracker.signed(a_fix() | {"recorded_at": sent["recorded_at"]}))
        if "api_key" in operation.security[0]:
            headers = {**(headers or world.bearer(*SCOPES)), **operation.headers}
            answer = client.open(url, method=operation.method, json=sent, headers=headers)
        else:
            answer = client.post(url, **tracker.signed(sent, url=url))
        expected = {int(status) for status in operation.described["responses"] if int(status) < 400}
        assert answer.status_code in expected, f"{name}: {answer.text}"
        if operation_id == "createVessel":
            # The next one may have her IMO number.
            client.post(f"{url}/{answer.json['id']}/retire", headers=headers)


def _renumbered(body: Any, vessels: Mapping[int, int]) -> Any:
    """Return a request with the ids of vessels that are there."""
    sent = dict(body)
    if "vessel_id" in sent:
        sent["vessel_id"] = vessels[sent["vessel_id"]]
    if sent.get("vessel_ids"):
        sent["vessel_ids"] = [vessels[each] for each in sent["vessel_ids"]]
    return sent


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str) and "T" in one and one != other:
        return _moment(one) == _moment(other)
    return bool(one == other)
