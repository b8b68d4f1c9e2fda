"""GET /api/v1/vessels and /api/v1/vessels/{id}: what partners read."""

from dataclasses import replace

import pytest
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.urls import POSITIONS
from tests.support.urls import VESSELS as URL

from harbor_api.web import runtime


def test_lists_the_fleet_as_geojson(client: CheckedClient, world: World):
    seen = world.vessel("Seen", imo="9074729", mmsi="257123450", flag="NO", length_m=88.5)
    world.vessel("Never seen")
    client.post(POSITIONS, **world.tracker(seen).signed(a_fix(lat=59.12345678)))

    answer = client.get(URL, headers=world.bearer())

    assert answer.status_code == 200
    assert answer.headers.getlist("Content-Type") == ["application/geo+json"]
    first, second = answer.json["features"]
    assert first["id"] == seen.id
    assert first["geometry"] == {"type": "Point", "coordinates": [10.7, 59.123457]}
    properties = first["properties"]
    assert (properties["imo"], properties["mmsi"], properties["length_m"]) == ("9074729", "257123450", 88.5)
    assert (properties["recorded_at"], properties["stale"]) == ("2026-01-02T03:04:05.000000Z", True)
    assert (properties["sog"], properties["cog"], properties["heading"]) == (8.4, 181.2, 180)
    assert (second["geometry"], second["properties"]["stale"]) == (None, True)


def test_gets_one_vessel(client: CheckedClient, world: World):
    world.vessel("Other")
    vessel = world.vessel("This one")

    answer = client.get(f"{URL}/{vessel.id}", headers=world.bearer())

    assert (answer.status_code, answer.json["properties"]["name"]) == (200, "This one")


@pytest.mark.parametrize("id", ["999", "0", "abc", "-1", "01", "1.0", "٣", "9" * 30, "2147483648"])
def test_answers_404_when_there_is_no_such_vessel(client: CheckedClient, world: World, id):
    world.vessel()
    answer = client.get(f"{URL}/{id}", headers=world.bearer())
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


class TestRefuses:
    def test_no_key(self, client: CheckedClient):
        answer = client.get(URL)
        assert (answer.status_code, answer.json["code"]) == (401, "key_missing")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="harbor"'

    @pytest.mark.parametrize(
        "key",
        [
            "nonsense",
            "hbr_",
            "hbr_" + "0" * 36,
            "hbr_" + "é" * 36,
            "hbr_0123456789ABCDEFGHIJKLMNOPQRST000000",
        ],
    )
    def test_an_unknown_key(self, client: CheckedClient, key):
        answer = client.get(URL, headers={"Authorization": f"Bearer {key}"})
        assert (answer.status_code, answer.json["code"]) == (401, "key_invalid")

    def test_a_revoked_key(self, client: CheckedClient, world: World):
        key, secret = world.key()
        world.revoke(key)
        answer = client.get(URL, headers={"Authorization": f"Bearer {secret}"})
        assert (answer.status_code, answer.json["code"]) == (401, "key_revoked")

    def test_a_key_without_the_scope(self, client: CheckedClient, world: World):
        answer = client.get(URL, headers=world.bearer("audit:read"))
        assert (answer.status_code, answer.json["code"]) == (403, "scope_missing")

    def test_the_61st_request_in_a_minute(self, client: CheckedClient, world: World):
        bearer = world.bearer(requests_per_minute=None)
        statuses = [client.get(URL, headers=bearer).status_code for _ in range(30)]
        statuses += [client.get(f"{URL}/1", headers=bearer).status_code for _ in range(30)]
        refused = client.get(URL, headers=bearer)

        assert 429 not in statuses
        assert (refused.status_code, refused.json["code"]) == (429, "rate_limited")
        assert refused.headers["RateLimit-Policy"] == '"key";q=60;w=60'
        assert refused.headers["RateLimit"].startswith('"key";r=0;t=')
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert client.get(URL, headers=world.bearer()).status_code == 200

    def test_an_unknown_query_parameter(self, client: CheckedClient, world: World):
        answer = client.get(f"{URL}?colour=red", headers=world.bearer())
        assert (answer.status_code, answer.json["code"]) == (400, "invalid_parameter")

    def test_an_unknown_path(self, client: CheckedClient):
        answer = client.get("/api/v1/boats")
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")

    def test_a_wrong_method(self, client: CheckedClient):
        answer = client.delete(URL)
        assert (answer.status_code, answer.json["code"]) == (405, "method_not_allowed")
        assert "GET" in answer.headers["Allow"]


def test_an_unexpected_exception_tells_nothing(client: CheckedClient, world: World, app, monkeypatch):
    """Sabotage, the one thing that cannot be had from outside: a defect in the code."""
    bearer = world.bearer()
    monkeypatch.setitem(app.extensions, runtime.NAME, replace(runtime.of(app), fleet=None))

    answer = client.get(URL, headers=bearer)

    assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
    assert "NoneType" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("presented", ["abc-123", "a" * 64])
def test_gives_back_the_callers_request_id(client: CheckedClient, presented):
    assert (
        client.get("/health/live", headers={"X-Request-Id": presented}).headers["X-Request-Id"] == presented
    )


@pytest.mark.parametrize("presented", ["", "a" * 65, "a b", "ü", "a\tb"])
def test_makes_a_request_id_when_the_callers_is_not_sane(client: CheckedClient, presented):
    answer = client.get("/health/live", headers={"X-Request-Id": presented})
    assert answer.headers["X-Request-Id"] != presented
