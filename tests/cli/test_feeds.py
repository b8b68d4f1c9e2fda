"""harbor-api feeds: who reads how far behind, for operators."""

import json
from typing import Any

import pytest
from tests.cli.commands import run, told
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import World
from tests.support.urls import AUDIT, FEEDS

_STORE = """
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
VALUES (:vessel, now() - :ago * interval '1 s', 1, now() - :ago * interval '1 s', 59.9, 10.7,
    nextval('fleet_order'))
"""


@pytest.fixture
def url(world: World) -> str:
    return world.database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def listed(url: str) -> list[dict[str, Any]]:
    result = run("feeds list", "--json", database=url)
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_each_consumer_is_as_far_behind_as_its_key_is_told(
    client: CheckedClient, world: World, url: str
) -> None:
    tanker, ferry = world.vessel(kind="Tanker").id, world.vessel(kind="ferry", flag="NO").id
    terms: list[dict[str, Any]] = [
        {},
        {"vessel_ids": frozenset([tanker])},
        {"vessel_ids": frozenset()},
        {"delay_s": 60},
        {"coordinate_decimals": 3},
    ]
    bearers = [world.bearer(**each) for each in terms]
    filters = {
        "all": {},
        "box": {"bbox": [0, 0, 1, 1]},
        "kind": {"kind": ["tanker"]},
        "flag": {"flag": ["NO"], "bbox": [10, 59, 11, 60]},
    }
    for bearer in bearers:
        for name, members in filters.items():
            assert client.put(f"{FEEDS}/{name}", json=members, headers=bearer).status_code == 201
    for vessel, ago in ((ferry, 3_000), (tanker, 2_000), (ferry, 30)):
        sql.run(world.database, _STORE, vessel=vessel, ago=ago)
    rows = listed(url)
    assert [(each["key_id"], each["feed"]) for each in rows] == [
        (key, name) for key in range(1, 6) for name in sorted(filters)
    ]
    for key, bearer in enumerate(bearers, 1):
        shown = client.get(FEEDS, headers=bearer).json["feeds"]
        for row, mine in zip((each for each in rows if each["key_id"] == key), shown, strict=True):
            assert {name: row[name] for name in ("feed", "behind_at", "expired", "filters")} == {
                "feed": mine["name"],
                **{name: mine[name] for name in ("behind_at", "expired", "filters")},
            }
            assert row["lag_s"] == pytest.approx(mine["lag_s"], abs=50)
    lags = [round(each["lag_s"], -3) for each in rows[:8]]
    assert lags == [3_000, 0, 3_000, 2_000, 2_000, 0, 0, 2_000]


def test_what_is_behind_the_floor_is_shown_as_that(client: CheckedClient, world: World, url: str) -> None:
    bearer = world.bearer()
    client.put(f"{FEEDS}/warehouse", json={}, headers=bearer)
    sql.run(world.database, _STORE, vessel=world.vessel().id, ago=100)
    sql.run(world.database, "INSERT INTO feed_floor (number, at) SELECT max(seq), now() FROM positions")
    [row] = listed(url)
    assert row["expired"] is True
    table = run("feeds list", database=url).stdout
    assert "warehouse" in table
    assert "True" in table


def test_one_is_deleted_and_that_is_kept_in_the_trail(
    client: CheckedClient, world: World, url: str, admin: dict[str, str]
) -> None:
    bearer = world.bearer()
    key = client.get("/api/v1/me", headers=bearer).json["id"]
    client.put(f"{FEEDS}/warehouse", json={}, headers=bearer)
    assert "has no consumer other" in told(run("feeds delete", str(key), "other", database=url), 1)
    result = run("feeds delete", str(key), "warehouse", database=url)
    assert (result.exit_code, result.stdout) == (0, f"deleted warehouse of key {key}\n")
    assert listed(url) == []
    assert client.get(f"{FEEDS}/warehouse", headers=bearer).status_code == 404
    [entry] = client.get(f"{AUDIT}?limit=1", headers=admin).json["audit"]
    assert (entry["action"], entry["subject"]) == ("api_key.feed_deleted", f"api-keys/{key}")
    assert (entry["before"], entry["after"]) == ({"feed": "warehouse"}, None)
