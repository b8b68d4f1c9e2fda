"""What the trader did in two days."""

from harbor_api.schemas.examples.night import Answers, Json, at

# Left at nine, stopped for a while on her way, and not heard of for an hour before midnight.
_DAY_OF_LEAVING: Json = {
    "date": "2026-01-01",
    "fixes": 4741,
    "first_at": at("2026-01-01T09:00:12"),
    "last_at": at("2026-01-01T23:59:55"),
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
    "first_at": at("00:00:05"),
    "last_at": at("03:04:05"),
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

ANSWERS: Answers = {
    "getVesselSummary": {
        200: {
            "over_midnight": ("Of two days", _SUMMARY),
            "never_seen": ("Of a vessel that was not seen in that time", _NOTHING),
        }
    },
}
