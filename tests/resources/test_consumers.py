"""Named consumers over HTTP: kept by the service, for partners that keep nothing."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.urls import FEEDS, KEYS, POSITIONS, VESSELS

from harbor_api.domain.consumers import MOST_CONSUMERS

Answer = Any
Headers = Mapping[str, str]
MINE = f"{FEEDS}/warehouse"


def put(client: CheckedClient, bearer: Headers, status: int = 200, at: str = MINE, **members: Any) -> Answer:
    """Put a consumer, with `begin` for `from`, and return the answer."""
    body = {"from" if name == "begin" else name: value for name, value in members.items()}
    response = client.put(at, json=body, headers=dict(bearer))
    assert response.status_code == status, response.text
    return response.json


def get(client: CheckedClient, bearer: Headers, status: int = 200, at: str = MINE) -> Answer:
    response = client.get(at, headers=dict(bearer))
    assert response.status_code == status, response.text
    return response.json


def read(client: CheckedClient, bearer: Headers, status: int = 200, at: str = MINE, **query: Any) -> Answer:
    response = client.get(f"{at}/positions", query_string=query, headers=dict(bearer))
    assert response.status_code == status, response.text
    return response.json


def post(client: CheckedClient, tracker: Any, *fixes: Mapping[str, Any]) -> None:
    for fix in fixes:
        assert client.post(POSITIONS, **tracker.signed(fix)).status_code == 201


def test_it_reads_on_from_where_it_was_told_that_all_is_kept(client: CheckedClient, world: World) -> None:
    bearer, tracker = world.bearer(), world.tracker()
    post(client, tracker, a_fix(0))
    created = put(client, bearer, 201)
    assert (created["name"], created["filters"]) == ("warehouse", {})
    assert (created["lag_s"], created["behind_at"], created["expired"]) == (0, None, False)
    assert created["seen_at"] is None
    fixes = [a_fix(10 * number) for number in range(1, 6)]
    post(client, tracker, *fixes)
    first = read(client, bearer, limit=2)
    assert read(client, bearer, limit=2)["items"] == first["items"]
    assert get(client, bearer)["cursor"] == created["cursor"]
    told = []
    while True:
        page = read(client, bearer, limit=2)
        told += [each["recorded_at"] for each in page["items"]]
        moved = put(client, bearer, cursor=page["next"])
        assert moved["cursor"] == page["next"]
        if not page["has_more"]:
            break
    assert told == [each["recorded_at"] for each in fixes]
    assert put(client, bearer, cursor=page["next"])["cursor"] == page["next"]
    assert (moved["lag_s"], moved["behind_at"]) == (0, None)
    assert read(client, bearer)["items"] == []


def test_a_page_is_the_one_that_the_feed_gives(client: CheckedClient, world: World) -> None:
    bearer, tracker = world.bearer(), world.tracker(world.vessel(kind="tanker"))
    other = world.tracker(world.vessel(kind="ferry"))
    created = put(client, bearer, 201, kind=["tanker"], bbox=[10, 59, 11, 60], flag=["NO"])
    moved = put(client, bearer, begin="now", kind=["tanker"], bbox=[10, 59, 11.5, 60])
    assert created["cursor"] != moved["cursor"]
    post(client, tracker, a_fix(0), a_fix(20))
    post(client, other, a_fix(0))
    post(client, world.tracker(world.vessel(kind="tanker")), a_fix(10, lat=10.0))
    query = {"cursor": moved["cursor"], "kind": "tanker", "bbox": "10,59,11.5,60", "limit": "1"}
    listed = client.get(POSITIONS, query_string=query, headers=bearer).json
    page = read(client, bearer, limit=1)
    assert (page["items"], page["next"]) == (listed["items"], listed["next"])
    assert moved["filters"] == {"kind": ["tanker"], "bbox": [10, 59, 11.5, 60]}
    # What it has read by itself, it may go on with here.
    assert put(client, bearer, cursor=listed["next"])["cursor"] == listed["next"]


def test_it_begins_where_it_is_told_to(client: CheckedClient, world: World) -> None:
    bearer, tracker = world.bearer(), world.tracker()
    post(client, tracker, a_fix(0))
    fleet = client.get(VESSELS, headers=bearer).json["cursor"]
    between = datetime.now(UTC)
    post(client, tracker, a_fix(10))
    for name, members, count in (
        ("now", {}, 0),
        ("at-now", {"begin": "now"}, 0),
        ("all", {"begin": "2020-01-01T00:00:00Z"}, 2),
        ("between", {"begin": between.isoformat()}, 1),
        ("fleet", {"cursor": fleet, "kind": ["ferry", "tanker"]}, 0),
        ("fleet.all", {"cursor": fleet}, 1),
    ):
        put(client, bearer, 201, at=f"{FEEDS}/{name}", **members)
        assert len(read(client, bearer, at=f"{FEEDS}/{name}")["items"]) == count, name
    # Back, and forth.
    assert len(put(client, bearer, at=f"{FEEDS}/now", begin="2020-01-01T00:00:00Z")["cursor"]) == 39
    assert len(read(client, bearer, at=f"{FEEDS}/now")["items"]) == 2
    put(client, bearer, at=f"{FEEDS}/now", begin="now")
    assert read(client, bearer, at=f"{FEEDS}/now")["items"] == []


def test_the_request_that_creates_it_may_be_sent_at_each_start(client: CheckedClient, world: World) -> None:
    bearer, tracker = world.bearer(), world.tracker()
    created = put(client, bearer, 201, vessel_id=[2, 1])
    post(client, tracker, a_fix(0))
    for members in ({"vessel_id": [2, 1]}, {"vessel_id": [1, 2, 2]}, {}):
        again = put(client, bearer, **members)
        assert (again["cursor"], again["filters"]) == (created["cursor"], {"vessel_id": [2, 1]})
    assert len(read(client, bearer)["items"]) == 1


def test_other_filters_need_a_place_that_goes_with_them(client: CheckedClient, world: World) -> None:
    bearer = world.bearer()
    created = put(client, bearer, 201, kind=["tanker"])
    fleet = client.get(VESSELS, headers=bearer).json["cursor"]
    assert put(client, bearer, 409, kind=["ferry"])["code"] == "conflict"
    refused = put(client, bearer, 400, kind=["ferry"], cursor=created["cursor"])
    assert refused["code"] == "cursor_mismatch"
    assert get(client, bearer)["filters"] == {"kind": ["tanker"]}
    # With none named they stay.
    assert put(client, bearer, cursor=fleet)["filters"] == {"kind": ["tanker"]}
    assert put(client, bearer, begin="now")["filters"] == {"kind": ["tanker"]}
    # With some named these are all.
    assert put(client, bearer, cursor=fleet, flag=["NO"])["filters"] == {"flag": ["NO"]}
    query = {"from": "now", "kind": "ferry"}
    listed = client.get(POSITIONS, query_string=query, headers=bearer).json["next"]
    assert put(client, bearer, cursor=listed, kind=["ferry"])["cursor"] == listed


def test_a_kind_with_a_comma_is_followed_alone(client: CheckedClient, world: World) -> None:
    bearer, tracker = world.bearer(), world.tracker(world.vessel(kind="cargo, dry"))
    created = put(client, bearer, 201, kind=["cargo, dry"])
    assert created["filters"] == {"kind": ["cargo, dry"]}
    post(client, tracker, a_fix(0))
    [item] = read(client, bearer)["items"]
    query = {"cursor": created["cursor"], "kind": "cargo, dry"}
    assert client.get(POSITIONS, query_string=query, headers=bearer).json["items"] == [item]


@pytest.mark.parametrize(
    "members",
    [
        {"cursor": "x", "begin": "now"},
        {"cursor": ""},
        {"cursor": "x"},
        {"cursor": "A" * 11 + "." + "A" * 27},
        {"cursor": None},
        {"cursor": 5},
        {"begin": "NOW"},
        {"begin": "2026-01-02T03:04:05"},
        {"begin": 5},
        {"bbox": "1,2,3,4"},
        {"bbox": [1, 2, 3]},
        {"bbox": [1, 2, 3, True]},
        {"bbox": [1, 3, 3, 2]},
        {"bbox": [200, 2, 3, 4]},
        {"vessel_id": 1},
        {"vessel_id": []},
        {"vessel_id": [0]},
        {"vessel_id": ["1"]},
        {"vessel_id": None},
        {"vessel_id": [1] * 1_001},
        {"imo": ["9074720"]},
        {"imo": [9074729]},
        {"mmsi": ["1"]},
        {"kind": ["a,b", "c"]},
        {"kind": [" "]},
        {"flag": ["no"]},
        {"limit": 5},
        {"filters": {}},
    ],
)
def test_what_cannot_be_followed_is_refused(
    client: CheckedClient, world: World, members: dict[str, Any]
) -> None:
    bearer = world.bearer()
    refused = put(client, bearer, 422, **members)
    assert refused["code"] == "validation_failed"
    assert all(each["pointer"].startswith("#/") for each in refused["errors"])
    get(client, bearer, 404)


@pytest.mark.parametrize("name", ["x" * 65, "%C3%A9", "a%20b", "a%2Fb", "..", ".", "a:b", "%00", "a%0A"])
def test_what_is_no_name_is_not_there(client: CheckedClient, world: World, name: str) -> None:
    bearer = world.bearer()
    for method in ("GET", "PUT", "DELETE"):
        body = {"json": {}} if method == "PUT" else {}
        answer = client.open(f"{FEEDS}/{name}", method=method, headers=bearer, **body)
        assert answer.status_code in {404, 405}, answer.text


def test_names_are_told_apart(client: CheckedClient, world: World) -> None:
    bearer = world.bearer()
    names = ["x" * 64, "A", "a", "...", "-", "_.", "positions"]
    for name in names:
        put(client, bearer, 201, at=f"{FEEDS}/{name}")
        put(client, bearer, 200, at=f"{FEEDS}/{name}")
        read(client, bearer, at=f"{FEEDS}/{name}")
    listed = get(client, bearer, at=FEEDS)["feeds"]
    assert sorted(each["name"] for each in listed) == sorted(names)
    assert listed[0] == get(client, bearer, at=f"{FEEDS}/{listed[0]['name']}")


def test_a_key_has_so_many_and_no_more(client: CheckedClient, world: World) -> None:
    bearer = world.bearer()
    for number in range(MOST_CONSUMERS):
        put(client, bearer, 201, at=f"{FEEDS}/{number}")
    assert put(client, bearer, 409)["code"] == "conflict"
    put(client, bearer, at=f"{FEEDS}/0", begin="now")
    put(client, world.bearer(), 201)
    assert client.delete(f"{FEEDS}/0", headers=bearer).status_code == 204
    put(client, bearer, 201)


def test_it_is_its_keys_alone(client: CheckedClient, world: World) -> None:
    bearer, other = world.bearer(), world.bearer()
    cursor = put(client, bearer, 201)["cursor"]
    get(client, other, 404)
    read(client, other, 404)
    assert client.delete(MINE, headers=other).status_code == 404
    assert get(client, other, at=FEEDS) == {"feeds": []}
    assert put(client, other, 400, cursor=cursor)["code"] == "cursor_mismatch"
    # It has one of that name by itself.
    put(client, other, 201)
    assert client.delete(MINE, headers=other).status_code == 204
    assert client.delete(MINE, headers=other).status_code == 404
    get(client, bearer)


def test_it_goes_on_when_its_key_is_rotated_and_ends_when_it_is_revoked(
    client: CheckedClient, world: World, admin: Headers
) -> None:
    key, secret = world.key()
    put(client, {"Authorization": f"Bearer {secret}"}, 201)
    rotated = client.post(f"{KEYS}/{key.id}/rotate", json={"grace_s": 0}, headers=dict(admin)).json
    bearer = {"Authorization": f"Bearer {rotated['secret']}"}
    get(client, bearer)
    assert client.post(f"{KEYS}/{key.id}/revoke", headers=dict(admin)).status_code == 200
    get(client, bearer, 401)
    assert sql.count(world.database, "feeds") == 0


def test_grants_are_read_at_each_call(client: CheckedClient, world: World) -> None:
    seen, hidden = world.vessel("seen"), world.vessel("hidden")
    trackers = [world.tracker(vessel) for vessel in (seen, hidden)]
    key, secret = world.key(vessel_ids=frozenset([seen.id]))
    bearer = {"Authorization": f"Bearer {secret}"}
    put(client, bearer, 201)
    post(client, trackers[1], a_fix(0))
    assert read(client, bearer)["items"] == []
    assert get(client, bearer)["lag_s"] == 0
    sql.run(
        world.database,
        "INSERT INTO grants (api_key_id, vessel_id) VALUES (:key, :vessel)",
        key=key.id,
        vessel=hidden.id,
    )
    assert [each["vessel_id"] for each in read(client, bearer)["items"]] == [hidden.id]
    assert get(client, bearer)["behind_at"]


_STORE = """
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
SELECT :vessel, now() + number * interval '1 ms', 1, now() - :ago * interval '1 s', :lat, 10.7,
    nextval('fleet_order')
FROM generate_series(1, :count) AS number
"""


def store(world: World, vessel: int, *, ago: float, lat: float = 59.9, count: int = 1) -> None:
    sql.run(world.database, _STORE, vessel=vessel, ago=ago, lat=lat, count=count)


def test_its_lag_is_that_of_the_oldest_that_it_was_not_told(client: CheckedClient, world: World) -> None:
    tanker, ferry = world.vessel(kind="tanker").id, world.vessel(kind="ferry").id
    bearer = world.bearer()
    filters = {
        "all": {},
        "vessel": {"vessel_id": [tanker]},
        "kind": {"kind": ["tanker"]},
        "box": {"bbox": [10, 59, 11, 60]},
        "nothing": {"kind": ["yacht"]},
    }
    for name, members in filters.items():
        put(client, bearer, 201, at=f"{FEEDS}/{name}", **members)
    store(world, ferry, ago=3_000, lat=10)
    store(world, tanker, ago=2_000, lat=10)
    store(world, ferry, ago=1_000)
    listed = {each["name"]: each for each in get(client, bearer, at=FEEDS)["feeds"]}
    lags = {name: round(each["lag_s"], -2) for name, each in listed.items()}
    assert lags == {"all": 3_000, "vessel": 2_000, "kind": 2_000, "box": 1_000, "nothing": 0}
    for name in filters:
        page = read(client, bearer, at=f"{FEEDS}/{name}", limit=1)
        after = put(client, bearer, at=f"{FEEDS}/{name}", cursor=page["next"])
        assert round(after["lag_s"], -2) == {"all": 2_000}.get(name, 0), name
    # Beyond many that are not for it, it counts from there.
    store(world, ferry, ago=500, count=5_001)
    store(world, ferry, ago=400)
    assert round(get(client, bearer, at=f"{FEEDS}/nothing")["lag_s"], -2) == 500
    page = read(client, bearer, at=f"{FEEDS}/nothing")
    assert page["items"] == []
    put(client, bearer, at=f"{FEEDS}/nothing", cursor=page["next"])
    assert get(client, bearer, at=f"{FEEDS}/nothing")["lag_s"] == 0


def test_when_other_vessels_were_heard_of_is_not_to_be_learnt_from_it(
    client: CheckedClient, world: World
) -> None:
    mine, other = world.vessel().id, world.vessel().id
    bearer = world.bearer(vessel_ids=frozenset({mine}))
    put(client, bearer, 201)
    store(world, other, ago=500, count=5_001)
    behind_at = get(client, bearer)["behind_at"]
    assert behind_at.endswith(":00:00.000000Z")
    assert get(client, bearer)["lag_s"] > 500


def test_a_withdrawal_is_something_to_be_told_of(client: CheckedClient, world: World) -> None:
    bearer, vessel = world.bearer(), world.vessel().id
    put(client, bearer, 201)
    sql.run(
        world.database,
        "INSERT INTO withdrawals "
        "VALUES (nextval('fleet_order'), :vessel, now(), 1, now() - interval '100 s')",
        vessel=vessel,
    )
    assert round(get(client, bearer)["lag_s"], -2) == 100
    assert read(client, bearer)["items"][0]["op"] == "delete"


def test_the_delay_of_its_key_is_no_lag(client: CheckedClient, world: World) -> None:
    bearer, vessel = world.bearer(delay_s=3_600), world.vessel().id
    put(client, bearer, 201)
    sql.run(
        world.database,
        """
        INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
        SELECT :vessel, now() - ago * interval '1 s', 1, now() - ago * interval '1 s', 59.9, 10.7,
            nextval('fleet_order')
        FROM unnest(ARRAY[3900, 1000]) AS ago
        """,
        vessel=vessel,
    )
    shown = get(client, bearer)
    # It sees in steps of a minute.
    assert 240 <= shown["lag_s"] <= 300
    put(client, bearer, cursor=read(client, bearer)["next"])
    assert get(client, bearer)["lag_s"] == 0


def test_a_coarse_key_learns_no_time_more_finely_than_otherwise(client: CheckedClient, world: World) -> None:
    bearer, vessel = world.bearer(coordinate_decimals=2), world.vessel().id
    put(client, bearer, 201, bbox=[10, 59, 11, 60])
    store(world, vessel, ago=1_000)
    shown = get(client, bearer)
    at = datetime.fromisoformat(shown["behind_at"])
    assert at.timestamp() % 432 == 0
    assert shown["lag_s"] % 432 == 0
    assert shown["lag_s"] >= 432
    assert shown["behind_at"] == read(client, bearer)["items"][0]["received_at"]


def test_it_says_when_it_was_seen(client: CheckedClient, world: World) -> None:
    bearer = world.bearer()
    put(client, bearer, 201)
    get(client, bearer)
    assert get(client, bearer)["seen_at"] is None
    read(client, bearer)
    seen = get(client, bearer)["seen_at"]
    assert datetime.now(UTC) - datetime.fromisoformat(seen) < timedelta(minutes=1)
    read(client, bearer)
    assert get(client, bearer)["seen_at"] == seen
    moved = put(client, bearer, begin="now")["seen_at"]
    assert moved > seen


def test_what_was_removed_is_told_and_it_goes_on_with_the_oldest(client: CheckedClient, world: World) -> None:
    bearer, tracker = world.bearer(), world.tracker()
    old = put(client, bearer, 201)["cursor"]
    post(client, tracker, a_fix(0), a_fix(10))
    next_ = read(client, bearer, limit=1)["next"]
    sql.run(
        world.database,
        "INSERT INTO feed_floor (number, at) SELECT min(seq), now() - interval '5 s' FROM positions",
    )
    refused = read(client, bearer, 410)
    assert refused["code"] == "cursor_expired"
    shown = get(client, bearer)
    assert shown["expired"] is True
    assert (shown["oldest"], shown["oldest_at"]) == (refused["oldest"], refused["oldest_at"])
    assert 5 <= shown["lag_s"] < 60
    [listed] = get(client, bearer, at=FEEDS)["feeds"]
    assert listed | {"lag_s": shown["lag_s"]} == shown
    assert put(client, bearer, 410, cursor=old)["oldest"] == refused["oldest"]
    assert put(client, bearer, 410, begin="2020-01-01T00:00:00Z")["oldest"] == refused["oldest"]
    moved = put(client, bearer, cursor=refused["oldest"])
    assert moved["expired"] is False
    assert "oldest" not in moved
    assert moved["cursor"] == next_
    assert len(read(client, bearer)["items"]) == 1
    # One that stands beyond all that there is, as after a restore.
    sql.run(world.database, "UPDATE feeds SET number = 1000000000")
    assert get(client, bearer)["expired"] is True
    assert read(client, bearer, 410)["oldest"] == refused["oldest"]


def test_of_many_at_once_one_creates_it_and_none_is_lost(client: CheckedClient, world: World) -> None:
    bearer, tracker = world.bearer(), world.tracker()
    post(client, tracker, *(a_fix(10 * number) for number in range(8)))
    begun = threading.Barrier(8)

    def create(number: int) -> int:
        begun.wait()
        return client.put(MINE, json={"from": "2020-01-01T00:00:00Z"}, headers=bearer).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(create, range(8)))
    assert statuses == [200] * 7 + [201]
    cursors = [put(client, bearer)["cursor"]]
    for _ in range(7):
        page = client.get(POSITIONS, query_string={"cursor": cursors[-1], "limit": 1}, headers=bearer)
        cursors.append(page.json["next"])

    def acknowledge(cursor: str) -> int:
        begun.wait()
        return client.put(MINE, json={"cursor": cursor}, headers=bearer).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(acknowledge, cursors)) == {200}
    assert get(client, bearer)["cursor"] in cursors


def test_no_more_are_created_at_once_than_a_key_may_have(client: CheckedClient, world: World) -> None:
    bearer = world.bearer()
    for number in range(MOST_CONSUMERS - 2):
        put(client, bearer, 201, at=f"{FEEDS}/{number}")
    begun = threading.Barrier(6)

    def create(number: int) -> int:
        begun.wait()
        return client.put(f"{FEEDS}/at-once-{number}", json={}, headers=bearer).status_code

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(create, range(6))) == [201] * 2 + [409] * 4


def test_it_is_acknowledged_while_it_is_deleted(client: CheckedClient, world: World) -> None:
    bearer = world.bearer()
    for _ in range(5):
        put(client, bearer, 201)
        cursor = get(client, bearer)["cursor"]
        begun = threading.Barrier(2)

        def acknowledge(cursor: str = cursor, begun: threading.Barrier = begun) -> int:
            begun.wait()
            return client.put(MINE, json={"cursor": cursor}, headers=bearer).status_code

        def delete(begun: threading.Barrier = begun) -> int:
            begun.wait()
            return client.delete(MINE, headers=bearer).status_code

        with ThreadPoolExecutor(2) as pool:
            acknowledged, deleted = pool.submit(acknowledge), pool.submit(delete)
        assert deleted.result() == 204
        assert acknowledged.result() in {200, 201}
        there = client.get(MINE, headers=bearer).status_code
        assert there == (200 if acknowledged.result() == 201 else 404)
        client.delete(MINE, headers=bearer)
