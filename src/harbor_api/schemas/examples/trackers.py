"""The trader's tracker, and one that is under development."""

from harbor_api.schemas.examples.night import Answers, Json, Requests, at, page
from harbor_api.schemas.examples.positions import MISSING

# Reads "This is an example, not a secret".
_SIGNS_NOTHING = "whsec_VGhpcyBpcyBhbiBleGFtcGxlLCBub3QgYSBzZWNyZXQ="

_FIRST = "0001-01-01T00:00:00"
TRACKER: Json = {
    "id": "trk_0001",
    "number": 1,
    "label": "bridge",
    "test": False,
    "vessel_id": 1,
    "assignments": [{"vessel_id": 1, "starts_at": at(_FIRST)}],
    "generation": 1,
    "previous_valid_until": None,
    "disabled_at": None,
}
_ON_THE_BENCH: Json = {
    **TRACKER,
    "id": "trk_0002",
    "number": 2,
    "label": "workbench",
    "test": True,
    "vessel_id": 3,
    "assignments": [{"vessel_id": 3, "starts_at": at(_FIRST)}],
}
_MOVED: Json = {
    **TRACKER,
    "vessel_id": 2,
    "assignments": [*TRACKER["assignments"], {"vessel_id": 2, "starts_at": at("04:00:00")}],
}
_ROTATED: Json = {**TRACKER, "generation": 2, "previous_valid_until": at("2026-01-09T03:04:05")}

REQUESTS: Requests = {
    "createTracker": {
        "on_board": ("A tracker on its vessel", {"vessel_id": 1, "label": "bridge"}),
        "under_test": ("One under development", {"vessel_id": 3, "label": "workbench", "test": True}),
    },
    "updateTracker": {
        "finished": ("No longer under test", {"test": False}),
        "relabel": ("Another label", {"label": "bridge, starboard"}),
    },
    "reassignTracker": {
        "now": ("From now on", {"vessel_id": 2}),
        "from_a_moment": ("From a moment on", {"vessel_id": 2, "starts_at": "2026-01-02T04:00:00Z"}),
    },
    "rotateTracker": {
        "a_week": ("The old secret holds for a week", {"grace_s": 604_800}),
        "at_once": ("The old secret is lost: it ends at once", {"grace_s": 0}),
    },
}

ANSWERS: Answers = {
    "listTrackers": {
        200: {
            "page": (
                "There are more",
                page("trackers", TRACKER, _ON_THE_BENCH, more="/api/v1/trackers?limit=2&cursor=after-2"),
            ),
            "last": ("The last page", page("trackers", _ON_THE_BENCH)),
        }
    },
    "createTracker": {
        201: {
            "on_board": ("With its secret", {**TRACKER, "secret": _SIGNS_NOTHING}),
            "under_test": ("One under development", {**_ON_THE_BENCH, "secret": _SIGNS_NOTHING}),
        }
    },
    "getTracker": {
        200: {
            "complete": ("Nothing is missing", {**TRACKER, "missing": []}),
            "gaps": ("Some numbers have not arrived", {**TRACKER, "missing": MISSING}),
        }
    },
    "updateTracker": {
        200: {
            "finished": ("No longer under test", {**_ON_THE_BENCH, "test": False}),
            "relabel": ("Another label", {**TRACKER, "label": "bridge, starboard"}),
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
    "disableTracker": {200: {"disabled": ("It may not post", {**TRACKER, "disabled_at": at("08:00:00")})}},
    "enableTracker": {200: {"enabled": ("It may post again", TRACKER)}},
}
