"""How long positions of a vessel are kept, and legal holds, over HTTP."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.urls import AUDIT, BATCH, POSITIONS, VESSELS

from harbor_api.app import create_app
from harbor_api.domain.times import rfc3339
from harbor_api.web import runtime

ANY = {"If-Match": "*"}
_NOTHING = {"keep_positions_days": None, "hold_reason": None, "held_by": None, "held_since": None}


@pytest.fixture
def operator(world: World) -> dict[str, str]:
    return world.bearer("vessels:read", "vessels:write", "audit:read")


def _url(world: World) -> str:
    return f"{VESSELS}/{world.vessel().id}/keeping"


def test_nothing_is_said_of_most_vessels(client: CheckedClient, world: World, operator):
    url = _url(world)
    answer = client.get(url, headers=operator)
    assert answer.json == {"vessel_id": 1, **_NOTHING}
    again = client.get(url, headers={**operator, "If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


def test_a_hold_says_who_and_why_and_when_and_ends(client: CheckedClient, world: World, operator):
    url = _url(world)
    tag = client.get(url, headers=operator).headers["ETag"]
    held = client.patch(url, json={"hold_reason": "Court order"}, headers={**operator, "If-Match": tag})
    assert held.status_code == 200
    assert held.json == client.get(url, headers=operator).json
    assert (held.json["hold_reason"], held.json["held_by"]) == ("Court order", "key 1 (a partner)")
    since = datetime.fromisoformat(held.json["held_since"])
    # Whoever has not read that is not in time.
    late = client.patch(url, json={"hold_reason": None}, headers={**operator, "If-Match": tag})
    assert late.status_code == 412
    other = client.patch(url, json={"hold_reason": "Another order"}, headers=operator | ANY).json
    assert (other["held_by"], datetime.fromisoformat(other["held_since"])) == ("key 1 (a partner)", since)
    days = client.patch(url, json={"keep_positions_days": 0}, headers=operator | ANY).json
    assert (days["keep_positions_days"], days["hold_reason"]) == (0, "Another order")
    lifted = client.patch(url, json={"hold_reason": None}, headers=operator | ANY)
    assert lifted.json == {"vessel_id": 1, **_NOTHING, "keep_positions_days": 0}
    entries = client.get(AUDIT, query_string={"subject": "vessels/1"}, headers=operator).json["audit"]
    assert [each["action"] for each in reversed(entries)][1:] == [
        "vessel.held",
        "vessel.keeping_changed",
        "vessel.keeping_changed",
        "vessel.hold_lifted",
    ]
    assert entries[0]["before"]["hold_reason"] == "Another order"
    assert entries[0]["actor"] == "key 1 (a partner)"


def test_what_is_the_same_changes_nothing(client: CheckedClient, world: World, operator):
    url = _url(world)
    for _ in range(2):
        answers = [
            client.patch(url, json=body, headers=operator | ANY)
            for body in ({"keep_positions_days": 30}, {}, {"keep_positions_days": 30})
        ]
    assert len({each.headers["ETag"] for each in answers}) == 1
    entries = client.get(AUDIT, query_string={"subject": "vessels/1"}, headers=operator).json["audit"]
    assert len(entries) == 2


def test_partners_are_told_of_neither(client: CheckedClient, world: World, operator):
    url = _url(world)
    partner = world.bearer()
    before = client.get(VESSELS, headers=partner)
    client.patch(url, json={"hold_reason": "Court order"}, headers=operator | ANY)
    after = client.get(VESSELS, headers=partner)
    assert (after.data, after.headers["ETag"]) == (before.data, before.headers["ETag"])
    assert client.get(url, headers=partner).status_code == 403
    writer = world.bearer("vessels:write")
    answer = client.patch(url, json={"keep_positions_days": 1}, headers=writer | ANY)
    assert (answer.status_code, answer.data) == (204, b"")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"keep_positions_days": -1}, "#/keep_positions_days"),
        ({"keep_positions_days": 36_501}, "#/keep_positions_days"),
        ({"keep_positions_days": "30"}, "#/keep_positions_days"),
        ({"hold_reason": ""}, "#/hold_reason"),
        ({"hold_reason": "x" * 501}, "#/hold_reason"),
        ({"held_by": "me"}, "#/held_by"),
    ],
)
def test_422_where_a_member_cannot_be(
    client: CheckedClient, world: World, operator, body: dict[str, Any], pointer: str
):
    answer = client.patch(_url(world), json=body, headers=operator | ANY)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, pointer)


def test_404_where_there_is_no_such_vessel(client: CheckedClient, operator):
    url = f"{VESSELS}/2000000000/keeping"
    assert client.get(url, headers=operator).status_code == 404
    assert client.patch(url, json={}, headers=operator | ANY).status_code == 404


@pytest.fixture
def forgetful(app: Flask, client: CheckedClient) -> Iterator[CheckedClient]:
    """Return a client of a service over the same database that keeps positions for a year."""
    settings = replace(runtime.of(app).settings, keep_positions_days=365, oldest_fix_days=5_000)
    application = create_app(settings)
    yield CheckedClient(application)
    runtime.of(application).database.dispose()


@pytest.mark.parametrize(
    ("said", "stored"),
    [
        ({}, [True, False, False]),
        ({"keep_positions_days": 3_650}, [True, True, False]),
        ({"keep_positions_days": 0}, [True, True, False]),
        ({"hold_reason": "Court order", "keep_positions_days": 1}, [True, True, False]),
        # What is younger than others' are kept is stored, and goes with the next maintenance.
        ({"keep_positions_days": 1}, [True, False, False]),
    ],
)
@pytest.mark.parametrize("how", ["one by one", "batch", "by the column"])
def test_a_fix_is_too_old_by_what_is_said_of_its_vessel(
    forgetful: CheckedClient, world: World, operator, how: str, said: dict[str, Any], stored: list[bool]
):
    """One is as old as others' are kept, one older, and one is older than any fix is taken."""
    tracker, other = world.tracker(), world.tracker()
    url = f"{VESSELS}/{tracker.tracker.vessel_id}/keeping"
    assert forgetful.patch(url, json=said, headers=operator | ANY).status_code == 200
    now = datetime.now(UTC)
    fixes = [a_fix(recorded_at=rfc3339(now - timedelta(days=days))) for days in (300, 1_000, 6_000)]
    if how == "by the column":
        fixes += [a_fix(recorded_at=rfc3339(now - timedelta(days=300, minutes=n))) for n in range(1, 30)]

    def verdicts(of: Any) -> list[str]:
        if how == "one by one":
            answers = [forgetful.post(POSITIONS, **of.signed(each)).json for each in fixes]
        else:
            answers = forgetful.post(BATCH, **of.signed({"fixes": fixes}, url=BATCH)).json["verdicts"]
        return [each["verdict"] if each["verdict"] == "stored" else each["reason"] for each in answers]

    told = ["stored" if each else "too_old" for each in stored]
    assert verdicts(tracker)[:3] == told
    # Of another vessel nothing is said.
    assert verdicts(other)[:3] == ["stored", "too_old", "too_old"]
