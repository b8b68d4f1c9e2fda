"""GET /api/v1/vessels?as_of=: the whole fleet as it was at a moment, from history."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import EPOCH, SigningTracker, World, a_fix
from tests.support.urls import BATCH, POSITIONS, QUARANTINE, VESSELS

from harbor_api.domain.times import rfc3339

AsOf = Callable[..., Any]
SECONDS = timedelta(seconds=1)


def _at(seconds: float) -> str:
    return rfc3339(EPOCH + timedelta(seconds=seconds))


@pytest.fixture
def as_of(client: CheckedClient, world: World) -> AsOf:
    """Return a function that asks for the fleet some seconds after EPOCH, or at a time."""
    everybody = world.bearer()

    def ask(moment: float | str, key: dict[str, str] = everybody, **parameters: Any) -> Any:
        at = moment if isinstance(moment, str) else _at(moment)
        return client.get(VESSELS, query_string={"as_of": at, **parameters}, headers=key)

    return ask


def _post(client: CheckedClient, tracker: SigningTracker, fixes: Iterable[dict[str, Any]]) -> None:
    answer = client.post(BATCH, **tracker.signed({"fixes": list(fixes)}, url=BATCH))
    assert {each["verdict"] for each in answer.json["verdicts"]} == {"stored"}, answer.text


def _sail(client: CheckedClient, world: World, name: str, *fixes: tuple[float, float, float]) -> int:
    """Have a vessel send fixes (seconds, latitude, longitude), and return its id."""
    vessel = world.vessel(name)
    if fixes:
        _post(client, world.tracker(vessel), (a_fix(at, lat=lat, lon=lon) for at, lat, lon in fixes))
    return vessel.id


def _told(answer: Any) -> dict[str, tuple[Any, ...]]:
    """Return the place and the basis of each vessel, by its name."""
    assert answer.status_code == 200, answer.text
    return {
        each["properties"]["name"]: (
            each["geometry"] and tuple(reversed(each["geometry"]["coordinates"])),
            each["properties"]["basis"],
        )
        for each in answer.json["features"]
    }


def test_each_vessel_is_where_its_history_says(client: CheckedClient, world: World, as_of: AsOf):
    _sail(client, world, "Between", (0, 59.90, 10.70), (600, 59.94, 10.60))
    _sail(client, world, "Exactly", (0, 59.0, 10.0), (150, 59.01, 10.0), (300, 59.02, 10.0))
    _sail(client, world, "Silent since", (0, 58.0, 10.0))
    _sail(client, world, "Across a gap", (0, 57.0, 10.0), (1_801, 57.1, 10.0))
    _sail(client, world, "Across the date line", (0, -17.0, 179.96), (300, -17.0, -179.96))
    _sail(client, world, "Later", (151, 56.0, 10.0))
    _sail(client, world, "Never")
    answer = as_of(150)
    assert _told(answer) == {
        "Between": ((59.91, 10.675), "interpolated"),
        "Exactly": ((59.01, 10.0), "measured"),
        "Silent since": ((58.0, 10.0), "last_known"),
        "Across a gap": ((57.0, 10.0), "last_known"),
        "Across the date line": ((-17.0, 180.0), "interpolated"),
        "Later": (None, None),
        "Never": (None, None),
    }
    assert (answer.json["as_of"], answer.json["now"]) == (_at(150), _at(150))
    assert datetime.fromisoformat(answer.headers["Harbor-Now"]) > EPOCH
    between = answer.json["features"][0]["properties"]
    assert between["between"] == [_at(0), _at(600)]
    # All but the place is of the fix before.
    assert (between["recorded_at"], between["sog"], between["stale"]) == (_at(0), 8.4, False)
    assert {each["properties"]["between"] is None for each in answer.json["features"][1:4]} == {True}
    later = answer.json["features"][5]["properties"]
    assert (later["stale"], later["stale_at"], later["recorded_at"], later["sog"]) == (True, None, None, None)
    # Two hours later, nobody has been heard of for a while.
    assert {each["properties"]["stale"] for each in as_of(7_200).json["features"]} == {True}
    assert _told(as_of(7_200, gap=86_400))["Between"] == ((59.94, 10.6), "last_known")


def test_a_gap_is_what_the_caller_says(client: CheckedClient, world: World, as_of: AsOf):
    _sail(client, world, "Slow", (0, 57.0, 10.0), (3_600, 57.1, 10.0))
    assert _told(as_of(1_800))["Slow"] == ((57.0, 10.0), "last_known")
    assert _told(as_of(1_800, gap=3_599))["Slow"] == ((57.0, 10.0), "last_known")
    assert _told(as_of(1_800, gap=3_600))["Slow"] == ((57.05, 10.0), "interpolated")


def test_a_jump_is_not_sailed(client: CheckedClient, world: World, as_of: AsOf):
    vessel = world.vessel("Ferry", max_speed_kn=200)
    _post(client, world.tracker(vessel), [a_fix(0, lat=59.9), a_fix(600, lat=60.15)])
    assert _told(as_of(300))["Ferry"] == ((60.025, 10.7), "interpolated")
    # What a vessel can do is known better by now.
    sql.run(world.database, "UPDATE vessels SET max_speed_kn = NULL")
    assert _told(as_of(300))["Ferry"] == ((59.9, 10.7), "last_known")


def test_of_two_trackers_at_the_same_time_the_later_number_counts_as_on_the_map(
    client: CheckedClient, world: World, as_of: AsOf
):
    vessel = world.vessel("Two trackers")
    first, second = world.tracker(vessel), world.tracker(vessel)
    _post(client, second, [a_fix(0, lat=59.9002)])
    _post(client, first, [a_fix(0, lat=59.9)])
    shown = client.get(VESSELS, headers=world.bearer()).json["features"][0]["geometry"]
    assert (
        as_of(0).json["features"][0]["geometry"] == shown == {"type": "Point", "coordinates": [10.7, 59.9002]}
    )


@pytest.mark.parametrize("moment", [-0.000001, "0001-01-01T00:00:00Z", "1970-01-01T01:00:00+01:00"])
@pytest.mark.parametrize("terms", [{}, {"coordinate_decimals": 3}, {"delay_s": 60}])
def test_before_all_that_is_known_nobody_has_been_seen(
    client: CheckedClient, world: World, as_of: AsOf, moment, terms
):
    _sail(client, world, "Skagerrak Trader", (0, 59.9, 10.7))
    assert _told(as_of(moment, world.bearer(**terms))) == {"Skagerrak Trader": (None, None)}


@pytest.mark.parametrize("terms", [{}, {"coordinate_decimals": 2}, {"delay_s": 3_600}])
def test_a_moment_beyond_what_the_key_sees_is_refused_and_says_up_to_when_it_sees(
    client: CheckedClient, world: World, as_of: AsOf, terms
):
    key = world.bearer(**terms)
    late = timedelta(seconds=terms.get("delay_s", 0))
    for moment in (rfc3339(datetime.now(UTC) - late + 90 * SECONDS), "9999-12-31T23:59:59.999999Z"):
        answer = as_of(moment, key)
        assert (answer.status_code, answer.json["code"]) == (400, "invalid_parameter")
        [error] = answer.json["errors"]
        assert error["parameter"] == "as_of"
        newest = error["detail"].split()[-3]
        assert timedelta() <= datetime.now(UTC) - late - datetime.fromisoformat(newest) < 120 * SECONDS
        assert as_of(newest, key).status_code == 200


@pytest.mark.parametrize(
    ("parameter", "parameters"),
    [
        ("as_of", {"as_of": "2026-01-02T03:04:05"}),
        ("as_of", {"as_of": "yesterday"}),
        ("as_of", {"as_of": ""}),
        ("gap", {"as_of": _at(0), "gap": 0}),
        ("gap", {"as_of": _at(0), "gap": 86_401}),
        ("gap", {"as_of": _at(0), "gap": "1.5"}),
        ("gap", {"gap": 600}),
    ],
)
def test_what_no_moment_can_be_is_refused(client: CheckedClient, world: World, parameter, parameters):
    answer = client.get(VESSELS, query_string=parameters, headers=world.bearer())
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_parameter")
    assert [each["parameter"] for each in answer.json["errors"]] == [parameter]


class TestLateFixes:
    """They change the past and only the past."""

    def test_a_late_fix_changes_its_moments_alone(self, client: CheckedClient, world: World, as_of: AsOf):
        key = world.bearer()
        tracker = world.tracker(world.vessel("Late"))
        _post(client, tracker, [a_fix(at, lat=59.9 + at / 100_000) for at in (0, 600, 1_200)])
        _sail(client, world, "Other", (0, 57.0, 10.0), (1_200, 57.01, 10.0))
        moments = (-1, 0, 300, 600, 700, 1_200, 5_000)
        before = {at: as_of(at, key) for at in moments}
        live = client.get(VESSELS, headers=key)

        _post(client, tracker, [a_fix(400, lat=59.95)])

        now = client.get(VESSELS, headers=key)
        assert (now.data, now.headers["ETag"]) == (live.data, live.headers["ETag"])
        after = {at: as_of(at, key) for at in moments}
        assert [at for at in moments if after[at].data != before[at].data] == [300]
        changed = [each for each in moments if before[each].headers["ETag"] != after[each].headers["ETag"]]
        assert changed == [300]
        assert after[300].json["cursor"] != before[300].json["cursor"]
        assert _told(after[300])["Late"] == ((59.9375, 10.7), "interpolated")
        assert _told(as_of(400, key))["Late"] == ((59.95, 10.7), "measured")
        # All has been looked at anew.
        assert after[0].headers["Harbor-Cursor"] != before[0].headers["Harbor-Cursor"]

    def test_what_is_withdrawn_is_gone_from_the_past(
        self, client: CheckedClient, world: World, as_of: AsOf, admin
    ):
        tracker = world.tracker(world.vessel("Corrected"))
        _post(client, tracker, [a_fix(0, lat=59.9), a_fix(300, lat=59.95), a_fix(600, lat=59.9)])
        assert _told(as_of(450))["Corrected"] == ((59.925, 10.7), "interpolated")
        withdrawal = {"vessel_id": tracker.tracker.vessel_id, "recorded_at": _at(300), "note": "wrong"}
        assert client.post(f"{QUARANTINE}/withdraw", json=withdrawal, headers=admin).status_code == 200
        assert _told(as_of(450))["Corrected"] == ((59.9, 10.7), "interpolated")
        assert as_of(300).json["features"][0]["properties"]["between"] == [_at(0), _at(600)]

    def test_who_has_the_past_is_told_so(self, client: CheckedClient, world: World, as_of: AsOf):
        tracker = world.tracker(world.vessel())
        _post(client, tracker, [a_fix(0), a_fix(600)])
        key = world.bearer()
        first = as_of(300, key)
        asked = {
            "query_string": {"as_of": _at(300)},
            "headers": key | {"If-None-Match": first.headers["ETag"]},
        }
        _post(client, tracker, [a_fix(601)])
        again = client.get(VESSELS, **asked)
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["Cache-Control"] == "private, no-cache"
        assert again.headers["Harbor-Cursor"] != first.headers["Harbor-Cursor"]
        _post(client, tracker, [a_fix(100)])
        assert client.get(VESSELS, **asked).status_code == 200


def test_vessels_are_those_of_then_with_what_is_known_of_them_now(
    client: CheckedClient, world: World, as_of: AsOf, admin
):
    ids = {
        name: _sail(client, world, name, (0, 59.0, 10.0))
        for name in ("In service", "Retired before", "Retired later", "Restored")
    }
    for name, seconds in (("Retired before", 100), ("Retired later", 200)):
        moment = EPOCH + seconds * SECONDS
        sql.run(world.database, "UPDATE vessels SET retired_at = :at WHERE id = :id", at=moment, id=ids[name])
    for change in ("retire", "restore"):
        client.post(f"{VESSELS}/{ids['Restored']}/{change}", headers=admin)
    # All of them were registered long after; a history may be brought along.
    assert list(_told(as_of(150))) == ["In service", "Retired later", "Restored"]
    assert list(_told(as_of(150, retired="true"))) == ["Retired before"]
    assert list(_told(as_of(50, retired="true"))) == []
    assert list(_told(as_of(200, retired="true"))) == ["Retired before", "Retired later"]
    sql.run(world.database, "UPDATE vessels SET name = 'Renamed', kind = 'tug' WHERE id = 1")
    assert as_of(0).json["features"][0]["properties"]["kind"] == "tug"


def test_filters_look_at_the_moment(client: CheckedClient, world: World, as_of: AsOf):
    _sail(client, world, "North", (0, 59.0, 10.0), (600, 59.1, 10.0))
    _sail(client, world, "South", (0, 58.0, 10.0))
    _sail(client, world, "Fiji", (0, -17.0, 179.96), (300, -17.0, -179.96), (1_200, -17.0, -179.9))
    _sail(client, world, "Never")

    def names(at: float, **parameters: Any) -> list[str]:
        return list(_told(as_of(at, **parameters)))

    # None of her fixes is in it, but where she was between them.
    assert names(300, bbox="9.9,59.04,10.1,59.06") == ["North"]
    assert names(0, bbox="9.9,59.04,10.1,59.06") == []
    assert names(150, bbox="179.99,-18,-179.99,-16") == ["Fiji"]
    assert names(0, bbox="179.99,-18,-179.99,-16") == []
    assert names(300, near="10,59.05", radius=200_000) == ["North", "South"]
    nearest = as_of(300, near="10,58.4", radius=200_000, limit=1).json["features"][0]["properties"]
    assert (nearest["name"], nearest["distance_m"], nearest["bearing"]) == ("South", 44478.0, 180.0)
    assert names(900, stale="true") == ["South", "Never"]
    assert names(899, stale="true") == ["Never"]
    assert names(900, stale="false", bbox="-180,0,180,90") == ["North"]
    assert names(300, q="th", vessel_id="2,3,999") == ["South"]
    assert names(300, vessel_id="999") == []
    assert names(300, updated_since=rfc3339(datetime.now(UTC) - timedelta(hours=1))) == [
        "North",
        "South",
        "Fiji",
    ]
    assert names(300, updated_since=rfc3339(datetime.now(UTC) + timedelta(hours=1))) == []


class TestPages:
    def test_pages_are_of_one_past(self, client: CheckedClient, world: World, as_of: AsOf):
        key = world.bearer()
        trackers = [world.tracker(world.vessel(f"Vessel {number}")) for number in range(5)]
        for tracker in trackers:
            _post(client, tracker, [a_fix(0, lat=59.0), a_fix(600, lat=59.1)])
        whole = as_of(300, key).json["features"]
        first = as_of(300, key, limit=2)
        assert first.headers["Link"] == f'<{first.json["links"]["next"]}>; rel="next"'
        # What comes between two pages is of no page.
        for tracker in trackers:
            _post(client, tracker, [a_fix(301, lat=59.04)])
        second = client.get(first.json["links"]["next"], headers=key)
        third = client.get(second.json["links"]["next"], headers=key)
        pages = [first, second, third]
        assert [len(each.json["features"]) for each in pages] == [2, 2, 1]
        assert [one for each in pages for one in each.json["features"]] == whole
        assert third.json["links"]["next"] is None
        assert "Link" not in third.headers
        assert len({each.headers["Harbor-Cursor"] for each in pages}) == 1
        assert as_of(300, key).json["features"] != whole

    def test_pages_of_the_nearest(self, client: CheckedClient, world: World, as_of: AsOf):
        for lat in (59.3, 59.1, 59.2, 59.1):
            _sail(client, world, f"At {lat}", (0, lat, 10.0))
        key = world.bearer()
        parameters = {"near": "10,59", "radius": 100_000}
        answer = as_of(60, key, limit=1, **parameters)
        found = []
        while True:
            found += [each["id"] for each in answer.json["features"]]
            if answer.json["links"]["next"] is None:
                break
            answer = client.get(answer.json["links"]["next"], headers=key)
        assert found == [2, 4, 3, 1] == [each["id"] for each in as_of(60, key, **parameters).json["features"]]

    def test_a_cursor_is_of_its_moment_and_of_its_key(self, client: CheckedClient, world: World, as_of: AsOf):
        for number in range(2):
            _sail(client, world, f"Vessel {number}", (0, 59.0, 10.0))
        key = world.bearer()
        link = as_of(60, key, limit=1).json["links"]["next"]
        cursor = link.split("cursor=")[1]
        for asked in (
            as_of(61, key, limit=1, cursor=cursor),
            as_of(60, key, limit=1, cursor=cursor, gap=60),
            as_of(60, limit=1, cursor=cursor),
            client.get(VESSELS, query_string={"limit": 1, "cursor": cursor}, headers=key),
        ):
            assert (asked.status_code, asked.json["code"]) == (400, "cursor_mismatch")
        assert as_of(60, key, limit=9, cursor=cursor).status_code == 200


class TestWhoSeesWhat:
    def test_a_coarse_key_sees_whole_steps(self, client: CheckedClient, world: World, as_of: AsOf):
        """With two decimals they are 432 s long."""
        began = -(int(EPOCH.timestamp()) % 432)
        world.vessel("Skagerrak Trader")
        fixes = [(began + at, 59.901 + at / 10_000, 10.7) for at in (10, 200, 432 + 100, 3 * 432)]
        _sail(client, world, "Coarse", *fixes)
        key = world.bearer(coordinate_decimals=2)
        steps = [as_of(began + at, key) for at in (0, 431, 432, 500, 863.9, 864, 3 * 432, 4 * 432)]
        places = [_told(each)["Coarse"] for each in steps]
        first, second = ((59.9, 10.7), "last_known"), ((59.95, 10.7), "last_known")
        assert places[:7] == [(None, None)] * 2 + [first] * 3 + [second] * 2
        assert places[7][1] == "last_known"
        # No two moments of a step differ in a byte.
        assert steps[2].data == steps[3].data == steps[4].data
        assert steps[2].json["as_of"] == _at(began + 432)
        shown = steps[2].json["features"][1]["properties"]
        assert (shown["recorded_at"], shown["between"], shown["sog"]) == (_at(began), None, 10.0)
        assert shown["stale_at"] == _at(began + 432 + 900)

    def test_a_delayed_key_knows_nothing_of_what_came_later(
        self, client: CheckedClient, world: World, as_of: AsOf
    ):
        now = datetime.now(UTC)
        ago = (now - EPOCH).total_seconds()
        _sail(client, world, "Late", *((ago - at, 59.0 - at / 100_000, 10.0) for at in (5_400, 4_200, 3_000)))
        received = "UPDATE positions SET received_at = recorded_at"
        sql.run(world.database, received)
        # A backfill that has come within the delay stands behind the horizon.
        tracker = world.tracker(world.vessel("Backfilled"))
        _post(client, tracker, [a_fix(ago - 5_000, lat=58.0)])
        key = world.bearer(delay_s=3_600)
        asked = rfc3339(now - timedelta(seconds=3_900))
        assert _told(as_of(asked, key)) == {
            # The fix after it is not due yet.
            "Late": ((58.958, 10.0), "last_known"),
            "Backfilled": (None, None),
        }
        everything = _told(as_of(asked))
        assert everything["Late"][1] == "interpolated"
        assert everything["Backfilled"] == ((58.0, 10.7), "last_known")

    def test_a_key_sees_its_own_vessels_and_notices_nothing_of_others(
        self, client: CheckedClient, world: World, as_of: AsOf
    ):
        trackers = [world.tracker(world.vessel(name)) for name in ("Its own", "Of others")]
        for tracker in trackers:
            _post(client, tracker, [a_fix(0), a_fix(600)])
        key = world.bearer(vessel_ids=frozenset([1]))
        before = as_of(300, key)
        assert list(_told(before)) == ["Its own"]
        assert _told(as_of(300, key, vessel_id="2")) == {}
        _post(client, trackers[1], [a_fix(100)])
        assert (as_of(300, key).data, as_of(300, key).headers["ETag"]) == (
            before.data,
            before.headers["ETag"],
        )
        assert _told(as_of(300, world.bearer(vessel_ids=frozenset()))) == {}

    @pytest.mark.parametrize("terms", [{}, {"coordinate_decimals": 3}, {"delay_s": 60}])
    def test_a_moment_ago_is_what_the_live_fleet_shows(
        self, client: CheckedClient, world: World, as_of: AsOf, terms
    ):
        _sail(client, world, "Under way", (0, 59.9015, 10.7025), (130, 59.9035, 10.7))
        _sail(client, world, "Moored", (-86_400, 57.0, 10.0))
        world.vessel("Never seen")
        sql.run(world.database, "UPDATE positions SET received_at = recorded_at")
        sql.run(world.database, "UPDATE latest_positions SET received_at = recorded_at")
        key = world.bearer(**terms)
        live = client.get(VESSELS, headers=key).json["features"]
        then = as_of(rfc3339(datetime.now(UTC) - timedelta(hours=1)), key).json["features"]
        for one in then:
            basis = one["properties"].pop("basis")
            assert one["properties"].pop("between") is None
            assert basis == (None if one["geometry"] is None else "last_known")
        assert then == live


def test_a_single_fix_is_enough(client: CheckedClient, world: World, as_of: AsOf):
    client.post(POSITIONS, **world.tracker(world.vessel("One fix")).signed(a_fix(lat=59.0)))
    assert _told(as_of(0)) == {"One fix": ((59.0, 10.7), "measured")}
