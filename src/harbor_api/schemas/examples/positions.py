"""What a tracker sends, and what it is told."""

from harbor_api.domain.judgement import NULL_ISLAND, REASONS
from harbor_api.schemas.examples.night import Answers, Examples, Json, Requests, at
from harbor_api.schemas.positions import warnings_about

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
WITHOUT_A_FIX: Json = {"recorded_at": "2026-01-02T03:04:06Z", "lat": 0, "lon": 0, "number": 1042}
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
INVALID: Json = {
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
MISSING = [{"first": 1012, "last": 1014}]


def _quarantined(reason: str) -> Json:
    return {"verdict": "quarantined", "latest": False, "reason": reason}


_HELD_FOR: Examples = {
    code: (meaning.partition(": ")[0], _quarantined(code)) for code, meaning in REASONS.items()
}


def _forecast(verdict: Json) -> Json:
    return {"would_be" if name == "verdict" else name: value for name, value in verdict.items()}


REQUESTS: Requests = {
    "postPosition": _FIXES,
    "checkPosition": _FIXES,
    "postPositionBatch": {
        "backlog": ("What was kept out of coverage, then the newest fix", {"fixes": [_BUFFERED, _FULL]}),
        "mixed": (
            "A new fix, one that was sent before, and one of a receiver without a position",
            {"fixes": [_FULL, _BUFFERED, WITHOUT_A_FIX]},
        ),
        "newer": (
            "Of firmware that knows more than this service",
            {"fixes": [_NEWER], "firmware": "4.2.0"},
        ),
    },
}

ANSWERS: Answers = {
    "postPosition": {
        200: {
            "duplicate": ("The same fix was stored before", _DUPLICATE),
            "differs": ("Another fix of that time was stored before, and stays", _DIFFERING),
        },
        201: {
            "latest": ("Now the vessel's latest position", _STORED),
            "late": ("Stored in its place in her history: a newer one was there", _STORED_LATE),
            "newer": ("With a member that was passed over", {**_STORED, "ignored": ["hdop"]}),
            "missing": ("With numbers that have not arrived", {**_STORED, "missing": MISSING}),
            "secret_ends": (
                "Signed with the secret before a rotation",
                {**_STORED, "secret_ends_at": at("2026-01-09T03:04:05")},
            ),
        },
        202: _HELD_FOR,
    },
    "postPositionBatch": {
        200: {
            "backlog": ("Both are stored", {"verdicts": [_STORED_LATE, _STORED]}),
            "mixed": (
                "A verdict for each, in order; any of them may be erased",
                {"verdicts": [_STORED, _DUPLICATE, _quarantined(NULL_ISLAND)], "missing": MISSING},
            ),
            "newer": (
                "Members that are not known were passed over",
                {"verdicts": [{**_STORED, "ignored": ["hdop"]}], "ignored": ["firmware"]},
            ),
            "invalid": (
                "The second one has a latitude of 95.5, and blocks no other",
                {"verdicts": [_STORED, INVALID]},
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
}
