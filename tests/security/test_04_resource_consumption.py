"""API4:2023 Unrestricted Resource Consumption: pages, bodies, grants and queries have their bounds."""

import json

import pytest
from tests.security.calls import Document, call, with_keys
from tests.support.checked_client import CheckedClient
from tests.support.factories import World
from tests.support.operations import operations_of
from tests.support.urls import KEYS


class TestApi4UnrestrictedResourceConsumption:
    @pytest.mark.parametrize("limit", ["beyond", "0", "-1", "1e9", "9" * 30, "", "1,1", "all"])
    def test_no_page_is_larger_than_the_document_says(
        self, document: Document, client: CheckedClient, admin, limit
    ):
        paged = [
            (each, parameter["schema"]["maximum"])
            for each in operations_of(document)
            for parameter in each.parameters
            if parameter["name"] == "limit"
        ]
        assert {most for _, most in paged} == {1_000, 10_000}
        for operation, most in paged:
            asked = most + 1 if limit == "beyond" else limit
            answer = call(client, operation, admin, url=f"{operation.url}?limit={asked}")
            assert (answer.status_code, answer.json["code"]) == (400, "invalid_parameter"), str(operation)

    def test_every_operation_that_is_not_public_is_counted(self, document: Document):
        for operation in operations_of(document):
            if operation.security:
                assert "429" in operation.described["responses"], str(operation)

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b'"' + b"x" * (600 * 1024) + b'"', 413),
            (b"[" * 30_000 + b"]" * 30_000, 400),
            (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400),
            (b'{"name": ' + b"9" * 60_000 + b"}", 400),
            (b'{"name": "' + b"x" * 60_000 + b'"}', 422),
            (json.dumps({f"m{number}": 1 for number in range(500)}).encode(), 422),
        ],
        ids=["huge", "deep list", "deep object", "long number", "long text", "many members"],
    )
    def test_every_body_is_bounded(
        self, document: Document, client: CheckedClient, world: World, admin, body, status
    ):
        tracker = world.tracker()
        for operation in operations_of(document):
            if "requestBody" in operation.described:
                headers = admin
                if "api_key" not in operation.security[0]:
                    headers = tracker.signed(body, url=operation.url)["headers"]
                    headers.pop("content-type")
                answer = call(client, operation, headers, body)
                # A batch is never told 422, which says of a fix that it may be erased.
                is_batch = operation.path.endswith("/batch")
                told = 400 if is_batch and status == 422 else status
                assert answer.status_code == told, f"{operation}: {answer.text[:200]}"

    def test_a_key_is_granted_no_more_vessels_than_are_taken(self, client: CheckedClient, admin):
        terms = {"name": "x", "scopes": ["vessels:read"], "vessel_ids": [*range(1, 5_002)]}
        assert client.post(KEYS, json=terms, headers=admin).status_code == 422

    def test_a_thousand_query_parameters_are_refused(self, document: Document, client: CheckedClient, admin):
        query = "&".join(f"p{number}=1" for number in range(1_000))
        for operation in with_keys(document):
            assert call(client, operation, admin, url=f"{operation.url}?{query}").status_code == 400
