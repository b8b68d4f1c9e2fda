"""API2:2023 Broken Authentication: nothing but a whole key or signature, in its place, lets anybody in."""

import base64

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.security.fuzzing import fuzzed, header_text
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.urls import CHECK, KEYS, ME, POSITIONS

from harbor_api.domain import signatures


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
        signed = world.tracker().signed(a_fix(), url=url)
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
