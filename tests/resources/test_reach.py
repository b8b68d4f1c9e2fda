"""Keys that see so far back only: in all that tells what is past, and in nothing that tells what is now."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import ACTOR, World
from tests.support.urls import BATCH, FEEDS, POSITIONS, VESSELS

from harbor_api.domain.judgement import Thresholds
from harbor_api.domain.quarantine import Withdrawal
from harbor_api.domain.times import rfc3339
from harbor_api.services import quarantine

DAYS = 7
_NOW = datetime.now(UTC).replace(microsecond=0)
_AGES = (40.0, 8.0, 6.5, 0.5)
_TIMES = [_NOW - timedelta(days=age) for age in _AGES]
_SEEN = _TIMES[2:]
_EVER = {"from": "2000-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
_MONTH = {"from": rfc3339(_NOW - timedelta(days=45)), "to": rfc3339(_NOW)}
Ask = Callable[..., Any]


@pytest.fixture
def vessel(client: CheckedClient, world: World) -> int:
    vessel = world.vessel("Fram")
    fixes = [{"recorded_at": rfc3339(at), "lat": 59.9, "lon": 10.7, "sog": 8.4} for at in _TIMES]
    answer = client.post(BATCH, **world.tracker(vessel).signed({"fixes": fixes}, url=BATCH))
    assert {each["verdict"] for each in answer.json["verdicts"]} == {"stored"}
    # Or a key with a delay would see none of them yet.
    sql.run(world.database, "UPDATE positions SET received_at = recorded_at")
    return vessel.id


@pytest.fixture(params=[{}, {"coordinate_decimals": 2}, {"delay_s": 60}], ids=["fine", "coarse", "late"])
def ask(request: pytest.FixtureRequest, client: CheckedClient, world: World, vessel: int) -> Ask:
    bearer = world.bearer(history_days=DAYS, **request.param)

    def get(url: str, **query: Any) -> Any:
        answer = client.get(url.format(vessel=vessel), query_string=query, headers=bearer)
        assert answer.status_code == 200, answer.text
        return answer

    return get


def _day_of(text: str) -> Any:
    return datetime.fromisoformat(text).date()


def test_a_history_begins_there_in_every_format(ask: Ask):
    found = ask(f"{VESSELS}/{{vessel}}/positions", **_EVER).json
    days = [each.date() for each in _SEEN]
    assert [_day_of(each["recorded_at"]) for each in found["positions"]] == days
    assert _day_of(found["available_from"]) == days[0]
    for name in ("json", "geojson", "csv", "gpx"):
        text = ask(f"{VESSELS}/{{vessel}}/positions", format=name, **_EVER).text
        told = [at for at in _TIMES if f"{at:%Y-%m-%dT}" in text]
        assert told == _SEEN, name
    assert (
        ask(f"{VESSELS}/{{vessel}}/positions", **{**_EVER, "to": rfc3339(_TIMES[1])}).json["positions"] == []
    )


def test_tracks_and_summaries_begin_there(ask: Ask):
    track = ask(f"{VESSELS}/{{vessel}}/track", **_MONTH).text
    assert [at for at in _TIMES if f"{at:%Y-%m-%dT}" in track] == _SEEN
    summary = ask(f"{VESSELS}/{{vessel}}/summary", **_MONTH).text
    assert not any(f"{at:%Y-%m-%dT}" in summary for at in _TIMES[:2])


@pytest.mark.parametrize(("age", "is_there"), [(39, False), (7.5, False), (6.4, True), (0.1, True)])
def test_the_fleet_of_then_is_what_was_known_since(ask: Ask, age: float, is_there: bool):
    found = ask(VESSELS, as_of=rfc3339(_NOW - timedelta(days=age))).json
    assert [each["geometry"] is not None for each in found["features"]] == [is_there]


def test_the_feed_tells_of_nothing_older(ask: Ask):
    items = ask(POSITIONS, **{"from": "2000-01-01T00:00:00Z"}).json["items"]
    assert [_day_of(each["recorded_at"]) for each in items] == [at.date() for at in _SEEN]


@pytest.mark.parametrize("decimals", [None, 2], ids=["fine", "coarse"])
def test_what_is_withdrawn_of_before_is_told_to_be_gone(
    client: CheckedClient, world: World, vessel: int, decimals: int | None
):
    with world.database.unit_of_work() as unit_of_work:
        wrong = Withdrawal(vessel_id=vessel, recorded_at=_TIMES[1], note="wrong")
        quarantine.withdraw(unit_of_work, wrong, now=_NOW, thresholds=Thresholds(), actor=ACTOR)
    bearer = world.bearer(history_days=DAYS, coordinate_decimals=decimals)
    order = {"from": "2000-01-01T00:00:00Z"}
    items = client.get(POSITIONS, query_string=order, headers=bearer).json["items"]
    assert [(each["op"], _day_of(each["recorded_at"])) for each in items] == [
        *(("upsert", at.date()) for at in _SEEN),
        ("delete", _TIMES[1].date()),
    ]


def test_a_named_consumer_is_told_of_nothing_older(client: CheckedClient, world: World, vessel: int):
    bearer = world.bearer(history_days=DAYS)
    order = {"from": "2000-01-01T00:00:00Z"}
    assert client.put(f"{FEEDS}/port", json=order, headers=bearer).status_code == 201
    items = client.get(f"{FEEDS}/port/positions", headers=bearer).json["items"]
    assert [_day_of(each["recorded_at"]) for each in items] == [at.date() for at in _SEEN]


def test_where_a_vessel_was_last_is_shown_however_long_ago(client: CheckedClient, world: World):
    silent = world.vessel("Silent")
    fix = {"recorded_at": rfc3339(_TIMES[0]), "lat": 59.9, "lon": 10.7}
    assert client.post(POSITIONS, **world.tracker(silent).signed(fix)).status_code == 201
    bearer = world.bearer(history_days=1)
    [feature] = client.get(VESSELS, headers=bearer).json["features"]
    assert feature["geometry"] is not None
    assert client.get(f"{VESSELS}/{silent.id}", headers=bearer).json["geometry"] is not None
    assert client.get(f"{VESSELS}/{silent.id}/positions", headers=bearer).json["positions"] == []


def test_what_one_key_was_answered_is_nothing_to_another(client: CheckedClient, world: World, vessel: int):
    url = f"{VESSELS}/{vessel}/positions"
    whole = client.get(url, query_string=_EVER, headers=world.bearer())
    near = world.bearer(history_days=DAYS)
    headers = {**near, "If-None-Match": whole.headers.get("ETag", '"none"')}
    answer = client.get(url, query_string=_EVER, headers=headers)
    assert answer.status_code == 200
    assert len(json.loads(answer.data)["positions"]) == len(_SEEN)
