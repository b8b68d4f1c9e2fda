"""API keys: who is turned away without the database, and who is never let in without it."""

import pytest
from flask import Flask
from tests.support.checked_client import CheckedClient
from tests.support.factories import World
from tests.support.urls import AUDIT, ME, VESSELS

from harbor_api.domain import api_keys
from harbor_api.domain.errors import Unavailable
from harbor_api.web import rate_limits, runtime


@pytest.fixture
def away(app: Flask, monkeypatch: pytest.MonkeyPatch):
    """Return what takes the database away."""

    def unavailable():
        raise Unavailable

    def take_away():
        monkeypatch.setattr(runtime.of(app).database, "autocommit", unavailable)

    return take_away


def test_a_bad_key_is_told_so_while_the_database_is_away(client: CheckedClient, away):
    away()
    for header, code in (("Bearer hbr_x", "key_invalid"), ("", "key_missing")):
        answer = client.get(ME, headers={"Authorization": header})
        assert (answer.status_code, answer.json["code"]) == (401, code)
    unknown = client.get(ME, headers={"Authorization": f"Bearer {api_keys.generate()}"})
    assert unknown.status_code == 503


def test_a_known_key_that_has_used_up_its_requests_needs_no_database(
    client: CheckedClient, world: World, away
):
    bearer = world.bearer(requests_per_minute=2)
    assert [client.get(ME, headers=bearer).status_code for _ in range(2)] == [200, 200]
    away()
    assert client.get(ME, headers=bearer).status_code == 429
    fresh = world.key(requests_per_minute=2)
    assert client.get(ME, headers={"Authorization": f"Bearer {fresh[1]}"}).status_code == 503


def test_a_known_key_is_let_in_by_the_database_alone(client: CheckedClient, world: World, away):
    key, secret = world.key()
    bearer = {"Authorization": f"Bearer {secret}"}
    assert client.get(ME, headers=bearer).status_code == 200
    world.revoke(key)
    refused = client.get(ME, headers=bearer)
    assert (refused.status_code, refused.json["code"]) == (401, "key_revoked")
    assert "RateLimit" not in refused.headers
    away()
    assert client.get(ME, headers=bearer).status_code == 503


def test_each_request_counts_once_whatever_becomes_of_it(client: CheckedClient, world: World):
    bearer = world.bearer("vessels:read", requests_per_minute=10)
    asked = [(ME, 200), (AUDIT, 403), (f"{VESSELS}?nonsense=1", 400), (f"{VESSELS}/9", 404), (ME, 200)]
    for number, (url, status) in enumerate(asked, 1):
        answer = client.get(url, headers=bearer)
        assert answer.status_code == status
        assert answer.headers["RateLimit"].startswith(f'"key";r={10 - number};')


def test_an_unchanged_read_takes_a_tenth(client: CheckedClient, world: World):
    bearer = world.bearer(requests_per_minute=3)
    world.vessel()
    tag = client.get(f"{VESSELS}/1", headers=bearer).headers["ETag"]
    unchanged = bearer | {"If-None-Match": tag}
    answers = [client.get(f"{VESSELS}/1", headers=unchanged) for _ in range(12)]
    # Each needs room for a whole one.
    assert [each.status_code for each in answers] == [304] * 11 + [429]
    left = [int(each.headers["RateLimit"].split(";")[1].removeprefix("r=")) for each in answers]
    assert left == [1] * 10 + [0, 0]
    assert {each.headers["RateLimit-Policy"] for each in answers} == {'"key";q=3;w=60'}
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60


def test_what_is_left_is_told_in_whole_requests(client: CheckedClient, world: World):
    bearer = world.bearer(requests_per_minute=10)
    world.vessel()
    tag = client.head(f"{VESSELS}/1", headers=bearer).headers["ETag"]
    for method, left in (("GET", 8), ("HEAD", 8)):
        answer = client.open(f"{VESSELS}/1", method=method, headers=bearer | {"If-None-Match": tag})
        assert answer.status_code == 304
        assert answer.headers["RateLimit"].startswith(f'"key";r={left};')
    assert client.get(ME, headers=bearer).json["rate_limit"] == {"limit": 10, "remaining": 7}
    # What has changed takes a whole one, and so does what is refused.
    other = bearer | {"If-None-Match": '"other"'}
    assert client.get(f"{VESSELS}/1", headers=other).headers["RateLimit"].startswith('"key";r=6;')
    assert client.get(f"{VESSELS}/9", headers=other).headers["RateLimit"].startswith('"key";r=5;')


def test_a_limit_that_was_changed_holds_from_the_next_request_that_is_let_in(
    client: CheckedClient, world: World, admin
):
    key, secret = world.key(requests_per_minute=3)
    bearer = {"Authorization": f"Bearer {secret}"}
    client.get(ME, headers=bearer)
    client.patch(
        f"/api/v1/api-keys/{key.id}", json={"requests_per_minute": 5}, headers={**admin, "If-Match": "*"}
    )
    client.get(ME, headers=bearer)
    assert client.get(ME, headers=bearer).headers["RateLimit-Policy"] == '"key";q=5;w=60'


class TestStrangers:
    """What anybody may ask is bounded for each address."""

    PATHS = (
        "/health",
        "/docs",
        "/openapi.json",
        "/docs/assets/swagger-ui.css",
        "/nowhere",
        "/api/v1/x",
        "//",
    )

    @pytest.mark.parametrize("path", PATHS)
    def test_are_refused_beyond_a_generous_limit(self, app: Flask, client: CheckedClient, path, monkeypatch):
        monkeypatch.setattr(rate_limits, "PUBLIC_PER_MINUTE", 2)
        plain = app.test_client()
        statuses = []
        for address in ("192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"):
            answer = plain.get("", environ_overrides={"PATH_INFO": path, "REMOTE_ADDR": address})
            statuses.append(answer.status_code == 429)
            if answer.status_code == 429:
                assert answer.json["code"] == "rate_limited"
                assert int(answer.headers["Retry-After"]) in range(1, 61)
            answer.close()
        assert statuses == [False, False, True, False]

    @pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
    def test_probes_are_never_refused(self, client: CheckedClient, path, monkeypatch):
        monkeypatch.setattr(rate_limits, "PUBLIC_PER_MINUTE", 1)
        assert {client.get(path).status_code for _ in range(5)} == {200}

    def test_take_nothing_from_keys(self, client: CheckedClient, world: World, monkeypatch):
        monkeypatch.setattr(rate_limits, "PUBLIC_PER_MINUTE", 1)
        bearer = world.bearer()
        assert [client.get("/docs").status_code for _ in range(2)] == [200, 429]
        assert client.get(ME, headers=bearer).status_code == 200
