"""The change feed over HTTP: what happens to fixes, in order, and who is told what of it."""

import itertools
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.examples import many
from tests.support.factories import EPOCH, MASTER_KEY, World, a_fix
from tests.support.urls import FEEDS, POSITIONS, QUARANTINE, STREAM, VESSELS

from harbor_api.database import Database
from harbor_api.domain import cursors, feed_cursors
from harbor_api.domain.fleet_search import Box
from harbor_api.domain.times import rfc3339
from harbor_api.domain.vessels import floored

Answer = Any
Headers = Mapping[str, str]
_KEY = cursors.cursor_key(MASTER_KEY)


def read(client: CheckedClient, bearer: Headers, **parameters: Any) -> Answer:
    """Return the page of the feed that a request gets, with `begin` for `from`."""
    query = {"from" if name == "begin" else name: value for name, value in parameters.items()}
    response = client.get(POSITIONS, query_string=query, headers=dict(bearer))
    assert response.status_code == 200, response.text
    return response.json


def pages(client: CheckedClient, bearer: Headers, cursor: str, **parameters: Any) -> Iterator[Answer]:
    """Yield the pages from a cursor on, to the end."""
    while True:
        page = read(client, bearer, cursor=cursor, **parameters)
        yield page
        if not page["has_more"]:
            return
        cursor = page["next"]


def followed(client: CheckedClient, bearer: Headers, cursor: str, **parameters: Any) -> list[Answer]:
    """Return all items from a cursor on."""
    found = pages(client, bearer, cursor, **parameters)
    return list(itertools.chain.from_iterable(page["items"] for page in found))


def begun(client: CheckedClient, bearer: Headers, **filters: Any) -> str:
    """Return the cursor behind all that there is."""
    cursor: str = read(client, bearer, begin="now", **filters)["next"]
    return cursor


def post(client: CheckedClient, tracker: Any, *fixes: Mapping[str, Any]) -> None:
    for fix in fixes:
        assert client.post(POSITIONS, **tracker.signed(fix)).status_code == 201


def refused(client: CheckedClient, bearer: Headers, status: int, **parameters: Any) -> Answer:
    query = {"from" if name == "begin" else name: value for name, value in parameters.items()}
    response = client.get(POSITIONS, query_string=query, headers=dict(bearer))
    assert response.status_code == status, response.text
    return response.json


def test_an_item_shows_what_the_history_shows(client: CheckedClient, world: World) -> None:
    bearer, vessel = world.bearer(), world.vessel()
    cursor = begun(client, bearer)
    tracker = world.tracker(vessel)
    post(client, tracker, a_fix(0, accuracy_m=4, nav_status=0), a_fix(10, sog=None, lon=10.70001))
    page = read(client, bearer, cursor=cursor)
    listed = client.get(f"{VESSELS}/{vessel.id}/positions", headers=bearer).json["positions"]
    beside = {"op": "upsert", "vessel_id": vessel.id, "late": False, "released": False}
    assert [{name: value for name, value in each.items() if name != "id"} for each in page["items"]] == [
        beside | each for each in listed
    ]
    assert page["has_more"] is False
    assert followed(client, bearer, page["next"]) == []


def test_an_empty_page_is_small_and_goes_on(client: CheckedClient, world: World) -> None:
    bearer = world.bearer()
    response = client.get(POSITIONS, query_string={"from": "now"}, headers=bearer)
    assert len(response.data) < 200
    assert response.json["items"] == []
    assert response.headers["Cache-Control"] == "no-store"
    assert feed_cursors.is_one(response.json["next"])


def test_what_a_filter_passes_over_moves_the_cursor(client: CheckedClient, world: World) -> None:
    bearer, tracker = world.bearer(), world.tracker()
    before = begun(client, bearer, kind="ferry")
    post(client, tracker, a_fix(0))
    page = read(client, bearer, cursor=before, kind="ferry")
    assert (page["items"], page["has_more"]) == ([], False)
    assert page["next"] != before


def test_late_released_and_withdrawn_fixes_are_told_as_such(
    client: CheckedClient, world: World, admin: Headers
) -> None:
    tracker = world.tracker()
    cursor = begun(client, admin)
    post(client, tracker, a_fix(100), a_fix(0))
    assert client.post(POSITIONS, **tracker.signed(a_fix(200, lat=10))).status_code == 202
    [held] = client.get(QUARANTINE, headers=admin).json["quarantine"]
    assert client.post(f"{QUARANTINE}/{held['id']}/release", headers=admin).status_code == 200
    first, late, released = followed(client, admin, cursor)
    assert [(each["late"], each["released"]) for each in (first, late, released)] == [
        (False, False),
        (True, False),
        (False, True),
    ]
    page = read(client, admin, cursor=cursor)
    named = {"recorded_at": late["recorded_at"], "vessel_id": late["vessel_id"]}
    taken = client.post(f"{QUARANTINE}/withdraw", json=named | {"note": "wrong"}, headers=admin)
    assert taken.status_code == 200
    [deleted] = followed(client, admin, page["next"])
    assert deleted == {"op": "delete", "id": late["id"], **named}


def test_pages_of_any_size_hold_the_same(client: CheckedClient, world: World) -> None:
    bearer, tracker = world.bearer(), world.tracker()
    cursor = begun(client, bearer)
    post(client, tracker, *(a_fix(10 * number) for number in range(7)))
    world.vessel("edited last")
    whole = followed(client, bearer, cursor)
    assert len(whole) == 7
    for limit in (1, 2, 3, 7, 8, 10_000):
        assert followed(client, bearer, cursor, limit=limit) == whole


def test_it_begins_at_a_time_of_reception(client: CheckedClient, world: World) -> None:
    bearer, tracker = world.bearer(), world.tracker()
    post(client, tracker, a_fix(0))
    between = datetime.now(UTC)
    post(client, tracker, a_fix(20), a_fix(10))
    page = read(client, bearer, begin=rfc3339(between))
    assert [each["recorded_at"] for each in page["items"]] == [
        a_fix(20)["recorded_at"],
        a_fix(10)["recorded_at"],
    ]
    assert len(read(client, bearer, begin="2020-01-01T00:00:00Z")["items"]) == 3
    assert read(client, bearer, begin=rfc3339(datetime.now(UTC)))["items"] == []


def test_the_cursor_of_the_fleet_is_taken_with_any_filter(client: CheckedClient, world: World) -> None:
    bearer, tracker = world.bearer(), world.tracker(world.vessel(kind="tanker"))
    post(client, tracker, a_fix(0))
    fleet = client.get(VESSELS, headers=bearer)
    post(client, tracker, a_fix(10))
    for cursor in (fleet.json["cursor"], fleet.headers["Harbor-Cursor"]):
        for filters in ({}, {"kind": "tanker"}, {"bbox": "10,59,11,60"}):
            [item] = read(client, bearer, cursor=cursor, **filters)["items"]
            assert item["recorded_at"] == a_fix(10)["recorded_at"]


def test_a_cursor_is_bound_to_its_key_and_its_filters(client: CheckedClient, world: World) -> None:
    bearer, other = world.bearer(), world.bearer()
    cursor = begun(client, bearer, vessel_id="2,1", kind="ferry")
    read(client, bearer, cursor=cursor, vessel_id="1,2", kind="ferry", limit=5)
    for bound, filters in (
        (other, {"vessel_id": "1,2", "kind": "ferry"}),
        (bearer, {"vessel_id": "1", "kind": "ferry"}),
        (bearer, {}),
    ):
        assert refused(client, bound, 400, cursor=cursor, **filters)["code"] == "cursor_mismatch"
    tag, token = cursor.split(".")
    broken = ("", "x", f"{tag}.{token[:-1]}B", f"{tag}.{'A' * 27}", f"{token}.{tag}", f"{tag}.{token}=")
    for each in broken:
        asked = refused(client, bearer, 400, cursor=each, vessel_id="1,2", kind="ferry")
        assert asked["code"] == "invalid_parameter"


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"begin": "now", "cursor": "x"},
        {"begin": "NOW"},
        {"begin": "2026-01-02T03:04:05"},
        {"begin": "now", "limit": 0},
        {"begin": "now", "limit": 10_001},
        {"begin": "now", "bbox": "1,2,3"},
        {"begin": "now", "q": "x"},
    ],
)
def test_what_says_not_where_to_begin_is_refused(
    client: CheckedClient, world: World, parameters: dict[str, Any]
) -> None:
    assert refused(client, world.bearer(), 400, **parameters)["code"] == "invalid_parameter"


def test_below_the_floor_and_above_the_end_the_cursor_has_expired(
    client: CheckedClient, world: World
) -> None:
    bearer, tracker = world.bearer(), world.tracker()
    old = begun(client, bearer)
    post(client, tracker, a_fix(0), a_fix(10))
    first, last = read(client, bearer, cursor=old, limit=1)["next"], begun(client, bearer)
    number = feed_cursors.number_in(_KEY, first, tag=first.split(".")[0])
    sql.run(world.database, "INSERT INTO feed_floor (number, at) VALUES (:number, now())", number=number)
    found = refused(client, bearer, 410, cursor=old)
    assert found["code"] == "cursor_expired"
    assert found["oldest_at"]
    assert len(followed(client, bearer, found["oldest"])) == 1
    assert refused(client, bearer, 410, begin="2020-01-01T00:00:00Z")["oldest"] == found["oldest"]
    # A stream is refused the same way, before it begins.
    refusal = client.get(STREAM, query_string={"cursor": old}, headers=dict(bearer))
    assert (refusal.status_code, refusal.json["oldest"]) == (410, found["oldest"])
    beyond = last.split(".")[0] + "." + feed_cursors.token(_KEY, 10**9)
    assert refused(client, bearer, 410, cursor=beyond)["oldest"] == found["oldest"]
    assert followed(client, bearer, first) != []


def test_grants_are_read_at_each_call(client: CheckedClient, world: World) -> None:
    seen, hidden = world.vessel("seen"), world.vessel("hidden")
    trackers = [world.tracker(vessel) for vessel in (seen, hidden)]
    key, secret = world.key(vessel_ids=frozenset([seen.id]))
    bearer = {"Authorization": f"Bearer {secret}"}
    cursor = begun(client, bearer)
    for tracker in trackers:
        post(client, tracker, a_fix(0))
    assert [each["vessel_id"] for each in followed(client, bearer, cursor)] == [seen.id]
    grant = "INSERT INTO grants (api_key_id, vessel_id) VALUES (:key, :vessel)"
    sql.run(world.database, grant, key=key.id, vessel=hidden.id)
    sql.run(world.database, "DELETE FROM grants WHERE vessel_id = :vessel", vessel=seen.id)
    assert [each["vessel_id"] for each in followed(client, bearer, cursor)] == [hidden.id]
    assert followed(client, bearer, begun(client, bearer, vessel_id=seen.id), vessel_id=seen.id) == []


_EDGES = st.sampled_from([-180.0, -179.5, -10.0, 0.0, 10.7, 179.5, 180.0])
_LATS = st.sampled_from([-90.0, -60.0, 0.0, 59.9, 90.0])


@settings(max_examples=many(40), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(west=_EDGES, east=_EDGES, lats=st.tuples(_LATS, _LATS).map(sorted))
@example(west=179.5, east=-179.5, lats=[-90.0, 90.0])
@example(west=180.0, east=180.0, lats=[0.0, 90.0])
def test_a_box_is_the_one_that_the_fleet_has(
    client: CheckedClient, world: World, west: float, east: float, lats: list[float]
) -> None:
    bearer = world.bearer()
    if not sql.count(world.database, "positions"):
        sql.run(
            world.database,
            """
            INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
            SELECT 1, now() + row_number() OVER () * interval '1 second', 1, now(), lat, lon,
                nextval('fleet_order')
            FROM unnest(ARRAY[-90, -89.5, -60, 0, 59.9, 90]::float8[]) AS lat,
                unnest(ARRAY[-180, -179.5, -10, 0, 10.7, 179.5, 180]::float8[]) AS lon
            """,
        )
    start = "2020-01-01T00:00:00Z"
    whole = read(client, bearer, begin=start, limit=10_000)["items"]
    south, north = lats
    box = Box(west, south, east, north)
    found = read(client, bearer, begin=start, limit=10_000, bbox=f"{west},{south},{east},{north}")["items"]
    assert found == [each for each in whole if box.holds(each["lat"], each["lon"])]


_STORE = """
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
VALUES (:vessel, :at, :tracker, :at, :lat, 10.7, nextval('fleet_order')) ON CONFLICT DO NOTHING
"""
_WITHDRAW = """
WITH gone AS (
    DELETE FROM positions
    WHERE vessel_id = :vessel AND recorded_at = :at AND tracker_id = :tracker RETURNING *
)
INSERT INTO withdrawals SELECT nextval('fleet_order'), vessel_id, recorded_at, tracker_id, now() FROM gone
"""
_EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["store", "store", "store", "withdraw", "read"]),
        st.integers(1, 2),
        st.integers(0, 6),
        st.integers(1, 2),
    ),
    min_size=1,
    max_size=25,
)


def test_when_a_fix_came_in_is_not_to_be_learnt_from_where_one_begins(
    client: CheckedClient, world: World
) -> None:
    mine, other = world.vessel(), world.vessel()
    came = datetime(2026, 1, 2, 3, 4, 30, tzinfo=UTC)
    for number, vessel in enumerate((mine, other)):
        post(client, world.tracker(vessel), a_fix(number))
        sql.run(
            world.database,
            "UPDATE positions SET received_at = :came WHERE vessel_id = :vessel",
            came=came + timedelta(seconds=number),
            vessel=vessel.id,
        )
    some, coarse = world.bearer(vessel_ids=frozenset({mine.id})), world.bearer(coordinate_decimals=2)
    for bearer, span, told in ((some, timedelta(minutes=1), 1), (coarse, timedelta(seconds=864), 2)):
        began = floored(came, span)
        names = []
        for moment in (began, came, came + timedelta(seconds=1), came + timedelta(seconds=1, microseconds=1)):
            page = read(client, bearer, begin=rfc3339(moment))
            assert len(page["items"]) == told
            put = client.put(f"{FEEDS}/any", json={"from": rfc3339(moment)}, headers=dict(bearer))
            names.append(put.json["cursor"])
        assert len(set(names)) == 1
        assert read(client, bearer, begin=rfc3339(began + span))["items"] == []


@pytest.mark.parametrize("decimals", [None, 3])
@settings(max_examples=many(25), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(events=_EVENTS, limit=st.integers(1, 4))
@example(
    events=[
        ("store", 1, 2, 1),
        ("store", 1, 0, 1),
        ("read", 1, 0, 1),
        ("withdraw", 1, 0, 1),
        ("store", 1, 1, 1),
    ],
    limit=1,
)
def test_whoever_applies_all_items_holds_the_history(
    client: CheckedClient,
    world: World,
    decimals: int | None,
    events: list[tuple[str, int, int, int]],
    limit: int,
) -> None:
    """Of a key that sees all, and of one that sees the first fix of each step: whatever it read when."""
    _clear(world.database)
    vessels = {number: world.vessel().id for number in (1, 2)}
    bearer = world.bearer(coordinate_decimals=decimals)
    cursor = begun(client, bearer)
    held: dict[str, Answer] = {}

    def apply(page: Answer) -> str:
        for item in page["items"]:
            held.pop(item["id"], None)
            if item["op"] == "upsert":
                held[item["id"]] = item
        following: str = page["next"]
        return following

    for kind, vessel, place, tracker in events:
        if kind == "read":
            cursor = apply(read(client, bearer, cursor=cursor, limit=limit))
            continue
        # Two steps of a coarse key, and fixes of both trackers at one time.
        at = EPOCH + timedelta(seconds=40 * place)
        values = {"vessel": vessels[vessel], "at": at, "tracker": tracker}
        if kind == "store":
            sql.run(world.database, _STORE, **values, lat=place + tracker / 10)
        else:
            sql.run(world.database, _WITHDRAW, **values)
    for page in pages(client, bearer, cursor, limit=limit):
        apply(page)
    listed = [
        {"vessel_id": vessel_id, **each}
        for vessel_id in vessels.values()
        for each in client.get(f"{VESSELS}/{vessel_id}/positions", headers=bearer).json["positions"]
    ]
    beside = {"id", "op", "late", "released"}
    found = [{name: each[name] for name in each if name not in beside} for each in held.values()]
    assert sorted(found, key=repr) == sorted(listed, key=repr)


def _clear(database: Database) -> None:
    sql.run(database, "DELETE FROM positions")
    sql.run(database, "DELETE FROM withdrawals")


def test_a_delayed_key_is_told_in_the_same_order_later(client: CheckedClient, world: World) -> None:
    """Nothing behind the first fix that is not due, also where it was due already: a backfill."""
    vessel = world.vessel().id
    bearer = world.bearer(delay_s=60)
    now = datetime.now(UTC)
    store = """
        INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
        VALUES (:vessel, :at, 1, :received, 59.9, 10.7, nextval('fleet_order'))
    """
    for recorded, received in ((300, 290), (200, 100), (30, 29), (500, 20)):
        sql.run(
            world.database,
            store,
            vessel=vessel,
            at=now - timedelta(seconds=recorded),
            received=now - timedelta(seconds=received),
        )
    page = read(client, bearer, begin="2020-01-01T00:00:00Z")
    assert len(page["items"]) == 2
    assert page["has_more"] is False
    assert read(client, bearer, cursor=page["next"])["items"] == []
    assert read(client, bearer, begin="now")["next"] == page["next"]
