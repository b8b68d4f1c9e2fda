"""GET /api/v1/vessels: what its parameters find, how it is paged, and what it says of itself."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.urls import POSITIONS
from tests.support.urls import VESSELS as URL

from harbor_api.domain.fleet_search import LARGEST_RADIUS_M
from harbor_api.domain.times import from_rfc3339, rfc3339
from harbor_api.domain.vessels import Vessel

Bearer = dict[str, str]


def _at(world: World, client: CheckedClient, vessel: Vessel, lon: float, lat: float, **members: Any) -> None:
    fix = a_fix(recorded_at=rfc3339(datetime.now(UTC)), lon=lon, lat=lat, **members)
    assert client.post(POSITIONS, **world.tracker(vessel).signed(fix)).status_code == 201


@pytest.fixture
def fleet(client: CheckedClient, world: World) -> None:
    """Three about the date line, one in Oslo, one that was never seen."""
    details = [
        {"name": "Adi", "imo": "9074729", "flag": "FJ", "kind": "Ferry"},
        {"name": "Bua", "mmsi": "520123450", "flag": "FJ", "kind": "Tug, pusher"},
        {"name": "Cakau", "call_sign": "3DAB"},
        {"name": "Dvergen", "flag": "NO"},
        {"name": "Eidsvåg", "flag": "NO"},
    ]
    places = [(179.5, -17), (-179.5, -17), (180, -16), (10.7, 59.9)]
    ships = [world.vessel(**each) for each in details]
    for ship, (lon, lat) in zip(ships, places, strict=False):
        _at(world, client, ship, lon, lat)


def _found(client: CheckedClient, bearer: Bearer, query: str) -> list[str]:
    answer = client.get(f"{URL}?{query}", headers=bearer)
    assert answer.status_code == 200, answer.text
    return [each["properties"]["name"][0] for each in answer.json["features"]]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "ABCDE"),
        ("bbox=179,-20,-179,-10", "ABC"),
        ("bbox=-180,-20,-179,-10", "BC"),
        ("bbox=179,-20,180,-10", "AC"),
        ("bbox=-180,-90,180,90", "ABCD"),
        ("bbox=1e1,5.9e1,11,60", "D"),
        ("near=-180,-17&radius=60000", "AB"),
        ("near=180,-17&radius=1e%2B06", "ABC"),
        ("near=10.7,59.9", "D"),
        ("near=179.4,-17&radius=1000000&limit=1", "A"),
        ("vessel_id=2,1,1,77,2147483647", "AB"),
        # One that can be none costs no other.
        ("imo=9074729,1234567,9074728", "A"),
        ("mmsi=520123450", "B"),
        ("q=3dab", "C"),
        ("q=EIDSV%C3%85G", "E"),
        ("q=729", "A"),
        ("kind=ferry", "A"),
        ("kind=tanker,%20FERRY", "A"),
        ("kind=tug,%20pusher", "B"),
        ("flag=NO", "DE"),
        ("flag=FJ,SE,FJ", "AB"),
        ("stale=true", "E"),
        ("stale=false&flag=NO", "D"),
        ("updated_since=2000-01-01T00:00:00Z", "ABCD"),
        ("updated_since=9999-12-31T23:59:59Z", ""),
        ("bbox=179,-20,-179,-10&flag=FJ&vessel_id=2,3,4", "B"),
        ("retired=true", ""),
        ("limit=2", "AB"),
    ],
)
def test_finds_what_fulfils_all_that_is_asked_for(client: CheckedClient, world: World, fleet, query, names):
    assert _found(client, world.bearer(), query) == list(names)


def test_tells_how_far_and_which_way_the_nearest_first(client: CheckedClient, world: World, fleet):
    answer = client.get(f"{URL}?near=179.9,-17&radius=200000", headers=world.bearer())
    seen = [each["properties"] for each in answer.json["features"]]
    assert [(each["name"], each["distance_m"], each["bearing"]) for each in seen] == [
        ("Adi", 42534.5, 269.9),
        ("Bua", 63801.8, 90.1),
        ("Cakau", 111705.0, 5.5),
    ]
    plain = client.get(f"{URL}?vessel_id=1", headers=world.bearer()).json["features"][0]["properties"]
    assert "distance_m" not in plain


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        *(
            (f"bbox={box}", "bbox")
            for box in (
                "1,2,3",
                "1,2,3,4,5",
                "",
                "1,2,3,",
                "a,2,3,4",
                "NaN,2,3,4",
                "1,-inf,3,4",
                "1,2,3,1e999",
                "1,5,3,4",
                "-181,2,3,4",
                "1,2,180.1,4",
                "1,-91,3,4",
                "1,2,3,90.5",
                "1;2;3;4",
                "1,2,3,٤",
                "0x1,2,3,4",
                "1, 2,3,4",
            )
        ),
        ("near=1", "near"),
        ("near=59.9,100", "near"),
        ("near=181,0", "near"),
        ("near=nan,0", "near"),
        (f"near=1,2&radius={LARGEST_RADIUS_M + 1}", "radius"),
        ("near=1,2&radius=-1", "radius"),
        ("near=1,2&radius=infinity", "radius"),
        ("near=1,2&radius=1e400", "radius"),
        ("near=1,2&radius=", "radius"),
        ("radius=5", "radius"),
        ("vessel_id=", "vessel_id"),
        ("vessel_id=1,,2", "vessel_id"),
        ("vessel_id=0", "vessel_id"),
        ("vessel_id=2147483648", "vessel_id"),
        ("vessel_id=1.0", "vessel_id"),
        ("vessel_id=" + ",".join(["1"] * 1001), "vessel_id"),
        ("imo=123", "imo"),
        ("mmsi=12345678x", "mmsi"),
        ("q=", "q"),
        ("q=%20", "q"),
        ("q=%00", "q"),
        ("q=" + "x" * 101, "q"),
        ("flag=no", "flag"),
        ("flag=NOR", "flag"),
        ("kind=", "kind"),
        ("kind=cargo,", "kind"),
        ("kind=cargo,%20", "kind"),
        ("kind=" + ",".join(["cargo"] * 1001), "kind"),
        ("flag=NO,", "flag"),
        ("flag=NO,%20SE", "flag"),
        # What no vessel may have, whatever comes.
        ("imo=9074728,0000000", "imo"),
        ("mmsi=000000000", "mmsi"),
        ("updated_since=2026-01-02", "updated_since"),
        ("updated_since=2026-01-02T03:04:05", "updated_since"),
        ("stale=1", "stale"),
        ("retired=yes", "retired"),
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=1e1", "limit"),
        ("cursor=", "cursor"),
        ("cursor=after-7", "cursor"),
        ("cursor=" + "A" * 60, "cursor"),
        ("flag=NO&flag=FJ", "flag"),
        ("colour=red", "colour"),
        ("q=%E6", "q"),
        ("q=a&%C3=%B8", "\ufffd"),
    ],
)
def test_names_the_parameter_that_is_wrong(client: CheckedClient, world: World, query, parameter):
    answer = client.get(f"{URL}?{query}", headers=world.bearer())
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_parameter")
    assert [each["parameter"] for each in answer.json["errors"]] == [parameter]


def test_a_plus_that_the_address_has_made_a_blank_is_told_of(client: CheckedClient, world: World):
    answer = client.get(f"{URL}?updated_since=2026-01-02T03:04:05+02:00", headers=world.bearer())
    assert "%2B" in answer.json["errors"][0]["detail"]
    assert _found(client, world.bearer(), "updated_since=2026-01-02T03:04:05%2B02:00") == []


def test_a_thousand_ids_are_taken_and_those_that_are_forbidden_are_not_there(
    client: CheckedClient, world: World, fleet
):
    bearer = world.bearer(vessel_ids=frozenset({2, 5}))
    ids = ",".join(map(str, range(1, 1001)))
    assert _found(client, bearer, f"vessel_id={ids}") == ["B", "E"]
    assert _found(client, bearer, "vessel_id=1,999") == []
    assert _found(client, bearer, "near=180,-17&radius=1000000") == ["B"]
    assert client.get(URL, headers=world.bearer(vessel_ids=frozenset())).json["features"] == []


def test_a_coarse_key_is_found_where_it_is_shown(client: CheckedClient, world: World):
    _at(world, client, world.vessel(), 10.74, 59.93)
    coarse = world.bearer(coordinate_decimals=1)
    assert _found(client, coarse, "bbox=10.73,59.92,10.75,59.94") == []
    [shown] = client.get(f"{URL}?near=10.7,59.9&radius=0", headers=coarse).json["features"]
    assert shown["properties"]["distance_m"] == 0
    # Received when, and stale when, it sees no better than its step of 72 minutes.
    received = from_rfc3339(shown["properties"]["received_at"])
    stale = from_rfc3339(shown["properties"]["stale_at"])
    assert received is not None
    assert stale == received + timedelta(minutes=72 + 15)
    after = rfc3339(received + timedelta(microseconds=1))
    assert _found(client, coarse, f"updated_since={after}") == []


class TestPages:
    def test_of_a_long_list_are_told_by_the_body_alone(self, client: CheckedClient, world: World, fleet):
        bearer, ids = world.bearer(), ",".join(map(str, range(1, 1001)))
        for more in ("", f"&as_of={rfc3339(datetime.now(UTC) - timedelta(seconds=1))}"):
            answer = client.get(f"{URL}?limit=2&vessel_id={ids}{more}", headers=bearer)
            assert "Link" not in answer.headers
            told = answer.json["links"]["next"]
            assert len(told) < len(ids) + 200
            assert [each["id"] for each in client.get(told, headers=bearer).json["features"]] == [3, 4]

    def _walk(self, client: CheckedClient, bearer: Bearer, query: str) -> list[Any]:
        url, pages = f"{URL}?{query}", []
        while url:
            answer = client.get(url, headers=bearer)
            assert answer.status_code == 200
            pages.append(answer)
            url = answer.json["links"]["next"]
            assert (answer.headers.get("Link") is None) is (url is None)
        return pages

    @pytest.mark.parametrize(
        ("query", "names"),
        [("limit=2", "ABCDE"), ("limit=2&near=179.9,-17&radius=200000", "ABC"), ("limit=1&flag=NO", "DE")],
    )
    def test_hold_each_vessel_once(self, client: CheckedClient, world: World, fleet, query, names):
        pages = self._walk(client, world.bearer(), query)
        found = [each["properties"]["name"][0] for page in pages for each in page.json["features"]]
        assert found == list(names)

    def test_say_where_the_first_one_stands(self, client: CheckedClient, world: World, fleet):
        bearer = world.bearer()
        first = client.get(f"{URL}?limit=2", headers=bearer)
        _at(world, client, world.vessel("Fulaga"), 179, -19)
        second = client.get(first.json["links"]["next"], headers=bearer)
        assert second.json["cursor"] == second.headers["Harbor-Cursor"] == first.json["cursor"]
        third = client.get(second.json["links"]["next"], headers=bearer)
        assert [each["properties"]["name"] for each in third.json["features"]] == ["Eidsvåg", "Fulaga"]
        assert third.json["cursor"] == first.json["cursor"]

    @pytest.mark.parametrize(
        "other", ["flag=NO&limit=1", "limit=1&stale=true", "limit=1&retired=true", "limit=1&near=1,2"]
    )
    def test_are_bound_to_what_was_asked_for(self, client: CheckedClient, world: World, fleet, other):
        bearer = world.bearer()
        link = client.get(f"{URL}?limit=1", headers=bearer).json["links"]["next"]
        cursor = link.partition("cursor=")[2]
        answer = client.get(f"{URL}?{other}&cursor={cursor}", headers=bearer)
        assert (answer.status_code, answer.json["code"]) == (400, "cursor_mismatch")
        assert client.get(link, headers=world.bearer()).json["code"] == "cursor_mismatch"
        assert client.get(link.replace("limit=1", "limit=3"), headers=bearer).status_code == 200
        # What one follows from is no page.
        follow = client.get(URL, headers=bearer).json["cursor"]
        answer = client.get(f"{URL}?limit=1&cursor={follow}", headers=bearer)
        assert (answer.status_code, answer.json["code"]) == (400, "cursor_mismatch")


class TestEnvelope:
    def test_stays_the_same_while_nothing_in_it_changes(self, client: CheckedClient, world: World, fleet):
        bearer = world.bearer(vessel_ids=frozenset({1, 2}))
        first = client.get(URL, headers=bearer)
        _at(world, client, world.vessel("Other"), 3, 4)
        again = client.get(URL, headers=bearer)
        assert (again.data, again.headers["ETag"]) == (first.data, first.headers["ETag"])
        # It was looked further on, later.
        assert again.headers["Harbor-Cursor"] != first.headers["Harbor-Cursor"]
        assert again.headers["Harbor-Now"] > first.headers["Harbor-Now"] > first.json["now"]
        unchanged = client.get(URL, headers=bearer | {"If-None-Match": first.headers["ETag"]})
        assert unchanged.status_code == 304
        assert unchanged.headers["Harbor-Cursor"] == again.headers["Harbor-Cursor"]
        assert unchanged.headers["Harbor-Now"] > again.headers["Harbor-Now"]

    def test_is_of_the_moment_at_which_the_last_one_turned_stale(self, client: CheckedClient, world: World):
        [old, fresh] = world.vessel("Old"), world.vessel("Fresh")
        client.post(POSITIONS, **world.tracker(old).signed(a_fix()))
        _at(world, client, fresh, 1, 2)
        answer = client.get(URL, headers=world.bearer())
        now = answer.json["now"]
        assert now == answer.json["features"][1]["properties"]["received_at"]
        for each in answer.json["features"]:
            assert each["properties"]["stale"] is (each["properties"]["stale_at"] <= now)
        with_old = client.get(f"{URL}?stale=true", headers=world.bearer()).json
        assert with_old["now"] == max(
            with_old["features"][0]["properties"][name] for name in ("stale_at", "received_at")
        )

    def test_of_nothing_has_no_time(self, client: CheckedClient, world: World):
        answer = client.get(URL, headers=world.bearer())
        assert answer.json["features"] == []
        assert answer.json["now"] is None

    def test_is_the_same_as_one_vessel_by_herself(self, client: CheckedClient, world: World, fleet):
        sql.run(world.database, "UPDATE vessels SET name = :name WHERE id = 1", name='"stale":false 🚢')
        sql.run(world.database, "UPDATE vessels SET seq = nextval('fleet_order'), length_m = 86.5")
        for terms in ({}, {"coordinate_decimals": 2}, {"delay_s": 1}):
            bearer = world.bearer(**terms)
            listed = client.get(URL, headers=bearer).data
            for vessel_id in range(1, 6):
                assert client.get(f"{URL}/{vessel_id}", headers=bearer).data in listed
