"""Releasing and rejecting many: by a selection, counted first, bounded, and told the audit trail once."""

from collections.abc import Mapping
from typing import Any

import pytest
from tests.resources.quarantine.held_fixes import DECISIONS, history_of, hold, listed, on_map, post
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import SigningTracker, World, a_fix
from tests.support.urls import AUDIT, QUARANTINE

from harbor_api.domain import quarantine as rules
from harbor_api.services import quarantine


def _decide(client: CheckedClient, headers: Mapping[str, str], what: str, **selection: Any) -> Any:
    return client.post(f"{QUARANTINE}/{what}", json=selection, headers=headers)


def _entries(client: CheckedClient, headers: Mapping[str, str]) -> list[dict[str, Any]]:
    answer = client.get(AUDIT, query_string={"subject": "quarantine/selection"}, headers=headers)
    found: list[dict[str, Any]] = answer.json["audit"]
    return found


@pytest.fixture
def fleet(client: CheckedClient, world: World) -> list[SigningTracker]:
    """Return three trackers, the last two of one vessel, each with four fixes held and one stored."""
    vessels = [world.vessel("One"), world.vessel("Other")]
    trackers = [world.tracker(vessels[0]), world.tracker(vessels[1]), world.tracker(vessels[1])]
    for tracker in trackers:
        post(client, tracker, a_fix(0))
        for seconds in (10, 20, 30):
            hold(client, tracker, seconds)
        hold(client, tracker, 40, lat=20)
    return trackers


# What is selected: by what, of which tracker's fixes, at which seconds.
_ALL = (10, 20, 30, 40)
_SELECTIONS: list[tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]] = [
    ({"reason": "null_island"}, (0, 1, 2), (10, 20, 30)),
    ({"reason": "impossible_jump"}, (0, 1, 2), (40,)),
    ({"reason": "too_old"}, (), ()),
    ({"vessel_id": 1}, (1, 2), _ALL),
    ({"vessel_id": 1, "reason": "impossible_jump"}, (1, 2), (40,)),
    ({"tracker_id": 1}, (1,), _ALL),
    ({"tracker_id": 2, "vessel_id": 1}, (2,), _ALL),
    ({"tracker_id": 2, "vessel_id": 0}, (), ()),
    ({"tracker_id": 2, "reason": "null_island", "from": 20}, (2,), (20, 30)),
    ({"from": 20}, (0, 1, 2), (20, 30, 40)),
    ({"to": 20}, (0, 1, 2), (10,)),
    ({"from": 20, "to": 40, "vessel_id": 0}, (0,), (20, 30)),
    ({"from": 40, "to": 20}, (), ()),
]


@pytest.mark.parametrize(("what", "state"), DECISIONS.items())
@pytest.mark.parametrize(("asked", "whose", "seconds"), _SELECTIONS)
def test_what_is_selected_is_decided_on_and_nothing_else(
    client: CheckedClient, world: World, operator, fleet, what, state, asked, whose, seconds
):
    selection: dict[str, Any] = dict(asked)
    if "tracker_id" in asked:
        selection["tracker_id"] = fleet[asked["tracker_id"]].tracker.id
    if "vessel_id" in asked:
        selection["vessel_id"] = fleet[asked["vessel_id"]].tracker.vessel_id
    for bound in {"from", "to"} & asked.keys():
        selection[bound] = a_fix(asked[bound])["recorded_at"]
    wanted = {(fleet[n].tracker.id, a_fix(at)["recorded_at"]) for n in whose for at in seconds}
    before = listed(client, operator), on_map(client, operator), history_of(world.database)

    counted = _decide(client, operator, what, **selection, dry_run=True)

    told = {"matched": len(wanted), "decided": 0, "left": len(wanted), "too_early": 0}
    assert (counted.status_code, counted.json) == (200, told)
    assert (listed(client, operator), on_map(client, operator), history_of(world.database)) == before
    assert _entries(client, operator) == []

    done = _decide(client, operator, what, **selection)

    assert done.json == told | {"decided": len(wanted), "left": 0}
    decided = [each for each in listed(client, operator) if each["state"] != "held"]
    assert {(each["tracker_id"], each["recorded_at"]) for each in decided} == wanted
    assert {each["state"] for each in decided} <= {state}
    assert len(history_of(world.database)) == 3 + (len(wanted) if what == "release" else 0)
    # A repeat finds none, and adds nothing to the trail.
    assert _decide(client, operator, what, **selection).json == told | {"matched": 0, "left": 0}
    entries = _entries(client, operator)
    assert [each["action"] for each in entries] == [f"quarantine.{state}"] * bool(wanted)
    if entries:
        assert entries[0]["after"]["count"] == len(wanted)
        for name in selection.keys() - {"from", "to"}:
            assert entries[0]["after"][name] == selection[name]


def test_released_ones_move_the_map_as_one_by_one(client: CheckedClient, world: World, operator, fleet):
    assert _decide(client, operator, "release", reason="null_island").json["decided"] == 9
    assert list(on_map(client, operator).values()) == [([0, 0], a_fix(30)["recorded_at"])] * 2
    numbers = sql.column(world.database, "SELECT seq FROM positions")
    assert len(set(numbers)) == len(numbers) == 12


@pytest.mark.parametrize("what", DECISIONS)
def test_no_more_are_decided_on_at_once_than_are_good_for_others(
    client: CheckedClient, world: World, operator, fleet, what, monkeypatch
):
    monkeypatch.setattr(quarantine, "MOST_AT_ONCE", 4)
    monkeypatch.setattr(quarantine, "MOST_COUNTED", 10)
    told = []
    while not told or told[-1]["left"]:
        told.append(_decide(client, operator, what, vessel_id=fleet[1].tracker.vessel_id).json)
    assert [(each["matched"], each["decided"], each["left"]) for each in told] == [(8, 4, 4), (4, 4, 0)]
    # The earliest first; and the rest is counted only as far as it says.
    assert _decide(client, operator, what, **{"from": a_fix(0)["recorded_at"]}).json["matched"] == 4
    assert [each["after"]["count"] for each in _entries(client, operator)] == [4, 4, 4]


def test_those_that_are_still_in_the_future_stay_held(client: CheckedClient, world: World, operator):
    tracker = world.tracker()
    hold(client, tracker, 10)
    for year in (2037, 2038):
        hold(client, tracker, lat=59.9, lon=10.7, recorded_at=f"{year}-01-01T00:00:00Z")
    named = {"tracker_id": tracker.tracker.id}
    for extra, decided in (({"dry_run": True}, 0), ({}, 1)):
        told = _decide(client, operator, "release", **named, **extra).json
        assert told == {"matched": 1, "decided": decided, "left": 1 - decided, "too_early": 2}
    assert _decide(client, operator, "release", reason="future").json["too_early"] == 2
    assert (
        _decide(client, operator, "release", reason="future", to="2038-01-01T00:00:00Z").json["too_early"]
        == 1
    )
    assert _decide(client, operator, "reject", reason="future").json["decided"] == 2


@pytest.mark.parametrize(
    "selection",
    [
        {},
        {"dry_run": True},
        {"reason": "x"},
        {"vessel_id": 0},
        {"tracker_id": 1},
        {"from": "yesterday"},
        {"state": "held"},
        {"dry_run": 1, "vessel_id": 1},
    ],
)
@pytest.mark.parametrize("what", DECISIONS)
def test_what_selects_nothing_or_everything_is_refused(
    client: CheckedClient, world: World, operator, what, selection
):
    hold(client, world.tracker())
    answer = _decide(client, operator, what, **selection)
    assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
    assert [each["state"] for each in listed(client, operator)] == ["held"]


@pytest.mark.parametrize("what", DECISIONS)
def test_it_takes_the_scope(client: CheckedClient, world: World, what):
    answer = _decide(client, world.bearer("quarantine:read"), what, vessel_id=1)
    assert (answer.status_code, answer.json["code"]) == (403, "scope_missing")


def test_a_group_holds_no_more_than_one_of_ingest(client: CheckedClient):
    assert rules.MOST_AT_ONCE <= 250
