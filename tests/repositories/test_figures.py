"""What the database knows in numbers."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import World

from harbor_api.database import Database
from harbor_api.domain.times import rfc3339


def _posted(client: CheckedClient, tracker, age: timedelta, **fix) -> None:
    body = {"recorded_at": rfc3339(datetime.now(UTC) - age), "lat": 59.9, "lon": 10.7} | fix
    assert client.post("/api/v1/positions", **tracker.signed(body)).status_code in {201, 202}


def test_nothing_is_known_of_nothing(database: Database):
    with database.autocommit() as unit_of_work:
        read = unit_of_work.figures
        counts, ages, feed = read.counts(), read.ages(), read.feed()
        assert (counts.vessels, counts.trackers, counts.keys, counts.keys_ending) == (0, 0, 0, 0)
        assert counts.database_bytes > 1_000_000
        assert (sum(ages.counts), ages.sum_s, ages.worst) == (0, 0, [])
        assert (feed.newest_age_s, feed.floor, feed.floor_age_s) == (None, 0, None)
        assert read.late_consumers() == []
        assert set(read.held().values()) == {0}


def test_vessels_are_told_by_their_age(client: CheckedClient, world: World, database: Database):
    ages = [timedelta(seconds=30), timedelta(minutes=10), timedelta(days=2), timedelta(days=400)]
    vessels = [world.vessel(f"Ship {number}") for number in range(len(ages))]
    for vessel, age in zip(vessels, ages, strict=True):
        _posted(client, world.tracker(vessel), age)
    # Neither one that was never heard of, nor one that is retired, is late.
    world.vessel("New")
    sold = world.vessel("Sold")
    _posted(client, world.tracker(sold), timedelta(days=500))
    sql.run(database, f"UPDATE vessels SET retired_at = now() WHERE id = {sold.id}")
    with database.autocommit() as unit_of_work:
        found = unit_of_work.figures.ages()
        assert unit_of_work.figures.counts().vessels == 5
        assert found.counts == [1, 0, 1, 0, 0, 0, 1, 0, 1]
        assert [each.name for each in found.worst] == ["Ship 3", "Ship 2", "Ship 1", "Ship 0"]
        assert found.sum_s == pytest.approx(sum(each.total_seconds() for each in ages), abs=60)
        feed = unit_of_work.figures.feed()
        assert feed.newest_age_s is not None
        assert 0 <= feed.newest_age_s < 60
        assert feed.head > 0


def test_what_is_held_and_which_keys_end(client: CheckedClient, world: World, database: Database):
    _posted(client, world.tracker(), timedelta(0), lat=0, lon=0)
    world.key(expires_at=datetime.now(UTC) + timedelta(days=3))
    world.key(expires_at=datetime.now(UTC) + timedelta(days=30))
    key, _ = world.key()
    world.revoke(key)
    with database.autocommit() as unit_of_work:
        assert unit_of_work.figures.held()["null_island"] == 1
        counts = unit_of_work.figures.counts()
        assert (counts.keys, counts.keys_ending) == (2, 1)


def test_consumers_are_told_by_how_far_they_are_behind(
    client: CheckedClient, world: World, database: Database
):
    names = {}
    for delay_s in (0, 3_600):
        key, secret = world.key("vessels:read", delay_s=delay_s)
        names[key.id] = delay_s
        headers = {"Authorization": f"Bearer {secret}"}
        assert client.put("/api/v1/feeds/warehouse", json={}, headers=headers).status_code == 201
    tracker = world.tracker()
    for minutes in (1, 2, 3):
        _posted(client, tracker, timedelta(minutes=minutes))
    # As if they had come an hour and a half ago.
    sql.run(database, "UPDATE positions SET received_at = now() - interval '90 min'")
    with database.autocommit() as unit_of_work:
        found = {each.key_id: each for each in unit_of_work.figures.late_consumers()}
    assert found.keys() == names.keys()
    for key_id, delay_s in names.items():
        assert found[key_id].name == "warehouse"
        assert found[key_id].behind >= 3
        # The delay of a key is no lag.
        assert found[key_id].behind_s == pytest.approx(5_400 - delay_s, abs=60)
