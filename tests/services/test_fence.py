"""The committed order goes on far ahead where it is another's, once, and all else goes on as before."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from flask import Flask
from tests.conftest import NewDatabase
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import MASTER_KEY, World, a_fix
from tests.support.urls import POSITIONS

from harbor_api.app import create_app
from harbor_api.database import Database
from harbor_api.domain.errors import Unavailable
from harbor_api.settings import Settings
from harbor_api.web import runtime

_FAR = 2**40
_FENCES = "SELECT survived, resumed FROM order_fences ORDER BY resumed"
# What the README tells operators who start a copy of the files.
_RESTORED = "UPDATE order_fences SET origin = 'restored'"


@pytest.fixture
def own_app(new_database: NewDatabase) -> Iterator[Flask]:
    """Return an application over a database of its own: what is fenced stays so."""
    app = create_app(
        Settings(database_url=new_database(), tracker_master_key=MASTER_KEY, database_pool=8, stream_s=0)
    )
    yield app
    runtime.of(app).database.dispose()


@pytest.fixture
def own_database(own_app: Flask) -> Database:
    return runtime.of(own_app).database


def test_what_is_told_goes_on_from_before_the_fence_to_behind_it(
    own_app: Flask, own_database: Database
) -> None:
    client, world = CheckedClient(own_app), World(own_database)
    vessel = world.vessel()
    tracker, bearer, late = world.tracker(vessel), world.bearer(), world.bearer(delay_s=1)
    begin = client.get("/api/v1/vessels", headers=bearer).json["cursor"]
    began = datetime.now(UTC).isoformat()
    expected = []
    for number in range(4):
        if number % 2:
            sql.run(own_database, _RESTORED)
        fix = a_fix(number)
        assert client.post(POSITIONS, **tracker.signed(fix)).status_code == 201
        expected.append(fix["recorded_at"])
    fences = [tuple(row) for row in sql.run(own_database, _FENCES)]
    assert len(fences) == 3
    assert all(later[0] > before[1] for before, later in pairwise(fences))
    assert all(_FAR <= resumed - survived <= 2 * _FAR + 1 for survived, resumed in fences[1:])
    for query in ({"cursor": begin}, {"from": began}):
        page = client.get(POSITIONS, headers=bearer, query_string=query).json
        assert [each["recorded_at"] for each in page["items"]] == expected
        assert not page["has_more"]
    # One that sees late finds where in the order that is, through all that was left out.
    sql.run(own_database, "UPDATE positions SET received_at = received_at - interval '1 h'")
    path = f"/api/v1/vessels/{vessel.id}/positions"
    seen = client.get(path, headers=late).json["positions"]
    assert [each["recorded_at"] for each in seen] == expected
    [feature] = client.get("/api/v1/vessels", headers=bearer).json["features"]
    assert feature["properties"]["recorded_at"] == expected[-1]


def test_a_cursor_of_what_was_left_out_is_expired_for_good(own_app: Flask, own_database: Database) -> None:
    client, world = CheckedClient(own_app), World(own_database)
    tracker, bearer = world.tracker(), world.bearer()
    assert client.post(POSITIONS, **tracker.signed(a_fix())).status_code == 201
    page = client.get(POSITIONS, headers=bearer, query_string={"from": "now"}).json
    # As if the fix had been lost with the server.
    sql.run(own_database, "DELETE FROM positions; DELETE FROM latest_positions")
    sql.run(own_database, _RESTORED)
    for number in range(3):
        answer = client.get(POSITIONS, headers=bearer, query_string={"cursor": page["next"]})
        assert answer.status_code == 410
        assert client.post(POSITIONS, **tracker.signed(a_fix(number))).status_code == 201
    answer = client.get("/api/v1/positions/stream", headers={**bearer, "Last-Event-ID": page["next"]})
    assert b"event: reset" in answer.data
    assert answer.data.count(b"event: position") == 0


def test_a_sequence_that_was_set_back_is_set_ahead_again(own_database: Database) -> None:
    world = World(own_database)
    sql.run(own_database, _RESTORED)
    with pytest.raises(Unavailable, match="another server took over"):
        world.vessel()
    world.vessel()
    sql.run(own_database, "ALTER SEQUENCE fleet_order RESTART")
    with pytest.raises(Unavailable):
        world.vessel()
    world.vessel()
    first, second, third = sql.run(own_database, _FENCES)
    assert first[1] < second[1] < third[1]


def test_of_several_who_find_out_one_does_it(own_database: Database) -> None:
    world = World(own_database)
    sql.run(own_database, _RESTORED)
    ready = threading.Barrier(6)

    def register() -> None:
        ready.wait()
        try:
            world.vessel()
        except Unavailable:
            world.vessel()

    threads = [threading.Thread(target=register) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(sql.run(own_database, _FENCES)) == 2
    assert sql.value(own_database, "SELECT count(*) FROM vessels") == 6


def test_what_is_sent_again_is_looked_for_and_not_remembered(own_app: Flask, own_database: Database) -> None:
    client, world = CheckedClient(own_app), World(own_database)
    vessel = world.vessel()
    tracker, other = world.tracker(vessel), world.tracker()
    first = tracker.signed(a_fix())
    assert client.post(POSITIONS, **first).status_code == 201
    sql.run(own_database, "DELETE FROM positions; DELETE FROM latest_positions")
    sql.run(own_database, _RESTORED)
    assert client.post(POSITIONS, **other.signed(a_fix())).status_code == 201
    assert client.post(POSITIONS, **first).status_code == 201
    assert sql.value(own_database, "SELECT count(*) FROM positions WHERE vessel_id = :id", id=vessel.id) == 1
