"""The history of a vessel over HTTP: windows, pages, formats, and who sees what of it."""

import csv
import io
import itertools
import random
import re
import string
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from flask import Flask
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import EPOCH, MASTER_KEY, World, a_fix
from tests.support.gpx import segments_of
from tests.support.urls import POSITIONS, QUARANTINE, VESSELS

from harbor_api.database import Database
from harbor_api.domain import cursors
from harbor_api.domain.history import MEMBERS
from harbor_api.domain.positions import Motion
from harbor_api.domain.times import from_rfc3339, rfc3339
from harbor_api.domain.vessels import LatestPosition, coarsened, floored, step_of
from harbor_api.postgres.tables import FLEET_ORDER_LOCK
from harbor_api.schemas.history import WRITERS, inert
from harbor_api.services import history
from harbor_api.web import runtime
from harbor_api.web.streams import MOST_OF_A_KEY

Answer = Any
LIST = VESSELS + "/{}/positions"
_STORE = """
INSERT INTO positions
    (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, cog, nav_status, accuracy_m, seq)
SELECT :vessel, at, :tracker, at + interval '1.251 seconds', 59 + n * 0.000001, -0.00001 * n,
    123.4, 181.2, 0, 1234567, nextval('fleet_order')
FROM generate_series(0, :many - 1) AS n,
    LATERAL (SELECT :first + n * :step * interval '1 second' AS at) AS moment
"""


def at(seconds: float) -> str:
    return rfc3339(EPOCH + timedelta(seconds=seconds))


def store(
    database: Database, vessel_id: int, many: int, *, step: float = 10, since: float = 0, tracker: int = 1
) -> None:
    """Store fixes of a vessel, so far apart, as if they had been received as soon as they were taken."""
    first = EPOCH + timedelta(seconds=since)
    sql.run(database, _STORE, vessel=vessel_id, many=many, step=step, first=first, tracker=tracker)


class Reader:
    """Reads histories with one key, and follows pages as a client would."""

    def __init__(self, client: CheckedClient, headers: dict[str, str]) -> None:
        self._client = client
        self._headers = headers

    def get(
        self,
        vessel_id: int,
        query: dict[str, object] | None = None,
        status: int = 200,
        *,
        method: str = "GET",
        **headers: str,
    ) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{LIST.format(vessel_id)}?{urlencode(query or {})}"
        answer = self._client.open(url, method=method, headers={**self._headers, **sent})
        assert answer.status_code == status, answer.text
        return answer

    def follow(self, link: str) -> Answer:
        answer = self._client.get(link, headers=self._headers)
        assert answer.status_code == 200, answer.text
        return answer

    def pages(self, vessel_id: int, query: dict[str, object]) -> Iterator[list[dict[str, Any]]]:
        """Yield the fixes of each page of a window."""
        page = self.get(vessel_id, query).json
        yield page["positions"]
        while page["links"]["next"]:
            page = self.follow(page["links"]["next"]).json
            assert page["positions"]
            yield page["positions"]

    def times(self, vessel_id: int, **query: object) -> list[str]:
        """Return the times of all pages of a window; ``from_`` is the parameter ``from``."""
        asked = {name.rstrip("_"): value for name, value in query.items()}
        return [fix["recorded_at"] for page in self.pages(vessel_id, asked) for fix in page]


@pytest.fixture
def reader(client: CheckedClient, admin) -> Reader:
    return Reader(client, admin)


@pytest.fixture
def vessel_id(world: World) -> int:
    return world.vessel().id


class TestAWindow:
    def test_holds_its_beginning_and_not_its_end(self, reader: Reader, world: World, vessel_id):
        store(world.database, vessel_id, 4)
        assert reader.times(vessel_id, from_=at(10), to=at(30)) == [at(10), at(20)]
        assert reader.times(vessel_id, from_=at(10.000001), to=at(30.000001)) == [at(20), at(30)]
        # An offset is part of a time, and further digits are beyond what is kept.
        assert reader.times(vessel_id, from_="2026-01-02T04:04:15.0000009+01:00") == [at(10), at(20), at(30)]

    @pytest.mark.parametrize("decimals", [None, 3])
    def test_joins_the_one_beside_it(self, client, world: World, vessel_id, decimals):
        """Wherever a stretch is cut into windows, and into pages of whatever size, each fix is there once."""
        reader = Reader(client, world.bearer("vessels:read", coordinate_decimals=decimals))
        # Two trackers at the same times, and some times that are no whole steps.
        store(world.database, vessel_id, 15, step=21.7)
        store(world.database, vessel_id, 15, step=21.7, tracker=2)
        whole = reader.times(vessel_id, limit=100)
        assert len(whole) == (30 if decimals is None else len(set(whole)))
        cut = st.one_of(st.sampled_from(whole).map(from_rfc3339), st.datetimes(_FIRST, _LAST).map(_utc))

        @given(st.lists(cut, max_size=3, unique=True), st.integers(1, 35), st.sampled_from(["asc", "desc"]))
        @settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
        @example([from_rfc3339(whole[3])], 1, "asc")
        def joins(cuts: list[datetime], limit: int, order: str) -> None:
            ends: Sequence[str] = ["", *map(rfc3339, sorted(cuts)), ""]
            told = []
            for since, until in itertools.pairwise(ends):
                ends_asked = {name: end for name, end in (("from_", since), ("to", until)) if end}
                window = reader.times(vessel_id, limit=limit, order=order, **ends_asked)
                told += window if order == "asc" else window[::-1]
            assert told == whole

        joins()

    @pytest.mark.parametrize(
        "window",
        [
            {"from": "0001-01-01T00:00:00Z"},
            {"to": "9999-12-31T23:59:59.999999Z"},
            {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z"},
        ],
    )
    @pytest.mark.parametrize("decimals", [None, 0])
    def test_may_reach_to_the_ends_of_time(self, client, world: World, vessel_id, window, decimals):
        reader = Reader(client, world.bearer("vessels:read", coordinate_decimals=decimals))
        store(world.database, vessel_id, 2)
        for order in ("asc", "desc"):
            assert reader.get(vessel_id, {**window, "order": order}).json["positions"]

    def test_tells_since_when_there_is_anything(self, reader: Reader, world: World, vessel_id):
        assert reader.get(vessel_id).json == {
            "vessel_id": vessel_id,
            "available_from": None,
            "positions": [],
            "links": {"next": None},
        }
        store(world.database, vessel_id, 3)
        told = reader.get(vessel_id, {"from": "2020-01-01T00:00:00Z", "to": "2020-02-01T00:00:00Z"}).json
        assert (told["available_from"], told["positions"]) == (at(0), [])

    @pytest.mark.parametrize(
        ("query", "parameter"),
        [
            ({"from": at(1), "to": at(1)}, "from"),
            ({"from": at(1), "to": at(0)}, "from"),
            ({"from": "2026-01-02T03:04:05"}, "from"),
            ({"to": "2026-01-02"}, "to"),
            ({"to": "10000-01-01T00:00:00Z"}, "to"),
            ({"to": "0001-01-01T00:00:00+01:00"}, "to"),
            ({"from": "\x00"}, "from"),
            ({"from": ""}, "from"),
            ({"limit": 0}, "limit"),
            ({"limit": 10_001}, "limit"),
            ({"limit": "1e3"}, "limit"),
            ({"order": "newest"}, "order"),
            ({"format": "xlsx"}, "format"),
            ({"format": "JSON"}, "format"),
            ({"format": ""}, "format"),
            ({"cursor": ""}, "cursor"),
            ({"cursor": "after-1"}, "cursor"),
            ({"cursor": "\ud83d"}, "cursor"),
            ({"cursor": "A" * 1_001}, "cursor"),
            ({"since": at(1)}, "since"),
        ],
    )
    def test_that_is_none_is_told_by_its_parameter(self, reader: Reader, vessel_id, query, parameter):
        query = {
            name: value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
            for name, value in query.items()
        }
        told = reader.get(vessel_id, query, 400).json
        assert told["code"] == "invalid_parameter"
        assert {fault["parameter"] for fault in told["errors"]} == {parameter}

    def test_is_refused_where_a_parameter_stands_twice(self, client, admin, vessel_id):
        url = f"{LIST.format(vessel_id)}?from={at(0)}&from={at(1)}"
        assert client.get(url, headers=admin).json["errors"][0]["parameter"] == "from"


_FIRST, _LAST = (EPOCH.replace(tzinfo=None) + timedelta(seconds=each) for each in (-60, 15 * 21.7 + 60))


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)


class TestPages:
    def test_hold_as_much_as_is_asked_for(self, reader: Reader, world: World, vessel_id):
        store(world.database, vessel_id, 1_001)
        assert [len(page) for page in reader.pages(vessel_id, {})] == [1_000, 1]
        assert [len(page) for page in reader.pages(vessel_id, {"limit": 500})] == [500, 500, 1]
        # A page that is full and the last leads nowhere.
        assert [len(page) for page in reader.pages(vessel_id, {"limit": 1_001})] == [1_001]

    def test_backwards_are_those_forwards(self, reader: Reader, world: World, vessel_id):
        store(world.database, vessel_id, 25)
        store(world.database, vessel_id, 5, tracker=2)
        forwards = [fix for page in reader.pages(vessel_id, {}) for fix in page]
        backwards = reader.pages(vessel_id, {"order": "desc", "limit": 7})
        assert [fix for page in backwards for fix in page] == forwards[::-1]

    @pytest.mark.parametrize("order", ["asc", "desc"])
    def test_show_what_was_stored_at_the_first(self, client, reader: Reader, world, vessel_id, admin, order):
        store(world.database, vessel_id, 20)
        tracker = world.tracker(world.vessel())
        cursors = []
        told: list[str] = []
        page = reader.get(vessel_id, {"limit": 5, "order": order})
        while True:
            cursors.append(page.headers["Harbor-Cursor"])
            told += [fix["recorded_at"] for fix in page.json["positions"]]
            # Late, before and behind what was read, new, and of another vessel.
            for since in (-5 - len(told), 1 + len(told), 93 + len(told), 500 + len(told)):
                store(world.database, vessel_id, 1, since=since)
            client.post(POSITIONS, **tracker.signed(a_fix(len(told))))
            if page.json["links"]["next"] is None:
                break
            assert page.headers["Link"] == f'<{page.json["links"]["next"]}>; rel="next"'
            page = reader.follow(page.json["links"]["next"])
        expected = [at(10 * n) for n in range(20)]
        assert told == (expected if order == "asc" else expected[::-1])
        assert len(cursors) == 4
        assert len(set(cursors)) == 1
        assert len(reader.times(vessel_id)) == 36
        assert reader.get(vessel_id).headers["Harbor-Cursor"] != cursors[0]

    def test_show_no_more_what_was_withdrawn(self, client, reader: Reader, world: World, admin):
        tracker = world.tracker()
        vessel_id = tracker.tracker.assignments[0].vessel_id
        for n in range(6):
            client.post(POSITIONS, **tracker.signed(a_fix(10 * n)))
        page = reader.get(vessel_id, {"limit": 2}).json
        for n in (0, 1, 3):
            members = {"tracker_id": tracker.tracker.id, "recorded_at": at(10 * n), "note": "wrong"}
            client.post(
                f"{QUARANTINE}/withdraw",
                json={"vessel_id": vessel_id, **members},
                headers=world.bearer("quarantine:write", "quarantine:read"),
            )
        rest = []
        while page["links"]["next"]:
            page = reader.follow(page["links"]["next"]).json
            rest += [fix["recorded_at"] for fix in page["positions"]]
        assert rest == [at(20), at(40), at(50)]

    def test_show_nothing_that_is_committed_or_released_later(self, client, reader: Reader, world: World):
        tracker = world.tracker()
        vessel_id = tracker.tracker.assignments[0].vessel_id
        for n in range(6):
            client.post(POSITIONS, **tracker.signed(a_fix(10 * n)))
        jump = client.post(POSITIONS, **tracker.signed(a_fix(25, lat=10)))
        assert jump.json["verdict"] == "quarantined"
        with psycopg.connect(url_of(world.database)) as writer:
            # It has its number, and nobody sees it yet.
            writer.execute(f"SELECT pg_advisory_xact_lock({FLEET_ORDER_LOCK})")
            writer.execute(_ADD, (vessel_id, EPOCH + timedelta(seconds=35), 9))
            page = reader.get(vessel_id, {"limit": 2}).json
        told = [fix["recorded_at"] for fix in page["positions"]]
        [held] = client.get(QUARANTINE, headers=world.bearer("quarantine:read")).json["quarantine"]
        released = client.post(
            f"{QUARANTINE}/{held['id']}/release", headers=world.bearer("quarantine:write", "quarantine:read")
        )
        assert released.status_code == 200
        while page["links"]["next"]:
            page = reader.follow(page["links"]["next"]).json
            told += [fix["recorded_at"] for fix in page["positions"]]
        assert told == [at(10 * n) for n in range(6)]
        assert reader.times(vessel_id, from_=at(20), to=at(40)) == [at(20), at(25), at(30), at(35)]

    def test_beside_writers_are_one_state_of_the_order(self, reader: Reader, world: World, vessel_id):
        """Two write fixes of all times meanwhile; what was read is what the order held, each time."""
        store(world.database, vessel_id, 20, step=50)
        is_over = threading.Event()
        windows = []
        with ThreadPoolExecutor() as pool:
            writers = [pool.submit(_write, url_of(world.database), vessel_id, n, is_over) for n in (1, 2)]
            for _ in range(4):
                page = reader.get(vessel_id, {"limit": 7})
                number = number_of(page.headers["Harbor-Cursor"])
                told = [fix["recorded_at"] for fix in page.json["positions"]]
                while page.json["links"]["next"]:
                    page = reader.follow(page.json["links"]["next"])
                    told += [fix["recorded_at"] for fix in page.json["positions"]]
                windows.append((number, told))
            is_over.set()
            assert all(writer.result() for writer in writers)
        assert len({number for number, _ in windows}) > 1
        for number, told in windows:
            stored = sql.column(
                world.database,
                "SELECT recorded_at FROM positions WHERE vessel_id = :vessel AND seq <= :number "
                "ORDER BY recorded_at, tracker_id",
                vessel=vessel_id,
                number=number,
            )
            assert told == [rfc3339(each) for each in stored]

    def test_may_be_of_other_sizes(self, reader: Reader, world: World, vessel_id):
        store(world.database, vessel_id, 9)
        link = reader.get(vessel_id, {"limit": 4}).json["links"]["next"]
        assert len(reader.follow(link.replace("limit=4", "limit=5")).json["positions"]) == 5

    def test_keep_the_format_that_was_accepted(self, reader: Reader, world: World, vessel_id):
        store(world.database, vessel_id, 3)
        first = reader.get(vessel_id, {"limit": 2}, Accept="text/csv")
        link = first.headers["Link"].partition(">")[0][1:]
        assert reader.follow(link).mimetype == "text/csv"


_ADD = """
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
VALUES (%s, %s, %s, now(), 59.9, 10.7, nextval('fleet_order')) ON CONFLICT DO NOTHING
"""


def number_of(cursor: str) -> int:
    """Return the number of the order that a cursor of the first key stands for."""
    order = cursors.fingerprint("order", {})
    [number] = cursors.unseal(cursors.cursor_key(MASTER_KEY), cursor, holder=1, of=order)
    return int(number)


def _write(url: str, vessel_id: int, seed: int, is_over: threading.Event) -> int:
    """Store fixes of one vessel until it is over, each in a transaction of its own; return how many."""
    chance, many = random.Random(seed), 0
    with psycopg.connect(url) as connection:
        while not is_over.is_set():
            connection.execute(f"SELECT pg_advisory_xact_lock({FLEET_ORDER_LOCK})")
            moment = EPOCH + timedelta(seconds=chance.randrange(1_000))
            connection.execute(_ADD, (vessel_id, moment, 10 + seed))
            connection.commit()
            many += 1
            is_over.wait(0.002)
    return many


def url_of(database: Database) -> str:
    url: str = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    return url


class TestACursor:
    @pytest.fixture
    def cursor(self, reader: Reader, world: World, vessel_id) -> str:
        store(world.database, vessel_id, 9)
        answer = reader.get(vessel_id, {"limit": 2, "from": at(0), "to": at(80)})
        return str(answer.json["links"]["next"].rpartition("cursor=")[2])

    def test_holds_for_the_parameters_that_it_came_with(self, reader: Reader, vessel_id, cursor):
        # However the same times are written.
        window = {"from": "2026-01-02T03:04:05Z", "to": "2026-01-02T04:05:25+01:00"}
        for more in ({}, {"limit": 3}, {"order": "asc"}, {"format": "json"}):
            answer = reader.get(vessel_id, {**window, "cursor": cursor, **more})
            assert answer.json["positions"][0]["recorded_at"] == at(20)

    @pytest.mark.parametrize(
        "other",
        [{"from": at(1)}, {"to": at(81)}, {"order": "desc"}, {"format": "geojson"}, {"format": "csv"}],
    )
    def test_holds_for_no_others(self, reader: Reader, vessel_id, cursor, other):
        asked = {"from": at(0), "to": at(80), "cursor": cursor, **other}
        assert reader.get(vessel_id, asked, 400).json["code"] == "cursor_mismatch"

    def test_holds_for_no_other_vessel_and_no_other_key(
        self, client, reader, world: World, vessel_id, cursor
    ):
        asked = {"from": at(0), "to": at(80), "cursor": cursor}
        assert reader.get(world.vessel().id, asked, 400).json["code"] == "cursor_mismatch"
        other = Reader(client, world.bearer("vessels:read"))
        assert other.get(vessel_id, asked, 400).json["code"] == "cursor_mismatch"
        # That of the order is none of a list.
        order = reader.get(vessel_id).headers["Harbor-Cursor"]
        assert reader.get(vessel_id, {**asked, "cursor": order}, 400).json["code"] == "cursor_mismatch"
        without = {"from": at(0), "cursor": cursor}
        assert reader.get(vessel_id, without, 400).json["code"] == "cursor_mismatch"

    def test_that_was_tampered_with_is_none(self, reader: Reader, vessel_id, cursor):
        alphabet = string.ascii_letters + string.digits + "-_"
        for place in (0, len(cursor) // 2, len(cursor) - 1):
            changed = alphabet[(alphabet.index(cursor[place]) + 7) % 64]
            forged = cursor[:place] + changed + cursor[place + 1 :]
            told = reader.get(vessel_id, {"from": at(0), "to": at(80), "cursor": forged}, 400).json
            assert [fault["parameter"] for fault in told["errors"]] == ["cursor"]


def _numbers(cells: Sequence[str]) -> list[float | None]:
    return [float(cell) if cell else None for cell in cells]


class TestFormats:
    def test_tell_the_same_fixes(self, reader: Reader, world: World, vessel_id):
        store(world.database, vessel_id, 12)
        told = reader.get(vessel_id).json["positions"]
        assert list(told[1]) == list(MEMBERS)
        features = reader.get(vessel_id, {"format": "geojson"}).json
        assert (features["vessel_id"], features["available_from"]) == (vessel_id, at(0))
        assert [
            {**each["properties"], **dict(zip(("lon", "lat"), each["geometry"]["coordinates"], strict=True))}
            for each in features["features"]
        ] == told
        head, *rows = csv.reader(io.StringIO(reader.get(vessel_id, {"format": "csv"}).text, newline=""))
        assert head == ["vessel_id", "name", *MEMBERS]
        assert [[*row[:4], *_numbers(row[4:])] for row in rows] == [
            [str(vessel_id), "Skagerrak Trader", *fix.values()] for fix in told
        ]
        assert segments_of(reader.get(vessel_id, {"format": "gpx"}).data) == [
            [(fix["lat"], fix["lon"], fix["recorded_at"]) for fix in told]
        ]

    def test_tell_numbers_as_they_are_stored(self, reader: Reader, world: World, vessel_id):
        store(world.database, vessel_id, 2)
        told = reader.get(vessel_id).text
        assert f'"recorded_at":"{at(10)}","received_at":"{at(11.251)}"' in told
        assert '"lat":59.000001,"lon":-0.00001,"sog":123.4,"cog":181.2,"heading":null,"nav_status":0' in told
        assert reader.get(vessel_id, {"format": "csv"}).text.endswith(
            f"{at(10)},{at(11.251)},59.000001,-0.00001,123.4,181.2,,0,1234567\r\n"
        )

    @pytest.mark.parametrize("name", WRITERS)
    def test_are_those_of_the_fix_that_came(self, client, reader: Reader, world: World, name):
        """A fix comes out of the service as it went in."""
        tracker = world.tracker()
        client.post(POSITIONS, **tracker.signed(a_fix(0.123456, lon=180, accuracy_m=0.001, sog=0)))
        told = reader.get(tracker.tracker.assignments[0].vessel_id, {"format": name}).text
        for each in ("05.123456Z", "59.9", *(["-180.0"] if name == "gpx" else ["180", "0.001"])):
            assert each in told

    @pytest.mark.parametrize(
        ("name", "type_"),
        [
            ("json", "application/json"),
            ("geojson", "application/geo+json"),
            ("csv", "text/csv; charset=utf-8; header=present"),
            ("gpx", "application/gpx+xml"),
        ],
    )
    def test_are_chosen_by_name_or_by_accept(self, reader: Reader, vessel_id, name, type_):
        by_name = reader.get(vessel_id, {"format": name}, Accept="image/png")
        by_accept = reader.get(vessel_id, Accept=type_.partition(";")[0])
        assert by_name.headers["Content-Type"] == by_accept.headers["Content-Type"] == type_
        assert by_name.data == by_accept.data
        assert "Accept" in by_name.headers["Vary"]
        file_name = by_name.headers.get("Content-Disposition")
        expected = f'attachment; filename="vessel-{vessel_id}.{name}"' if name in {"csv", "gpx"} else None
        assert file_name == expected

    def test_that_nobody_has_are_answered_in_json(self, reader: Reader, vessel_id):
        for accept in ("image/png", "text/plain, application/json", "*/*"):
            assert reader.get(vessel_id, Accept=accept).mimetype == "application/json"

    @pytest.mark.parametrize("name", WRITERS)
    def test_of_nothing_are_whole(self, reader: Reader, vessel_id, name):
        answer = reader.get(vessel_id, {"format": name})
        assert answer.headers["ETag"]
        assert reader.get(vessel_id, {"format": name}, 304, If_None_Match=answer.headers["ETag"])
        assert reader.get(vessel_id, {"format": name}, method="HEAD").data == b""

    @pytest.mark.parametrize(
        "name",
        ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\uff1d1", "a;=1;b", "a,b", 'a"b', "Ærø, =1", "'=1", "&<]]>"],
    )
    def test_hold_any_name(self, reader: Reader, world: World, name):
        vessel = world.vessel(name).id
        store(world.database, vessel, 1)
        for query in ({}, {"limit": 1}):
            text = reader.get(vessel, {**query, "format": "csv"}).text
            [_, row] = csv.reader(io.StringIO(text, newline=""), strict=True)
            assert row[1].replace("'", "") == name.replace("'", "")
            for cell in row[1].split(";"):
                assert not cell.lstrip().startswith(tuple("=+-@\uff1d"))
            assert len(segments_of(reader.get(vessel, {**query, "format": "gpx"}).data)) == 1


@pytest.mark.parametrize(
    "text", ["\t=1", "\r=1", "\n-1", "\u3000@x", "=", "\uff0b", "\uff0d1", "\uff20", '"=1']
)
def test_what_may_be_a_formula_is_made_inert(text):
    assert inert(text) == f"'{text}"
    # A cell of its own where a semicolon parts them.
    assert inert(f"a;{text};b") == f"a;'{text};b"


@pytest.mark.parametrize("text", ["", "Trader", "a=1", "1-2", "'=1", "10.7", "a; b;", ";'=1"])
def test_what_is_none_stays_as_it_is(text):
    assert inert(text) == text


class TestWhoSees:
    def test_nothing_of_a_vessel_that_is_not_granted(self, client, world: World, vessel_id):
        other = world.vessel().id
        store(world.database, vessel_id, 2)
        reader = Reader(client, world.bearer("vessels:read", vessel_ids=frozenset({other})))
        assert reader.get(other).json["positions"] == []
        absent = reader.get(2_147_483_647, status=404).json
        hidden = reader.get(vessel_id, status=404).json
        assert absent["detail"].replace("2147483647", "N") == hidden["detail"].replace(str(vessel_id), "N")
        for query in ({"format": "csv"}, {"format": "gpx", "limit": 1}, {"cursor": "x"}):
            assert reader.get(vessel_id, query, 400 if "cursor" in query else 404)

    def test_nothing_beyond_the_numbers_that_there_are(self, client, admin):
        for number in ("2147483648", "9999999999", "0", "01", "x"):
            assert client.get(LIST.format(number), headers=admin).status_code == 404

    def test_what_a_retired_vessel_did(self, client, reader: Reader, world: World, vessel_id, admin):
        store(world.database, vessel_id, 2)
        client.post(f"{VESSELS}/{vessel_id}/retire", headers=admin)
        assert reader.times(vessel_id) == [at(0), at(10)]

    @pytest.mark.parametrize("name", WRITERS)
    def test_one_fix_a_step_where_a_key_is_coarse(self, client, world: World, vessel_id, name):
        store(world.database, vessel_id, 40, step=7)
        reader = Reader(client, world.bearer("vessels:read", coordinate_decimals=3))
        step = step_of(3)
        began = sorted({floored(EPOCH + timedelta(seconds=7 * n), step) for n in range(40)})
        told = reader.get(vessel_id).json
        assert [fix["recorded_at"] for fix in told["positions"]] == [rfc3339(each) for each in began]
        assert told["available_from"] == rfc3339(began[0])
        first = told["positions"][0]
        assert (first["lat"], first["lon"], first["sog"], first["cog"]) == (59, 0, 125, 180)
        text = reader.get(vessel_id, {"format": name}).text
        for each in began:
            assert rfc3339(each) in text
        for n in range(40):
            assert at(7 * n) not in text or EPOCH + timedelta(seconds=7 * n) in began
        assert reader.times(vessel_id, limit=2) == [rfc3339(each) for each in began]
        assert reader.times(vessel_id, limit=2, order="desc") == [rfc3339(each) for each in began[::-1]]

    @pytest.mark.parametrize("decimals", [0, 1, 2, 3, 4, 5])
    def test_the_newest_as_the_fleet_shows_it(self, client, world: World, decimals):
        tracker = world.tracker()
        vessel_id = tracker.tracker.assignments[0].vessel_id
        client.post(POSITIONS, **tracker.signed(a_fix(lat=-0.5, lon=10.000005, cog=359, accuracy_m=3)))
        reader = Reader(client, bearer := world.bearer("vessels:read", coordinate_decimals=decimals))
        shown = client.get(f"{VESSELS}/{vessel_id}", headers=bearer).json
        [feature] = reader.get(vessel_id, {"format": "geojson"}).json["features"]
        assert feature["geometry"] == shown["geometry"]
        for name, value in feature["properties"].items():
            assert value == shown["properties"][name], name

    @pytest.mark.parametrize("decimals", [0, 2, 5])
    def test_each_as_the_domain_makes_it_coarse(self, client, world: World, vessel_id, decimals):
        """PostgreSQL writes the text, and what is to be written ``coarsened`` says."""
        sql.run(
            world.database,
            "INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, cog, "
            "heading, nav_status, seq) SELECT :vessel, :first + n * interval '13 hours 0.3 seconds', 1, "
            ":first + n * interval '13 hours 7.7 seconds', (n - 150) * 0.4999995, (n - 150) * 0.000005, "
            "CASE WHEN n % 7 > 0 THEN n * 0.5 END, CASE WHEN n % 5 > 0 THEN n * 1.1 END, "
            "CASE WHEN n % 3 > 0 THEN n * 1.125 END, n % 15, nextval('fleet_order') "
            "FROM generate_series(0, 299) AS n",
            vessel=vessel_id,
            first=EPOCH,
        )
        fine = Reader(client, world.bearer("vessels:read")).get(vessel_id).json["positions"]
        coarse = Reader(client, world.bearer("vessels:read", coordinate_decimals=decimals)).get(vessel_id)
        for told, shown in zip(fine, coarse.json["positions"], strict=True):
            latest = LatestPosition(
                recorded_at=from_rfc3339(told.pop("recorded_at")),
                received_at=from_rfc3339(told.pop("received_at")),
                motion=Motion(**told),
            )
            meant = coarsened(latest, decimals)
            assert (shown.pop("recorded_at"), shown.pop("received_at")) == (
                rfc3339(meant.recorded_at),
                rfc3339(meant.received_at),
            )
            place = meant.motion.lat, meant.motion.lon
            assert (shown.pop("lat"), shown.pop("lon")) == pytest.approx(place, abs=0.5000001 / 10**decimals)
            assert shown == {name: getattr(meant.motion, name) for name in shown}
        assert not re.search(r"-0[,}]|\.\d*0[,}]|e-", coarse.text)

    def test_what_is_due_where_a_key_is_late(self, client, world: World, vessel_id):
        now = sql.value(world.database, "SELECT now()")
        long_ago, lately = (now - EPOCH).total_seconds() - 7_200, (now - EPOCH).total_seconds() - 60
        store(world.database, vessel_id, 3, since=long_ago)
        store(world.database, vessel_id, 2, since=lately)
        # A backfill that has come behind what is not due is not due, either.
        store(world.database, vessel_id, 2, since=long_ago - 1_000)
        late = Reader(client, world.bearer("vessels:read", delay_s=3_600))
        page = late.get(vessel_id)
        assert len(page.json["positions"]) == 3
        assert page.json["available_from"] == at(long_ago)
        assert len(late.times(vessel_id, limit=2)) == 3
        everything = Reader(client, world.bearer("vessels:read")).get(vessel_id)
        assert len(everything.json["positions"]) == 7
        assert from_rfc3339(page.headers["Harbor-Now"]) >= now


class TestAWholeWindow:
    @pytest.fixture
    def raw(self, app: Flask, world: World, vessel_id, client, monkeypatch):
        """Return a function that begins to read a window that is sent in parts of 50."""
        monkeypatch.setattr(history, "PART", 50)
        store(world.database, vessel_id, 175)
        streaming = app.test_client()

        def begin(headers: dict[str, str], **query: object) -> Answer:
            url = f"{LIST.format(vessel_id)}?{urlencode({'format': 'csv', **query})}"
            return streaming.get(url, headers=headers)

        return begin

    @pytest.mark.parametrize("coding", ["identity", "gzip"])
    def test_is_sent_in_parts_and_without_a_tag(self, raw, reader: Reader, vessel_id, admin, coding):
        answer = reader.get(vessel_id, {"format": "csv"}, Accept_Encoding=coding)
        assert "ETag" not in answer.headers
        assert "Content-Length" not in answer.headers
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert "Link" not in answer.headers
        assert len(list(raw(admin).iter_encoded())) == 6
        head = reader.get(vessel_id, {"format": "csv"}, method="HEAD")
        assert dict(head.headers).keys() >= {"Harbor-Cursor", "Harbor-Now", "Content-Disposition"}

    @pytest.mark.parametrize("order", ["asc", "desc"])
    @pytest.mark.parametrize("decimals", [None, 4])
    def test_is_the_pages_of_it(self, raw, client, world: World, vessel_id, order, decimals):
        bearer = world.bearer("vessels:read", coordinate_decimals=decimals)
        reader = Reader(client, bearer)
        pages = [fix for page in reader.pages(vessel_id, {"limit": 40, "order": order}) for fix in page]
        rows = list(csv.DictReader(io.StringIO(raw(bearer, order=order).text, newline="")))
        assert [row["recorded_at"] for row in rows] == [fix["recorded_at"] for fix in pages]
        gpx = reader.get(vessel_id, {"format": "gpx", "order": order}).data
        assert [point[2] for [*segment] in segments_of(gpx) for point in segment] == [
            fix["recorded_at"] for fix in pages
        ]

    def test_is_as_it_stood_at_its_beginning(self, raw, world: World, vessel_id, admin):
        parts = raw(admin).iter_encoded()
        told = b"".join(itertools.islice(parts, 3))
        store(world.database, vessel_id, 10, since=1_705)
        store(world.database, vessel_id, 10, since=5)
        told += b"".join(parts)
        assert len(told.splitlines()) == 176

    def test_may_begin_at_a_cursor(self, raw, reader: Reader, vessel_id, admin):
        first = reader.get(vessel_id, {"format": "csv", "limit": 20})
        cursor = first.headers["Link"].partition("cursor=")[2].partition(">")[0]
        rest = raw(admin, cursor=cursor).text
        assert len(rest.splitlines()) == 156

    def test_holds_no_connection_between_two_parts(self, raw, app: Flask, admin):
        answers = [raw(admin).iter_encoded() for _ in range(MOST_OF_A_KEY)]
        for parts in answers:
            next(parts)
            next(parts)
        assert runtime.of(app).database.engine.pool.checkedout() == 0

    @pytest.mark.parametrize("how", ["revoked", "expired", "not granted"])
    def test_breaks_off_where_a_key_ends(self, raw, world: World, how, vessel_id):
        key, secret = world.key("vessels:read", vessel_ids=frozenset({vessel_id}))
        parts = raw({"Authorization": f"Bearer {secret}"}).iter_encoded()
        assert next(parts)
        statement = {
            "revoked": "UPDATE api_keys SET revoked_at = now() WHERE id = :key",
            "expired": "UPDATE api_keys SET expires_at = now() WHERE id = :key",
            "not granted": "DELETE FROM grants WHERE api_key_id = :key",
        }[how]
        sql.run(world.database, statement, key=key.id)
        with pytest.raises(BrokenPipeError):
            list(parts)

    def test_breaks_off_with_a_line_where_something_goes_wrong(self, raw, admin, monkeypatch):
        parts = raw(admin).iter_encoded()
        assert next(parts)
        assert next(parts)

        def fail(*_: object) -> bytes:
            raise ValueError("unforeseen")

        monkeypatch.setattr(WRITERS["csv"], "fixes", fail)
        with capture_logs() as logged, pytest.raises(BrokenPipeError):
            list(parts)
        assert [line["event"] for line in logged] == ["stream_broken"]

    def test_is_sent_a_few_times_at_once_to_a_key(self, raw, reader: Reader, world: World, vessel_id, admin):
        answers = [raw(admin).iter_encoded() for _ in range(MOST_OF_A_KEY)]
        for parts in answers:
            next(parts)
        refused = reader.get(vessel_id, {"format": "gpx"}, 429)
        assert refused.headers["Retry-After"] == "5"
        # Nobody else is kept out, and pages are as many as ever.
        assert raw(world.bearer("vessels:read")).text
        assert reader.get(vessel_id, {"format": "csv", "limit": 50})
        answers.pop().close()
        assert reader.get(vessel_id, {"format": "gpx"})
        del answers, parts
        assert len(reader.get(vessel_id, {"format": "csv"}).text.splitlines()) == 176

    def test_costs_one_request(self, raw, world: World):
        answer = raw(world.bearer("vessels:read", requests_per_minute=10))
        assert answer.headers["RateLimit"].startswith('"key";r=9;')
        assert len(answer.text.splitlines()) == 176
