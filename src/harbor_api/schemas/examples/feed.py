"""What those hear who follow the fleet."""

import json

from harbor_api.schemas.examples.history import PAST
from harbor_api.schemas.examples.night import Answers, Json, at
from harbor_api.schemas.examples.vessels import TRADER
from harbor_api.schemas.feed import CURSOR_EXAMPLE

UPSERT: Json = {
    "op": "upsert",
    "id": "vN3-u0c2aYzQ",
    "vessel_id": 1,
    **PAST[1],
    "late": False,
    "released": False,
}
_PLACE: Json = {"cursor": CURSOR_EXAMPLE, "now": at("03:04:06.251")}
_HELLO: Json = {
    **_PLACE,
    "heartbeat_s": 20,
    "filters": {"kind": "cargo"},
    "max_rate_s": None,
    "snapshot": False,
}
_HEARTBEAT: Json = {
    "now": at("03:04:26.251"),
    "as_of": at("03:04:26.003"),
    "newest_received_at": at("03:04:06.251"),
}
LATE: Json = {**UPSERT, "id": "Qm1xT7bKp0Re", **PAST[0], "late": True}
_DELETE: Json = {
    "op": "delete",
    **{name: LATE[name] for name in ("id", "vessel_id", "recorded_at")},
}


def told(*items: Json, has_more: bool = False) -> Json:
    """Return a page of the feed."""
    return {"items": [*items], "next": CURSOR_EXAMPLE, "has_more": has_more, "now": at("03:04:06.251")}


def _event(name: str, data: Json, cursor: str | None = CURSOR_EXAMPLE) -> str:
    head = "" if cursor is None else f"id: {cursor}\n"
    return f"{head}event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


def _stream(*events: str) -> str:
    return "".join(("retry: 3712\n", *events))


ANSWERS: Answers = {
    "followPositions": {
        200: {
            "page": ("There is more by now", told(UPSERT, LATE, has_more=True)),
            "last": ("A fix was withdrawn, and that is all", told(_DELETE)),
            "none": ("Nothing has happened", told()),
        }
    },
    "streamPositions": {
        200: {
            "fleet": (
                "The fleet first, then what happens",
                _stream(
                    _event("hello", {**_HELLO, "max_rate_s": 5, "snapshot": True}, None),
                    _event("vessel", TRADER, None),
                    _event("live", _PLACE),
                    _event("position", UPSERT),
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
                            "oldest_at": at("03:04:05.000"),
                        },
                    )
                ),
            ),
        }
    },
}
