"""GET /api/v1/vessels/{id}/track: what partners draw."""

import csv
import json
import shutil
import subprocess
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import EPOCH, World, a_fix
from tests.support.geojson import Part, parts_of
from tests.support.gpx import segments_of
from tests.support.urls import BATCH, VESSELS

from harbor_api.domain.judgement import distance_m
from harbor_api.domain.times import rfc3339
from harbor_api.domain.tracks import MOST_FIXES, MOST_PARTS
from harbor_api.domain.vessels import Vessel

AMERICAN = Path(__file__).parents[3] / "shared" / "data" / "ais-us-2014-01-01.csv"
DAY = {"from": rfc3339(EPOCH), "to": rfc3339(EPOCH + timedelta(days=1))}
_ADD = """
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, cog, seq)
SELECT :vessel, recorded_at, 1, recorded_at, lat, lon, sog, cog, nextval('fleet_order')
FROM json_to_recordset(:fixes) AS fix(
    recorded_at timestamptz, lat double precision, lon double precision, sog real, cog real
)
"""


def sail(world: World, vessel: Vessel, fixes: list[dict[str, Any]]) -> None:
    """Store fixes as they are, past the judgement."""
    sql.run(world.database, _ADD, vessel=vessel.id, fixes=json.dumps(fixes))


def url(vessel: Vessel) -> str:
    return f"{VESSELS}/{vessel.id}/track"


def drawn(client: CheckedClient, world: World, vessel: Vessel, **query: Any) -> list[Part]:
    answer = client.get(url(vessel), headers=world.bearer(), query_string={**DAY, **query})
    assert answer.status_code == 200, answer.text
    assert answer.headers.getlist("Content-Type") == ["application/geo+json"]
    return parts_of(answer.data)


def shown(parts: list[Part]) -> list[tuple[str, list[list[list[float]]]]]:
    return [(kind, [[[lon, lat] for _, lat, lon in line] for line in lines]) for kind, lines, _ in parts]


FIJI = [
    a_fix(
        10 * number,
        lat=-17 - number / 10_000,
        lon=(179.875 + number / 2000 + 180) % 360 - 180,
        sog=None,
        cog=None,
    )
    for number in range(500)
]


def test_a_track_is_a_line_with_the_time_of_each_position(client: CheckedClient, world: World):
    vessel = world.vessel()
    tracker = world.tracker(vessel)
    fixes = [a_fix(10 * number, lat=59.9 + number / 10_000) for number in range(3)]
    client.post(BATCH, **tracker.signed({"fixes": fixes}, url=BATCH))

    answer = client.get(url(vessel), headers=world.bearer(), query_string=DAY)

    assert answer.json == {
        "type": "FeatureCollection",
        "vessel_id": vessel.id,
        "points_in": 3,
        "points_out": 3,
        "tolerance_m": 0.0,
        "gap_s": 1800,
        "features": [
            {
                "type": "Feature",
                "geometry": {
                    "type": "LineString",
                    "coordinates": [[10.7, 59.9], [10.7, 59.9001], [10.7, 59.9002]],
                },
                "properties": {
                    "kind": "track",
                    "from": "2026-01-02T03:04:05.000000Z",
                    "to": "2026-01-02T03:04:25.000000Z",
                    "points": 3,
                    "coordTimes": [
                        "2026-01-02T03:04:05.000000Z",
                        "2026-01-02T03:04:15.000000Z",
                        "2026-01-02T03:04:25.000000Z",
                    ],
                },
            }
        ],
    }


def test_500_fixes_across_fiji_touch_180_degrees_on_both_sides(client: CheckedClient, world: World):
    vessel = world.vessel("Vatu-i-Ra")
    sail(world, vessel, FIJI)

    [part] = drawn(client, world, vessel)
    west, east = part.lines
    # The fix that lies on the meridian is in both pieces.
    assert (len(west), len(east), part.points) == (251, 250, 500)
    assert west[-1][1:] == (-17.025, 180.0)
    assert east[0][1:] == (-17.025, -180.0)

    for few in ({"simplify": "5"}, {"max_points": "10"}):
        [part] = drawn(client, world, vessel, **few)
        assert [line[-1][1:] for line in part.lines] == [(-17.025, 180.0), (-17.0499, -179.8755)]
    [(_, lines)] = shown(drawn(client, world, vessel, simplify=100))
    assert lines == [[[179.875, -17.0], [180.0, -17.025]], [[-180.0, -17.025], [-179.8755, -17.0499]]]


def test_a_gap_across_180_degrees_touches_them_too(client: CheckedClient, world: World):
    vessel = world.vessel()
    sail(world, vessel, [FIJI[100], FIJI[400]])
    assert [(part.kind, len(part.lines)) for part in drawn(client, world, vessel, gap=60)] == [
        ("track", 1),
        ("gap", 2),
        ("track", 1),
    ]


def test_a_vessel_at_the_pole(client: CheckedClient, world: World):
    vessel = world.vessel()
    places = [(89.9, 10.0), (89.99, 10.0), (90.0, 10.0), (89.99, -170.0), (89.9, -170.0)]
    sail(world, vessel, [a_fix(900 * number, lat=lat, lon=lon) for number, (lat, lon) in enumerate(places)])
    [(kind, [line])] = shown(drawn(client, world, vessel, simplify=1))
    assert kind == "track"
    assert line == [[lon, lat] for lat, lon in places]


@pytest.mark.parametrize("query", [{}, {"simplify": "10"}, {"max_points": "2"}, {"gap": "1"}])
def test_one_fix_is_a_point_and_none_is_nothing(client: CheckedClient, world: World, query):
    vessel, silent = world.vessel(), world.vessel()
    sail(world, vessel, [a_fix()])
    assert shown(drawn(client, world, vessel, **query)) == [("track", [[[10.7, 59.9]]])]
    assert drawn(client, world, silent, **query) == []


def test_a_gap_and_a_jump_are_features_of_their_own(client: CheckedClient, world: World):
    vessel = world.vessel()
    places = [(0, 59.9), (10, 59.9), (3600, 59.91), (3610, 61.0), (3620, 61.0)]
    sail(world, vessel, [a_fix(seconds, lat=lat) for seconds, lat in places])
    assert [part.kind for part in drawn(client, world, vessel)] == ["track", "gap", "track", "jump", "track"]
    assert [part.kind for part in drawn(client, world, vessel, gap=3600)] == ["track", "jump", "track"]
    # A craft that is as fast makes no jump of it.
    craft = world.vessel("Ekranoplan", max_speed_kn=1000)
    sail(world, craft, [a_fix(0, lat=59.9), a_fix(10, lat=59.92)])
    assert [part.kind for part in drawn(client, world, craft)] == ["track"]


def test_a_budget_of_points_tells_its_tolerance(client: CheckedClient, world: World):
    vessel = world.vessel()
    wavy = [a_fix(10 * number, lat=59.9 + (number % 7) * 1e-5, sog=8) for number in range(200)]
    sail(world, vessel, wavy)
    query = {**DAY, "max_points": "50"}
    told = client.get(url(vessel), headers=world.bearer(), query_string=query).json
    assert (told["points_in"], told["points_out"] <= 50, told["tolerance_m"] > 0) == (200, True, True)
    again = {**DAY, "simplify": str(told["tolerance_m"])}
    assert client.get(url(vessel), headers=world.bearer(), query_string=again).json == told
    whole = client.get(url(vessel), headers=world.bearer(), query_string={**DAY, "max_points": "200"}).json
    assert (whole["points_out"], whole["tolerance_m"]) == (200, 0)


def test_the_window_holds_its_first_moment_and_not_its_last(client: CheckedClient, world: World):
    vessel = world.vessel()
    sail(world, vessel, [a_fix(10 * number) for number in range(10)])
    window = {"from": a_fix(20)["recorded_at"], "to": a_fix(50)["recorded_at"]}
    [part] = drawn(client, world, vessel, **window)
    assert [at for at, _, _ in part.lines[0]] == [
        EPOCH + timedelta(seconds=10 * number) for number in (2, 3, 4)
    ]


def test_the_usual_window_is_the_last_24_hours(client: CheckedClient, world: World):
    vessel = world.vessel()
    now = datetime.now(UTC)
    sail(world, vessel, [a_fix() | {"recorded_at": rfc3339(now - timedelta(hours=at))} for at in (25, 23, 1)])
    answer = client.get(url(vessel), headers=world.bearer())
    assert answer.json["points_in"] == 2
    # A day up to a moment; from a moment on; and on the first day that there is.
    for query, points in (
        ({"to": rfc3339(now - timedelta(hours=2))}, 2),
        ({"from": rfc3339(now - timedelta(hours=2))}, 1),
        ({"to": "0001-01-01T05:00:00Z"}, 0),
    ):
        answer = client.get(url(vessel), headers=world.bearer(), query_string=query)
        assert answer.json["points_in"] == points


def test_a_retired_vessel_has_her_history(client: CheckedClient, world: World, admin: dict[str, str]):
    vessel = world.vessel()
    sail(world, vessel, [a_fix(), a_fix(10)])
    client.post(f"{VESSELS}/{vessel.id}/retire", headers=admin)
    [part] = drawn(client, world, vessel)
    assert part.points == 2


class TestLimitedKeys:
    def test_a_vessel_that_a_key_may_not_see_does_not_exist(self, client: CheckedClient, world: World):
        seen, hidden = world.vessel(), world.vessel()
        headers = world.bearer(vessel_ids=frozenset({seen.id}))
        assert client.get(url(seen), headers=headers).status_code == 200
        answers = [client.get(f"{VESSELS}/{number}/track", headers=headers) for number in (hidden.id, 999)]
        assert [(each.status_code, each.json["code"]) for each in answers] == [(404, "not_found")] * 2

    def test_a_delayed_key_sees_what_is_due(self, client: CheckedClient, world: World):
        vessel = world.vessel()
        now = datetime.now(UTC)
        times = [rfc3339(now - timedelta(minutes=minutes)) for minutes in (180, 125, 60, 1)]
        sail(world, vessel, [a_fix() | {"recorded_at": at} for at in times])
        answer = client.get(url(vessel), headers=world.bearer(delay_s=7200))
        [part] = parts_of(answer.data)[:1]
        assert answer.json["points_in"] == 2
        assert rfc3339(part.lines[0][0][0]) == times[0]

    def test_a_coarse_key_sees_a_fix_a_step_without_gaps_between(self, client: CheckedClient, world: World):
        vessel = world.vessel()
        sail(world, vessel, [a_fix(600 * number, lat=59.9 + number / 1000) for number in range(140)])
        headers = world.bearer(coordinate_decimals=1)
        answer = client.get(url(vessel), headers=headers, query_string=DAY)
        [part] = parts_of(answer.data)
        [line] = part.lines
        assert answer.json["gap_s"] == 4320
        assert {(later[0] - at[0]).total_seconds() for at, later in pairwise(line)} == {4320}
        assert all(at.timestamp() % 4320 == 0 and round(lat, 1) == lat for at, lat, _ in line)
        gpx = client.get(url(vessel), headers=headers, query_string={**DAY, "format": "gpx"})
        assert [len(segment) for segment in segments_of(gpx.data)] == [len(line)]


def test_a_track_is_not_sent_again_while_it_is_the_same(client: CheckedClient, world: World):
    vessel = world.vessel()
    sail(world, vessel, [a_fix(), a_fix(10)])
    headers = world.bearer()
    tag = client.get(url(vessel), headers=headers, query_string=DAY).headers["ETag"]
    again = {**headers, "If-None-Match": tag}
    assert client.get(url(vessel), headers=again, query_string=DAY).status_code == 304
    assert client.get(url(vessel), headers=again, query_string={**DAY, "format": "gpx"}).status_code == 200
    sail(world, vessel, [a_fix(20)])
    assert client.get(url(vessel), headers=again, query_string=DAY).status_code == 200


def moored(world: World, *, fixes: int, every_s: float) -> Vessel:
    vessel = world.vessel()
    sql.run(
        world.database,
        """
        INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
        SELECT :vessel, CAST(:epoch AS timestamptz) + number * :every, 1, now(), 59.9, 10.7, number
        FROM generate_series(0, :fixes - 1) AS number
        """,
        vessel=vessel.id,
        epoch=EPOCH,
        every=timedelta(seconds=every_s),
        fixes=fixes,
    )
    return vessel


def test_more_fixes_than_a_track_holds_are_refused_with_a_way_out(client: CheckedClient, world: World):
    vessel = moored(world, fixes=MOST_FIXES + 1, every_s=0.1)
    answer = client.get(url(vessel), headers=world.bearer(), query_string={**DAY, "max_points": "2"})
    assert (answer.status_code, answer.json["code"]) == (400, "track_too_long")
    last = rfc3339(EPOCH + timedelta(seconds=(MOST_FIXES - 1) / 10))
    assert last in answer.json["detail"]
    query = {**DAY, "to": last, "simplify": "1"}
    told = client.get(url(vessel), headers=world.bearer(), query_string=query).json
    assert (told["points_in"], told["points_out"]) == (MOST_FIXES - 1, 2)


def test_more_parts_than_a_track_holds_are_refused_with_a_way_out(client: CheckedClient, world: World):
    vessel = moored(world, fixes=MOST_PARTS + 1, every_s=2)
    answer = client.get(url(vessel), headers=world.bearer(), query_string={**DAY, "gap": "1"})
    assert (answer.status_code, answer.json["code"]) == (400, "track_too_long")
    assert "longer gap" in answer.json["detail"]


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ({"from": "2026-01-02T03:04:05"}, "from"),
        ({"to": "2026-01-02"}, "to"),
        ({"from": DAY["to"], "to": DAY["from"]}, "from"),
        ({"from": DAY["to"], "to": DAY["to"]}, "from"),
        ({"gap": "0"}, "gap"),
        ({"gap": "1.5"}, "gap"),
        ({"simplify": "-1"}, "simplify"),
        ({"simplify": "NaN"}, "simplify"),
        ({"simplify": "100001"}, "simplify"),
        ({"max_points": "1"}, "max_points"),
        ({"max_points": "100001"}, "max_points"),
        ({"max_points": "10", "simplify": "10"}, "max_points"),
        ({"format": "csv"}, "format"),
        ({"points": "10"}, "points"),
        ({"at": DAY["to"], "from": DAY["from"]}, "at"),
        ({"at": DAY["to"], "simplify": "1"}, "at"),
        ({"at": DAY["to"], "format": "gpx"}, "at"),
        ({"at": DAY["to"], "gap": "86401"}, "gap"),
        ({"at": "2026-01-02T03:04:05"}, "at"),
        ({"at": "9999-01-01T00:00:00Z"}, "at"),
    ],
)
def test_a_wrong_parameter_is_named(client: CheckedClient, world: World, query, wrong):
    answer = client.get(url(world.vessel()), headers=world.bearer(), query_string=query)
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_parameter")
    assert [fault["parameter"] for fault in answer.json["errors"]] == [wrong]


def test_gpx_has_a_segment_for_each_part(client: CheckedClient, world: World):
    vessel = world.vessel('<Fjord & "Sønner">]]>')
    places = [(0, 59.9), (10, 59.9), (3600, 59.91), (3610, 61.0), (3620, 61.0)]
    sail(world, vessel, [a_fix(seconds, lat=lat) for seconds, lat in places])
    asked = {"headers": {**world.bearer(), "Accept": "application/gpx+xml"}, "query_string": DAY}
    answer = client.get(url(vessel), **asked)
    assert answer.headers.getlist("Content-Type") == ["application/gpx+xml"]
    assert answer.headers["Content-Disposition"] == f'attachment; filename="vessel-{vessel.id}-track.gpx"'
    assert [[lat for lat, _, _ in segment] for segment in segments_of(answer.data)] == [
        [59.9, 59.9],
        [59.91],
        [61.0, 61.0],
    ]
    assert '&lt;Fjord &amp; "Sønner"&gt;]]&gt;' in answer.text
    named = client.get(url(vessel), headers=world.bearer(), query_string={**DAY, "format": "gpx"})
    assert named.data == answer.data
    empty = client.get(url(world.vessel()), **asked)
    assert segments_of(empty.data) == []


def test_one_moment_is_one_place_and_from_what_it_is_known(client: CheckedClient, world: World):
    vessel, silent = world.vessel(), world.vessel()
    sail(world, vessel, [a_fix(0, lat=59.9), a_fix(100, lat=59.91), a_fix(7300, lat=60.1)])

    def at(seconds: float, of: Vessel = vessel, **more: Any) -> tuple[Any, ...]:
        query = {"at": rfc3339(EPOCH + timedelta(seconds=seconds)), **more}
        told = client.get(url(of), headers=world.bearer(), query_string=query).json
        assert told["id"] == of.id
        place = told["geometry"] and told["geometry"]["coordinates"]
        return told["properties"]["basis"], place, told["properties"]["between"]

    ends = [rfc3339(EPOCH), rfc3339(EPOCH + timedelta(seconds=100))]
    assert at(100) == ("measured", [10.7, 59.91], None)
    assert at(50) == ("interpolated", [10.7, 59.905], ends)
    # Not across a gap, unless that is said to be none; nothing before the first fix.
    assert at(3700) == ("last_known", [10.7, 59.91], None)
    assert at(3700, gap=7200)[:2] == ("interpolated", [10.7, 60.005])
    assert at(-1) == at(50, of=silent) == (None, None, None)
    hidden = client.get(
        url(silent),
        headers=world.bearer(vessel_ids=frozenset({vessel.id})),
        query_string={"at": rfc3339(EPOCH)},
    )
    assert hidden.status_code == 404


@pytest.mark.skipif(shutil.which("ogrinfo") is None, reason="GDAL is not here")
def test_gdal_reads_a_track_in_both_formats(client: CheckedClient, world: World, tmp_path: Path):
    vessel = world.vessel("Fjord & <Fiji>")
    sail(world, vessel, [*FIJI, a_fix(20_000, lat=-18, lon=-178.0)])
    for form, kinds in (
        ("geojson", ["MULTILINESTRING", "LINESTRING", "POINT"]),
        ("gpx", ["MULTILINESTRING"]),
    ):
        path = tmp_path / f"track.{form}"
        query = {**DAY, "simplify": "100", "format": form}
        path.write_bytes(client.get(url(vessel), headers=world.bearer(), query_string=query).data)
        layers = ["tracks"] if form == "gpx" else []
        told = subprocess.run(
            ["ogrinfo", "-q", "-al", path, *layers], capture_output=True, text=True, check=True
        )
        found = [word for line in told.stdout.splitlines() for word in line.split()[:1] if word.isupper()]
        assert (found, told.stderr) == (kinds, ""), told.stdout


def test_real_ships_are_drawn_as_they_sailed(client: CheckedClient, world: World):
    if not AMERICAN.exists():
        pytest.skip("the AIS data is not beside the checkout, in ../shared/data")
    sent: dict[str, dict[datetime, dict[str, Any]]] = defaultdict(dict)
    with AMERICAN.open() as lines:
        for row in csv.DictReader(lines):
            at = datetime.fromisoformat(row["BaseDateTime"]).replace(tzinfo=UTC)
            fix = {"recorded_at": rfc3339(at), "lat": float(row["LAT"]), "lon": float(row["LON"])}
            sent[row["MMSI"]].setdefault(at, fix | {"sog": float(row["SOG"])})
    window = {"from": "2014-01-01T00:00:00Z", "to": "2014-02-01T00:00:00Z"}
    for mmsi, fixes in sent.items():
        vessel = world.vessel(mmsi=mmsi)
        posted = world.tracker(vessel).signed({"fixes": list(fixes.values())}, url=BATCH)
        assert {each["verdict"] for each in client.post(BATCH, **posted).json["verdicts"]} == {"stored"}
        parts = drawn(client, world, vessel, **window)
        places = [place for part in parts if part.kind == "track" for line in part.lines for place in line]
        assert places == [(at, fix["lat"], fix["lon"]) for at, fix in sorted(fixes.items())]
        gaps = sum(later - at > timedelta(seconds=1800) for at, later in pairwise(sorted(fixes)))
        assert [part.kind for part in parts].count("gap") == gaps
        query = {**window, "simplify": "50"}
        left = client.get(url(vessel), headers=world.bearer(), query_string=query)
        assert left.json["points_out"] < left.json["points_in"] == len(fixes)
        assert_within(50, parts, parts_of(left.data))


def assert_within(tolerance_m: float, whole: list[Part], left: list[Part]) -> None:
    lines = [line for part in left if part.kind == "track" for line in part.lines]
    for part in whole:
        for at, lat, lon in part.lines[0] if part.kind == "track" else []:
            [line] = [line for line in lines if line[0][0] <= at <= line[-1][0]]
            before, lat_before, lon_before = max(place for place in line if place[0] <= at)
            after, lat_after, lon_after = min(place for place in line if place[0] >= at)
            share = (at - before) / (after - before) if after > before else 0.0
            there = (
                lat_before + share * (lat_after - lat_before),
                lon_before + share * (lon_after - lon_before),
            )
            assert distance_m(lat, lon, *there) <= tolerance_m
