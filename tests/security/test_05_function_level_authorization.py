"""API5:2023 Broken Function Level Authorization: no key climbs past its scopes."""

import pytest
from tests.security.calls import ANY, Document
from tests.security.stored import tables, without_use
from tests.support.checked_client import CheckedClient
from tests.support.factories import World
from tests.support.operations import operations_of
from tests.support.urls import KEYS, ME, VESSELS

from harbor_api.domain.api_keys import SCOPES
from harbor_api.services import api_keys


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
        before = without_use(tables(world))

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
        assert without_use(tables(world)) == before

    def test_a_key_takes_over_no_key_with_scopes_that_it_lacks(
        self, client: CheckedClient, world: World, officer
    ):
        _, bearer = officer
        stronger, secret = world.key(*SCOPES)
        before = without_use(tables(world))
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
        assert without_use(tables(world)) == before
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

    @pytest.mark.parametrize(
        "limited", [{"vessel_ids": []}, {"delay_s": 1}, {"coordinate_decimals": 6}, {"history_days": 36_500}]
    )
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
