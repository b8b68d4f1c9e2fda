"""What was held back that night, and what was decided."""

from harbor_api.domain.judgement import FUTURE, NULL_ISLAND, WITHDRAWN
from harbor_api.schemas.examples.night import Answers, Json, Requests, at, page
from harbor_api.schemas.examples.positions import WITHOUT_A_FIX
from harbor_api.schemas.examples.trackers import TRACKER

_HELD: Json = {
    "id": 1,
    "vessel_id": 1,
    "tracker_id": TRACKER["id"],
    "reason": NULL_ISLAND,
    "state": "held",
    "recorded_at": at("03:04:06"),
    "received_at": at("03:04:07.118"),
    "decided_at": None,
    "decided_by": None,
    "note": None,
    "lat": 0.0,
    "lon": 0.0,
    "raw": WITHOUT_A_FIX,
}
_AHEAD: Json = {
    **_HELD,
    "id": 2,
    "reason": FUTURE,
    "recorded_at": at("05:04:05"),
    "received_at": at("03:05:11.442"),
    "lat": 59.89,
    "lon": 10.7,
    "raw": {"recorded_at": "2026-01-02T05:04:05Z", "lat": 59.89, "lon": 10.7},
}
_BY: Json = {"decided_by": "key 1 (Operations)"}
_RELEASED: Json = {**_AHEAD, **_BY, "state": "released", "decided_at": at("08:15:00")}
_REJECTED: Json = {**_HELD, **_BY, "state": "rejected", "decided_at": at("08:14:30")}
_WITHDRAWAL: Json = {"vessel_id": 1, "recorded_at": at("03:04:05"), "note": "Clock of the tracker was wrong"}
_WITHDRAWN: Json = {
    **_WITHDRAWAL,
    **_BY,
    "id": 3,
    "tracker_id": TRACKER["id"],
    "reason": WITHDRAWN,
    "state": "withdrawn",
    "decided_at": at("08:16:00"),
}
_SELECTION: Json = {
    "reason": NULL_ISLAND,
    "vessel_id": 1,
    "from": at("2026-01-01T00:00:00"),
    "to": at("2026-01-03T00:00:00"),
    "dry_run": True,
}
_COUNTED: Json = {"matched": 3, "decided": 0, "left": 3, "too_early": 0}
_DECIDED: Json = {"matched": 3, "decided": 3, "left": 0, "too_early": 0}

REQUESTS: Requests = {
    "withdrawFix": {"wrong_clock": ("A stored fix that was wrong", _WITHDRAWAL)},
    **{
        each: {
            "counted": ("Only count", _SELECTION),
            "decided": ("Decide", {**_SELECTION, "dry_run": False}),
            "of_a_tracker": ("All of a tracker", {"tracker_id": TRACKER["id"]}),
        }
        for each in ("releaseFixes", "rejectFixes")
    },
}

ANSWERS: Answers = {
    "listQuarantine": {
        200: {
            "page": (
                "There are more",
                page("quarantine", _HELD, _AHEAD, more="/api/v1/quarantine?limit=2&cursor=after-2"),
            ),
            "decided": ("Decisions stay in the list", page("quarantine", _REJECTED, _RELEASED)),
        }
    },
    "releaseFix": {200: {"released": ("Now in the vessel's history", _RELEASED)}},
    "rejectFix": {200: {"rejected": ("It never comes on the map", _REJECTED)}},
    "withdrawFix": {200: {"wrong_clock": ("Out of the vessel's history", _WITHDRAWN)}},
    **{
        each: {200: {"counted": ("A dry run", _COUNTED), "decided": ("All of them", _DECIDED)}}
        for each in ("releaseFixes", "rejectFixes")
    },
}
