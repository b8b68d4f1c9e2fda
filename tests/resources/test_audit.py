"""GET /api/v1/audit: who changed what."""

import pytest
from tests.support.checked_client import CheckedClient
from tests.support.factories import World
from tests.support.urls import AUDIT as URL
from tests.support.urls import VESSELS


@pytest.fixture
def auditor(world: World) -> dict[str, str]:
    """Return the headers of a key that may read the trail and write vessels."""
    return world.bearer("audit:read", "vessels:write", "vessels:read")


def test_tells_who_changed_what_and_in_which_request(client: CheckedClient, world: World, auditor):
    vessel = world.vessel("Old")
    headers = auditor | {"If-Match": "*", "X-Request-Id": "the-change"}
    client.patch(f"{VESSELS}/{vessel.id}", json={"name": "New"}, headers=headers)

    [entry] = client.get(f"{URL}?subject=vessels/{vessel.id}&limit=1", headers=auditor).json["audit"]

    assert (entry["action"], entry["subject"]) == ("vessel.changed", f"vessels/{vessel.id}")
    assert (entry["before"], entry["after"]) == ({"name": "Old"}, {"name": "New"})
    assert (entry["request_id"], entry["actor"]) == (
        "the-change",
        f"key {entry['api_key_id']} (a partner)",
    )


def test_what_was_done_at_the_command_line_has_no_key(client: CheckedClient, world: World, auditor):
    vessel = world.vessel()
    [entry] = client.get(f"{URL}?subject=vessels/{vessel.id}", headers=auditor).json["audit"]
    assert (entry["actor"], entry["api_key_id"], entry["request_id"]) == ("test", None, None)


def test_whatever_it_names_can_be_asked_for(client: CheckedClient, world: World, auditor):
    world.tracker()
    named = {each["subject"] for each in client.get(URL, headers=auditor).json["audit"]}
    assert {name.partition("/")[0] for name in named} == {"vessels", "trackers", "api-keys"}
    # Of a command that no test gives to a service that others share.
    for name in {*named, "master-key"}:
        found = client.get(URL, query_string={"subject": name}, headers=auditor).json["audit"]
        assert {each["subject"] for each in found} == named & {name}


@pytest.mark.parametrize(("order", "reverse"), [("newest_first", True), ("oldest_first", False)])
def test_pages_skip_and_repeat_nothing(client: CheckedClient, world: World, auditor, order, reverse):
    for number in range(5):
        world.vessel(f"Vessel {number}")
    url, seen = f"{URL}?order={order}&limit=2", []
    while url:
        page = client.get(url, headers=auditor)
        seen += [each["id"] for each in page.json["audit"]]
        url = page.json["links"]["next"]
        assert page.headers.get("Link") == (f'<{url}>; rel="next"' if url else None)
    assert len(seen) == 6
    assert seen == sorted(set(seen), reverse=reverse)


def test_a_page_of_oldest_first_goes_on_with_what_is_added_meanwhile(
    client: CheckedClient, world: World, auditor
):
    first = client.get(f"{URL}?order=oldest_first", headers=auditor).json["audit"][-1]["id"]
    vessel = world.vessel()
    cursor = f"after-{first}"
    later = client.get(f"{URL}?order=oldest_first&cursor={cursor}", headers=auditor).json["audit"]
    assert [each["subject"] for each in later] == [f"vessels/{vessel.id}"]


def test_a_refused_change_leaves_no_entry(client: CheckedClient, world: World, auditor):
    one, _ = world.vessel("One", imo="9074729"), world.vessel("Two")
    before = client.get(URL, headers=auditor).json
    refused = client.post(VESSELS, json={"name": "Three", "imo": one.details.imo}, headers=auditor)
    assert refused.status_code == 409
    assert client.get(URL, headers=auditor).json == before


@pytest.mark.parametrize(
    "query",
    [
        "order=random",
        "cursor=1",
        "cursor=after-",
        "cursor=after--1",
        "cursor=after-1%0A",
        "subject=vessels",
        "subject=vessels/1'--",
        # What no entry is of, whatever comes.
        "subject=vessel/1",
        "subject=vessels/x",
        "subject=vessels/0",
        "subject=trackers/1",
        "limit=1&limit=2",
    ],
)
def test_400_for_what_it_cannot_be_asked(client: CheckedClient, auditor, query):
    answer = client.get(f"{URL}?{query}", headers=auditor)
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_parameter")


def test_a_cursor_beyond_the_end_gives_an_empty_page(client: CheckedClient, auditor):
    answer = client.get(f"{URL}?order=oldest_first&cursor=after-{'9' * 18}", headers=auditor)
    assert (answer.status_code, answer.json) == (200, {"audit": [], "links": {"next": None}})
