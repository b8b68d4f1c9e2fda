"""The OWASP API Security Top 10 of 2023, item by item, and what holds for secrets everywhere."""

import ast
import base64
import inspect
import json
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from flask import Flask
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from tests.conftest import NewDatabase
from tests.support.checked_client import CheckedClient
from tests.support.factories import MASTER_KEY, SigningTracker, World, a_fix
from tests.support.live_service import LiveService
from tests.support.operations import Operation, operations_of, schemas_in

import harbor_api
from harbor_api.app import create_app
from harbor_api.domain import signatures
from harbor_api.repositories import api_keys as key_rows
from harbor_api.services import api_keys
from harbor_api.services.api_keys import SCOPES
from harbor_api.settings import Settings

SOURCE = Path(harbor_api.__file__).parent
VESSELS, TRACKERS, KEYS, ME = "/api/v1/vessels", "/api/v1/trackers", "/api/v1/api-keys", "/api/v1/me"
POSITIONS, CHECK, AUDIT = "/api/v1/positions", "/api/v1/positions/check", "/api/v1/audit"
QUARANTINE = "/api/v1/quarantine"
# Each example asks the same database: what is fuzzed is refused and leaves nothing.
fuzzed = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# Whatever bytes a header can hold: HTTP gives them to the application as Latin-1.
header_text = st.text(st.characters(max_codepoint=0xFF, exclude_characters="\r\n"), max_size=60)
Document = dict[str, Any]
ANY = {"If-Match": "*"}


@pytest.fixture
def document(app: Flask) -> Document:
    """Return a copy of the application's OpenAPI document."""
    copy: Document = json.loads(app.extensions["harbor_openapi"])
    return copy


@pytest.fixture
def admin(world: World) -> dict[str, str]:
    """Return the headers of a key that may do everything."""
    return world.bearer(*SCOPES)


@pytest.fixture(scope="module")
def service(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """Return a service in a process of its own that logs all it can."""
    log = tmp_path_factory.mktemp("security") / "service.log"
    with LiveService(new_database(), log=log, log_level="debug") as service:
        yield service


def _call(
    client: CheckedClient, operation: Operation, headers: Mapping[str, str], body: bytes = b"{}", **more: Any
) -> Any:
    sent = {"data": body, "content_type": "application/json"} if "requestBody" in operation.described else {}
    return client.open(
        more.get("url", operation.url),
        method=operation.method,
        headers={**operation.headers, **headers},
        **sent,
    )


def _with_keys(document: Document) -> list[Operation]:
    """Return the operations that API keys may call."""
    found = [each for each in operations_of(document) if each.security and "api_key" in each.security[0]]
    assert found
    return found


def _tables(world: World) -> dict[str, list[str]]:
    """Return all rows of all tables as text."""
    with world.database.unit_of_work() as unit_of_work:
        execute = unit_of_work._connection.exec_driver_sql
        names = [name for (name,) in execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        return {
            name: sorted(row for (row,) in execute(f"SELECT t::text FROM {name} t")) for name in sorted(names)
        }


class TestApi1BrokenObjectLevelAuthorization:
    """The whole walk is tests/contract/test_two_partners.py; these are its plainest cases."""

    def test_anothers_vessel_is_not_there(self, client: CheckedClient, world: World):
        mine, others = world.vessel("Mine"), world.vessel("Theirs")
        bearer = world.bearer(vessel_ids=frozenset({mine.id}))

        assert client.get(f"{VESSELS}/{mine.id}", headers=bearer).status_code == 200
        answer = client.get(f"{VESSELS}/{others.id}", headers=bearer)
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")
        assert [each["id"] for each in client.get(VESSELS, headers=bearer).json["features"]] == [mine.id]

    def test_a_grant_that_is_taken_away_ends_with_the_next_request(
        self, client: CheckedClient, world: World, admin
    ):
        vessel = world.vessel()
        key, secret = world.key(vessel_ids=frozenset({vessel.id}))
        bearer = {"Authorization": f"Bearer {secret}"}
        assert client.get(f"{VESSELS}/{vessel.id}", headers=bearer).status_code == 200

        client.patch(f"{KEYS}/{key.id}", json={"vessel_ids": []}, headers=admin | ANY)

        assert client.get(f"{VESSELS}/{vessel.id}", headers=bearer).status_code == 404
        assert client.get(VESSELS, headers=bearer).json["features"] == []

    def test_a_tracker_cannot_write_for_a_vessel_that_it_is_not_on(self, client: CheckedClient, world: World):
        others = world.vessel("Theirs")
        answer = client.post(POSITIONS, **world.tracker().signed(a_fix(vessel_id=others.id)))
        assert answer.status_code == 422


class TestApi2BrokenAuthentication:
    @fuzzed
    @given(scheme=st.sampled_from(["", "Bearer ", "bearer  ", "Basic "]), rest=header_text)
    def test_no_invented_authorization_lets_anybody_in(self, client: CheckedClient, scheme, rest):
        answer = client.get(ME, headers={"Authorization": scheme + rest})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")

    @fuzzed
    @given(place=st.integers(0, 39), inserted=header_text, cut=st.integers(0, 3))
    def test_no_damaged_key_lets_anybody_in(self, client: CheckedClient, world: World, place, inserted, cut):
        secret = world.key()[1]
        damaged = secret[:place] + inserted + secret[place + cut :]
        assume(damaged.strip() != secret)
        assert client.get(ME, headers={"Authorization": f"Bearer {damaged}"}).status_code == 401

    @pytest.mark.parametrize(
        "form",
        [
            "{key}",
            "Basic {key}",
            "Bearer{key}",
            "Bearer\t{key}",
            "Bearer:{key}",
            "Bearer {key},",
            "Bearer {key} {key}",
            "Bearer {key}, Bearer {key}",
            'Bearer "{key}"',
            "Token Bearer {key}",
            "Bearer %68br_{key}",
        ],
    )
    def test_a_right_key_in_a_wrong_form_lets_nobody_in(self, client: CheckedClient, world: World, form):
        value = form.format(key=world.key()[1])
        assert client.get(ME, headers={"Authorization": value}).status_code == 401

    @pytest.mark.parametrize("place", ["cookie", "query", "X-Api-Key", "body"])
    def test_a_key_elsewhere_lets_nobody_in(self, client: CheckedClient, world: World, place):
        secret = world.key()[1]
        headers = {"X-Api-Key": {"X-Api-Key": secret}, "cookie": {"Cookie": f"Authorization=Bearer {secret}"}}
        url = f"{ME}?api_key={secret}" if place == "query" else ME
        body = secret.encode() if place == "body" else b""
        assert client.get(url, headers=headers.get(place, {}), data=body).status_code == 401

    @fuzzed
    @given(
        url=st.sampled_from([POSITIONS, CHECK]),
        name=st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]),
        value=header_text,
    )
    def test_no_invented_signature_header_lets_anybody_in(
        self, client: CheckedClient, world: World, url, name, value
    ):
        signed = world.tracker().signed(a_fix())
        right = signed["headers"][name]
        assume(right not in value)
        signed["headers"][name] = value
        answer = client.post(url, **signed)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("StandardWebhooks ")

    @fuzzed
    @given(
        signature=st.one_of(
            st.lists(st.binary(max_size=40), max_size=8).map(
                lambda many: " ".join(f"v1,{base64.b64encode(each).decode()}" for each in many)
            ),
            st.integers(0, 46).map(lambda place: f"flip {place}"),
        )
    )
    def test_no_near_signature_lets_anybody_in(self, client: CheckedClient, world: World, signature):
        signed = world.tracker().signed(a_fix())
        right = signed["headers"]["webhook-signature"]
        if signature.startswith("flip "):
            place = int(signature.removeprefix("flip "))
            # The last digit of 32 bytes in base64 carries two bits that mean nothing; "=" is no digit.
            signature = right[:place] + ("A" if right[place] != "A" else "B") + right[place + 1 :]
        signed["headers"]["webhook-signature"] = signature
        assert client.post(POSITIONS, **signed).status_code == 401

    @fuzzed
    @given(body=st.binary(max_size=80))
    def test_no_other_body_passes_under_a_signature(self, client: CheckedClient, world: World, body):
        signed = world.tracker().signed(a_fix())
        assume(body != signed["data"])
        assert client.post(POSITIONS, data=body, headers=signed["headers"]).status_code == 401

    def test_more_signatures_than_are_taken_buy_no_guesses(self, client: CheckedClient, world: World):
        signed = world.tracker().signed(a_fix())
        right = signed["headers"]["webhook-signature"]
        signed["headers"]["webhook-signature"] = " ".join([right] * (signatures.MAX_SIGNATURES + 1))
        assert client.post(POSITIONS, **signed).status_code == 401

    def test_a_signature_is_for_its_own_tracker(self, client: CheckedClient, world: World):
        signed, other = world.tracker().signed(a_fix()), world.tracker()
        signed["headers"]["webhook-id"] = f"{other.tracker.id}-1"
        assert client.post(POSITIONS, **signed).status_code == 401

    def test_a_revoked_key_is_refused_at_once_with_both_its_secrets(
        self, client: CheckedClient, world: World, admin
    ):
        key, first = world.key()
        second = client.post(f"{KEYS}/{key.id}/rotate", json={}, headers=admin).json["secret"]
        bearers = [{"Authorization": f"Bearer {secret}"} for secret in (first, second)]
        assert [client.get(ME, headers=each).status_code for each in bearers] == [200, 200]

        client.post(f"{KEYS}/{key.id}/revoke", headers=admin)

        assert [client.get(ME, headers=each).status_code for each in bearers] == [401, 401]


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
        before = _tables(world)
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
                    headers = tracker.signed(body)["headers"]
                    headers.pop("content-type")
                answer = _call(client, operation, headers, body)
                assert answer.status_code == 422, f"{operation} takes {name}: {answer.text}"
                faults = {each["pointer"] for each in answer.json["errors"]}
                assert f"#/{name}" in faults, f"{operation} does not refuse {name}: {answer.text}"
        after = _tables(world)
        assert _without_use(after) == _without_use(before)

    @pytest.mark.parametrize("name", ["scopes", "vessel_ids", "delay_s", "requests_per_minute"])
    def test_terms_of_a_key_are_members_of_nothing_else(
        self, document: Document, client: CheckedClient, world: World, admin, name
    ):
        for operation in _with_keys(document):
            if "requestBody" in operation.described and "/api-keys" not in operation.path:
                answer = _call(client, operation, admin, json.dumps({name: []}).encode())
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


class TestApi4UnrestrictedResourceConsumption:
    @pytest.mark.parametrize("limit", ["1001", "0", "-1", "1e9", "9" * 30, "", "1,1", "all"])
    def test_no_page_is_larger_than_a_thousand(self, document: Document, client: CheckedClient, admin, limit):
        paged = [
            each
            for each in operations_of(document)
            if any(parameter["name"] == "limit" for parameter in each.parameters)
        ]
        assert paged
        for operation in paged:
            answer = _call(client, operation, admin, url=f"{operation.url}?limit={limit}")
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
                    headers = tracker.signed(body)["headers"]
                    headers.pop("content-type")
                answer = _call(client, operation, headers, body)
                assert answer.status_code == status, f"{operation}: {answer.text[:200]}"

    def test_a_key_is_granted_no_more_vessels_than_are_taken(self, client: CheckedClient, admin):
        terms = {"name": "x", "scopes": ["vessels:read"], "vessel_ids": [*range(1, 5_002)]}
        assert client.post(KEYS, json=terms, headers=admin).status_code == 422

    def test_a_thousand_query_parameters_are_refused(self, document: Document, client: CheckedClient, admin):
        query = "&".join(f"p{number}=1" for number in range(1_000))
        for operation in _with_keys(document):
            assert _call(client, operation, admin, url=f"{operation.url}?{query}").status_code == 400


class TestApi5BrokenFunctionLevelAuthorization:
    """The matrix of scopes is tests/contract/test_roles.py; this is how one might climb past it."""

    OFFICER = ("keys:write", "keys:read", "vessels:read")

    @pytest.fixture
    def officer(self, world: World) -> tuple[int, dict[str, str]]:
        key, secret = world.key(*self.OFFICER)
        return key.id, {"Authorization": f"Bearer {secret}"}

    @pytest.mark.parametrize("scope", sorted(set(SCOPES) - set(OFFICER)))
    def test_a_key_gives_no_scope_that_it_lacks(self, client: CheckedClient, world: World, officer, scope):
        own_id, bearer = officer
        partner, _ = world.key()
        before = _without_use(_tables(world))

        attempts = [
            client.post(KEYS, json={"name": "x", "scopes": [scope]}, headers=bearer),
            client.post(KEYS, json={"name": "x", "scopes": [scope, "keys:write"]}, headers=bearer),
            *(
                client.patch(f"{KEYS}/{key_id}", json={"scopes": [scope]}, headers=bearer | ANY)
                for key_id in (own_id, partner.id)
            ),
            client.patch(f"{KEYS}/{own_id}", json={"scopes": [*self.OFFICER, scope]}, headers=bearer | ANY),
        ]

        assert [(each.status_code, each.json["code"]) for each in attempts] == [(403, "scope_missing")] * 5
        assert _without_use(_tables(world)) == before

    def test_a_key_takes_over_no_key_with_scopes_that_it_lacks(
        self, client: CheckedClient, world: World, officer
    ):
        _, bearer = officer
        stronger, secret = world.key(*SCOPES)
        before = _without_use(_tables(world))
        url = f"{KEYS}/{stronger.id}"

        attempts = [
            client.post(f"{url}/rotate", json={}, headers=bearer),
            client.post(f"{url}/rotate", json={"grace_s": 0}, headers=bearer),
            client.post(f"{url}/revoke", headers=bearer),
            client.patch(url, json={"scopes": ["vessels:read"]}, headers=bearer | ANY),
            client.patch(url, json={"name": "mine now"}, headers=bearer | ANY),
            client.patch(url, json={"expires_at": "2001-01-01T00:00:00Z"}, headers=bearer | ANY),
        ]

        assert [(each.status_code, each.json["code"]) for each in attempts] == [(403, "scope_missing")] * 6
        assert _without_use(_tables(world)) == before
        assert client.get(ME, headers={"Authorization": f"Bearer {secret}"}).status_code == 200

    def test_a_key_manages_those_that_it_could_have_issued(
        self, client: CheckedClient, world: World, officer
    ):
        _, bearer = officer
        partner, _ = world.key()
        url = f"{KEYS}/{partner.id}"
        assert client.patch(url, json={"name": "renamed"}, headers=bearer | ANY).status_code == 200
        assert client.post(f"{url}/rotate", json={}, headers=bearer).status_code == 200
        assert client.post(f"{url}/revoke", headers=bearer).status_code == 200

    @pytest.mark.parametrize("limited", [{"vessel_ids": []}, {"delay_s": 1}, {"coordinate_decimals": 6}])
    @pytest.mark.parametrize("scope", sorted(set(SCOPES) - api_keys.PARTNER_SCOPES))
    def test_only_reading_the_fleet_can_be_limited(
        self, client: CheckedClient, world: World, admin, limited, scope
    ):
        """Whoever sees one vessel only must not come by the others through another scope."""
        terms = {"name": "x", "scopes": ["vessels:read", scope]}
        assert client.post(KEYS, json=terms | limited, headers=admin).status_code == 409

        wide, _ = world.key("vessels:read", scope)
        assert client.patch(f"{KEYS}/{wide.id}", json=limited, headers=admin | ANY).status_code == 409
        narrow, _ = world.key("vessels:read", delay_s=1)
        widened = {"scopes": ["vessels:read", scope]}
        assert client.patch(f"{KEYS}/{narrow.id}", json=widened, headers=admin | ANY).status_code == 409

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "TRACE", "PATCH", "POST", "LOCK"])
    def test_no_method_that_is_not_described_does_anything(
        self, document: Document, client: CheckedClient, admin, method
    ):
        described = {(each.method, each.path) for each in operations_of(document)}
        for operation in operations_of(document):
            if (method, operation.path) not in described:
                assert client.open(operation.url, method=method, headers=admin).status_code == 405

    @pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-Method-Override", "X-Original-Method"])
    def test_no_header_turns_a_read_into_a_write(self, client: CheckedClient, world: World, admin, name):
        vessel = world.vessel()
        url = f"{VESSELS}/{vessel.id}"
        client.get(url, headers=admin | ANY | {name: "PATCH"}, json={"name": "changed"})
        assert client.get(url, headers=admin).json["properties"]["name"] == vessel.details.name


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
        for seconds in (1, 2):
            held = client.post(POSITIONS, **signing.signed(a_fix(seconds, lat=0, lon=0)))
            assert held.json["verdict"] == "quarantined"
        key, _ = world.key()
        changes = [
            ("POST", VESSELS, {"name": "Three"}, "vessel.created"),
            ("PATCH", f"{VESSELS}/{other.id}", {"name": "Deux"}, "vessel.changed"),
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
        writes = [each for each in _with_keys(document) if each.method != "GET"]
        assert len(writes) == 16, [str(each) for each in writes]


class TestApi7ServerSideRequestForgery:
    ADDRESS = re.compile(r"(^|_)(ur[il]s?|href|host|hostname|callback|endpoint|redirect|target|address)($|_)")

    def test_no_operation_takes_an_address(self, document: Document):
        assert "webhooks" not in document
        for operation in operations_of(document):
            assert "callbacks" not in operation.described, str(operation)
            for parameter in operation.parameters:
                assert not self.ADDRESS.search(parameter["name"].lower()), str(operation)
                assert not str(parameter["schema"].get("format", "")).startswith(("ur", "ir", "host"))
        taken = set(
            re.findall(
                r"schemas/(\w+)",
                json.dumps([each.described.get("requestBody", {}) for each in operations_of(document)]),
            )
        )
        assert taken
        for name in taken:
            for member, schema in document["components"]["schemas"][name]["properties"].items():
                assert not self.ADDRESS.search(member), f"{name} takes {member}"
                assert not str(schema.get("format", "")).startswith(("ur", "ir", "host")), f"{name}.{member}"

    def test_nothing_that_serves_a_request_can_call_out(self):
        """Only simulated trackers and the command line are HTTP clients: no view can be made to be one."""
        clients = {"httpx", "requests", "urllib.request", "urllib3", "http.client", "socket", "aiohttp"}
        for path in SOURCE.rglob("*.py"):
            # `server` is handed the sockets that were accepted.
            if path.relative_to(SOURCE).parts[0] in {"simulation", "cli", "server"}:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                assert not clients & set(names), f"{path} imports {names}"


class TestApi8SecurityMisconfiguration:
    @staticmethod
    def _demand_hardened(answer: Any, what: str, *, private: bool) -> None:
        headers = answer.headers
        assert headers.get("X-Content-Type-Options") == "nosniff", what
        assert headers.get("Referrer-Policy") == "no-referrer", what
        if private:
            assert headers.get("Cache-Control") == "no-store", what
        names = {name.lower() for name in headers.keys()}  # noqa: SIM118 - httpx and werkzeug differ in iteration
        assert not names & {"x-powered-by", "set-cookie", "access-control-allow-origin"}, what
        assert not re.search(r"\d", headers.get("Server", "")), what

    def test_every_answer_is_hardened(self, document: Document, client: CheckedClient, world: World, admin):
        world.tracker()
        for operation in operations_of(document):
            for what, headers in (("anybody", {}), ("the operator", admin)):
                for query in ("", "?no_such_parameter=1"):
                    answer = _call(client, operation, headers, url=operation.url + query)
                    where = f"{operation}{query} as {what}: {answer.status_code}"
                    self._demand_hardened(answer, where, private=True)
        signed = client.post(POSITIONS, **world.tracker().signed(a_fix()))
        assert signed.status_code == 201
        self._demand_hardened(signed, "a stored fix", private=True)

    @pytest.mark.parametrize(
        "url",
        [
            "/",
            "/nowhere",
            "/api",
            "/api/v1/nowhere",
            "/health/nowhere",
            "/docs",
            "/docs/nowhere",
            "/openapi.json",
            "/docs/assets/swagger-ui.css",
            "/docs/assets/nowhere.js",
            "/.well-known/nowhere",
        ],
    )
    def test_every_page_is_hardened(self, client: CheckedClient, url):
        answer = client.get(url)
        self._demand_hardened(answer, url, private=url.startswith(("/api/", "/health")))
        answer.close()

    def test_answers_that_tell_secrets_are_never_kept(self, client: CheckedClient, world: World, admin):
        vessel = world.vessel()
        for url, body in (
            (TRACKERS, {"vessel_id": vessel.id}),
            (f"{TRACKERS}/1/rotate", {}),
            (KEYS, {"name": "x", "scopes": ["vessels:read"]}),
            (f"{KEYS}/1/rotate", {}),
        ):
            answer = client.post(url, json=body, headers=admin)
            assert "secret" in json.loads(answer.text), answer.text
            assert answer.headers["Cache-Control"] == "no-store"

    def test_what_never_reaches_the_application_is_hardened(self, service: LiveService):
        requests = {
            "not HTTP": b"nonsense\r\n\r\n",
            "a URI too long": b"GET /" + b"x" * 5_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
            "a header too long": b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 9_000 + b"\r\n\r\n",
            "many headers": b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: x\r\n" * 200 + b"\r\n",
        }
        for what, request in requests.items():
            status, headers, body = _raw(service, request)
            assert status in {400, 414, 431}, what
            assert headers["content-type"] == "application/problem+json", what
            assert b"Traceback" not in body
            assert headers.get("x-content-type-options") == "nosniff", what
            assert not re.search(r"\d", headers.get("server", "")), what

    def test_latin_1_huge_and_many_credentials_on_the_wire_let_nobody_in(self, service: LiveService):
        _, secret = service.world.key()
        bearer = f"Authorization: Bearer {secret}\r\n".encode()
        attempts = {
            "Latin-1": b"Authorization: Bearer hbr_" + bytes(range(0xA0, 0x100)) + b"\r\n",
            "UTF-8": "Authorization: Bearer hbr_ключ\r\n".encode(),
            "control characters": b"Authorization: Bearer hbr_\x01\x7f\r\n",
            "NUL": b"Authorization: Bearer " + secret.encode() + b"\x00\r\n",
            "huge": b"Authorization: Bearer hbr_" + b"0" * 7_000 + b"\r\n",
            "huger": b"Authorization: Bearer hbr_" + b"0" * 70_000 + b"\r\n",
            "two keys": bearer * 2,
            "fifty keys": bearer * 50,
            "a blank before the colon": bearer.replace(b":", b" :", 1),
            "folded": bearer.replace(b" hbr_", b"\r\n hbr_"),
            "signatures": b"webhook-signature: v1,\xff\r\n" * 60,
        }
        for what, headers in attempts.items():
            request = b"GET /api/v1/me HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + headers + b"\r\n"
            status, _, body = _raw(service, request)
            assert status in {400, 401, 431}, f"{what}: {status} {body!r}"
        assert service.http.get(ME, headers={"Authorization": f"Bearer {secret}"}).status_code == 200

    def test_the_server_names_no_version(self, service: LiveService):
        answer = service.http.get("/health")
        self._demand_hardened(answer, "/health", private=True)

    def test_no_other_origin_is_let_in_by_default(self, document: Document, client: CheckedClient, admin):
        for operation in _with_keys(document):
            answer = _call(client, operation, {**admin, "Origin": "https://evil.example"})
            assert not [name for name in answer.headers.keys() if name.startswith("Access-Control-")]  # noqa: SIM118 - Headers iterates pairs

    def test_a_doubled_slash_or_a_foreign_host_leads_nowhere_else(self, client: CheckedClient, admin):
        answer = client.application.test_client().get(
            "//api//v1/me", headers=admin | {"Host": "evil.example"}
        )
        assert "evil.example" not in answer.headers.get("Location", "")
        assert answer.status_code in {308, 404}

    def test_the_application_is_not_in_debug_or_test_mode(self, app: Flask):
        assert not app.debug
        assert not app.testing
        assert not app.config["PROPAGATE_EXCEPTIONS"]
        assert app.static_folder is None


class TestApi9ImproperInventoryManagement:
    PAGES = {"/docs", "/openapi.json", "/docs/assets/<name>", "/docs/static/<path:filename>"}
    WELL_KNOWN = {"/.well-known/security.txt"}

    def test_the_routes_are_the_operations_that_are_described(self, app: Flask, document: Document):
        routes = set()
        for rule in app.url_map.iter_rules():
            methods = rule.methods or set()
            if rule.rule in self.PAGES | self.WELL_KNOWN:
                assert methods <= {"GET", "HEAD", "OPTIONS"}
                continue
            path = re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule.rule)
            routes |= {(method, path) for method in methods - {"HEAD", "OPTIONS"}}
        assert routes == {(each.method, each.path) for each in operations_of(document)}

    def test_there_is_one_version_and_every_operation_is_under_it(self, document: Document):
        paths = {each.path for each in operations_of(document)}
        assert all(path.startswith(("/api/v1/", "/health")) for path in paths)

    def test_security_txt_says_whom_to_tell(self, app: Flask):
        configured = replace(
            app.extensions["harbor_settings"], security_contact="mailto:security@harbor.example"
        )
        answer = create_app(configured).test_client().get("/.well-known/security.txt")
        assert answer.status_code == 200
        assert answer.content_type == "text/plain; charset=utf-8"
        fields = dict(line.split(": ", 1) for line in answer.text.splitlines())
        assert fields["Contact"] == "mailto:security@harbor.example"
        # RFC 9116: a date, required, in the future and less than a year off.
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", fields["Expires"])


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


class TestApi10UnsafeConsumptionOfApis:
    """What the service consumes is what trackers send: rightly signed does not mean right."""

    @fuzzed
    @given(
        body=st.one_of(
            st.binary(max_size=200),
            _json_values.map(lambda value: json.dumps(value).encode()),
            st.dictionaries(
                st.sampled_from([*a_fix(), "nav_status", "accuracy_m", "battery_v"]), _json_values, max_size=9
            ).map(lambda members: json.dumps(a_fix() | members).encode()),
        )
    )
    def test_no_signed_body_makes_the_service_fail(self, client: CheckedClient, world: World, body):
        tracker = world.tracker()
        assert client.post(CHECK, **tracker.signed(body)).status_code < 500
        assert client.post(POSITIONS, **tracker.signed(body)).status_code < 500

    @fuzzed
    @given(
        name=st.sampled_from(["If-Match", "Idempotency-Key", "X-Request-Id", "Content-Type", "Accept"]),
        value=header_text | st.text('W/"*-, 0123456789', max_size=14),
    )
    def test_no_header_makes_the_service_fail(self, client: CheckedClient, world: World, name, value):
        """Conditions and keys are parsed too, by libraries that may fail for what nobody sends."""
        headers = world.bearer(*SCOPES) | ANY | {"Content-Type": "application/json", name: value}
        number = world.tracker().tracker.number
        for method, url in (("POST", f"{TRACKERS}/{number}/rotate"), ("PATCH", f"{TRACKERS}/{number}")):
            answer = client.open(url, method=method, data=b"{}", headers=headers)
            assert answer.status_code < 500, f"{method} {url}"

    @settings(fuzzed, max_examples=25)
    @given(value=_json_values)
    def test_no_body_of_an_operator_makes_the_service_fail(self, client: CheckedClient, world: World, value):
        bearer = world.bearer(*SCOPES)
        vessel = world.vessel()
        for url, members in (
            (VESSELS, ("name", "kind", "length_m", "imo")),
            (TRACKERS, ("vessel_id", "label", "test")),
            (KEYS, ("name", "owner", "scopes", "vessel_ids", "expires_at")),
        ):
            right = {"name": "x", "scopes": ["vessels:read"], "vessel_id": vessel.id}
            for member in members:
                body = {name: right[name] for name in right if name in members} | {member: value}
                answer = client.post(
                    url, data=json.dumps(body), content_type="application/json", headers=bearer
                )
                assert answer.status_code < 500, f"{url} {body}"


class TestNothingIsToldByTheWorkThatIsDone:
    """Time is never the same twice; statements and HMACs are counted instead."""

    @staticmethod
    @contextmanager
    def _counted(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
        counted: Counter[str] = Counter()
        engine = app.extensions["harbor_database"].engine
        digest = signatures.hmac.digest

        def count_statement(*_: Any) -> None:
            counted["statements"] += 1

        def count_digest(*arguments: Any) -> bytes:
            counted["HMACs"] += 1
            made: bytes = digest(*arguments)
            return made

        event.listen(engine, "before_cursor_execute", count_statement)
        with monkeypatch.context() as patch:
            patch.setattr(signatures.hmac, "digest", count_digest)
            yield counted
        event.remove(engine, "before_cursor_execute", count_statement)

    def _work(self, app: Flask, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], Any]) -> Counter[str]:
        with self._counted(app, monkeypatch) as counted:
            assert ask().status_code == 401
        return counted

    def test_an_unknown_tracker_costs_what_a_wrong_signature_costs(
        self, app: Flask, client: CheckedClient, world: World, monkeypatch
    ):
        met, known = world.tracker(), world.tracker()
        # The application remembers this one.
        assert client.post(POSITIONS, **met.signed(a_fix())).status_code == 201
        forged = [
            SigningTracker(each.tracker, signatures.derive_secret(bytes(32), each.tracker.id, 1))
            for each in (met, known)
        ]
        unknown = forged[0].signed(a_fix(), id="trk_9999-1")
        wrong = forged[0].signed(a_fix())

        work = [
            self._work(app, monkeypatch, partial(client.post, POSITIONS, **signed))
            for signed in (unknown, wrong, forged[1].signed(a_fix()))
        ]

        assert work[0] == work[1] == work[2]
        assert work[0]["statements"] == 1
        answers = [json.loads(client.post(POSITIONS, **signed).text) for signed in (unknown, wrong)]
        assert answers[0] | {"request_id": ""} == answers[1] | {"request_id": ""}

    def test_a_disabled_tracker_is_told_only_to_whom_has_its_secret(
        self, client: CheckedClient, world: World
    ):
        disabled = world.disabled_tracker()
        forged = SigningTracker(disabled.tracker, signatures.derive_secret(bytes(32), "trk_0001", 1))
        assert client.post(POSITIONS, **disabled.signed(a_fix())).status_code == 403
        assert client.post(POSITIONS, **forged.signed(a_fix())).json["code"] == "signature_invalid"

    def test_an_unknown_key_costs_what_a_revoked_one_costs(
        self, app: Flask, client: CheckedClient, world: World, monkeypatch
    ):
        revoked, secret = world.key()
        world.revoke(revoked)
        work = [
            self._work(
                app,
                monkeypatch,
                partial(client.get, ME, headers={"Authorization": f"Bearer {key}"}),
            )
            for key in (api_keys.generate(), secret)
        ]
        assert work[0] == work[1] == {"statements": 1}

    def test_signatures_are_compared_in_constant_time(self):
        source = inspect.getsource(signatures.verify)
        assert "hmac.compare_digest(" in source
        compared = [
            ast.unparse(node)
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Compare) and "expected" in ast.unparse(node)
        ]
        assert compared == []

    def test_keys_are_looked_up_by_their_hash_only(self):
        where = str(key_rows._PRESENTED.whereclause)
        assert set(re.findall(r"api_keys\.(\w+)", where)) == {"sha256", "previous_sha256"}


def _raw(service: LiveService, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are and return status, headers and body."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(request)
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
            head, found, body = received.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if found and length and len(body) >= int(length[1]):
                break
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split(" ")[1]), headers, body


def _without_use(tables: dict[str, list[str]]) -> dict[str, int | list[str]]:
    """Return the tables without what the mere use of a key changes in them."""
    return {name: rows if name != "api_keys" else len(rows) for name, rows in tables.items()}


class TestSecretsStaySecret:
    """Everything is done to a service that logs all it can, and then the secrets are looked for."""

    MASTER = base64.b64encode(MASTER_KEY).decode()

    def _use_everything(self, service: LiveService) -> "Used":
        """Call what makes and takes secrets, rightly and wrongly."""
        http = service.http
        own = service.world.key(*SCOPES, requests_per_minute=1_000_000)[1]
        operator = {"Authorization": f"Bearer {own}"}
        vessel = http.post(VESSELS, json={"name": "Quokka"}, headers=operator).json()
        tracker = http.post(TRACKERS, json={"vessel_id": vessel["id"], "test": True}, headers=operator).json()
        terms = {"name": "partner", "scopes": ["vessels:read"]}
        once = operator | {"Idempotency-Key": "one"}
        key = http.post(KEYS, json=terms, headers=once).json()
        assert http.post(KEYS, json=terms, headers=once).json()["secret"] == key["secret"]
        next_key = http.post(f"{KEYS}/{key['id']}/rotate", json={}, headers=operator).json()["secret"]
        for secret in (key["secret"], next_key):
            assert http.get(VESSELS, headers={"Authorization": f"Bearer {secret}"}).status_code == 200
        before = self._signing(service, tracker["number"], tracker["secret"])
        assert _sent(service, POSITIONS, before.signed(a_fix())).status_code == 201
        url = f"{TRACKERS}/{tracker['number']}/rotate"
        next_secret = http.post(url, json={}, headers=operator).json()["secret"]
        after = self._signing(service, tracker["number"], next_secret)
        assert _sent(service, POSITIONS, after.signed({"lat": "x"})).status_code == 422
        secrets = {
            "operator's key": own,
            "partner's key": key["secret"],
            "partner's next key": next_key,
            "tracker's secret": tracker["secret"],
            "tracker's next secret": next_secret,
        }
        return Used(secrets, operator, after)

    @staticmethod
    def _signing(service: LiveService, number: int, secret: str) -> SigningTracker:
        with service.world.database.statement() as unit_of_work:
            return SigningTracker(unit_of_work.trackers.get(number), secret)

    @classmethod
    def _demand_absent(cls, secrets: Mapping[str, str], text: str, where: str) -> None:
        # A trace holds texts as Python shows them, in JSON once more.
        plain = re.sub(r"\\+", r"\\", text)
        keys = {
            "master key": cls.MASTER,
            "master key, hexadecimal": MASTER_KEY.hex(),
            "master key, as Python shows it": r"\x00\x01\x02\x03\x04",
        }
        for what, secret in {**secrets, **keys}.items():
            # What may be shown of a key are its first ten characters.
            telling = secret[10:30] if secret.startswith(("hbr_", "whsec_")) else secret
            for form in (telling, telling.encode().hex()):
                # Not by "in": the report of a failure would print all of it.
                found = plain.find(form)
                assert found < 0, f"{where} holds the {what}: ...{plain[max(0, found - 200) : found]}"

    def test_in_the_log_the_audit_trail_the_document_and_the_database(self, service: LiveService):
        used = self._use_everything(service)
        for url in (AUDIT, KEYS, TRACKERS, ME, VESSELS, "/openapi.json"):
            self._demand_absent(used.secrets, service.http.get(url, headers=used.operator).text, url)
        for table, rows in _tables(service.world).items():
            self._demand_absent(used.secrets, "\n".join(rows), f"the table {table}")
        self._demand_absent(used.secrets, service.log(), "the log")

    def test_in_what_a_tracker_under_test_is_told(self, service: LiveService):
        used = self._use_everything(service)
        tracker = used.signing.tracker
        wrong = SigningTracker(tracker, signatures.derive_secret(bytes(32), tracker.id, 1))
        signed = wrong.signed(a_fix())
        answer = _sent(service, CHECK, signed)
        assert "expected" in answer.json()
        self._demand_absent(used.secrets, answer.text, "the explanation")
        headers = signed["headers"]
        message = (headers["webhook-id"], int(headers["webhook-timestamp"]), signed["data"])
        right = signatures.sign(used.signing.secret, *message)
        assert right.removeprefix("v1,") not in answer.text

    def test_in_the_log_of_a_failure(self, service: LiveService):
        """The database breaks as nobody foresaw: a table is gone, under the feet of any request."""
        used = self._use_everything(service)
        http, signing = service.http, used.signing
        answers = []
        with psycopg.connect(service.environ["HARBOR_DATABASE_URL"], autocommit=True) as connection:
            for table in ("api_keys", "trackers", "idempotency_keys", "audit", "positions"):
                connection.execute(f"ALTER TABLE {table} RENAME TO gone")
                once = {**used.operator, "Idempotency-Key": table}
                terms = {"name": "x", "scopes": ["keys:read"]}
                answers += [
                    http.get(ME, headers=used.operator),
                    http.post(KEYS, json=terms, headers=once),
                    http.post(f"{TRACKERS}/{signing.tracker.number}/rotate", json={}, headers=once),
                    *(_sent(service, url, signing.signed(a_fix(60))) for url in (POSITIONS, CHECK)),
                ]
                connection.execute(f"ALTER TABLE gone RENAME TO {table}")

        assert sum(each.status_code == 500 for each in answers) >= 5, [each.status_code for each in answers]
        for answer in answers:
            if answer.status_code >= 500:
                self._demand_absent(used.secrets, answer.text, "the answer")
                assert "Traceback" not in answer.text
                assert "gone" not in answer.text
        assert "unexpected_exception" in service.log()
        self._demand_absent(used.secrets, service.log(), "the log")

    def test_in_the_log_of_what_is_not_http(self, service: LiveService):
        used = self._use_everything(service)
        bearer = f"Authorization: {used.operator['Authorization']}\r\n"
        for headers in (
            bearer.replace(":", " :", 1),
            bearer.replace("Bearer ", "Bearer\r\n "),
            bearer.replace("\r\n", "\x00\r\n"),
            bearer.replace(":", ""),
            bearer + "Content-Length: x\r\n",
        ):
            status, _, body = _raw(service, f"GET {ME} HTTP/1.1\r\nHost: h\r\n{headers}\r\n".encode())
            assert status == 400, headers
            self._demand_absent(used.secrets, body.decode(), "the answer")
        self._demand_absent(used.secrets, service.log(), "the log")

    def test_in_the_settings_as_they_are_shown(self):
        settings = Settings(
            database_url="postgresql://harbor:s3cret-word@db/harbor",
            redis_url="redis://:s3cret-word@cache/0",
            tracker_master_key=MASTER_KEY,
        )
        assert "s3cret-word" not in repr(settings)
        self._demand_absent({}, repr(settings), "repr(Settings)")


@dataclass(frozen=True)
class Used:
    """What the use of everything has left: its secrets, who may do all, and a tracker under test."""

    secrets: Mapping[str, str]
    operator: Mapping[str, str]
    signing: SigningTracker


def _sent(service: LiveService, url: str, signed: Mapping[str, Any]) -> httpx.Response:
    return service.http.post(url, content=signed["data"], headers=signed["headers"])
