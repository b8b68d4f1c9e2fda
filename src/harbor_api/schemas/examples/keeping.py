"""How long positions are kept: of a ship that a court asks about, and of one of which nothing is said."""

from harbor_api.schemas.examples.night import Answers, Json, Requests, at

_SHORT: Json = {
    "vessel_id": 2,
    "keep_positions_days": 30,
    "hold_reason": None,
    "held_by": None,
    "held_since": None,
}
_NOTHING: Json = {**_SHORT, "vessel_id": 1, "keep_positions_days": None}
_HELD: Json = {
    **_NOTHING,
    "hold_reason": "Court order 12/2026",
    "held_by": "Legal desk",
    "held_since": at("03:10:00"),
}

REQUESTS: Requests = {
    "updateKeeping": {
        "hold": ("Put her under a legal hold", {"hold_reason": _HELD["hold_reason"]}),
        "lift": ("Lift the hold", {"hold_reason": None}),
        "shorter": ("Keep her positions for thirty days", {"keep_positions_days": 30}),
        "ever": ("Keep all of hers", {"keep_positions_days": 0}),
    },
}
ANSWERS: Answers = {
    "getKeeping": {
        200: {
            "held": ("Under a legal hold", _HELD),
            "shorter": ("Kept for thirty days", _SHORT),
            "nothing": ("Nothing is said of her: kept as others are", _NOTHING),
        }
    },
    "updateKeeping": {
        200: {
            "hold": ("Under a legal hold", _HELD),
            "lift": ("The hold is lifted", _NOTHING),
        }
    },
}
