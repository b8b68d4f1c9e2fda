"""POST /api/v1/positions: each answer that a tracker can get."""

import time

import pytest
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.urls import CHECK, QUARANTINE, VESSELS
from tests.support.urls import POSITIONS as URL


def test_stores_a_fix_when_it_is_new(client: CheckedClient, world: World):
    tracker = world.tracker()

    answer = client.post(URL, **tracker.signed(a_fix()))

    assert answer.status_code == 201
    assert answer.json == {"verdict": "stored", "latest": True}


def test_answers_duplicate_when_the_same_fix_comes_again(client: CheckedClient, world: World):
    tracker = world.tracker()
    client.post(URL, **tracker.signed(a_fix()))

    again = client.post(URL, **tracker.signed(a_fix()))
    other = client.post(URL, **tracker.signed(a_fix(sog=9)))

    assert (again.status_code, again.json) == (
        200,
        {"verdict": "duplicate", "latest": True, "differs": False},
    )
    assert (other.status_code, other.json) == (200, {"verdict": "duplicate", "latest": True, "differs": True})


def test_an_old_fix_is_stored_and_leaves_the_latest(client: CheckedClient, world: World):
    tracker = world.tracker()
    client.post(URL, **tracker.signed(a_fix(60, lat=1.001)))

    old = client.post(URL, **tracker.signed(a_fix(0, lat=1.002)))

    assert (old.status_code, old.json) == (201, {"verdict": "stored", "latest": False})
    [feature] = client.get(VESSELS, headers=world.bearer()).json["features"]
    assert feature["geometry"]["coordinates"] == [10.7, 1.001]


@pytest.mark.parametrize(
    ("members", "reason"),
    [({"lat": 0, "lon": 0}, "null_island"), ({"recorded_at": "2999-01-01T00:00:00Z"}, "future")],
)
def test_holds_a_doubtful_fix_in_quarantine(client: CheckedClient, world: World, members, reason):
    tracker = world.tracker()

    for _ in range(2):
        answer = client.post(URL, **tracker.signed(a_fix(**members)))
        assert answer.status_code == 202
        assert answer.json == {"verdict": "quarantined", "latest": False, "reason": reason}

    [feature] = client.get(VESSELS, headers=world.bearer()).json["features"]
    assert feature["geometry"] is None


def test_sentinels_of_ais_become_null(client: CheckedClient, world: World):
    tracker = world.tracker()

    client.post(URL, **tracker.signed(a_fix(sog=102.3, cog=360, heading=511, nav_status=15)))

    [feature] = client.get(VESSELS, headers=world.bearer()).json["features"]
    assert {feature["properties"][name] for name in ("sog", "cog", "heading", "nav_status")} == {None}


@pytest.mark.parametrize(("url", "status"), [(URL, 201), (CHECK, 200)])
def test_a_member_that_is_not_known_costs_nothing_and_is_named(
    client: CheckedClient, world: World, url, status
):
    tracker = world.tracker()
    answer = client.post(url, **tracker.signed(a_fix(hdop=1.2, SOG=9, satellites={"gps": [1, 2]}), url=url))
    assert answer.status_code == status
    assert answer.json["ignored"] == ["hdop", "SOG", "satellites"]
    # What was passed over makes no difference.
    if url == URL:
        again = client.post(url, **tracker.signed(a_fix(hdop=1.3)))
        assert (again.json["differs"], again.json["ignored"]) == (False, ["hdop"])
    else:
        assert answer.json["warnings"] == [
            "'hdop' is no member of a fix",
            "'SOG' is no member of a fix; did you mean 'sog'?",
            "'satellites' is no member of a fix",
        ]


def test_what_is_held_keeps_what_is_not_known_as_far_as_it_is_small(client: CheckedClient, world: World):
    small = {"hdop": 1.5, "mode": "3D", "lost": None, "dgps": True, "count": 7}
    large = {"text": "x" * 65, "x" * 65: 1, "big": 10**300, "list": [1], "object": {}, "deep": [[[]]]}
    fix = a_fix(lat=0, lon=0, **small, **{f"z{n}": 1 for n in range(100)})
    world_tracker = world.tracker()
    assert client.post(URL, **world_tracker.signed(fix)).status_code == 202
    assert client.post(URL, **world_tracker.signed(a_fix(1, lat=0, lon=0, **large))).status_code == 202

    first, second = client.get(QUARANTINE, headers=world.bearer("quarantine:read")).json["quarantine"]

    assert first["raw"] == a_fix(lat=0, lon=0, **small, z0=1, z1=1, z2=1)
    assert second["raw"] == a_fix(1, lat=0, lon=0)


@pytest.mark.parametrize(
    "recorded_at",
    ["2026-01-02t03:04:05z", "2026-01-02T03:04:05.1234567890123Z", "2025-12-31T23:59:60Z"],
)
def test_a_time_of_rfc_3339_does_not_cost_the_position(client: CheckedClient, world: World, recorded_at):
    assert client.post(URL, **world.tracker().signed(a_fix(recorded_at=recorded_at))).status_code == 201


@pytest.mark.parametrize(
    ("sent", "shown"),
    [(1e-146, 0), (5e-324, 0), (0.0004, 0), (-0.0, 0), (359.99, 359.99), (0.001, 0.001)],
)
def test_numbers_that_four_bytes_cannot_hold_are_rounded_first(
    client: CheckedClient, world: World, sent, shown
):
    tracker = world.tracker()
    fix = a_fix(cog=sent, heading=sent, sog=min(sent, 90), accuracy_m=sent, battery_v=sent)

    assert client.post(URL, **tracker.signed(fix)).status_code == 201
    again = client.post(URL, **tracker.signed(fix))

    assert again.json["differs"] is False
    [feature] = client.get(VESSELS, headers=world.bearer()).json["features"]
    assert (feature["properties"]["cog"], feature["properties"]["heading"]) == (shown, shown)


def _problem(answer, status, code):
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.json
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]
    return answer.json


class TestRefuses:
    def test_no_signature(self, client: CheckedClient):
        answer = client.post(URL, json=a_fix())
        _problem(answer, 401, "signature_missing")
        assert "StandardWebhooks" in answer.headers["WWW-Authenticate"]

    @pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
    @pytest.mark.parametrize("value", [None, "", "nonsense"])
    def test_a_broken_header(self, client: CheckedClient, world: World, header, value):
        request = world.tracker().signed(a_fix())
        if value is None:
            del request["headers"][header]
        else:
            request["headers"][header] = value
        answer = client.post(URL, **request)
        assert answer.status_code == 401
        assert answer.json["code"] in {"signature_missing", "signature_invalid"}

    def test_a_wrong_signature(self, client: CheckedClient, world: World):
        tracker, other = world.tracker(), world.tracker()
        request = other.signed(a_fix(), id=f"{tracker.tracker.id}-1")
        _problem(client.post(URL, **request), 401, "signature_invalid")

    def test_a_body_changed_after_signing(self, client: CheckedClient, world: World):
        request = world.tracker().signed(a_fix())
        request["data"] = request["data"].replace(b"59.9", b"58.9")
        _problem(client.post(URL, **request), 401, "signature_invalid")

    def test_an_unknown_tracker(self, client: CheckedClient, world: World):
        request = world.tracker().signed(a_fix(), id="trk_9999-1")
        _problem(client.post(URL, **request), 401, "signature_invalid")

    @pytest.mark.parametrize("off", [-600, 600])
    def test_a_timestamp_ten_minutes_off(self, client: CheckedClient, world: World, off):
        request = world.tracker().signed(a_fix(), timestamp=int(time.time()) + off)
        answer = client.post(URL, **request)
        _problem(answer, 401, "timestamp_out_of_tolerance")

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"nonsense",
            b"\xff\xfe",
            b"\xef\xbb\xbf{}",
            b'{"lat": NaN}',
            b'{"lat": Infinity}',
            b'{"lat": 1e400}',
            b'{"lat": ' + b"9" * 400 + b"}",
            b'{"lat": ' + b"9" * 5000 + b"}",
            b'{"lat": 1, "lat": 1}',
            b'{"recorded_at": "\\u0000"}',
            b'{"recorded_at": "\\ud800"}',
            b'{"\\udc00": 1}',
            b"[" * 20_000,
            b"[" * 20_000 + b"]" * 20_000,
        ],
        ids=lambda body: repr(body[:24]),
    )
    def test_what_is_not_json(self, client: CheckedClient, world: World, body):
        _problem(client.post(URL, **world.tracker().signed(body)), 400, "malformed_json")

    @pytest.mark.parametrize(
        ("members", "pointer"),
        [
            ({"lat": "59.9"}, "#/lat"),
            ({"lat": True}, "#/lat"),
            ({"lat": None}, "#/lat"),
            ({"lat": 90.0001}, "#/lat"),
            ({"lon": -180.0001}, "#/lon"),
            ({"lon": []}, "#/lon"),
            ({"sog": -1}, "#/sog"),
            ({"sog": 103}, "#/sog"),
            ({"heading": 400}, "#/heading"),
            ({"nav_status": 1.5}, "#/nav_status"),
            ({"nav_status": 16}, "#/nav_status"),
            ({"recorded_at": "2026-W01-1"}, "#/recorded_at"),
            ({"recorded_at": "2026-01-02 03:04:05Z"}, "#/recorded_at"),
            ({"recorded_at": "20260102T030405Z"}, "#/recorded_at"),
            ({"recorded_at": "2026-01-02T03:04:05"}, "#/recorded_at"),
            ({"recorded_at": "2026-01-02T03:04:05Z\n"}, "#/recorded_at"),
            ({"recorded_at": "2026-02-30T03:04:05Z"}, "#/recorded_at"),
            ({"recorded_at": "0001-01-01T00:00:00+23:59"}, "#/recorded_at"),
            ({"recorded_at": 1767323045}, "#/recorded_at"),
            ({"recorded_at": "2026-01-02T03:04:05+05:75"}, "#/recorded_at"),
            ({"lat": "x", "a/b~c d": 1}, "#/lat #/a~1b~0c%20d"),
        ],
    )
    def test_a_wrong_member(self, client: CheckedClient, world: World, members, pointer):
        answer = client.post(URL, **world.tracker().signed(a_fix(**members)))
        problem = _problem(answer, 422, "validation_failed")
        assert [error["pointer"] for error in problem["errors"]] == pointer.split()

    @pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null", b"true"])
    def test_json_of_the_wrong_shape(self, client: CheckedClient, world: World, body):
        _problem(client.post(URL, **world.tracker().signed(body)), 422, "validation_failed")

    def test_a_fix_without_its_members(self, client: CheckedClient, world: World):
        problem = _problem(client.post(URL, **world.tracker().signed(b"{}")), 422, "validation_failed")
        assert {error["pointer"] for error in problem["errors"]} == {"#/recorded_at", "#/lat", "#/lon"}

    @pytest.mark.parametrize("members", [{"lat": 91}, {"lat": 91.0}, {"lon": 181}])
    def test_no_fix(self, client: CheckedClient, world: World, members):
        _problem(client.post(URL, **world.tracker().signed(a_fix(**members))), 422, "no_fix")

    def test_a_body_of_five_megabytes(self, client: CheckedClient, world: World):
        request = world.tracker().signed(b" " * 5_000_000)
        _problem(client.post(URL, **request), 413, "body_too_large")

    @pytest.mark.parametrize(
        "media_type", ["text/plain", "", "application/geo+json", "application/x-www-form-urlencoded"]
    )
    def test_another_media_type(self, client: CheckedClient, world: World, media_type):
        request = world.tracker().signed(a_fix())
        request["headers"]["content-type"] = media_type
        _problem(client.post(URL, **request), 415, "unsupported_media_type")

    def test_a_query_parameter(self, client: CheckedClient, world: World):
        answer = client.post(URL + "?x=1", **world.tracker().signed(a_fix()))
        problem = _problem(answer, 400, "invalid_parameter")
        assert problem["errors"] == [{"parameter": "x", "detail": "Unknown parameter."}]


def test_accepts_what_the_published_package_signs(client: CheckedClient, world: World):
    from datetime import UTC, datetime

    from standardwebhooks import Webhook

    tracker = world.tracker()
    request = tracker.signed(a_fix())
    moment = datetime.now(UTC)
    signature = Webhook(tracker.secret).sign("trk_0001-package", moment, request["data"].decode())
    request["headers"] |= {
        "webhook-id": "trk_0001-package",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": signature,
    }

    assert client.post(URL, **request).status_code == 201
