"""Where the trader sailed."""

from harbor_api.schemas.examples.night import Answers, Json, Otherwise, at
from harbor_api.schemas.examples.vessels import FLEET_THEN


def _part(kind: str, *places: tuple[str, list[float]]) -> Json:
    times, line = [at(time) for time, _ in places], [place for _, place in places]
    geometry: Json = {"type": "LineString", "coordinates": line}
    if len(line) == 1:
        geometry = {"type": "Point", "coordinates": line[0]}
    told = {"kind": kind, "from": times[0], "to": times[-1], "points": len(line), "coordTimes": times}
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
    [at("02:00:00"), at("02:20:00")],
    [at("02:20:00"), at("02:40:00")],
]

ANSWERS: Answers = {
    "getVesselTrack": {
        200: {
            "gap": ("Two lines, and between them nothing came", _track(*_SAILED, fixes=4, left=4)),
            "simplified": (
                "With `max_points=4`: by what tolerance",
                _track(*_SAILED, fixes=362, left=4, tolerance_m=41.207),
            ),
            "across": ("Across 180 degrees", _track(_ACROSS, fixes=2, left=2)),
            "at": ("With `at=2026-01-02T03:05:00Z`: where she was then", FLEET_THEN["features"][0]),
            "one_fix": ("One fix alone", _track(_part("track", _AFTER), fixes=1, left=1)),
            "none": ("Nothing came in that time", _track(fixes=0, left=0)),
        }
    },
}

OTHERWISE: Otherwise = {
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
}
