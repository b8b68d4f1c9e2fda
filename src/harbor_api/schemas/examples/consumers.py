"""Followers whose place is kept for them."""

from harbor_api.schemas.examples.feed import LATE, UPSERT, told
from harbor_api.schemas.examples.night import Answers, Json, Requests, at
from harbor_api.schemas.feed import CURSOR_EXAMPLE

_CONSUMER: Json = {
    "name": "warehouse",
    "filters": {"kind": ["cargo", "tanker"], "bbox": [9.5, 58.5, 11.5, 60.0]},
    "cursor": CURSOR_EXAMPLE,
    "lag_s": 0.0,
    "behind_at": None,
    "expired": False,
    "seen_at": None,
    "created_at": at("03:04:06.251"),
}
_BEHIND: Json = {**_CONSUMER, "lag_s": 14.749, "behind_at": at("03:04:06.251"), "seen_at": at("03:04:02")}
_GONE: Json = {
    **_CONSUMER,
    "name": "report",
    "filters": {"vessel_id": [1], "imo": ["9074729"], "mmsi": ["257123450"], "flag": ["NO"]},
    "lag_s": 86_400.0,
    "behind_at": at("2026-01-01T03:04:06"),
    "expired": True,
    "oldest": CURSOR_EXAMPLE,
    "oldest_at": at("2026-01-01T03:04:06"),
    "created_at": at("2025-12-01T09:00:00"),
    "seen_at": at("2025-12-03T09:00:00"),
}

REQUESTS: Requests = {
    "putFeed": {
        "create": ("Some vessels in a box, from now on", _CONSUMER["filters"]),
        "since": ("All that came in since a time", {"from": "2026-01-02T03:04:05Z"}),
        "acknowledge": ("All up to here is kept", {"cursor": CURSOR_EXAMPLE}),
    },
}

ANSWERS: Answers = {
    "listFeeds": {
        200: {
            "two": ("One that expired, and one that is a little behind", {"feeds": [_GONE, _BEHIND]}),
            "none": ("None so far", {"feeds": []}),
        }
    },
    "getFeed": {200: {"behind": ("A little behind", _BEHIND), "expired": ("A part was removed", _GONE)}},
    "putFeed": {
        200: {"acknowledge": ("It has all now", {**_CONSUMER, "seen_at": at("03:04:21")})},
        201: {"create": ("From now on", _CONSUMER)},
    },
    "readFeed": {
        200: {
            "page": ("There is more by now", told(UPSERT, LATE, has_more=True)),
            "none": ("Nothing has happened", told()),
        }
    },
}
