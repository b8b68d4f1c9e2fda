"""The fleet: a ship under way, a ferry that is stale, a tug that was never seen."""

from typing import Any

from harbor_api.schemas.examples.night import Answers, Json, Requests, at


def _details(name: str, **known: Any) -> Json:
    unknown = dict.fromkeys(
        ("imo", "mmsi", "call_sign", "flag", "kind", "length_m", "beam_m", "draught_m", "max_speed_kn")
    )
    return {"name": name, **unknown, **known}


CARGO: Json = _details(
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
UNDER_WAY: Json = {
    "recorded_at": at("03:04:05"),
    "received_at": at("03:04:06.251"),
    "stale": False,
    "stale_at": at("03:19:05"),
    "sog": 8.4,
    "cog": 181.2,
    "heading": 180.0,
    "nav_status": 0,
    "accuracy_m": 4.0,
}
_MOORED: Json = {
    **_UNSEEN,
    "recorded_at": at("2026-01-01T21:40:10"),
    "received_at": at("2026-01-01T21:40:12.003"),
    "stale_at": at("2026-01-01T21:55:10"),
    "sog": 0.0,
    "nav_status": 5,
}


def _feature(
    number: int, details: Json, seen: Json, place: list[float] | None, *, retired_at: str | None = None
) -> Json:
    return {
        "type": "Feature",
        "id": number,
        "geometry": None if place is None else {"type": "Point", "coordinates": place},
        "properties": {**details, **seen, "retired_at": retired_at},
    }


TRADER = _feature(1, CARGO, UNDER_WAY, [10.7, 59.9])
_AT_BERTH = _feature(2, _FERRY, _MOORED, [10.683495, 59.874076])
_NEVER_SEEN = _feature(3, _WORKBOAT, _UNSEEN, None)
_RETIRED = _feature(4, _SOLD, _UNSEEN, None, retired_at=at("2026-01-01T12:00:00"))
_CHANGED = _feature(3, {**_WORKBOAT, "call_sign": "LDTG", "max_speed_kn": 14}, _UNSEEN, None)


def _fleet(*features: Json, now: str | None) -> Json:
    return {
        "type": "FeatureCollection",
        "now": now and at(now),
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


FLEET_THEN = {
    **_fleet(
        _then(TRADER, "interpolated", [10.699912, 59.897869], between=[at("03:04:05"), at("03:06:05")]),
        _then(_AT_BERTH, "last_known", [10.683495, 59.874076], stale=True),
        _then(_NEVER_SEEN, None, None),
        now="03:05:00",
    ),
    "as_of": at("03:05:00"),
}

REQUESTS: Requests = {
    "createVessel": {
        "whole": ("With all that is known of her", {k: v for k, v in CARGO.items() if v is not None}),
        "name_only": ("A name is enough", {"name": _WORKBOAT["name"]}),
    },
    "updateVessel": {
        "correct": ("Add what was not known", {"call_sign": "LDTG", "max_speed_kn": 14}),
        "take_away": ("Null takes away what was known", {"call_sign": None}),
    },
}

ANSWERS: Answers = {
    "listVessels": {
        200: {
            "in_service": (
                "One under way, one that is stale, one that was never seen",
                _fleet(TRADER, _AT_BERTH, _NEVER_SEEN, now="03:04:06.251"),
            ),
            "near": (
                "With `near=10.7,59.9`: the nearest first",
                _fleet(_from(TRADER, 0.0, 0.0), _from(_AT_BERTH, 3026.8, 197.8), now="03:04:06.251"),
            ),
            "as_of": ("With `as_of=2026-01-02T03:05:00Z`: where each of them was then", FLEET_THEN),
            "retired": ("With `retired=true`", _fleet(_RETIRED, now="2026-01-01T12:00:00")),
            "none": ("A key that sees no vessel", _fleet(now=None)),
        }
    },
    "getVessel": {
        200: {
            "under_way": ("Under way", TRADER),
            "stale": ("Not heard of for hours: where it was last seen", _AT_BERTH),
            "never_seen": ("Registered, and never seen", _NEVER_SEEN),
            "retired": ("Retired", _RETIRED),
        }
    },
    "createVessel": {
        201: {
            "whole": ("With all that is known of her", _feature(1, CARGO, _UNSEEN, None)),
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
}
