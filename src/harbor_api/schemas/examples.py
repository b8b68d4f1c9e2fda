"""Whole examples of what is sent and answered, which the document and its page show for each operation.

All of them tell of one small fleet on one night, so that what belongs together agrees: ids, names, verdicts
and times. tests/contract/test_examples.py holds them to the schemas and to each other, and sends each request
to the service. Values that are not known stand in the examples, too: a caller has to expect them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harbor_api.domain.judgement import FUTURE, NULL_ISLAND, REASONS, WITHDRAWN
from harbor_api.domain.times import from_rfc3339, rfc3339
from harbor_api.schemas.feed import CURSOR_EXAMPLE
from harbor_api.schemas.formats import MEDIA_TYPES
from harbor_api.schemas.positions import warnings_about

Json = dict[str, Any]
# By name: what it shows, and the value.
Examples = Mapping[str, tuple[str, Any]]


def _at(time: str) -> str:
    """Return a time of that night, or of another day, as the service writes it."""
    moment = from_rfc3339(f"{time}Z" if "T" in time else f"2026-01-02T{time}Z")
    if moment is None:
        raise ValueError(f"{time} is no time")
    return rfc3339(moment)


# What a tracker sends.
_SMALLEST: Json = {"recorded_at": "2026-01-02T03:04:05Z", "lat": 59.9, "lon": 10.7}
_FULL: Json = {
    **_SMALLEST,
    "sog": 8.4,
    "cog": 181.2,
    "heading": 180,
    "nav_status": 0,
    "accuracy_m": 4,
    "battery_v": 3.9,
    "number": 1041,
}
# Taken an hour before, out of coverage, and sent now.
_BUFFERED: Json = {
    "recorded_at": "2026-01-02T02:04:05Z",
    "lat": 60.04,
    "lon": 10.7,
    "sog": 8.4,
    "number": 1040,
}
_WITHOUT_A_FIX: Json = {"recorded_at": "2026-01-02T03:04:06Z", "lat": 0, "lon": 0, "number": 1042}
_NEWER: Json = {**_SMALLEST, "hdop": 0.9}
_FIXES: Examples = {
    "smallest": ("The three members that a fix needs", _SMALLEST),
    "full": ("With all that a receiver can know", _FULL),
    "buffered": ("Taken an hour ago, out of coverage", _BUFFERED),
    "newer": ("Of firmware that knows more than this service", _NEWER),
}

# What a tracker is told.
_STORED: Json = {"verdict": "stored", "latest": True}
_STORED_LATE: Json = {"verdict": "stored", "latest": False}
_DUPLICATE: Json = {"verdict": "duplicate", "latest": False, "differs": False}
_DIFFERING: Json = {**_DUPLICATE, "differs": True}
_INVALID: Json = {
    "verdict": "invalid",
    "latest": False,
    "code": "validation_failed",
    "errors": [
        {
            "pointer": "#/fixes/1/lat",
            "detail": "Must be greater than or equal to -90 and less than or equal to 90.",
        }
    ],
}
_MISSING = [{"first": 1012, "last": 1014}]


def _quarantined(reason: str) -> Json:
    return {"verdict": "quarantined", "latest": False, "reason": reason}


_HELD_FOR: Examples = {
    code: (meaning.partition(": ")[0], _quarantined(code)) for code, meaning in REASONS.items()
}


def _forecast(verdict: Json) -> Json:
    return {"would_be" if name == "verdict" else name: value for name, value in verdict.items()}


# The fleet.
def _details(name: str, **known: Any) -> Json:
    unknown = dict.fromkeys(
        ("imo", "mmsi", "call_sign", "flag", "kind", "length_m", "beam_m", "draught_m", "max_speed_kn")
    )
    return {"name": name, **unknown, **known}


_CARGO: Json = _details(
    "Skagerrak Trader",
    imo="9074729",
    mmsi="257123450",
    call_sign="LAXY5",
    flag="NO",
    kind="cargo",
    length_m=86.5,
    beam_m=13.2,
    draught_m=4.1,
)
_FERRY: Json = _details(
    "Fjordbrev", imo="3104170", mmsi="257961140", flag="NO", kind="passenger", length_m=74.0, max_speed_kn=45
)
_WORKBOAT: Json = _details("Vesterhav", kind="tug")
_SOLD: Json = _details("Gamle Oslofjord", mmsi="257000120", kind="cargo")
_UNSEEN: Json = {
    "recorded_at": None,
    "received_at": None,
    "stale": True,
    "stale_at": None,
    "sog": None,
    "cog": None,
    "heading": None,
    "nav_status": None,
    "accuracy_m": None,
}
_UNDER_WAY: Json = {
    "recorded_at": _at("03:04:05"),
    "received_at": _at("03:04:06.251"),
    "stale": False,
    "stale_at": _at("03:19:05"),
    "sog": 8.4,
    "cog": 181.2,
    "heading": 180.0,
    "nav_status": 0,
    "accuracy_m": 4.0,
}
_MOORED: Json = {
    **_UNSEEN,
    "recorded_at": _at("2026-01-01T21:40:10"),
    "received_at": _at("2026-01-01T21:40:12.003"),
    "stale_at": _at("2026-01-01T21:55:10"),
    "sog": 0.0,
    "nav_status": 5,
}


def _feature(
    number: int, details: Json, seen: Json, at: list[float] | None, *, retired_at: str | None = None
) -> Json:
    return {
        "type": "Feature",
        "id": number,
        "geometry": None if at is None else {"type": "Point", "coordinates": at},
        "properties": {**details, **seen, "retired_at": retired_at},
    }


_TRADER = _feature(1, _CARGO, _UNDER_WAY, [10.7, 59.9])
_AT_BERTH = _feature(2, _FERRY, _MOORED, [10.683495, 59.874076])
_NEVER_SEEN = _feature(3, _WORKBOAT, _UNSEEN, None)
_RETIRED = _feature(4, _SOLD, _UNSEEN, None, retired_at=_at("2026-01-01T12:00:00"))
_CHANGED = _feature(3, {**_WORKBOAT, "call_sign": "LDTG", "max_speed_kn": 14}, _UNSEEN, None)


# Left at nine, stopped for a while on her way, and not heard of for an hour before midnight.
_DAY_OF_LEAVING: Json = {
    "date": "2026-01-01",
    "fixes": 4741,
    "first_at": _at("2026-01-01T09:00:12"),
    "last_at": _at("2026-01-01T23:59:55"),
    "distance_m": 203412.8,
    "stopped_distance_m": 181.3,
    "gap_distance_m": 15530.2,
    "under_way_s": 47158.0,
    "stopped_s": 3240.0,
    "gap_s": 3590.0,
    "top_speed_kn": 12.3,
    "mean_speed_kn": 8.377,
}
_DAY_AT_SEA: Json = {
    "date": "2026-01-02",
    "fixes": 1105,
    "first_at": _at("00:00:05"),
    "last_at": _at("03:04:05"),
    "distance_m": 47731.4,
    "stopped_distance_m": 0.0,
    "gap_distance_m": 0.0,
    "under_way_s": 11045.0,
    "stopped_s": 0.0,
    "gap_s": 0.0,
    "top_speed_kn": 8.9,
    "mean_speed_kn": 8.4,
}
_SUMMARY: Json = {
    "vessel_id": 1,
    "fixes": 5846,
    "first_at": _DAY_OF_LEAVING["first_at"],
    "last_at": _DAY_AT_SEA["last_at"],
    "distance_m": 251144.2,
    "stopped_distance_m": 181.3,
    "gap_distance_m": 15530.2,
    "under_way_s": 58203.0,
    "stopped_s": 3240.0,
    "gap_s": 3590.0,
    "top_speed_kn": 12.3,
    "mean_speed_kn": 8.382,
    "days": [_DAY_OF_LEAVING, _DAY_AT_SEA],
}
_NOTHING: Json = {
    "vessel_id": 3,
    "fixes": 0,
    "first_at": None,
    "last_at": None,
    "distance_m": 0.0,
    "stopped_distance_m": 0.0,
    "gap_distance_m": 0.0,
    "under_way_s": 0.0,
    "stopped_s": 0.0,
    "gap_s": 0.0,
    "top_speed_kn": None,
    "mean_speed_kn": None,
    "days": [],
}


def _fleet(*features: Json, now: str | None) -> Json:
    return {
        "type": "FeatureCollection",
        "now": now and _at(now),
        "cursor": "q3JkUGk2bSeKT0Yb0Yx2sD1m8gZk",
        "links": {"next": None},
        "features": list(features),
    }


def _from(feature: Json, distance_m: float, bearing: float) -> Json:
    seen = {"distance_m": distance_m, "bearing": bearing}
    return {**feature, "properties": {**feature["properties"], **seen}}


def _then(feature: Json, basis: str | None, coordinates: list[float] | None, **rest: Any) -> Json:
    """Return a vessel as it was at a moment."""
    place = coordinates and {"type": "Point", "coordinates": coordinates}
    known = {**feature["properties"], "stale": basis is None, "basis": basis, "between": None, **rest}
    return {**feature, "geometry": place, "properties": known}


_FLEET_THEN = {
    **_fleet(
        _then(_TRADER, "interpolated", [10.699912, 59.897869], between=[_at("03:04:05"), _at("03:06:05")]),
        _then(_AT_BERTH, "last_known", [10.683495, 59.874076], stale=True),
        _then(_NEVER_SEEN, None, None),
        now="03:05:00",
    ),
    "as_of": _at("03:05:00"),
}


def _part(kind: str, *places: tuple[str, list[float]]) -> Json:
    times, at = [_at(time) for time, _ in places], [place for _, place in places]
    geometry: Json = {"type": "LineString", "coordinates": at}
    if len(at) == 1:
        geometry = {"type": "Point", "coordinates": at[0]}
    told = {"kind": kind, "from": times[0], "to": times[-1], "points": len(at), "coordTimes": times}
    return {"type": "Feature", "geometry": geometry, "properties": told}


def _track(*parts: Json, fixes: int, left: int, tolerance_m: float = 0.0) -> Json:
    return {
        "type": "FeatureCollection",
        "vessel_id": 1,
        "points_in": fixes,
        "points_out": left,
        "tolerance_m": tolerance_m,
        "gap_s": 1800,
        "features": list(parts),
    }


_BEFORE, _AFTER = ("01:12:00", [10.69, 60.2]), ("02:04:05", [10.7, 60.04])
_SAILED = (
    _part("track", ("01:02:00", [10.66, 60.23]), _BEFORE),
    _part("gap", _BEFORE, _AFTER),
    _part("track", _AFTER, ("03:04:05", [10.7, 59.9])),
)
# Across 180 degrees both pieces touch it.
_ACROSS: Json = _part("track", ("02:00:00", [179.8, -17.0]), ("02:40:00", [-179.8, -17.1]))
_ACROSS["geometry"] = {
    "type": "MultiLineString",
    "coordinates": [[[179.8, -17.0], [180.0, -17.05]], [[-180.0, -17.05], [-179.8, -17.1]]],
}
_ACROSS["properties"]["coordTimes"] = [
    [_at("02:00:00"), _at("02:20:00")],
    [_at("02:20:00"), _at("02:40:00")],
]
# Where the trader was: the fix that was buffered, and the newest.
_PAST: Sequence[Json] = (
    {
        "recorded_at": _at("02:04:05"),
        "received_at": _at("03:04:06.251"),
        "lat": 60.04,
        "lon": 10.7,
        "sog": 8.4,
        "cog": None,
        "heading": None,
        "nav_status": None,
        "accuracy_m": None,
    },
    {"lat": 59.9, "lon": 10.7, **{name: _UNDER_WAY[name] for name in _UNDER_WAY if "stale" not in name}},
)
_MORE_PAST = (
    "/api/v1/vessels/1/positions?from=2026-01-02T00%3A00%3A00Z&limit=1&format=json"
    "&cursor=lVQ2qYvXo1dN8m0xkqfJ3hWcC4Vt5n2bYgR7sZ9e"
)


_UPSERT: Json = {
    "op": "upsert",
    "id": "vN3-u0c2aYzQ",
    "vessel_id": 1,
    **_PAST[1],
    "late": False,
    "released": False,
}
_PLACE: Json = {"cursor": CURSOR_EXAMPLE, "now": _at("03:04:06.251")}
_HELLO: Json = {
    **_PLACE,
    "heartbeat_s": 20,
    "filters": {"kind": "cargo"},
    "max_rate_s": None,
    "snapshot": False,
}
_HEARTBEAT: Json = {
    "now": _at("03:04:26.251"),
    "as_of": _at("03:04:26.003"),
    "newest_received_at": _at("03:04:06.251"),
}
_LATE: Json = {**_UPSERT, "id": "Qm1xT7bKp0Re", **_PAST[0], "late": True}
_DELETE: Json = {
    "op": "delete",
    **{name: _LATE[name] for name in ("id", "vessel_id", "recorded_at")},
}


def _told(*items: Json, has_more: bool = False) -> Json:
    return {"items": [*items], "next": CURSOR_EXAMPLE, "has_more": has_more, "now": _at("03:04:06.251")}


def _event(name: str, data: Json, cursor: str | None = CURSOR_EXAMPLE) -> str:
    head = "" if cursor is None else f"id: {cursor}\n"
    return f"{head}event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


def _stream(*events: str) -> str:
    return "".join(("retry: 3712\n", *events))


_CONSUMER: Json = {
    "name": "warehouse",
    "filters": {"kind": ["cargo", "tanker"], "bbox": [9.5, 58.5, 11.5, 60.0]},
    "cursor": CURSOR_EXAMPLE,
    "lag_s": 0.0,
    "behind_at": None,
    "expired": False,
    "seen_at": None,
    "created_at": _at("03:04:06.251"),
}
_BEHIND: Json = {**_CONSUMER, "lag_s": 14.749, "behind_at": _at("03:04:06.251"), "seen_at": _at("03:04:02")}
_GONE: Json = {
    **_CONSUMER,
    "name": "report",
    "filters": {"vessel_id": [1], "imo": ["9074729"], "mmsi": ["257123450"], "flag": ["NO"]},
    "lag_s": 86_400.0,
    "behind_at": _at("2026-01-01T03:04:06"),
    "expired": True,
    "oldest": CURSOR_EXAMPLE,
    "oldest_at": _at("2026-01-01T03:04:06"),
    "created_at": _at("2025-12-01T09:00:00"),
    "seen_at": _at("2025-12-03T09:00:00"),
}


def _past(*fixes: Json, more: str | None = None) -> Json:
    since = fixes and _PAST[0]["recorded_at"]
    return {
        "vessel_id": 1,
        "available_from": since or None,
        "positions": [*fixes],
        "links": {"next": more},
    }


def _as_features(page: Json) -> Json:
    """Return a page of a history as GeoJSON."""
    more = page["links"]["next"]
    return {
        "vessel_id": page["vessel_id"],
        "available_from": page["available_from"],
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [fix["lon"], fix["lat"]]},
                "properties": {name: fix[name] for name in fix if name not in {"lat", "lon"}},
            }
            for fix in page["positions"]
        ],
        "links": {"next": more and more.replace("format=json", "format=geojson")},
    }


_PAST_AS_CSV = """\
vessel_id,name,recorded_at,received_at,lat,lon,sog,cog,heading,nav_status,accuracy_m\r
1,Skagerrak Trader,2026-01-02T02:04:05.000000Z,2026-01-02T03:04:06.251000Z,60.04,10.7,8.4,,,,\r
1,Skagerrak Trader,2026-01-02T03:04:05.000000Z,2026-01-02T03:04:06.251000Z,59.9,10.7,8.4,181.2,180,0,4\r
"""
_PAST_AS_GPX = """\
<?xml version="1.0" encoding="UTF-8"?>
<gpx version="1.1" creator="Harbor API" xmlns="http://www.topografix.com/GPX/1/1"\
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"\
 xsi:schemaLocation="http://www.topografix.com/GPX/1/1 http://www.topografix.com/GPX/1/1/gpx.xsd">
<trk><name>Skagerrak Trader</name>
<trkseg>
<trkpt lat="60.040000" lon="10.700000"><time>2026-01-02T02:04:05.000000Z</time></trkpt>
<trkpt lat="59.900000" lon="10.700000"><time>2026-01-02T03:04:05.000000Z</time></trkpt>
</trkseg>
</trk>
</gpx>
"""


# Trackers, keys, the quarantine and the audit trail. The secrets fit nothing: one reads "This is an example,
# not a secret", and the check digits of the other are wrong.
_SIGNS_NOTHING = "whsec_VGhpcyBpcyBhbiBleGFtcGxlLCBub3QgYSBzZWNyZXQ="
_OPENS_NOTHING = "hbr_ThisIsAnExampleAndNotASecret00000000"
_FIRST = "0001-01-01T00:00:00"
_TRACKER: Json = {
    "id": "trk_0001",
    "number": 1,
    "label": "bridge",
    "test": False,
    "vessel_id": 1,
    "assignments": [{"vessel_id": 1, "starts_at": _at(_FIRST)}],
    "generation": 1,
    "previous_valid_until": None,
    "disabled_at": None,
}
_ON_THE_BENCH: Json = {
    **_TRACKER,
    "id": "trk_0002",
    "number": 2,
    "label": "workbench",
    "test": True,
    "vessel_id": 3,
    "assignments": [{"vessel_id": 3, "starts_at": _at(_FIRST)}],
}
_MOVED: Json = {
    **_TRACKER,
    "vessel_id": 2,
    "assignments": [*_TRACKER["assignments"], {"vessel_id": 2, "starts_at": _at("04:00:00")}],
}
_ROTATED: Json = {**_TRACKER, "generation": 2, "previous_valid_until": _at("2026-01-09T03:04:05")}
_PARTNER: Json = {
    "id": 2,
    "prefix": _OPENS_NOTHING[:10],
    "name": "Nordic Logistics",
    "owner": "it@nordic.example",
    "scopes": ["vessels:read"],
    "vessel_ids": None,
    "delay_s": 0,
    "coordinate_decimals": None,
    "requests_per_minute": None,
    "parent_id": 1,
    "created_at": _at("2026-01-01T09:00:00"),
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": _at("03:04:00"),
    "previous_valid_until": None,
}
_PORT_TERMS: Json = {
    "name": "Port agent",
    "owner": "agent@port.example",
    "scopes": ["vessels:read"],
    "vessel_ids": [1, 2],
    "delay_s": 3600,
    "coordinate_decimals": 2,
    "requests_per_minute": 30,
    "expires_at": _at("2027-01-01T00:00:00"),
}
_PORT: Json = {**_PARTNER, **_PORT_TERMS, "id": 3, "prefix": "hbr_4fT1xZ", "last_used_at": None}
_NEW_KEY: Json = {**_PARTNER, "last_used_at": None}
_HELD: Json = {
    "id": 1,
    "vessel_id": 1,
    "tracker_id": _TRACKER["id"],
    "reason": NULL_ISLAND,
    "state": "held",
    "recorded_at": _at("03:04:06"),
    "received_at": _at("03:04:07.118"),
    "decided_at": None,
    "decided_by": None,
    "note": None,
    "lat": 0.0,
    "lon": 0.0,
    "raw": _WITHOUT_A_FIX,
}
_AHEAD: Json = {
    **_HELD,
    "id": 2,
    "reason": FUTURE,
    "recorded_at": _at("05:04:05"),
    "received_at": _at("03:05:11.442"),
    "lat": 59.89,
    "lon": 10.7,
    "raw": {"recorded_at": "2026-01-02T05:04:05Z", "lat": 59.89, "lon": 10.7},
}
_BY: Json = {"decided_by": "key 1 (Operations)"}
_RELEASED: Json = {**_AHEAD, **_BY, "state": "released", "decided_at": _at("08:15:00")}
_REJECTED: Json = {**_HELD, **_BY, "state": "rejected", "decided_at": _at("08:14:30")}
_WITHDRAWAL: Json = {"vessel_id": 1, "recorded_at": _at("03:04:05"), "note": "Clock of the tracker was wrong"}
_WITHDRAWN: Json = {
    **_WITHDRAWAL,
    **_BY,
    "id": 3,
    "tracker_id": _TRACKER["id"],
    "reason": WITHDRAWN,
    "state": "withdrawn",
    "decided_at": _at("08:16:00"),
}
_SELECTION: Json = {
    "reason": NULL_ISLAND,
    "vessel_id": 1,
    "from": _at("2026-01-01T00:00:00"),
    "to": _at("2026-01-03T00:00:00"),
    "dry_run": True,
}
_COUNTED: Json = {"matched": 3, "decided": 0, "left": 3, "too_early": 0}
_DECIDED: Json = {"matched": 3, "decided": 3, "left": 0, "too_early": 0}
_BY_KEY: Json = {
    "id": 12,
    "at": _at("08:14:30"),
    "actor": "key 1 (Operations)",
    "api_key_id": 1,
    "action": "quarantine.rejected",
    "subject": "quarantine/1",
    "before": {"state": "held", "decided_at": None},
    "after": {"state": "rejected", "decided_at": _at("08:14:30")},
    "request_id": "5f2b6f0e4c9d4e21b7a1c06c2a6d8f11",
}
_BY_HAND: Json = {
    "id": 11,
    "at": _at("2026-01-01T09:00:00"),
    "actor": "cli: olav",
    "api_key_id": None,
    "action": "vessel.created",
    "subject": "vessels/1",
    "before": None,
    "after": {name: value for name, value in _CARGO.items() if value is not None},
    "request_id": None,
}


def _page(name: str, *items: Json, more: str | None = None) -> Json:
    return {name: list(items), "links": {"next": more}}


PROBLEM: Json = {
    "type": "urn:harbor-api:problem:validation_failed",
    "title": "Validation failed",
    "status": 422,
    "detail": "1 member is wrong",
    "instance": "/api/v1/positions",
    "code": "validation_failed",
    "request_id": "5f2b6f0e4c9d4e21b7a1c06c2a6d8f11",
    "errors": [{**_INVALID["errors"][0], "pointer": "#/lat"}],
}
_WELL = {"status": "ok", "version": "0.2.0"}

# By operationId. The first one is what Swagger UI fills in.
REQUESTS: Mapping[str, Examples] = {
    "postPosition": _FIXES,
    "checkPosition": _FIXES,
    "postPositionBatch": {
        "backlog": ("What was kept out of coverage, then the newest fix", {"fixes": [_BUFFERED, _FULL]}),
        "mixed": (
            "A new fix, one that was sent before, and one of a receiver without a position",
            {"fixes": [_FULL, _BUFFERED, _WITHOUT_A_FIX]},
        ),
        "newer": (
            "Of firmware that knows more than this service",
            {"fixes": [_NEWER], "firmware": "4.2.0"},
        ),
    },
    "createVessel": {
        "whole": ("With all that is known of her", {k: v for k, v in _CARGO.items() if v is not None}),
        "name_only": ("A name is enough", {"name": _WORKBOAT["name"]}),
    },
    "updateVessel": {
        "correct": ("Add what was not known", {"call_sign": "LDTG", "max_speed_kn": 14}),
        "take_away": ("Null takes away what was known", {"call_sign": None}),
    },
    "putFeed": {
        "create": ("Some vessels in a box, from now on", _CONSUMER["filters"]),
        "since": ("All that came in since a time", {"from": "2026-01-02T03:04:05Z"}),
        "acknowledge": ("All up to here is kept", {"cursor": CURSOR_EXAMPLE}),
    },
    "createTracker": {
        "on_board": ("A tracker on its vessel", {"vessel_id": 1, "label": "bridge"}),
        "under_test": ("One under development", {"vessel_id": 3, "label": "workbench", "test": True}),
    },
    "updateTracker": {
        "finished": ("No longer under test", {"test": False}),
        "relabel": ("Another label", {"label": "bridge, starboard"}),
    },
    "withdrawFix": {"wrong_clock": ("A stored fix that was wrong", _WITHDRAWAL)},
    **{
        each: {
            "counted": ("Only count", _SELECTION),
            "decided": ("Decide", {**_SELECTION, "dry_run": False}),
            "of_a_tracker": ("All of a tracker", {"tracker_id": _TRACKER["id"]}),
        }
        for each in ("releaseFixes", "rejectFixes")
    },
    "reassignTracker": {
        "now": ("From now on", {"vessel_id": 2}),
        "from_a_moment": ("From a moment on", {"vessel_id": 2, "starts_at": "2026-01-02T04:00:00Z"}),
    },
    "rotateTracker": {
        "a_week": ("The old secret holds for a week", {"grace_s": 604_800}),
        "at_once": ("The old secret is lost: it ends at once", {"grace_s": 0}),
    },
    "createApiKey": {
        "partner": (
            "A partner who sees the whole fleet",
            {
                "name": "Nordic Logistics",
                "owner": "it@nordic.example",
                "scopes": ["vessels:read"],
                "independent": True,
            },
        ),
        "limited": ("Some vessels, an hour late, to about 1 km, until the end of the year", _PORT_TERMS),
    },
    "updateApiKey": {
        "extend": ("It holds for longer", {"expires_at": "2028-01-01T00:00:00Z", "independent": True}),
        "narrow": ("It sees less", {"vessel_ids": [1], "delay_s": 3600}),
    },
    "rotateApiKey": {
        "a_week": ("The old secret holds for a week", {"grace_s": 604_800}),
        "at_once": ("The old secret has leaked: it ends at once", {"grace_s": 0}),
    },
}
# By operationId and status.
ANSWERS: Mapping[str, Mapping[int, Examples]] = {
    "getMe": {
        200: {
            "partner": (
                "A partner's key",
                {**_PARTNER, "rate_limit": {"limit": 60, "remaining": 59}},
            ),
            "limited": (
                "One that sees some vessels, late and coarsely",
                {**_PORT, "last_used_at": _at("03:04:00"), "rate_limit": {"limit": 30, "remaining": 29}},
            ),
        }
    },
    "listVessels": {
        200: {
            "in_service": (
                "One under way, one that is stale, one that was never seen",
                _fleet(_TRADER, _AT_BERTH, _NEVER_SEEN, now="03:04:06.251"),
            ),
            "near": (
                "With `near=10.7,59.9`: the nearest first",
                _fleet(_from(_TRADER, 0.0, 0.0), _from(_AT_BERTH, 3026.8, 197.8), now="03:04:06.251"),
            ),
            "as_of": ("With `as_of=2026-01-02T03:05:00Z`: where each of them was then", _FLEET_THEN),
            "retired": ("With `retired=true`", _fleet(_RETIRED, now="2026-01-01T12:00:00")),
            "none": ("A key that sees no vessel", _fleet(now=None)),
        }
    },
    "getVessel": {
        200: {
            "under_way": ("Under way", _TRADER),
            "stale": ("Not heard of for hours: where it was last seen", _AT_BERTH),
            "never_seen": ("Registered, and never seen", _NEVER_SEEN),
            "retired": ("Retired", _RETIRED),
        }
    },
    "getVesselTrack": {
        200: {
            "gap": ("Two lines, and between them nothing came", _track(*_SAILED, fixes=4, left=4)),
            "simplified": (
                "With `max_points=4`: by what tolerance",
                _track(*_SAILED, fixes=362, left=4, tolerance_m=41.207),
            ),
            "across": ("Across 180 degrees", _track(_ACROSS, fixes=2, left=2)),
            "at": ("With `at=2026-01-02T03:05:00Z`: where she was then", _FLEET_THEN["features"][0]),
            "one_fix": ("One fix alone", _track(_part("track", _AFTER), fixes=1, left=1)),
            "none": ("Nothing came in that time", _track(fixes=0, left=0)),
        }
    },
    "getVesselSummary": {
        200: {
            "over_midnight": ("Of two days", _SUMMARY),
            "never_seen": ("Of a vessel that was not seen in that time", _NOTHING),
        }
    },
    "createVessel": {
        201: {
            "whole": ("With all that is known of her", _feature(1, _CARGO, _UNSEEN, None)),
            "name_only": ("A name is enough", _NEVER_SEEN),
        }
    },
    "updateVessel": {
        200: {
            "correct": ("What was not known is added", _CHANGED),
            "take_away": ("What was known is gone", _NEVER_SEEN),
        }
    },
    "retireVessel": {200: {"retired": ("Off the map", _RETIRED)}},
    "restoreVessel": {200: {"in_service": ("In service again", _feature(4, _SOLD, _UNSEEN, None))}},
    "postPosition": {
        200: {
            "duplicate": ("The same fix was stored before", _DUPLICATE),
            "differs": ("Another fix of that time was stored before, and stays", _DIFFERING),
        },
        201: {
            "latest": ("Now the vessel's latest position", _STORED),
            "late": ("Stored in its place in her history: a newer one was there", _STORED_LATE),
            "newer": ("With a member that was passed over", {**_STORED, "ignored": ["hdop"]}),
            "missing": ("With numbers that have not arrived", {**_STORED, "missing": _MISSING}),
            "secret_ends": (
                "Signed with the secret before a rotation",
                {**_STORED, "secret_ends_at": _at("2026-01-09T03:04:05")},
            ),
        },
        202: _HELD_FOR,
    },
    "postPositionBatch": {
        200: {
            "backlog": ("Both are stored", {"verdicts": [_STORED_LATE, _STORED]}),
            "mixed": (
                "A verdict for each, in order; any of them may be erased",
                {"verdicts": [_STORED, _DUPLICATE, _quarantined(NULL_ISLAND)], "missing": _MISSING},
            ),
            "newer": (
                "Members that are not known were passed over",
                {"verdicts": [{**_STORED, "ignored": ["hdop"]}], "ignored": ["firmware"]},
            ),
            "invalid": (
                "The second one has a latitude of 95.5, and blocks no other",
                {"verdicts": [_STORED, _INVALID]},
            ),
        }
    },
    "checkPosition": {
        200: {
            "stored": ("It would be stored, as the latest", _forecast(_STORED)),
            "duplicate": ("It is stored already", _forecast(_DUPLICATE)),
            "warned": (
                "It would be stored, without its speed",
                {**_forecast(_STORED), "ignored": ["SOG"], "warnings": warnings_about(["SOG"])},
            ),
            **{name: (what, _forecast(value)) for name, (what, value) in _HELD_FOR.items()},
        }
    },
    "listPositions": {
        200: {
            "page": ("There are more", _past(_PAST[0], more=_MORE_PAST)),
            "last": ("The last page", _past(*_PAST)),
            "none": ("A vessel that was never seen", _past()),
        }
    },
    "followPositions": {
        200: {
            "page": ("There is more by now", _told(_UPSERT, _LATE, has_more=True)),
            "last": ("A fix was withdrawn, and that is all", _told(_DELETE)),
            "none": ("Nothing has happened", _told()),
        }
    },
    "streamPositions": {
        200: {
            "fleet": (
                "The fleet first, then what happens",
                _stream(
                    _event("hello", {**_HELLO, "max_rate_s": 5, "snapshot": True}, None),
                    _event("vessel", _TRADER, None),
                    _event("live", _PLACE),
                    _event("position", _UPSERT),
                    _event("heartbeat", _HEARTBEAT),
                    _event("bye", {"reason": "rotation", "cursor": CURSOR_EXAMPLE}),
                ),
            ),
            "reset": (
                "What came behind the last id was removed",
                _stream(
                    _event(
                        "reset",
                        {
                            "reason": "cursor_expired",
                            "oldest": CURSOR_EXAMPLE,
                            "oldest_at": _at("03:04:05.000"),
                        },
                    )
                ),
            ),
        }
    },
    "listFeeds": {
        200: {
            "two": ("One that expired, and one that is a little behind", {"feeds": [_GONE, _BEHIND]}),
            "none": ("None so far", {"feeds": []}),
        }
    },
    "getFeed": {200: {"behind": ("A little behind", _BEHIND), "expired": ("A part was removed", _GONE)}},
    "putFeed": {
        200: {"acknowledge": ("It has all now", {**_CONSUMER, "seen_at": _at("03:04:21")})},
        201: {"create": ("From now on", _CONSUMER)},
    },
    "readFeed": {
        200: {
            "page": ("There is more by now", _told(_UPSERT, _LATE, has_more=True)),
            "none": ("Nothing has happened", _told()),
        }
    },
    "getHealth": {
        200: {
            "well": ("All is well", {**_WELL, "schema": "current", "limits": "shared"}),
            "degraded": (
                "Redis does not answer: it goes on without",
                {**_WELL, "status": "degraded", "schema": "current", "limits": "per_process"},
            ),
        }
    },
    "getLiveness": {200: {"well": ("The process answers", _WELL)}},
    "getReadiness": {200: {"well": ("Send requests here", _WELL)}},
    "listTrackers": {
        200: {
            "page": (
                "There are more",
                _page("trackers", _TRACKER, _ON_THE_BENCH, more="/api/v1/trackers?limit=2&cursor=after-2"),
            ),
            "last": ("The last page", _page("trackers", _ON_THE_BENCH)),
        }
    },
    "createTracker": {
        201: {
            "on_board": ("With its secret", {**_TRACKER, "secret": _SIGNS_NOTHING}),
            "under_test": ("One under development", {**_ON_THE_BENCH, "secret": _SIGNS_NOTHING}),
        }
    },
    "getTracker": {
        200: {
            "complete": ("Nothing is missing", {**_TRACKER, "missing": []}),
            "gaps": ("Some numbers have not arrived", {**_TRACKER, "missing": _MISSING}),
        }
    },
    "updateTracker": {
        200: {
            "finished": ("No longer under test", {**_ON_THE_BENCH, "test": False}),
            "relabel": ("Another label", {**_TRACKER, "label": "bridge, starboard"}),
        }
    },
    "reassignTracker": {200: {"from_a_moment": ("Both assignments", _MOVED)}},
    "rotateTracker": {
        200: {
            "a_week": ("Both secrets hold for a week", {**_ROTATED, "secret": _SIGNS_NOTHING}),
            "at_once": (
                "Only the new one holds",
                {**_ROTATED, "previous_valid_until": None, "secret": _SIGNS_NOTHING},
            ),
        }
    },
    "disableTracker": {200: {"disabled": ("It may not post", {**_TRACKER, "disabled_at": _at("08:00:00")})}},
    "enableTracker": {200: {"enabled": ("It may post again", _TRACKER)}},
    "listQuarantine": {
        200: {
            "page": (
                "There are more",
                _page("quarantine", _HELD, _AHEAD, more="/api/v1/quarantine?limit=2&cursor=after-2"),
            ),
            "decided": ("Decisions stay in the list", _page("quarantine", _REJECTED, _RELEASED)),
        }
    },
    "releaseFix": {200: {"released": ("Now in the vessel's history", _RELEASED)}},
    "rejectFix": {200: {"rejected": ("It never comes on the map", _REJECTED)}},
    "withdrawFix": {200: {"wrong_clock": ("Out of the vessel's history", _WITHDRAWN)}},
    **{
        each: {200: {"counted": ("A dry run", _COUNTED), "decided": ("All of them", _DECIDED)}}
        for each in ("releaseFixes", "rejectFixes")
    },
    "listApiKeys": {
        200: {
            "page": (
                "There are more",
                _page("api_keys", _PARTNER, _PORT, more="/api/v1/api-keys?limit=2&cursor=after-3"),
            ),
            "last": ("The last page", _page("api_keys", _PORT)),
        }
    },
    "createApiKey": {
        201: {
            "partner": ("With its secret", {**_NEW_KEY, "secret": _OPENS_NOTHING}),
            "limited": (
                "With its secret",
                {**_PORT, "prefix": _OPENS_NOTHING[:10], "secret": _OPENS_NOTHING},
            ),
        }
    },
    "getApiKey": {200: {"partner": ("A partner's key", _PARTNER), "limited": ("One that sees less", _PORT)}},
    "updateApiKey": {
        200: {
            "extend": ("It holds for longer", {**_PORT, "expires_at": _at("2028-01-01T00:00:00")}),
            "narrow": ("It sees less", {**_PARTNER, "vessel_ids": [1], "delay_s": 3600}),
        }
    },
    "rotateApiKey": {
        200: {
            "a_week": (
                "Both secrets hold for a week",
                {**_PARTNER, "previous_valid_until": _at("2026-01-09T03:04:05"), "secret": _OPENS_NOTHING},
            ),
            "at_once": ("Only the new one holds", {**_PARTNER, "secret": _OPENS_NOTHING}),
        }
    },
    "revokeApiKey": {200: {"revoked": ("Refused from now on", {**_PARTNER, "revoked_at": _at("08:00:00")})}},
    "listAudit": {
        200: {
            "newest_first": (
                "A change with a key and one at the command line",
                _page("audit", _BY_KEY, _BY_HAND, more="/api/v1/audit?limit=2&cursor=after-11"),
            )
        }
    },
}

OTHERWISE: Mapping[str, Mapping[str, Examples]] = {
    "getVesselTrack": {
        "application/gpx+xml": {
            "one_fix": (
                "One fix alone",
                """<?xml version="1.0" encoding="UTF-8"?>
<gpx version="1.1" creator="Harbor API" xmlns="http://www.topografix.com/GPX/1/1">
<trk><name>Skagerrak Trader</name>
<trkseg>
<trkpt lat="60.040000" lon="10.700000"><time>2026-01-02T02:04:05.000000Z</time></trkpt>
</trkseg>
</trk>
</gpx>
""",
            ),
        }
    },
    "listPositions": {
        MEDIA_TYPES["geojson"]: {
            "page": ("There are more", _as_features(_past(_PAST[0], more=_MORE_PAST))),
            "last": ("The last page", _as_features(_past(*_PAST))),
        },
        MEDIA_TYPES["csv"]: {"whole": ("A whole window", _PAST_AS_CSV)},
        MEDIA_TYPES["gpx"]: {"whole": ("A whole window", _PAST_AS_GPX)},
    },
}
"""What else 200 may look like where it comes in several media types, by operation and media type."""
