"""Trackers over HTTP: registered, moved, rotated, disabled."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.checked_client import CheckedClient
from tests.support.factories import SigningTracker, World, a_fix
from tests.support.urls import POSITIONS, VESSELS
from tests.support.urls import TRACKERS as URL

from harbor_api.schemas.fields import rfc3339

ANY = {"If-Match": "*"}


@pytest.fixture
def operator(world: World) -> dict[str, str]:
    """Return the headers of a key that may manage trackers."""
    return world.bearer("trackers:read", "trackers:write")


class TestRegister:
    def test_tells_a_secret_that_signs(self, client: CheckedClient, world: World, operator):
        vessel = world.vessel()
        answer = client.post(URL, json={"vessel_id": vessel.id, "label": "bridge"}, headers=operator)
        assert answer.status_code == 201
        assert answer.json["assignments"] == [
            {"vessel_id": vessel.id, "starts_at": "0001-01-01T00:00:00.000000Z"}
        ]
        found = client.get(answer.headers["Location"], headers=operator)
        told = {name: value for name, value in answer.json.items() if name != "secret"}
        assert found.json.items() >= told.items()

        with world.database.autocommit() as unit_of_work:
            signing = SigningTracker(unit_of_work.trackers.get(answer.json["number"]), answer.json["secret"])
        assert client.post(POSITIONS, **signing.signed(a_fix())).status_code == 201

    def test_conflict_where_there_is_no_such_vessel(self, client: CheckedClient, operator):
        answer = client.post(URL, json={"vessel_id": 2_000_000_000}, headers=operator)
        assert (answer.status_code, answer.json["code"]) == (409, "conflict")

    @pytest.mark.parametrize("body", [{}, {"vessel_id": "1"}, {"vessel_id": 0}, {"vessel_id": None}])
    def test_422_without_a_vessel(self, client: CheckedClient, operator, body):
        answer = client.post(URL, json=body, headers=operator)
        assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "#/vessel_id")

    def test_the_same_request_is_done_once(self, client: CheckedClient, world: World, operator):
        once, body = operator | {"Idempotency-Key": "one"}, {"vessel_id": world.vessel().id}
        first, second = (client.post(URL, json=body, headers=once) for _ in range(2))
        assert (first.status_code, first.json) == (second.status_code, second.json)
        assert len(client.get(URL, headers=operator).json["trackers"]) == 1


class TestChange:
    def test_label_and_test(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker().tracker
        url = f"{URL}/{tracker.number}"
        etag = {"If-Match": client.get(url, headers=operator).headers["ETag"]}
        answer = client.patch(url, json={"label": "mast", "test": True}, headers=operator | etag)
        assert (answer.json["label"], answer.json["test"]) == ("mast", True)
        again = client.patch(url, json={"label": "bow"}, headers=operator | etag)
        assert (again.status_code, again.json["code"]) == (412, "precondition_failed")

    @pytest.mark.parametrize("etag", ['"999"', 'W/"999"', '"nonsense"', '""', '"-1"', "nonsense"])
    def test_412_for_another_version(self, client: CheckedClient, world: World, operator, etag):
        number = world.tracker().tracker.number
        headers = operator | {"If-Match": etag}
        assert client.patch(f"{URL}/{number}", json={"label": "x"}, headers=headers).status_code == 412

    @pytest.mark.parametrize("form", ["{}", "W/{}", '"7", {}', "*"])
    def test_200_for_the_right_version_in_any_form(self, client: CheckedClient, world: World, operator, form):
        url = f"{URL}/{world.tracker().tracker.number}"
        etag = client.get(url, headers=operator).headers["ETag"]
        headers = operator | {"If-Match": form.format(etag)}
        assert client.patch(url, json={"label": "x"}, headers=headers).status_code == 200


class TestReassign:
    def test_a_late_fix_goes_to_the_vessel_on_which_it_was_taken(
        self, client: CheckedClient, world: World, operator
    ):
        old, new = world.vessel("Old"), world.vessel("New")
        signing = world.tracker(old)
        starts = datetime.now(UTC) - timedelta(hours=1)
        answer = client.post(
            f"{URL}/{signing.tracker.number}/reassign",
            json={"vessel_id": new.id, "starts_at": rfc3339(starts)},
            headers=operator | ANY,
        )
        assert (answer.status_code, answer.json["vessel_id"]) == (200, new.id)

        for lat, minutes in ((10.5, -1), (20.5, 1)):
            moment = rfc3339(starts + timedelta(minutes=minutes))
            posted = client.post(POSITIONS, **signing.signed(a_fix(recorded_at=moment, lat=lat)))
            assert posted.json == {"verdict": "stored", "latest": True}

        reader = world.bearer()
        for vessel, lat in ((old, 10.5), (new, 20.5)):
            feature = client.get(f"{VESSELS}/{vessel.id}", headers=reader).json
            assert feature["geometry"]["coordinates"] == [10.7, lat]

    def test_conflict_where_a_fix_of_then_is_stored(self, client: CheckedClient, world: World, operator):
        signing, new = world.tracker(), world.vessel("New")
        client.post(POSITIONS, **signing.signed(a_fix()))
        body = {"vessel_id": new.id, "starts_at": a_fix()["recorded_at"]}
        url = f"{URL}/{signing.tracker.number}/reassign"
        answer = client.post(url, json=body, headers=operator | ANY)
        assert (answer.status_code, answer.json["code"]) == (409, "conflict")

    def test_428_without_a_version(self, client: CheckedClient, world: World, operator):
        url = f"{URL}/{world.tracker().tracker.number}/reassign"
        assert client.post(url, json={"vessel_id": 1}, headers=operator).status_code == 428


class TestRotate:
    def test_the_earlier_secret_holds_and_is_told_its_end(
        self, client: CheckedClient, world: World, operator
    ):
        before = world.tracker()
        url = f"{URL}/{before.tracker.number}/rotate"
        rotated = client.post(url, json={"grace_s": 60}, headers=operator).json
        after = SigningTracker(before.tracker, rotated["secret"])
        late = client.post(POSITIONS, **before.signed(a_fix(1))).json
        assert late["secret_ends_at"] == rotated["previous_valid_until"]
        assert client.post(POSITIONS, **after.signed(a_fix(2))).json == {"verdict": "stored", "latest": True}

    def test_without_grace_the_earlier_secret_ends_at_once(
        self, client: CheckedClient, world: World, operator
    ):
        before = world.tracker()
        url = f"{URL}/{before.tracker.number}/rotate"
        client.post(url, json={"grace_s": 0}, headers=operator)
        assert client.post(POSITIONS, **before.signed(a_fix())).json["code"] == "signature_invalid"

    def test_conflict_while_one_is_under_way_but_not_for_a_repeat(
        self, client: CheckedClient, world: World, operator
    ):
        url = f"{URL}/{world.tracker().tracker.number}/rotate"
        once = operator | {"Idempotency-Key": "one"}
        first, repeat = (client.post(url, json={}, headers=once) for _ in range(2))
        assert (first.status_code, first.json) == (repeat.status_code, repeat.json)
        assert client.post(url, json={}, headers=operator).status_code == 409


def test_disabled_and_enabled(client: CheckedClient, world: World, operator):
    signing = world.tracker()
    url = f"{URL}/{signing.tracker.number}"
    disabled = [client.post(f"{url}/disable", headers=operator) for _ in range(2)]
    assert disabled[0].json == disabled[1].json
    answer = client.post(POSITIONS, **signing.signed(a_fix()))
    assert (answer.status_code, answer.json["code"]) == (403, "tracker_disabled")
    assert client.post(f"{url}/enable", headers=operator).json["disabled_at"] is None
    assert client.post(POSITIONS, **signing.signed(a_fix())).status_code == 201


def test_lists_all_trackers_page_by_page_without_their_secrets(client: CheckedClient, world: World, operator):
    vessel = world.vessel()
    numbers = [world.tracker(vessel).tracker.number for _ in range(5)]
    url, seen = f"{URL}?limit=2", []
    while url:
        page = client.get(url, headers=operator).json
        seen += page["trackers"]
        url = page["links"]["next"]
    assert [each["number"] for each in seen] == numbers
    assert not [each for each in seen if "secret" in each]


@pytest.mark.parametrize("action", ["", "/reassign", "/rotate", "/disable", "/enable"])
def test_404_where_there_is_no_such_tracker(client: CheckedClient, world: World, operator, action):
    bodies = {"/reassign": {"json": {"vessel_id": world.vessel().id}}, "/rotate": {"json": {}}}
    url = f"{URL}/2000000000{action}"
    answer = client.open(
        url, method="POST" if action else "GET", headers=operator | ANY, **bodies.get(action, {})
    )
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


class TestRepeat:
    """Of what told a secret: the same again, or nothing."""

    @pytest.fixture
    def ask(self, client: CheckedClient, world: World, operator) -> Callable[[], Any]:
        vessel = world.vessel()
        once = operator | {"Idempotency-Key": "one"}
        return lambda: client.post(URL, json={"vessel_id": vessel.id, "label": "mast"}, headers=once)

    def test_gets_the_first_answer_whatever_has_changed_since(self, client: CheckedClient, operator, ask):
        first = ask()
        url = first.headers["Location"]
        client.patch(url, json={"label": "bridge"}, headers=operator | ANY)
        client.post(f"{url}/disable", headers=operator)
        again = ask()
        assert (again.status_code, again.json, again.headers["ETag"], again.headers["Location"]) == (
            201,
            first.json,
            first.headers["ETag"],
            url,
        )
        stale = {"If-Match": again.headers["ETag"]}
        assert client.patch(url, json={"label": "x"}, headers=operator | stale).status_code == 412

    def test_is_not_told_the_secret_that_another_operator_has_made_since(
        self, client: CheckedClient, world: World, operator, ask
    ):
        url = f"{ask().headers['Location']}/rotate"
        another = world.bearer("trackers:write", "trackers:read")
        once = operator | {"Idempotency-Key": "two"}
        rotated = client.post(url, json={}, headers=once)
        assert client.post(url, json={}, headers=once).json == rotated.json
        newest = client.post(url, json={"grace_s": 0}, headers=another).json["secret"]
        for answer in (ask(), client.post(url, json={}, headers=once)):
            assert (answer.status_code, answer.json["code"]) == (409, "conflict")
            assert newest not in answer.text
