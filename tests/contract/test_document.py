"""The OpenAPI document: valid, complete, and fit to be read by people."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from flask import Flask
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.support.operations import operations_of, schemas_in

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
        if rule.endpoint.partition(".")[0] not in {"docs", "security"}
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

    def test_has_a_true_example_for_each_code(self, document: Document):
        for where, response in _errors(document):
            examples = response["content"][PROBLEM]["examples"]
            assert examples, where
            for code, example in examples.items():
                assert _faults(document, {"$ref": "#/components/schemas/Problem"}, example["value"]) == []
                assert example["value"]["code"] == code, where
                assert example["value"]["status"] == int(where.rpartition(" ")[2]), where

    def test_explains_each_code(self, document: Document):
        for where, response in _errors(document):
            explained = set(re.findall(r"^- `([a-z_]+)`: .{10}", response["description"], re.MULTILINE))
            assert explained == set(response["content"][PROBLEM]["examples"]), where

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


def test_names_the_members_that_it_requires(document: Document):
    for name, schema in document["components"]["schemas"].items():
        assert set(schema.get("required", ())) <= set(schema.get("properties", ())), name


def test_holds_no_address_and_no_secret_of_the_machine_that_made_it(app: Flask, document: Document):
    text = json.dumps(document)
    settings = runtime.of(app).settings
    assert str(settings.database_url) not in text
    assert not re.search(r"/(home|tmp|work|root|usr)/|localhost|127\.0\.0\.1|whsec_[A-Za-z0-9+/]{8}", text)


def _errors(document: Document) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for operation in operations_of(document):
        for status, response in operation.described["responses"].items():
            if int(status) >= 400:
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
