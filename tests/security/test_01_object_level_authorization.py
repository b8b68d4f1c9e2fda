"""API1:2023 Broken Object Level Authorization: what is another's is not there."""

from tests.security.calls import ANY
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.urls import KEYS, POSITIONS, VESSELS


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
        assert (answer.status_code, answer.json["ignored"]) == (201, ["vessel_id"])
