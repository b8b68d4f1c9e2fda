"""API3:2023 Broken Object Property Level Authorization: nobody sets or reads what is the service's own."""

import json

import pytest
from tests.security.calls import Document, call, with_keys
from tests.security.stored import tables, without_use
from tests.support.checked_client import CheckedClient
from tests.support.factories import World
from tests.support.operations import operations_of, schemas_in


class TestApi3BrokenObjectPropertyLevelAuthorization:
    SERVER_OWNED = (
        "id",
        "number",
        "version",
        "seq",
        "prefix",
        "sha256",
        "secret",
        "generation",
        "previous_valid_until",
        "previous_sha256",
        "created_at",
        "retired_at",
        "disabled_at",
        "revoked_at",
        "last_used_at",
        "received_at",
        "all_vessels",
        "assignments",
        "tracker_id",
        "api_key_id",
        "rate_limit",
        "actor",
        "__class__",
        "$ref",
    )

    def test_no_member_that_is_the_servers_own_can_be_assigned(
        self, document: Document, client: CheckedClient, world: World, admin
    ):
        tracker = world.tracker()
        before = tables(world)
        for operation in operations_of(document):
            if "requestBody" not in operation.described:
                continue
            signed = "api_key" not in operation.security[0]
            for name in self.SERVER_OWNED:
                if signed and name == "number":
                    # Trackers number their fixes themselves.
                    continue
                body = json.dumps({name: 1}).encode()
                headers = admin
                if signed:
                    headers = tracker.signed(body, url=operation.url)["headers"]
                    headers.pop("content-type")
                answer = call(client, operation, headers, body)
                # A batch is never told 422, which says of a fix that it may be erased.
                status = 400 if operation.path.endswith("/batch") else 422
                assert answer.status_code == status, f"{operation} takes {name}: {answer.text}"
                faults = {each["pointer"] for each in answer.json["errors"]}
                assert f"#/{name}" in faults, f"{operation} does not refuse {name}: {answer.text}"
        after = tables(world)
        assert without_use(after) == without_use(before)

    @pytest.mark.parametrize(
        "name", ["scopes", "vessel_ids", "delay_s", "history_days", "requests_per_minute"]
    )
    def test_terms_of_a_key_are_members_of_nothing_else(
        self, document: Document, client: CheckedClient, world: World, admin, name
    ):
        for operation in with_keys(document):
            if "requestBody" in operation.described and "/api-keys" not in operation.path:
                answer = call(client, operation, admin, json.dumps({name: []}).encode())
                assert answer.status_code == 422, f"{operation} takes {name}"

    def test_no_answer_is_described_with_what_nobody_may_read(self, document: Document):
        described = {
            where.rpartition("/")[2]
            for operation in operations_of(document)
            for where, _ in schemas_in(operation.described["responses"])
        } | {where.rpartition("/")[2] for where, _ in schemas_in(document["components"]["schemas"])}
        assert "secret" in described
        assert not described & {"previous_sha256", "nonce", "fingerprint", "master_key", "entropy"}
        for name, schema in document["components"]["schemas"].items():
            # The check tells a tracker the hash of what it sent itself; the hash of a key is the service's.
            assert "sha256" not in schema.get("properties", {}) or name == "SignedBytes", name
