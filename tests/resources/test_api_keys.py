"""API keys over HTTP: issued, changed, rotated, revoked, and what a key learns of itself."""

from typing import Any

import pytest
from tests.support.checked_client import CheckedClient
from tests.support.factories import World
from tests.support.urls import KEYS as URL
from tests.support.urls import ME, VESSELS

ANY = {"If-Match": "*"}
TERMS = {"name": "Nordic Logistics", "scopes": ["vessels:read"]}


def _as(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def _issue(client: CheckedClient, admin: dict[str, str], **terms: Any) -> Any:
    answer = client.post(URL, json=TERMS | terms, headers=admin)
    assert answer.status_code == 201, answer.text
    return answer


class TestIssue:
    def test_tells_the_secret_once_and_where_the_key_is(self, client: CheckedClient, admin):
        answer = _issue(client, admin, owner="it@nordic.example")
        issued = answer.json
        found = client.get(answer.headers["Location"], headers=admin)
        assert found.json == {name: value for name, value in issued.items() if name != "secret"}
        assert issued["secret"].startswith(issued["prefix"])
        assert answer.headers["ETag"] == found.headers["ETag"]
        assert client.get(ME, headers=_as(issued["secret"])).status_code == 200

    def test_a_key_for_some_vessels_sees_those_and_no_others(
        self, client: CheckedClient, world: World, admin
    ):
        mine, other = world.vessel("Mine"), world.vessel("Other")
        secret = _issue(client, admin, vessel_ids=[mine.id]).json["secret"]
        assert client.get(f"{VESSELS}/{mine.id}", headers=_as(secret)).status_code == 200
        assert client.get(f"{VESSELS}/{other.id}", headers=_as(secret)).status_code == 404

    def test_conflict_where_it_grants_a_vessel_that_there_is_not(
        self, client: CheckedClient, world: World, admin
    ):
        granted = [world.vessel().id, 2_000_000_000]
        answer = client.post(URL, json=TERMS | {"vessel_ids": granted}, headers=admin)
        assert (answer.status_code, answer.json["code"]) == (409, "conflict")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"name": ""},
            {"name": "\t"},
            {"scopes": []},
            {"scopes": ["vessels:read", "vessels:read"]},
            {"scopes": ["everything"]},
            {"vessel_ids": [1, 1]},
            {"vessel_ids": [0]},
            {"vessel_ids": ["1"]},
            {"delay_s": -1},
            {"delay_s": True},
            {"coordinate_decimals": 7},
            {"history_days": 0},
            {"history_days": 1.5},
            {"requests_per_minute": 0},
            {"expires_at": "tomorrow"},
            {"expires_at": "2027-01-01T00:00:00"},
        ],
    )
    def test_422_where_a_term_cannot_be(self, client: CheckedClient, admin, wrong):
        answer = client.post(URL, json=TERMS | wrong, headers=admin)
        assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
        assert answer.json["errors"][0]["pointer"].startswith(f"#/{next(iter(wrong))}")

    def test_the_same_request_is_done_once(self, client: CheckedClient, admin):
        once = admin | {"Idempotency-Key": "one"}
        first, second = _issue(client, once), _issue(client, once)
        assert first.json == second.json
        assert first.headers["Location"] == second.headers["Location"]
        reused = client.post(URL, json=TERMS | {"name": "Other"}, headers=once)
        assert (reused.status_code, reused.json["code"]) == (422, "idempotency_key_reused")

    @pytest.mark.parametrize("key", ["", " ", "x" * 256, "ü", "a b"])
    def test_400_where_the_idempotency_key_is_none(self, client: CheckedClient, admin, key):
        answer = client.post(URL, json=TERMS, headers=admin | {"Idempotency-Key": key})
        assert (answer.status_code, answer.json["code"]) == (400, "invalid_header")
        assert [each["header"] for each in answer.json["errors"]] == ["Idempotency-Key"]

    def test_an_expired_key_is_refused(self, client: CheckedClient, admin):
        secret = _issue(client, admin, expires_at="2001-01-01T00:00:00Z").json["secret"]
        answer = client.get(ME, headers=_as(secret))
        assert (answer.status_code, answer.json["code"]) == (401, "key_revoked")


class TestChange:
    def test_is_in_force_with_the_next_request(self, client: CheckedClient, world: World, admin):
        vessel = world.vessel()
        issued = _issue(client, admin, vessel_ids=[])
        secret, url = issued.json["secret"], issued.headers["Location"]
        assert client.get(VESSELS, headers=_as(secret)).json["features"] == []

        etag = {"If-Match": issued.headers["ETag"]}
        answer = client.patch(url, json={"vessel_ids": [vessel.id]}, headers=admin | etag)

        assert (answer.status_code, answer.json["vessel_ids"]) == (200, [vessel.id])
        assert len(client.get(VESSELS, headers=_as(secret)).json["features"]) == 1
        again = client.patch(url, json={"vessel_ids": None}, headers=admin | etag)
        assert (again.status_code, again.json["code"]) == (412, "precondition_failed")

    def test_a_grant_that_fails_leaves_the_earlier_ones(self, client: CheckedClient, world: World, admin):
        vessel = world.vessel()
        url = _issue(client, admin, vessel_ids=[vessel.id]).headers["Location"]
        answer = client.patch(url, json={"vessel_ids": [2_000_000_000]}, headers=admin | ANY)
        assert answer.status_code == 409
        assert client.get(url, headers=admin).json["vessel_ids"] == [vessel.id]

    def test_428_without_a_version(self, client: CheckedClient, admin):
        url = _issue(client, admin).headers["Location"]
        answer = client.patch(url, json={"name": "x"}, headers=admin)
        assert (answer.status_code, answer.json["code"]) == (428, "precondition_required")

    def test_how_far_back_it_sees_is_given_and_taken_back(self, client: CheckedClient, admin):
        issued = _issue(client, admin)
        url, secret = issued.headers["Location"], issued.json["secret"]
        assert issued.json["history_days"] is None
        for days in (30, 36_500, None):
            answer = client.patch(url, json={"history_days": days}, headers=admin | ANY)
            assert (answer.status_code, answer.json["history_days"]) == (200, days)
            assert client.get(ME, headers=_as(secret)).json["history_days"] == days

    def test_a_change_of_nothing_keeps_the_version(self, client: CheckedClient, admin):
        issued = _issue(client, admin)
        same = client.patch(issued.headers["Location"], json=TERMS, headers=admin | ANY)
        assert same.headers["ETag"] == issued.headers["ETag"]


class TestRotate:
    def test_both_secrets_hold_for_the_grace_time(self, client: CheckedClient, admin):
        issued = _issue(client, admin)
        rotated = client.post(f"{issued.headers['Location']}/rotate", json={"grace_s": 60}, headers=admin)
        assert rotated.json["id"] == issued.json["id"]
        assert rotated.json["prefix"] != issued.json["prefix"]
        for answer in (issued, rotated):
            assert client.get(ME, headers=_as(answer.json["secret"])).json["id"] == issued.json["id"]

    def test_without_grace_the_earlier_one_ends_at_once(self, client: CheckedClient, admin):
        issued = _issue(client, admin)
        rotated = client.post(f"{issued.headers['Location']}/rotate", json={"grace_s": 0}, headers=admin)
        assert client.get(ME, headers=_as(issued.json["secret"])).json["code"] == "key_revoked"
        assert client.get(ME, headers=_as(rotated.json["secret"])).status_code == 200

    def test_conflict_while_one_is_under_way(self, client: CheckedClient, admin):
        url = f"{_issue(client, admin).headers['Location']}/rotate"
        assert [client.post(url, json={}, headers=admin).status_code for _ in range(2)] == [200, 409]

    def test_a_repeat_is_told_the_same_secret(self, client: CheckedClient, admin):
        url = f"{_issue(client, admin).headers['Location']}/rotate"
        once = admin | {"Idempotency-Key": "one"}
        first, second = (client.post(url, json={}, headers=once) for _ in range(2))
        assert (first.status_code, first.json) == (second.status_code, second.json)

    @pytest.mark.parametrize("since", ["rotate", "revoke"])
    def test_a_repeat_is_not_told_a_secret_that_is_not_the_newest(self, client: CheckedClient, admin, since):
        url, once = f"{_issue(client, admin).headers['Location']}", admin | {"Idempotency-Key": "one"}
        assert client.post(f"{url}/rotate", json={}, headers=once).status_code == 200
        body = {"json": {"grace_s": 0}} if since == "rotate" else {}
        assert client.post(f"{url}/{since}", headers=admin, **body).status_code == 200
        assert client.post(f"{url}/rotate", json={}, headers=once).json["code"] == "conflict"

    def test_conflict_for_a_key_that_is_revoked(self, client: CheckedClient, admin):
        url = _issue(client, admin).headers["Location"]
        client.post(f"{url}/revoke", headers=admin)
        assert client.post(f"{url}/rotate", json={}, headers=admin).status_code == 409


class TestRevoke:
    def test_is_for_good_and_may_be_asked_again(self, client: CheckedClient, admin):
        url = _issue(client, admin).headers["Location"]
        first, second = (client.post(f"{url}/revoke", headers=admin) for _ in range(2))
        assert first.json["revoked_at"] is not None
        assert (second.status_code, second.json) == (200, first.json)


class TestFamily:
    """A key and those that it has issued, as the issue of a manager's key with an end and a limit has it."""

    @pytest.fixture
    def manager(self, client: CheckedClient, admin) -> Any:
        scopes = ["keys:write", "keys:read", "vessels:read"]
        return _issue(
            client, admin, scopes=scopes, requests_per_minute=100, expires_at="2100-01-01T00:00:00Z"
        ).json

    def test_neither_end_nor_limit_is_taken_away_by_the_key_itself(self, client: CheckedClient, manager):
        url, bearer = f"{URL}/{manager['id']}", _as(manager["secret"])
        for more in ({"expires_at": None}, {"requests_per_minute": None, "expires_at": None}, {"delay_s": 5}):
            answer = client.patch(url, json=more, headers=bearer | ANY)
            assert answer.status_code in {403, 409}, more
            assert answer.status_code == 409 or answer.json["code"] == "exceeds_key"
        kept = client.patch(url, json={"requests_per_minute": 99}, headers=bearer | ANY)
        assert (kept.status_code, kept.json["requests_per_minute"]) == (200, 99)

    def test_what_it_issues_ends_with_it(self, client: CheckedClient, admin, manager):
        bearer = _as(manager["secret"])
        refused = client.post(URL, json=TERMS, headers=bearer)
        assert (refused.status_code, refused.json["code"]) == (403, "exceeds_key")
        assert "expires_at" in refused.json["detail"]
        child = _issue(client, bearer, expires_at="2099-01-01T00:00:00Z").json
        assert child["parent_id"] == manager["id"]
        assert client.get(ME, headers=_as(child["secret"])).status_code == 200
        client.post(f"{URL}/{manager['id']}/revoke", headers=admin)
        assert client.get(ME, headers=_as(child["secret"])).json["code"] == "key_revoked"

    def test_an_administrator_lets_one_stand_alone(self, client: CheckedClient, admin):
        issued = _issue(client, admin, independent=True).json
        assert issued["parent_id"] is None
        own = client.get(ME, headers=admin).json["id"]
        client.post(f"{URL}/{own}/revoke", headers=admin)
        assert client.get(ME, headers=_as(issued["secret"])).status_code == 200


@pytest.mark.parametrize("ask", ["get", "patch", "rotate", "revoke"])
def test_404_where_there_is_no_such_key(client: CheckedClient, admin, ask):
    url = f"{URL}/2000000000"
    if ask in {"rotate", "revoke"}:
        answer = client.post(f"{url}/{ask}", headers=admin, **({"json": {}} if ask == "rotate" else {}))
    elif ask == "patch":
        answer = client.patch(url, json={"name": "x"}, headers=admin | ANY)
    else:
        answer = client.get(url, headers=admin)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_lists_all_keys_page_by_page_without_their_secrets(client: CheckedClient, admin):
    issued = [_issue(client, admin, name=f"partner {number}").json for number in range(5)]
    url, seen = f"{URL}?limit=2", []
    while url:
        page = client.get(url, headers=admin)
        seen += page.json["api_keys"]
        url = page.json["links"]["next"]
        assert page.headers.get("Link") == (f'<{url}>; rel="next"' if url else None)
    assert [each["id"] for each in seen][1:] == [each["id"] for each in issued]
    assert not [each for each in seen if "secret" in each]


class TestMe:
    def test_tells_what_the_key_is_may_do_and_has_left(self, client: CheckedClient, world: World, admin):
        vessel = world.vessel()
        limits = {"delay_s": 60, "history_days": 30, "requests_per_minute": 10}
        issued = _issue(client, admin, vessel_ids=[vessel.id], **limits).json
        first = client.get(ME, headers=_as(issued["secret"])).json
        second = client.get(ME, headers=_as(issued["secret"])).json
        assert first["rate_limit"] == {"limit": 10, "remaining": 9}
        assert second["rate_limit"] == {"limit": 10, "remaining": 8}
        for name in ("id", "prefix", "scopes", "vessel_ids", "delay_s", "history_days"):
            assert first[name] == issued[name]
        assert first["last_used_at"] is not None
