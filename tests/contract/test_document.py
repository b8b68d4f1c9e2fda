"""The OpenAPI document: valid, complete, and fit to be read by people."""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
from flask import Flask
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.support.operations import operations_of, schemas_in

from harbor_api.domain.api_keys import is_well_formed
from harbor_api.domain.errors import HarborError
from harbor_api.web import runtime

PROBLEM = "application/problem+json"
Document = dict[str, Any]


def test_is_valid_openapi_3_1(document: Document):
    assert document["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_is_what_openapi_json_serves(app: Flask, document: Document):
    assert app.test_client().get("/openapi.json").json == document


def test_has_exactly_the_operations_that_flask_routes(app: Flask, document: Document):
    routed = {
        (method, re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.partition(".")[0] not in {"docs", "guides", "home", "live-map", "security"}
        for method in rule.methods or ()
        if method not in {"HEAD", "OPTIONS"}
    }
    assert {(operation.method, operation.path) for operation in operations_of(document)} == routed


def test_declares_each_variable_of_each_path(document: Document):
    for operation in operations_of(document):
        declared = {each["name"] for each in operation.parameters if each["in"] == "path"}
        assert declared == set(re.findall(r"{([^}]+)}", operation.path)), str(operation)


class TestEveryOperation:
    def test_says_what_it_is_for(self, document: Document):
        tags = {tag["name"] for tag in document["tags"]}
        for operation in operations_of(document):
            described = operation.described
            assert described.get("summary", "").endswith("."), str(operation)
            assert len(described.get("description", "")) > len("short"), str(operation)
            assert described.get("tags"), str(operation)
            assert set(described["tags"]) <= tags, str(operation)

    def test_has_an_id_of_its_own(self, document: Document):
        names = Counter(operation.described.get("operationId", "") for operation in operations_of(document))
        assert [name for name, times in names.items() if times > 1] == []
        assert [name for name in names if not re.fullmatch(r"[a-z]+([A-Z][a-z]+)+", name)] == []

    def test_says_who_may_call_it(self, document: Document):
        assert [str(each) for each in operations_of(document) if "security" not in each.described] == []

    def test_names_only_declared_security_schemes(self, document: Document):
        schemes = document["components"]["securitySchemes"]
        for operation in operations_of(document):
            for alternative in operation.security:
                assert set(alternative) <= set(schemes), str(operation)

    def test_answers_with_something_good_and_with_its_errors(self, document: Document):
        for operation in operations_of(document):
            statuses = {int(status) for status in operation.described["responses"]}
            assert min(statuses) < 400, str(operation)
            assert 500 in statuses, str(operation)

    def test_takes_and_sends_media_types_with_schemas(self, document: Document):
        for operation in operations_of(document):
            bodies = [operation.described.get("requestBody", {}), *operation.described["responses"].values()]
            for body in bodies:
                for media_type, content in body.get("content", {}).items():
                    assert "schema" in content, f"{operation}: {media_type}"

    def test_promises_a_request_id(self, document: Document):
        for operation in operations_of(document):
            for status, response in operation.described["responses"].items():
                assert "X-Request-Id" in response["headers"], f"{operation} {status}"


class TestEveryError:
    def test_is_a_problem_document(self, document: Document):
        for where, response in _errors(document):
            assert list(response["content"]) == [PROBLEM], where
            assert response["content"][PROBLEM]["schema"] == {"$ref": "#/components/schemas/Problem"}, where

    def test_names_its_codes_in_one_line_and_has_no_sample(self, document: Document):
        for where, response in _errors(document):
            assert re.fullmatch(r"`[a-z_]+`(, `[a-z_]+`)*", response["description"]), where
            assert set(response["content"][PROBLEM]) == {"schema"}, where

    def test_is_explained_once_with_its_status(self, document: Document):
        rows = re.findall(r"^\| (\d+) \| `([a-z_]+)` \| .{10}", document["info"]["description"], re.MULTILINE)
        explained = {(code, int(status)) for status, code in rows}
        assert len(explained) == len(rows)
        for where, response in _errors(document):
            status = int(where.rpartition(" ")[2])
            for code in re.findall(r"`([a-z_]+)`", response["description"]):
                assert (code, status) in explained, where

    def test_is_shown_by_the_one_example_of_its_schema(self, document: Document):
        schema = document["components"]["schemas"]["Problem"]
        [example] = schema["examples"]
        assert set(example) == set(schema["properties"]) - {"expected", "oldest", "oldest_at", "trace_id"}
        assert example["title"] == HarborError.by_code[example["code"]].title

    @pytest.mark.parametrize(
        ("status", "header"), [(401, "WWW-Authenticate"), (429, "Retry-After"), (503, "Retry-After")]
    )
    def test_promises_the_header_that_its_status_asks_for(self, document: Document, status, header):
        found = [(where, each) for where, each in _errors(document) if where.endswith(f" {status}")]
        assert found
        assert [where for where, response in found if header not in response["headers"]] == []


class TestEveryComponent:
    def test_is_used(self, document: Document):
        references = set(re.findall(r'"\$ref": "#/components/([^"]+)"', json.dumps(document)))
        for operation in operations_of(document):
            references |= {f"securitySchemes/{name}" for each in operation.security for name in each}
        declared = {
            f"{kind}/{name}" for kind, components in document["components"].items() for name in components
        }
        assert declared - references == set()

    def test_is_explained_where_its_name_does_not_do_it(self, document: Document):
        silent = [
            where
            for where, schema in schemas_in(document)
            if "$ref" not in schema
            and not {"description", "examples", "enum", "const"} & set(schema)
            # A list says it in its items.
            and not {"$ref", "description", "examples"} & set(schema.get("items", {}))
        ]
        assert silent == []

    def test_explains_its_headers(self, document: Document):
        headers = document["components"]["headers"].values()
        assert [header for header in headers if not header.get("description")] == []


def test_explains_every_parameter(document: Document):
    silent = [
        f"{operation}: {parameter['name']}"
        for operation in operations_of(document)
        for parameter in operation.parameters
        if not parameter.get("description")
    ]
    assert silent == []


def test_has_only_examples_that_its_schemas_accept(document: Document):
    examples = list(_examples(document, "#"))
    assert len(examples) > 10
    assert [
        (where, fault)
        for where, schema, example in examples
        for fault in _faults(document, schema, example)
    ] == []  # fmt: skip


class TestMembersThatAreNotDescribed:
    """What the changelog promises: an answer may get new ones with any release."""

    # Firmware that is newer than the service must not lose a position for a member.
    TAKES_MORE = {"Fix", "Batch"}

    def test_may_come_in_every_answer(self, document: Document):
        bodies = [body for each in operations_of(document) for body in each.described["responses"].values()]
        answered = _reached(document, bodies)
        assert len(answered) > 20
        closed = {name for name in answered if _is_closed(document, name)}
        assert closed == set()
        assert [where for where, schema in _inline(bodies) if "properties" in schema] == []

    def test_are_refused_in_every_request(self, document: Document):
        bodies = [each.described.get("requestBody", {}) for each in operations_of(document)]
        sent = _reached(document, bodies)
        assert len(sent) > 5
        assert {name for name in sent if not _is_closed(document, name)} <= self.TAKES_MORE

    def test_are_in_no_schema_that_is_both_sent_and_answered(self, document: Document):
        sent = _reached(document, [each.described.get("requestBody", {}) for each in operations_of(document)])
        answered = _reached(document, [each.described["responses"] for each in operations_of(document)])
        assert sent & answered == set()


def test_tells_first_what_a_newcomer_needs_and_administration_last(document: Document):
    tags = [tag["name"] for tag in document["tags"]]
    assert tags[:2] == ["me", "vessels"]
    administration = {"trackers", "quarantine", "api-keys", "audit"}
    assert set(tags[-len(administration) :]) == administration
    assert [str(each) for each in operations_of(document)][:2] == ["GET /api/v1/me", "GET /api/v1/vessels"]
    twice = [each for each in operations_of(document) if len(each.described["tags"]) > 1]
    assert [str(each) for each in twice] == ["GET /api/v1/me"]
    firsts = [min(map(tags.index, each.described["tags"])) for each in operations_of(document)]
    assert firsts == sorted(firsts)


def test_says_how_to_sign_where_a_request_must_be_signed(document: Document):
    for operation in operations_of(document):
        is_signed = any("webhook_signature" in each for each in operation.security)
        assert ("](/docs/signing)" in operation.described["description"]) == is_signed, str(operation)


def test_has_no_parameter_that_a_page_fills_in_and_sends(document: Document):
    """Swagger UI prefills these, and one click would act on vessel 1 or replay an Idempotency-Key."""
    prefilled = [
        f"{operation} {parameter['name']}"
        for operation in operations_of(document)
        for parameter in operation.parameters
        if {"example", "examples"} & set(parameter)
        or "example" in parameter["schema"]
        or ("default" in parameter["schema"] and operation.method != "GET")
    ]
    assert prefilled == []


def test_names_the_members_that_it_requires(document: Document):
    for name, schema in document["components"]["schemas"].items():
        assert set(schema.get("required", ())) <= set(schema.get("properties", ())), name


def test_holds_no_address_and_no_secret_of_the_machine_that_made_it(app: Flask, document: Document):
    text = json.dumps(document)
    settings = runtime.of(app).settings
    assert str(settings.database_url) not in text
    assert not re.search(r"/(home|tmp|work|root|usr)/|localhost|127\.0\.0\.1", text)
    for secret in re.findall(r"whsec_([A-Za-z0-9+/]{8,}=*)", text):
        assert base64.b64decode(secret) == b"This is an example, not a secret"
    assert not [key for key in re.findall(r"hbr_[0-9A-Za-z]{36}", text) if is_well_formed(key)]


def _is_closed(document: Document, name: str) -> bool:
    schema = document["components"]["schemas"][name]
    return schema.get("additionalProperties") is False or schema.get("unevaluatedProperties") is False


def _reached(document: Document, start: Any) -> set[str]:
    """Return the names of all schemas that are referred to, from there or from one of them."""
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        text = json.dumps(waiting.pop())
        new = set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', text)) - reached
        reached |= new
        waiting += [document["components"]["schemas"][name] for name in new]
    return reached


def _inline(bodies: Iterable[Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for body in bodies:
        for media_type, content in body.get("content", {}).items():
            yield media_type, content["schema"]


def _errors(document: Document) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for operation in operations_of(document):
        for status, response in operation.described["responses"].items():
            # Monitoring systems are told what is not well in a form of theirs.
            if int(status) >= 400 and (operation.path, status) != ("/health/ready", "503"):
                yield f"{operation} {status}", response


def _examples(value: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """Yield each example of the document with the schema that it stands for."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _examples(item, f"{where}/{index}")
    if not isinstance(value, dict):
        return
    examples = value.get("examples")
    if isinstance(examples, list):
        yield from ((where, value, example) for example in examples)
    elif isinstance(examples, dict) and "schema" in value:
        yield from ((where, value["schema"], example["value"]) for example in examples.values())
    if "example" in value and ("schema" in value or "type" in value):
        yield where, value.get("schema", value), value["example"]
    for name, item in value.items():
        if name not in {"examples", "example"}:
            yield from _examples(item, f"{where}/{name}")


def _faults(document: Document, schema: Mapping[str, Any], value: Any) -> list[str]:
    # With the components beside it, a schema's references resolve within itself.
    alone = {**schema, "components": document["components"]}
    validator = Draft202012Validator(alone, format_checker=FormatChecker(["date-time"]))
    return [error.message for error in validator.iter_errors(value)]
