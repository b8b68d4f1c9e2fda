"""API6:2023 Unrestricted Access to Sensitive Business Flows: whoever makes a secret leaves a trace."""

import json
import re

from tests.security.calls import ANY, Document, with_keys
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.operations import operations_of
from tests.support.urls import AUDIT, KEYS, ME, POSITIONS, QUARANTINE, TRACKERS, VESSELS


class TestApi6UnrestrictedAccessToSensitiveBusinessFlows:
    TELL_SECRETS = {"createTracker", "rotateTracker", "createApiKey", "rotateApiKey"}

    def test_secrets_are_told_by_the_operations_that_make_them_and_no_others(self, document: Document):
        schemas = document["components"]["schemas"]
        with_secret = {name for name, schema in schemas.items() if "secret" in schema.get("properties", {})}
        tell = {
            each.described["operationId"]
            for each in operations_of(document)
            if with_secret & set(re.findall(r"schemas/(\w+)", json.dumps(each.described["responses"])))
        }
        assert tell == self.TELL_SECRETS

    def test_whoever_makes_secrets_may_send_the_request_again_without_making_another(
        self, document: Document
    ):
        for operation in operations_of(document):
            if operation.described["operationId"] in self.TELL_SECRETS:
                assert "Idempotency-Key" in {each["name"] for each in operation.parameters}
                [required] = operation.security
                assert all(scope.endswith(":write") for scope in required["api_key"])

    def test_every_change_leaves_its_trace(self, client: CheckedClient, world: World, admin):
        vessel, other = world.vessel("One"), world.vessel("Two")
        signing = world.tracker(vessel)
        number = signing.tracker.number
        for seconds in (1, 2, 3, 4):
            held = client.post(POSITIONS, **signing.signed(a_fix(seconds, lat=0, lon=0)))
            assert held.json["verdict"] == "quarantined"
        key, _ = world.key()
        client.post(POSITIONS, **signing.signed(a_fix()))
        wrong = {"vessel_id": vessel.id, "recorded_at": a_fix()["recorded_at"], "note": "wrong"}
        third = {"vessel_id": vessel.id, "to": a_fix(4)["recorded_at"]}
        changes = [
            ("POST", VESSELS, {"name": "Three"}, "vessel.created"),
            ("PATCH", f"{VESSELS}/{other.id}", {"name": "Deux"}, "vessel.changed"),
            ("PATCH", f"{VESSELS}/{other.id}/keeping", {"hold_reason": "Court order"}, "vessel.held"),
            ("POST", f"{VESSELS}/{other.id}/retire", None, "vessel.retired"),
            ("POST", f"{VESSELS}/{other.id}/restore", None, "vessel.restored"),
            ("POST", TRACKERS, {"vessel_id": vessel.id}, "tracker.created"),
            ("PATCH", f"{TRACKERS}/{number}", {"label": "mast"}, "tracker.changed"),
            ("POST", f"{TRACKERS}/{number}/reassign", {"vessel_id": other.id}, "tracker.reassigned"),
            ("POST", f"{TRACKERS}/{number}/rotate", {}, "tracker.rotated"),
            ("POST", f"{TRACKERS}/{number}/disable", None, "tracker.disabled"),
            ("POST", f"{TRACKERS}/{number}/enable", None, "tracker.enabled"),
            ("POST", KEYS, {"name": "x", "scopes": ["vessels:read"]}, "api_key.created"),
            ("PATCH", f"{KEYS}/{key.id}", {"name": "y"}, "api_key.changed"),
            ("POST", f"{KEYS}/{key.id}/rotate", {}, "api_key.rotated"),
            ("POST", f"{KEYS}/{key.id}/revoke", None, "api_key.revoked"),
            ("POST", f"{QUARANTINE}/1/release", None, "quarantine.released"),
            ("POST", f"{QUARANTINE}/2/reject", None, "quarantine.rejected"),
            ("POST", f"{QUARANTINE}/withdraw", wrong, "quarantine.withdrawn"),
            ("POST", f"{QUARANTINE}/release", third, "quarantine.released"),
            ("POST", f"{QUARANTINE}/reject", {"vessel_id": vessel.id}, "quarantine.rejected"),
        ]
        own_id = client.get(ME, headers=admin).json["id"]
        for method, url, body, action in changes:
            answer = client.open(url, method=method, json=body, headers=admin | ANY)
            assert answer.status_code < 300, f"{method} {url}: {answer.text}"
            [entry] = client.get(f"{AUDIT}?limit=1", headers=admin).json["audit"]
            assert (entry["action"], entry["api_key_id"]) == (action, own_id)
            assert entry["request_id"] == answer.headers["X-Request-Id"]

    def test_these_are_all_the_changes_that_there_are(self, document: Document):
        """A new operation that writes has to be added to the list above."""
        # What a key keeps of how far it has read is no change that anybody else would ask about.
        of_its_own = {"putFeed", "deleteFeed"}
        writes = [
            each
            for each in with_keys(document)
            if each.method != "GET" and each.described["operationId"] not in of_its_own
        ]
        assert len(writes) == 20, [str(each) for each in writes]
