"""API10:2023 Unsafe Consumption of APIs: what trackers and operators send may be anything."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.security.calls import ANY
from tests.security.fuzzing import fuzzed, header_text
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.urls import CHECK, KEYS, POSITIONS, TRACKERS, VESSELS

from harbor_api.domain.api_keys import SCOPES

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
        assert client.post(CHECK, **tracker.signed(body, url=CHECK)).status_code < 500
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
