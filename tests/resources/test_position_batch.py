"""POST /api/v1/positions/batch: a verdict for each fix, compressed bodies, and numbers that are missing."""

import gzip
import json
import re
import tracemalloc
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from tests.support.checked_client import CheckedClient
from tests.support.factories import ACTOR, EPOCH, MASTER_KEY, SigningTracker, World, a_fix

from harbor_api.app import create_app
from harbor_api.domain.entities import Verdict, Vessel
from harbor_api.domain.errors import BodyTooLarge
from harbor_api.domain.judgement import REASONS
from harbor_api.domain.signatures import derive_secret
from harbor_api.schemas.positions import BatchVerdictSchema, as_members
from harbor_api.services import trackers
from harbor_api.web.arguments import LARGEST_DECOMPRESSED, decompress

URL, ALONE, VESSELS, TRACKERS = (
    "/api/v1/positions/batch",
    "/api/v1/positions",
    "/api/v1/vessels",
    "/api/v1/trackers",
)
STORED, LATEST = {"verdict": "stored", "latest": False}, {"verdict": "stored", "latest": True}
MIB = 1024 * 1024


def _post(client: CheckedClient, tracker: SigningTracker, fixes: list[Any]) -> Any:
    return client.post(URL, **tracker.signed({"fixes": fixes}))


def _verdicts(client: CheckedClient, tracker: SigningTracker, fixes: list[Any]) -> list[dict[str, Any]]:
    answer = _post(client, tracker, fixes)
    assert answer.status_code == 200, answer.json
    verdicts: list[dict[str, Any]] = answer.json["verdicts"]
    assert len(verdicts) == len(fixes)
    return verdicts


def _problem(answer: Any, status: int, code: str) -> Mapping[str, Any]:
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.json
    problem: Mapping[str, Any] = answer.json
    return problem


def _stored(world: World) -> list[tuple[int, float]]:
    """Return the vessel of each stored fix, and its seconds after EPOCH."""
    with world.database.statement() as unit_of_work:
        rows = unit_of_work._connection.execute(
            text("SELECT vessel_id, recorded_at FROM positions ORDER BY vessel_id, recorded_at")
        )
        return [(row.vessel_id, (row.recorded_at - EPOCH).total_seconds()) for row in rows]


def _ago(span: timedelta) -> str:
    return (datetime.now(UTC) - span).isoformat()


class TestVerdicts:
    def test_come_in_the_order_of_the_batch(self, client: CheckedClient, world: World):
        tracker = world.tracker()
        client.post(ALONE, **tracker.signed(a_fix(0)))

        verdicts = _verdicts(
            client,
            tracker,
            [
                a_fix(120),
                a_fix(0, sog=9),
                a_fix(30, lat=0, lon=0),
                {},
                a_fix(60),
                a_fix(0),
                a_fix(90, lat=50),
            ],
        )

        assert [each["verdict"] for each in verdicts] == [
            "stored",
            "duplicate",
            "quarantined",
            "invalid",
            "stored",
            "duplicate",
            "quarantined",
        ]
        assert verdicts[0] == LATEST
        assert verdicts[1] == {"verdict": "duplicate", "latest": False, "differs": True}
        assert verdicts[2] == {"verdict": "quarantined", "latest": False, "reason": "null_island"}
        assert verdicts[4] == STORED
        assert verdicts[5] == {"verdict": "duplicate", "latest": False, "differs": False}
        assert verdicts[6] == {"verdict": "quarantined", "latest": False, "reason": "impossible_jump"}

    @pytest.fixture
    def forgetful(self, app: Flask, client: CheckedClient) -> Iterator[CheckedClient]:
        """Return a client of a service over the same database that takes no fix older than 20,000 days."""
        application = create_app(replace(app.extensions["harbor_settings"], oldest_fix_days=20_000))
        yield CheckedClient(application)
        application.extensions["harbor_database"].dispose()

    def test_tell_each_reason_to_hold_a_fix(self, forgetful: CheckedClient, world: World):
        doubtful = {
            "null_island": a_fix(0, lat=0, lon=0),
            "future": a_fix(recorded_at=_ago(-timedelta(hours=1))),
            "week_rollover": a_fix(recorded_at=_ago(timedelta(weeks=1024))),
            "too_old": a_fix(recorded_at="1905-06-07T00:00:00Z"),
            "impossible_jump": a_fix(61, lat=20),
        }
        assert set(doubtful) == set(REASONS)
        good = [a_fix(60), a_fix(62)]

        verdicts = _verdicts(forgetful, world.tracker(), [*doubtful.values(), *good])

        assert verdicts == [
            *({"verdict": "quarantined", "latest": False, "reason": reason} for reason in doubtful),
            STORED,
            LATEST,
        ]

    def test_say_of_each_fix_whether_it_is_the_latest(self, client: CheckedClient, world: World):
        tracker = world.tracker()
        first = _verdicts(client, tracker, [a_fix(60), a_fix(120), a_fix(0)])
        second = _verdicts(client, tracker, [a_fix(119), a_fix(120), a_fix(1)])

        assert [each["latest"] for each in first] == [False, True, False]
        assert [each["latest"] for each in second] == [False, True, False]
        [feature] = client.get(VESSELS, headers=world.bearer()).json["features"]
        assert feature["properties"]["recorded_at"] == a_fix(120)["recorded_at"]

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
    def test_of_repeats_the_same_one_is_stored_in_any_order(self, client: CheckedClient, world: World, order):
        fixes = [a_fix(sog=8), a_fix(sog=9), a_fix(sog=8)]

        verdicts = _verdicts(client, world.tracker(), [fixes[place] for place in order])

        by_place = dict(zip(order, verdicts, strict=True))
        assert by_place[1] == {"verdict": "duplicate", "latest": True, "differs": True}
        assert sorted((by_place[0]["verdict"], by_place[2]["verdict"])) == ["duplicate", "stored"]
        with world.database.statement() as unit_of_work:
            [sog] = unit_of_work._connection.execute(text("SELECT sog FROM positions")).scalars()
        assert sog == 8

    def test_a_second_sending_changes_nothing(self, client: CheckedClient, world: World):
        tracker = world.tracker()
        batch = [a_fix(0), a_fix(30, lat=0, lon=0), a_fix(60), {"lat": 1}]
        first = _verdicts(client, tracker, batch)
        second = _verdicts(client, tracker, batch)

        assert [each["verdict"] for each in first] == ["stored", "quarantined", "stored", "invalid"]
        assert [each["verdict"] for each in second] == ["duplicate", "quarantined", "duplicate", "invalid"]
        assert [each.get("differs") for each in second] == [False, None, False, None]
        assert [first[1], first[3]] == [second[1], second[3]]

    def test_of_two_contents_of_one_moment_the_one_that_was_judged_is_held(
        self, client: CheckedClient, world: World
    ):
        _verdicts(client, world.tracker(), [a_fix(lat=0, lon=0), a_fix()])

        [held] = client.get("/api/v1/quarantine", headers=world.bearer("quarantine:read")).json["quarantine"]

        assert (held["reason"], held["lat"], held["lon"]) == ("null_island", 0, 0)

    def test_a_fix_at_the_beginning_of_time_blocks_no_other(self, client: CheckedClient, world: World):
        tracker = world.tracker()
        client.post(ALONE, **tracker.signed(a_fix(recorded_at="0001-01-01T00:00:00Z")))

        verdicts = _verdicts(client, tracker, [a_fix(recorded_at="0001-01-01T00:00:30Z", lat=10), a_fix()])

        assert verdicts[1] == LATEST


WRONG = [
    {},
    {"lat": 1},
    a_fix(lat="59.9"),
    a_fix(lat=True),
    a_fix(lat=None),
    a_fix(lat=90.5),
    a_fix(lon=[]),
    a_fix(lat=-91, lon=-181, sog=-1, heading=400),
    a_fix(nav_status=1.5),
    a_fix(number=-1),
    a_fix(number="1"),
    a_fix(recorded_at="2026-01-02 03:04:05Z"),
    a_fix(recorded_at=0),
    {**a_fix(), "a/b~c d": 1},
    a_fix(lat=91),
    a_fix(lon=181.0),
    a_fix(lat=91, lon="x"),
    [],
    [a_fix()],
    1,
    1.5,
    "x",
    True,
    None,
]


class TestAnInvalidFix:
    @pytest.mark.parametrize("wrong", WRONG, ids=lambda each: json.dumps(each)[:40])
    def test_is_told_what_it_would_be_told_alone(self, client: CheckedClient, world: World, wrong):
        tracker = world.tracker()
        alone = client.post(ALONE, **tracker.signed(json.dumps(wrong).encode()))
        assert alone.status_code == 422

        verdicts = _verdicts(client, tracker, [a_fix(0), a_fix(1), a_fix(2), wrong, a_fix(3)])

        errors = [
            {**error, "pointer": error["pointer"].replace("#", "#/fixes/3", 1)}
            for error in alone.json.get("errors", [])
        ]
        invalid = {"verdict": "invalid", "latest": False, "code": alone.json["code"]}
        assert verdicts[3] == invalid | ({"errors": errors} if errors else {})
        # It blocks nothing.
        assert [*verdicts[:3], verdicts[4]] == [STORED, STORED, STORED, LATEST]

    def test_has_a_pointer_to_its_member(self, client: CheckedClient, world: World):
        verdicts = _verdicts(client, world.tracker(), [a_fix(), a_fix(1), a_fix(2), a_fix(3, lat=100)])
        assert [error["pointer"] for error in verdicts[3]["errors"]] == ["#/fixes/3/lat"]

    def test_may_be_all_that_there_is(self, client: CheckedClient, world: World):
        verdicts = _verdicts(client, world.tracker(), WRONG)
        assert {each["verdict"] for each in verdicts} == {"invalid"}
        assert _stored(world) == []


class TestSize:
    def test_a_thousand_are_taken(self, client: CheckedClient, world: World):
        verdicts = _verdicts(client, world.tracker(), [a_fix(n) for n in range(1000)])
        assert verdicts == [STORED] * 999 + [LATEST]
        assert len(_stored(world)) == 1000

    @pytest.mark.parametrize("count", [0, 1001])
    def test_none_and_a_thousand_and_one_are_refused_whole(self, client: CheckedClient, world: World, count):
        answer = _post(client, world.tracker(), [a_fix(n) for n in range(count)])
        problem = _problem(answer, 422, "validation_failed")
        assert [error["pointer"] for error in problem["errors"]] == ["#/fixes"]
        assert _stored(world) == []

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ([], "#"),
            ([a_fix()], "#"),
            (1, "#"),
            (None, "#"),
            ("x", "#"),
            ({}, "#/fixes"),
            ({"fixes": None}, "#/fixes"),
            ({"fixes": {}}, "#/fixes"),
            ({"fixes": "x"}, "#/fixes"),
            ({"fixes": a_fix()}, "#/fixes"),
            ({"fixes": [a_fix()], "more": 1}, "#/more"),
        ],
        ids=repr,
    )
    def test_another_shape_is_refused_whole(self, client: CheckedClient, world: World, body, pointer):
        answer = client.post(URL, **world.tracker().signed(json.dumps(body).encode()))
        problem = _problem(answer, 422, "validation_failed")
        assert [error["pointer"] for error in problem["errors"]] == [pointer]
        assert _stored(world) == []

    @pytest.mark.parametrize(
        "url_and_most", [(URL, 512 * 1024), (ALONE, 64 * 1024)], ids=["a batch", "a single fix"]
    )
    def test_bodies_are_bounded_as_they_are_sent(self, client: CheckedClient, world: World, url_and_most):
        url, most = url_and_most
        body = json.dumps({"fixes": [a_fix()]} if url == URL else a_fix()).encode()
        tracker = world.tracker()

        _problem(client.post(url, **tracker.signed(body.ljust(most + 1))), 413, "body_too_large")
        assert _stored(world) == []
        assert client.post(url, **tracker.signed(body.ljust(most))).status_code in {200, 201}

    def test_a_batch_counts_as_one_request(self, client: CheckedClient, world: World):
        tracker = world.tracker()

        def left() -> int:
            answer = _post(client, tracker, [a_fix(n) for n in range(50)])
            told = re.search(r"r=(\d+)", answer.headers["RateLimit"])
            assert told is not None
            return int(told[1])

        # At the edge of a window that slides, one may just be given back.
        assert left() - left() in {0, 1}


def _raw_deflate(body: bytes, level: int = 9) -> bytes:
    machine = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return machine.compress(body) + machine.flush()


COMPRESSIONS = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "in capitals": (" GZip ", gzip.compress),
    "with a file name": ("gzip", lambda body: _named(gzip.compress(body))),
    "zlib": ("deflate", zlib.compress),
    "zlib, stored": ("deflate", lambda body: zlib.compress(body, 0)),
    "raw": ("deflate", _raw_deflate),
    "raw, stored": ("deflate", lambda body: _raw_deflate(body, 0)),
    "raw, fast": ("deflate", lambda body: _raw_deflate(body, 1)),
}


def _named(member: bytes) -> bytes:
    """Return a gzip member with a file name in its header (RFC 1952, FNAME)."""
    return member[:3] + b"\x08" + member[4:10] + b"fixes.json\0" + member[10:]


class TestCompressed:
    @staticmethod
    def _send(client: CheckedClient, tracker: SigningTracker, data: bytes, encoding: str, url=URL) -> Any:
        request = tracker.signed(data)
        request["headers"]["content-encoding"] = encoding
        return client.post(url, **request)

    @pytest.mark.parametrize("how", COMPRESSIONS)
    def test_bodies_are_taken(self, client: CheckedClient, world: World, how):
        encoding, compress = COMPRESSIONS[how]
        for count in (1, 300):
            body = json.dumps({"fixes": [a_fix(n) for n in range(count)]}).encode()
            tracker = world.tracker()
            answer = self._send(client, tracker, compress(body), encoding)
            assert answer.status_code == 200, answer.json
            assert answer.json["verdicts"] == [STORED] * (count - 1) + [LATEST]

    @pytest.mark.parametrize("how", COMPRESSIONS)
    def test_any_whole_stream_is_taken_and_no_part_of_one(self, how):
        encoding, compress = COMPRESSIONS[how]
        encoding = encoding.strip().lower()
        for body in (b"", b"{", b"x" * 70_000, bytes(range(256)) * 20):
            stream = compress(body)
            assert decompress(stream, encoding) == body
            for end in {0, 1, len(stream) // 2, len(stream) - 1}:
                with pytest.raises(Exception, match="The body is not"):
                    decompress(stream[:end], encoding)

    @pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "gzip, identity", "", "*"])
    def test_other_encodings_are_refused(self, client: CheckedClient, world: World, encoding):
        body = gzip.compress(json.dumps({"fixes": [a_fix()]}).encode())
        answer = self._send(client, world.tracker(), body, encoding)
        _problem(answer, 415, "unsupported_media_type")
        assert answer.headers["Accept-Encoding"] == "gzip, deflate"

    @pytest.mark.parametrize("encoding", ["gzip", "deflate"])
    @pytest.mark.parametrize(
        "damage",
        ["nothing", "not compressed", "cut", "changed", "more behind", "a second one", "the other kind"],
    )
    def test_what_is_not_one_whole_stream_is_refused(
        self, client: CheckedClient, world: World, encoding, damage
    ):
        body = json.dumps({"fixes": [a_fix(n) for n in range(20)]}).encode()
        compress, other = (gzip.compress, zlib.compress)[:: 1 if encoding == "gzip" else -1]
        stream = compress(body)
        damaged = {
            "nothing": b"",
            "not compressed": body,
            "cut": stream[:-3],
            # The last bytes are the checksum of what is before them.
            "changed": stream[:-1] + bytes([stream[-1] ^ 1]),
            "more behind": stream + b"\n",
            "a second one": stream + stream,
            "the other kind": other(body),
        }[damage]

        _problem(self._send(client, world.tracker(), damaged, encoding), 400, "bad_request")
        assert _stored(world) == []

    def test_what_comes_out_must_be_json(self, client: CheckedClient, world: World):
        _problem(self._send(client, world.tracker(), gzip.compress(b"{"), "gzip"), 400, "malformed_json")

    @pytest.mark.parametrize("how", ["gzip", "zlib", "raw"])
    def test_a_mebibyte_may_come_out_and_no_more(self, client: CheckedClient, world: World, how):
        encoding, compress = COMPRESSIONS[how]
        body, tracker = json.dumps({"fixes": [a_fix()]}).encode(), world.tracker()

        too_large = self._send(client, tracker, compress(body.ljust(MIB + 1)), encoding)
        _problem(too_large, 413, "body_too_large")
        assert _stored(world) == []
        assert self._send(client, tracker, compress(body.ljust(MIB)), encoding).status_code == 200

    @pytest.mark.parametrize("how", ["gzip", "zlib", "raw"])
    def test_a_bomb_is_refused_before_it_has_gone_off(self, how):
        encoding, compress = COMPRESSIONS[how]
        bomb = compress(bytes(100 * MIB))
        assert len(bomb) < 512 * 1024
        tracemalloc.start()
        try:
            with pytest.raises(BodyTooLarge):
                decompress(bomb, encoding)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < 4 * LARGEST_DECOMPRESSED

    def test_a_bomb_within_what_may_be_sent_is_413(self, client: CheckedClient, world: World):
        answer = self._send(client, world.tracker(), gzip.compress(bytes(100 * MIB)), "gzip")
        _problem(answer, 413, "body_too_large")

    def test_the_signature_covers_the_bytes_as_sent(self, client: CheckedClient, world: World):
        body = json.dumps({"fixes": [a_fix()]}).encode()
        request = world.tracker().signed(body)
        request["headers"]["content-encoding"] = "gzip"
        request["data"] = gzip.compress(body)

        _problem(client.post(URL, **request), 401, "signature_invalid")
        assert _stored(world) == []

    def test_nothing_is_decompressed_for_whom_is_not_known(self, client: CheckedClient, world: World):
        request = world.tracker().signed(b"no gzip at all")
        request["headers"] |= {"content-encoding": "gzip", "webhook-signature": "v1,AAAA"}
        _problem(client.post(URL, **request), 401, "signature_invalid")

    def test_a_single_fix_may_be_compressed_too(self, client: CheckedClient, world: World):
        answer = self._send(
            client, world.tracker(), gzip.compress(json.dumps(a_fix()).encode()), "gzip", ALONE
        )
        assert (answer.status_code, answer.json) == (201, LATEST)


@given(
    verdict=st.builds(
        Verdict,
        verdict=st.sampled_from(["stored", "duplicate", "quarantined"]),
        latest=st.booleans(),
        differs=st.none() | st.booleans(),
        reason=st.none() | st.sampled_from(sorted(REASONS)),
    )
)
@settings(derandomize=True)
def test_what_is_written_by_hand_is_what_the_schema_dumps(verdict):
    dumped = BatchVerdictSchema().dump(verdict)
    assert as_members(verdict) == {name: value for name, value in dumped.items() if value is not None}
    assert BatchVerdictSchema().validate(as_members(verdict)) == {}


def _gaps(*gaps: tuple[int, int]) -> list[dict[str, int]]:
    return [{"first": first, "last": last} for first, last in gaps]


def _numbered(*numbers: Any) -> list[dict[str, Any]]:
    """Return fixes that count as arrived and are quickly refused."""
    return [{"number": number} for number in numbers]


class TestNumbers:
    def test_gaps_appear_shrink_and_disappear(self, client: CheckedClient, world: World):
        tracker, operator = world.tracker(), world.bearer("trackers:read")

        def missing(*numbers: int) -> Any:
            answer = _post(client, tracker, [a_fix(n, number=n) for n in numbers])
            shown = client.get(f"{TRACKERS}/{tracker.tracker.number}", headers=operator).json["missing"]
            assert answer.json.get("missing", []) == shown
            return shown

        assert missing(10, 11) == []
        assert missing(15) == _gaps((12, 14))
        assert missing(20, 18) == _gaps((12, 14), (16, 17), (19, 19))
        assert missing(13) == _gaps((12, 12), (14, 14), (16, 17), (19, 19))
        assert missing(16, 14) == _gaps((12, 12), (17, 17), (19, 19))
        assert missing(8) == _gaps((9, 9), (12, 12), (17, 17), (19, 19))
        assert missing(19, 17, 12, 9, 12) == []

    def test_a_single_post_is_told_too(self, client: CheckedClient, world: World):
        tracker = world.tracker()
        _post(client, tracker, [a_fix(0, number=1)])
        assert client.post(ALONE, **tracker.signed(a_fix(3, number=4))).json == {
            **LATEST,
            "missing": _gaps((2, 3)),
        }
        assert _post(client, tracker, [a_fix(n, number=n + 1) for n in (1, 2)]).json == {
            "verdicts": [STORED, STORED]
        }

    def test_whoever_does_not_count_is_told_nothing(self, client: CheckedClient, world: World):
        tracker = world.tracker()
        _post(client, tracker, _numbered(1, 5))
        assert "missing" not in _post(client, tracker, [a_fix()]).json
        assert client.post(ALONE, **tracker.signed(a_fix(1))).json.keys() == LATEST.keys()

    def test_those_of_another_tracker_are_its_own(self, client: CheckedClient, world: World):
        vessel = world.vessel()
        one, other = world.tracker(vessel), world.tracker(vessel)
        assert _post(client, one, _numbered(1, 5)).json["missing"] == _gaps((2, 4))
        assert "missing" not in _post(client, other, _numbered(3)).json

    def test_every_verdict_counts_as_arrived(self, client: CheckedClient, world: World):
        tracker = world.tracker()
        client.post(ALONE, **tracker.signed(a_fix(0, number=1)))
        answer = _post(
            client,
            tracker,
            [
                a_fix(60, number=2),
                a_fix(0, number=3),
                a_fix(30, number=4, lat=0, lon=0),
                a_fix(90, number=5, lat=91),
                a_fix(90, number=6, lat="59.9"),
                {"number": 7},
                a_fix(120, number=8),
            ],
        )
        assert {each["verdict"] for each in answer.json["verdicts"]} == {
            "stored",
            "duplicate",
            "quarantined",
            "invalid",
        }
        assert "missing" not in answer.json

    def test_what_is_no_number_is_not_counted(self, client: CheckedClient, world: World):
        odd = [True, False, "3", -1, 2**53, 10**300, 1.5, None, [], {}]
        answer = _post(client, world.tracker(), [*_numbered(*odd), *_numbered(7), 9, [11]])
        assert {each["verdict"] for each in answer.json["verdicts"]} == {"invalid"}
        assert "missing" not in answer.json

    def test_the_largest_number_is_counted(self, client: CheckedClient, world: World):
        answer = _post(client, world.tracker(), [a_fix(0, number=0), a_fix(1, number=2**53 - 1)])
        assert answer.json["missing"] == _gaps((1, 2**53 - 2))

    def test_a_number_without_a_fraction_is_counted_like_alone(self, client: CheckedClient, world: World):
        alone, batch = world.tracker(), world.tracker()
        for number in (1.0, 3.0):
            last = client.post(ALONE, **alone.signed(a_fix(number, number=number)))
        assert last.json["missing"] == _gaps((2, 2))
        assert _post(client, batch, [a_fix(n, number=n) for n in (1.0, 3.0)]).json["missing"] == _gaps((2, 2))

    def test_the_newest_twenty_gaps_are_told(self, client: CheckedClient, world: World):
        answer = _post(client, world.tracker(), _numbered(*range(0, 52, 2)))
        assert answer.json["missing"] == _gaps(*((n, n) for n in range(11, 50, 2)))

    def test_beyond_a_thousand_ranges_the_oldest_gaps_are_given_up(self, client: CheckedClient, world: World):
        tracker = world.tracker()

        def ranges() -> list[tuple[int, int]]:
            with world.database.statement() as unit_of_work:
                rows = unit_of_work._connection.execute(
                    text(
                        "SELECT lower(r) AS first, upper(r) - 1 AS last "
                        "FROM arrived_numbers, unnest(numbers) AS r ORDER BY r"
                    )
                )
                return [(row.first, row.last) for row in rows]

        _post(client, tracker, _numbered(*range(0, 2000, 2)))
        assert ranges() == [(n, n) for n in range(0, 2000, 2)]

        answer = _post(client, tracker, _numbered(2000))

        newest = _gaps(*((n, n) for n in range(1961, 2000, 2)))
        assert answer.json["missing"] == newest
        kept = ranges()
        assert len(kept) <= 501
        assert (kept[0][0], kept[-1]) == (0, (2000, 2000))
        assert kept[1:] == [(n, n) for n in range(kept[1][0], 2001, 2)]
        # An old one that comes after all is no news, and the newest gaps are still told.
        assert _post(client, tracker, _numbered(1)).json["missing"] == newest
        assert ranges() == kept

    @given(batches=st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=12), min_size=1, max_size=5))
    @settings(
        max_examples=25,
        derandomize=True,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    def test_what_is_missing_is_all_between_that_has_not_come(
        self, client: CheckedClient, world: World, batches
    ):
        tracker = world.tracker()
        arrived: set[int] = set()
        for numbers in batches:
            arrived.update(numbers)
            answer = _post(client, tracker, _numbered(*numbers))
            absent = [n for n in range(min(arrived), max(arrived)) if n not in arrived]
            runs = [
                [n for _, n in run] for _, run in groupby(enumerate(absent), lambda pair: pair[1] - pair[0])
            ]
            assert answer.json.get("missing", []) == _gaps(*((run[0], run[-1]) for run in runs[-20:]))


class TestATracker:
    def test_that_signs_with_the_secret_before_a_rotation_is_told_until_when(
        self, client: CheckedClient, world: World
    ):
        before = world.tracker()
        number, now = before.tracker.number, datetime.now(UTC).replace(microsecond=0)
        with world.database.unit_of_work() as unit_of_work:
            tracker = trackers.rotate(unit_of_work, number, grace=timedelta(days=7), now=now, actor=ACTOR)
        after = SigningTracker(tracker, derive_secret(MASTER_KEY, tracker.id, tracker.generation))
        ends = (now + timedelta(days=7)).isoformat().replace("+00:00", "Z")

        assert _post(client, before, [a_fix(0)]).json == {"verdicts": [LATEST], "secret_ends_at": ends}
        assert _post(client, before, [1]).json["secret_ends_at"] == ends
        assert client.post(ALONE, **before.signed(a_fix(1))).json["secret_ends_at"] == ends
        assert _post(client, after, [a_fix(2)]).json == {"verdicts": [LATEST]}

    @staticmethod
    def _reassigned(world: World, seconds: float) -> tuple[SigningTracker, Vessel, Vessel]:
        earlier, later = world.vessel("Earlier"), world.vessel("Later")
        signing = world.tracker(earlier)
        with world.database.unit_of_work() as unit_of_work:
            tracker = trackers.reassign(
                unit_of_work,
                signing.tracker.number,
                vessel_id=later.id,
                starts_at=EPOCH + timedelta(seconds=seconds),
                now=EPOCH + timedelta(days=300),
                versions=None,
                actor=ACTOR,
            )
        return replace(signing, tracker=tracker), earlier, later

    def test_that_is_reassigned_sends_each_fix_to_the_vessel_of_its_time(
        self, client: CheckedClient, world: World
    ):
        tracker, earlier, later = self._reassigned(world, 60)
        fixes = {120: 1, 0: 50, 60: 1, 59: 50, 30: 50}

        verdicts = _verdicts(client, tracker, [a_fix(n, lat=lat) for n, lat in fixes.items()])

        # The two are far apart: judged as one vessel's, some would be jumps.
        assert verdicts == [LATEST, STORED, STORED, LATEST, STORED]
        assert _stored(world) == [
            *((earlier.id, seconds) for seconds in (0, 30, 59)),
            *((later.id, seconds) for seconds in (60, 120)),
        ]
        # One that is later still in its memory, too.
        assert _verdicts(client, tracker, [a_fix(45, lat=50), a_fix(90, lat=1)]) == [STORED, STORED]
        assert len(_stored(world)) == 7

    def test_that_is_reassigned_repeats_itself_on_the_same_vessels(self, client: CheckedClient, world: World):
        tracker, earlier, later = self._reassigned(world, 60)
        batch = [a_fix(0), a_fix(60), a_fix(30, lat=0, lon=0), a_fix(90, lat=0, lon=0)]
        _verdicts(client, tracker, batch)

        again = _verdicts(client, tracker, batch)

        assert [each["verdict"] for each in again] == ["duplicate", "duplicate", "quarantined", "quarantined"]
        held = client.get("/api/v1/quarantine", headers=world.bearer("quarantine:read")).json["quarantine"]
        assert [each["vessel_id"] for each in held] == [earlier.id, later.id]
