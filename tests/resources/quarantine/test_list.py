"""GET /api/v1/quarantine: what could not be believed is listed as it was sent, and never lost."""

import json

import pytest
from tests.resources.quarantine.held_fixes import NOWHERE, decide_on, hold, listed, post
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.urls import POSITIONS
from tests.support.urls import QUARANTINE as URL

from harbor_api.domain.judgement import REASONS


class TestTheList:
    def test_shows_a_fix_as_it_was_sent(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        sent = a_fix(
            **NOWHERE, sog=102.3, cog=360, heading=511, nav_status=15, accuracy_m=4.123456, number=7
        ) | {"recorded_at": "2026-01-02T04:04:05.250+01:00"}
        post(client, tracker, sent)

        [held] = listed(client, operator)

        received_at = held.pop("received_at")
        assert held == {
            "id": held["id"],
            "vessel_id": tracker.tracker.vessel_id,
            "tracker_id": tracker.tracker.id,
            "reason": "null_island",
            "state": "held",
            "recorded_at": "2026-01-02T03:04:05.250000Z",
            "decided_at": None,
            "decided_by": None,
            "note": None,
            "lat": 0,
            "lon": 0,
            "raw": sent,
        }
        assert received_at > held["recorded_at"]

    def test_shows_an_item_of_a_batch_as_it_was_sent(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        fixes = [a_fix(n, **NOWHERE, sog=102.3, number=n) for n in range(3)]
        client.post(f"{POSITIONS}/batch", **tracker.signed({"fixes": [fixes[1], {}, fixes[0], fixes[2]]}))

        held = listed(client, operator)

        assert sorted((each["raw"] for each in held), key=lambda raw: raw["number"]) == fixes

    def test_is_in_the_order_of_arrival(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        arrivals = [50, 10, 40, 20, 30]
        for seconds in arrivals:
            hold(client, tracker, seconds)

        held = listed(client, operator)

        assert [each["recorded_at"] for each in held] == [a_fix(n)["recorded_at"] for n in arrivals]
        assert [each["id"] for each in held] == sorted(each["id"] for each in held)

    def test_holds_a_fix_that_is_sent_again_once(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        for sog in (1, 1, 2):
            hold(client, tracker, sog=sog)
        [held] = listed(client, operator)
        assert held["raw"]["sog"] == 1

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
    def test_comes_in_pages(self, client: CheckedClient, world: World, operator, limit):
        tracker = world.tracker()
        for seconds in range(7):
            hold(client, tracker, seconds)
        whole = listed(client, operator)
        assert len(whole) == 7

        pages = []
        url: str | None = f"{URL}?limit={limit}&reason=null_island"
        while url is not None:
            answer = client.get(url, headers=operator)
            pages.append(answer.json["quarantine"])
            url = answer.json["links"]["next"]
            assert answer.headers.get("Link") == (None if url is None else f'<{url}>; rel="next"')

        assert [each for page in pages for each in page] == whole
        assert {len(page) for page in pages[:-1]} <= {limit}
        assert 0 < len(pages[-1]) <= limit

    def test_a_page_that_is_followed_misses_nothing_that_comes_meanwhile(
        self, client: CheckedClient, world: World, operator
    ):
        tracker = world.tracker()
        for seconds in (10, 20, 30):
            hold(client, tracker, seconds)
        first = client.get(f"{URL}?limit=2", headers=operator).json
        hold(client, tracker, 5)
        decide_on(client, operator, first["quarantine"][0]["id"], "reject")
        rest = client.get(first["links"]["next"], headers=operator).json["quarantine"]
        assert [each["recorded_at"] for each in rest] == [a_fix(n)["recorded_at"] for n in (30, 5)]

    def test_is_filtered(self, client: CheckedClient, world: World, operator):
        fleet = [world.tracker() for _ in range(2)]
        for tracker in fleet:
            post(client, tracker, a_fix(0))
            hold(client, tracker, 10)
            hold(client, tracker, 20)
            hold(client, tracker, 30, lat=20)
        everything = listed(client, operator)
        for place, what in ((0, "reject"), (1, "release"), (3, "release")):
            assert decide_on(client, operator, everything[place]["id"], what).status_code == 200
        everything = listed(client, operator)
        assert len(everything) == 6

        vessel_ids = [tracker.tracker.vessel_id for tracker in fleet]
        for vessel_id in (None, *vessel_ids, 999):
            for reason in (None, *REASONS):
                for state in (None, "held", "released", "rejected"):
                    wanted = {"vessel_id": vessel_id, "reason": reason, "state": state}
                    query = {name: value for name, value in wanted.items() if value is not None}
                    assert listed(client, operator, **query) == [
                        each for each in everything if query.items() <= each.items()
                    ]

    @pytest.mark.parametrize(
        "query",
        ["state=gone", "reason=x", "vessel_id=0", "vessel_id=x", "cursor=x", "limit=0", "limit=1001", "x=1"],
    )
    def test_refuses_what_it_does_not_know(self, client: CheckedClient, operator, query):
        answer = client.get(f"{URL}?{query}", headers=operator)
        assert (answer.status_code, answer.json["code"]) == (400, "invalid_parameter")
        assert [each["parameter"] for each in answer.json["errors"]] == [query.partition("=")[0]]


def test_what_is_held_survives_as_text(client: CheckedClient, world: World, operator):
    """Each number comes back as the very one that was sent."""
    tracker = world.tracker()
    for place, digits in enumerate(("0.1", "1e-7", "179.99999999999997", "5e-324", "-0.0", "12")):
        body = json.dumps(a_fix(place, **NOWHERE) | {"accuracy_m": 0}).replace(
            '"accuracy_m": 0', f'"accuracy_m": {digits}'
        )
        assert client.post(POSITIONS, **tracker.signed(body.encode())).status_code == 202
        assert listed(client, operator)[-1]["raw"]["accuracy_m"] == float(digits)
