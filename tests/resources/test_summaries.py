"""GET /api/v1/vessels/{id}/summary: how far and how long a vessel went."""

import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.urls import BATCH, VESSELS

from harbor_api.domain.judgement import distance_m
from harbor_api.domain.times import rfc3339
from harbor_api.simulation import ais

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
DAY = datetime(2026, 1, 2, tzinfo=UTC)
WINDOW = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-10T00:00:00Z"}
KNOT = 1852 / 3600
_ADD = text("""
INSERT INTO positions
    (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, cog, heading, accuracy_m, seq)
VALUES (:vessel, :at, 1, :received, :lat, :lon, :sog, 181.2, 180, NULL, nextval('fleet_order'))
""")
Json = dict[str, Any]


def _fix(seconds: float, lat: float = 59.9, lon: float = 10.7, sog: float | None = 8.4) -> Json:
    return {"at": DAY + timedelta(seconds=seconds), "lat": lat, "lon": lon, "sog": sog}


def _ship(world: World, fixes: Iterable[Json], **details: Any) -> int:
    """Register a vessel, store fixes of hers as they are, whatever the judgement says, and return her id."""
    vessel = world.vessel(**details).id
    rows = [{"vessel": vessel, "received": fix["at"], **fix} for fix in fixes]
    with world.database.unit_of_work() as unit_of_work:
        if rows:
            sql.connection_of(unit_of_work).execute(_ADD, rows)
    return vessel


def _url(vessel: int) -> str:
    return f"{VESSELS}/{vessel}/summary"


def _ask(client: CheckedClient, world: World, vessel: int, *, key: Json | None = None, **query: Any) -> Json:
    answer = client.get(_url(vessel), query_string={**WINDOW, **query}, headers=world.bearer(**(key or {})))
    assert answer.status_code == 200, answer.text
    found: Json = json.loads(answer.data)
    return found


def test_sums_up_what_a_tracker_posted(client: CheckedClient, world: World):
    vessel = world.vessel()
    # Ten minutes at about 8.4 knots, ten minutes at rest.
    fixes = [a_fix(60 * n, lat=59.9 + 0.00233 * min(n, 10), sog=8.4 if n < 10 else 0.1) for n in range(21)]
    fixes[3]["sog"] = 9.1
    client.post(BATCH, **world.tracker(vessel).signed({"fixes": fixes}, url=BATCH))

    found = _ask(client, world, vessel.id)

    metres = sum(
        distance_m(one["lat"], one["lon"], other["lat"], other["lon"]) for one, other in pairwise(fixes)
    )
    day = found["days"][0]
    assert found == {"vessel_id": vessel.id, "days": [day], **{n: v for n, v in day.items() if n != "date"}}
    assert day == {
        "date": "2026-01-02",
        "fixes": 21,
        "first_at": "2026-01-02T03:04:05.000000Z",
        "last_at": "2026-01-02T03:24:05.000000Z",
        "distance_m": round(metres, 1),
        "stopped_distance_m": 0,
        "gap_distance_m": 0,
        "under_way_s": 600,
        "stopped_s": 600,
        "gap_s": 0,
        "top_speed_kn": 9.1,
        "mean_speed_kn": round(metres / 600 / KNOT, 3),
    }


def test_splits_at_midnight_and_adds_up(client: CheckedClient, world: World):
    midnight = 86_400
    vessel = _ship(
        world, [_fix(midnight - 300, 59.9), _fix(midnight + 300, 59.92), _fix(midnight + 900, 59.94)]
    )
    found = _ask(client, world, vessel)
    before, after = found["days"]
    assert (before["date"], after["date"]) == ("2026-01-02", "2026-01-03")
    assert (before["under_way_s"], after["under_way_s"]) == (300, 900)
    assert (before["fixes"], after["fixes"], found["fixes"]) == (1, 2, 3)
    assert before["distance_m"] == pytest.approx(found["distance_m"] / 4, abs=0.1)
    assert before["distance_m"] + after["distance_m"] == pytest.approx(found["distance_m"], abs=0.2)


def test_a_vessel_never_seen_did_nothing(client: CheckedClient, world: World):
    found = _ask(client, world, world.vessel().id)
    assert (found["fixes"], found["distance_m"], found["gap_s"], found["days"]) == (0, 0, 0, [])
    assert {found[name] for name in ("first_at", "last_at", "top_speed_kn", "mean_speed_kn")} == {None}


def test_one_fix_is_no_way(client: CheckedClient, world: World):
    found = _ask(client, world, _ship(world, [_fix(0)]))
    assert (found["fixes"], found["distance_m"], found["under_way_s"]) == (1, 0, 0)
    assert (found["top_speed_kn"], found["mean_speed_kn"]) == (8.4, None)
    assert found["first_at"] == found["last_at"] == found["days"][0]["first_at"]


def test_a_gap_is_unknown(client: CheckedClient, world: World):
    vessel = _ship(world, [_fix(0), _fix(60), _fix(3660, 60.0), _fix(3720, 60.0)])
    for gap in (1800, 3599, 3600):
        found = _ask(client, world, vessel, gap=gap)
        told = [found[name] for name in ("gap_s", "under_way_s", "gap_distance_m", "distance_m")]
        metres = pytest.approx(11_120, abs=2)
        assert told == ([0, 3720, 0, metres] if gap == 3600 else [3600, 120, metres, 0])


def test_a_jump_is_unknown_and_no_distance(client: CheckedClient, world: World):
    fixes = [_fix(0), _fix(60, 61.0), _fix(120, 61.0)]
    found = _ask(client, world, _ship(world, fixes))
    assert (found["gap_s"], found["gap_distance_m"], found["distance_m"]) == (60, 0, 0)
    # What is a jump for one is none for a faster one.
    found = _ask(client, world, _ship(world, [_fix(0), _fix(600, 60.15)], max_speed_kn=90))
    assert (found["gap_s"], found["distance_m"]) == (0, pytest.approx(27_799, abs=2))


def test_180_degrees_are_crossed_the_short_way(client: CheckedClient, world: World):
    fixes = [_fix(600 * n, -17.0, 179.98 + 0.01 * n - (360 if n > 2 else 0)) for n in range(5)]
    found = _ask(client, world, _ship(world, fixes))
    assert found["distance_m"] == pytest.approx(4 * 1063.4, abs=2)
    assert found["gap_s"] == 0


def test_each_window_has_its_beginning_and_not_its_end(client: CheckedClient, world: World):
    vessel = _ship(world, [_fix(600 * n, 59.9 + n / 100) for n in range(4)])
    found = _ask(client, world, vessel, **{"from": "2026-01-02T00:10:00Z", "to": "2026-01-02T00:30:00Z"})
    assert (found["fixes"], found["under_way_s"]) == (2, 600)


def test_the_last_day_is_usual(client: CheckedClient, world: World):
    now = (datetime.now(UTC) - DAY).total_seconds()
    vessel = _ship(world, [_fix(now - hours * 3600) for hours in (25, 23, 1)])
    answer = client.get(_url(vessel), headers=world.bearer())
    assert answer.json["fixes"] == 2
    for query, count in (
        ({"to": rfc3339(datetime.now(UTC) - timedelta(hours=2))}, 2),
        ({"from": rfc3339(datetime.now(UTC) - timedelta(hours=26))}, 3),
    ):
        answer = client.get(_url(vessel), query_string=query, headers=world.bearer())
        assert answer.json["fixes"] == count


def test_more_than_a_chunk_is_as_one(client: CheckedClient, world: World):
    count = 45_001
    vessel = world.vessel().id
    sql.run(
        world.database,
        "INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, seq) "
        "SELECT :vessel, CAST(:day AS timestamptz) + n * interval '10 s', 1, now(), 59.9, 10.7 + n * 0.0004, "
        "8.4, n FROM generate_series(0, :last) AS n",
        vessel=vessel,
        day=DAY,
        last=count - 1,
    )
    found = _ask(client, world, vessel)
    assert (found["fixes"], found["under_way_s"], found["gap_s"]) == (count, (count - 1) * 10, 0)
    step = distance_m(59.9, 10.7, 59.9, 10.7004)
    assert found["distance_m"] == pytest.approx(step * (count - 1), rel=1e-6)
    assert [day["under_way_s"] for day in found["days"][:-1]] == [86_400] * 5
    assert sum(day["distance_m"] for day in found["days"]) == pytest.approx(found["distance_m"], abs=1)


def test_whoever_has_it_is_told_so_until_it_changes(client: CheckedClient, world: World):
    vessel, headers = _ship(world, [_fix(0)]), world.bearer()
    tag = client.get(_url(vessel), query_string=WINDOW, headers=headers).headers["ETag"]
    headers["If-None-Match"] = tag
    assert client.get(_url(vessel), query_string=WINDOW, headers=headers).status_code == 304
    with world.database.unit_of_work() as unit_of_work:
        row = {"vessel": vessel, "received": DAY, **_fix(10)}
        sql.connection_of(unit_of_work).execute(_ADD, row)
    assert client.get(_url(vessel), query_string=WINDOW, headers=headers).status_code == 200


class TestWhoSeesLess:
    def test_is_told_what_the_fixes_add_up_to_that_it_sees(self, client: CheckedClient, world: World):
        """With two decimals one fix in each 432 seconds, its place rounded and its speed in steps of 5."""
        begins = DAY.timestamp() // 432 * 432 + 432 - DAY.timestamp()
        fixes = [_fix(begins + 36 * n, 59.9 + 0.0013 * n, sog=8.4) for n in range(25)]
        vessel = _ship(world, fixes)
        # The first of each step, and 0.0156 degrees from one to the next.
        shown = [59.9, 59.92, 59.93]
        metres = distance_m(shown[0], 10.7, shown[2], 10.7)

        found = _ask(client, world, vessel, key={"coordinate_decimals": 2})

        assert found["fixes"] == 3
        assert found["first_at"] == rfc3339(DAY + timedelta(seconds=begins))
        assert found["distance_m"] == round(metres, 1)
        assert (found["under_way_s"], found["top_speed_kn"]) == (864, 10)
        # A gap is a step at least, or else nothing would be known of any.
        assert _ask(client, world, vessel, key={"coordinate_decimals": 2}, gap=1)["gap_s"] == 0
        assert _ask(client, world, vessel, gap=1)["gap_s"] == 24 * 36

    def test_late_is_told_what_it_sees(self, client: CheckedClient, world: World):
        now = (datetime.now(UTC) - DAY).total_seconds()
        vessel = _ship(world, [_fix(now - minutes * 60) for minutes in (90, 61, 59, 1)])
        headers = world.bearer(delay_s=3600)
        answer = client.get(_url(vessel), headers=headers)
        assert answer.json["fixes"] == 2
        # What came late is not due, though it was recorded long ago.
        with world.database.unit_of_work() as unit_of_work:
            row = {"vessel": vessel, "received": datetime.now(UTC), **_fix(now - 5400 - 60)}
            sql.connection_of(unit_of_work).execute(_ADD, row)
        assert client.get(_url(vessel), headers=headers).json["fixes"] == 2

    def test_does_not_learn_of_other_vessels(self, client: CheckedClient, world: World):
        granted, other = _ship(world, [_fix(0)]), _ship(world, [_fix(0)])
        headers = world.bearer(vessel_ids=frozenset({granted}))
        assert client.get(_url(granted), query_string=WINDOW, headers=headers).json["fixes"] == 1
        answers = [
            client.get(_url(number), query_string=WINDOW, headers=headers) for number in (other, 999_999)
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        told = [json.loads(answer.data) for answer in answers]
        assert {each["code"] for each in told} == {"not_found"}

    def test_a_retired_vessel_keeps_her_summary(self, client: CheckedClient, world: World):
        vessel = _ship(world, [_fix(0)])
        sql.run(world.database, "UPDATE vessels SET retired_at = now() WHERE id = :id", id=vessel)
        assert _ask(client, world, vessel)["fixes"] == 1


_WRONG = [
    ("from=2026-01-02T00:00:00Z&to=2026-01-02T00:00:00Z", "from"),
    ("from=2026-01-03T00:00:00Z&to=2026-01-02T00:00:00Z", "from"),
    ("from=2025-01-01T00:00:00Z&to=2026-01-02T00:00:00.000001Z", "from"),
    ("from=2020-01-01T00:00:00Z", "from"),
    ("from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59Z", "from"),
    ("from=2026-01-02", "from"),
    ("from=2026-01-02T00:00:00", "from"),
    ("to=yesterday", "to"),
    ("gap=0", "gap"),
    ("gap=1.5", "gap"),
    ("gap=31622401", "gap"),
    ("gap=%D9%A3", "gap"),
    ("gap=60&gap=60", "gap"),
    ("simplify=10", "simplify"),
]
# Whatever is well formed and no longer than a year has an answer.
_EXTREMES = [
    "from=2025-01-01T00:00:00Z&to=2026-01-02T00:00:00Z",
    "to=0001-01-01T00:00:00Z",
    "to=0001-01-01T00:00:01Z",
    "to=9999-12-31T23:59:59.999999Z",
    "from=9999-12-31T23:59:59.999999Z",
    "gap=31622400",
]


def test_bad_parameters_are_named_and_extreme_ones_taken(client: CheckedClient, world: World):
    url, headers = _url(world.vessel().id), world.bearer()
    for query, parameter in _WRONG:
        answer = client.get(f"{url}?{query}", headers=headers)
        assert (answer.status_code, answer.json["code"]) == (400, "invalid_parameter"), query
        assert [fault["parameter"] for fault in answer.json["errors"]] == [parameter]
    for key in (headers, world.bearer(coordinate_decimals=0), world.bearer(delay_s=60)):
        for query in _EXTREMES:
            answer = client.get(f"{url}?{query}", headers=key)
            assert (answer.status_code, answer.json.get("fixes")) == (200, 0), query


def test_real_ships_add_up(client: CheckedClient, world: World):
    """Of each of the largest of a published file: the sums of a loop over its rows."""
    file = DATA / "ais-us-2014-01-01.csv"
    if not file.exists():
        pytest.skip("the AIS data is not beside the checkout, in ../shared/data")
    ships: dict[str, dict[datetime, ais.AisRow]] = defaultdict(dict)
    for item in ais.Reader(file.read_bytes().splitlines(keepends=True)):
        if isinstance(item, ais.AisRow):
            ships[item.ship.mmsi].setdefault(item.recorded_at, item)
    for rows in sorted(ships.values(), key=len)[-3:]:
        fixes = [rows[at] for at in sorted(rows)]
        vessel = _ship(
            world,
            [{"at": fix.recorded_at, "lat": fix.lat, "lon": fix.lon, "sog": fix.sog} for fix in fixes],
        )
        window = {"from": rfc3339(fixes[0].recorded_at), "to": rfc3339(fixes[-1].recorded_at + timedelta(1))}
        found = _ask(client, world, vessel, **window)
        metres = seconds = 0.0
        for one, other in pairwise(fixes):
            lasted = (other.recorded_at - one.recorded_at).total_seconds()
            if lasted <= 1800:
                metres += distance_m(one.lat, one.lon, other.lat, other.lon)
                seconds += lasted
        assert found["fixes"] == len(fixes)
        assert found["distance_m"] == pytest.approx(metres, abs=0.1)
        assert found["under_way_s"] + found["stopped_s"] == pytest.approx(seconds, abs=0.01)
        for name in ("distance_m", "under_way_s", "stopped_s", "gap_s", "gap_distance_m"):
            assert sum(day[name] for day in found["days"]) == pytest.approx(found[name], abs=0.5)
        assert found["top_speed_kn"] <= max(fix.sog or 0 for fix in fixes)
