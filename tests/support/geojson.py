"""What RFC 7946 demands of the lines of a track, and what we promise of them."""

import itertools
import json
from datetime import datetime
from typing import Any, NamedTuple

Position = tuple[float, float]


class Part(NamedTuple):
    """A Feature of a track: its lines, each of positions with their times."""

    kind: str
    lines: list[list[tuple[datetime, float, float]]]
    points: int


def parts_of(content: bytes) -> list[Part]:
    """Return the parts of a track; fails where one is no valid GeoJSON, or not as it is promised."""
    track = json.loads(content, parse_constant=_refuse)
    assert track["type"] == "FeatureCollection"
    assert "crs" not in track
    parts = [_part(feature) for feature in track["features"]]
    assert [part.kind == "track" for part in parts] == [number % 2 == 0 for number in range(len(parts))]
    assert len(parts) % 2 or not parts
    for before, after in itertools.pairwise(parts):
        # What lies between two parts begins and ends where they do.
        assert before.lines[-1][-1] == after.lines[0][0] or abs(after.lines[0][0][2]) == 180
    assert sum(part.points for part in parts if part.kind == "track") == track["points_out"]
    assert track["points_out"] <= track["points_in"]
    return parts


def _part(feature: dict[str, Any]) -> Part:
    assert feature["type"] == "Feature"
    told, geometry = feature["properties"], feature["geometry"]
    assert set(geometry) == {"type", "coordinates"}
    coordinates, times = geometry["coordinates"], told["coordTimes"]
    nested = {
        "Point": ([[coordinates]], [times]),
        "LineString": ([coordinates], [times]),
        "MultiLineString": (coordinates, times),
    }
    lines = [
        [(datetime.fromisoformat(time), lat, lon) for (lon, lat), time in zip(line, of_line, strict=True)]
        for line, of_line in zip(*nested[geometry["type"]], strict=True)
    ]
    if geometry["type"] == "Point":
        assert told["kind"] == "track"
        assert told["points"] == 1
    else:
        assert all(len(line) >= 2 for line in lines)
    if geometry["type"] == "MultiLineString":
        assert len(lines) >= 2
    for line in lines:
        assert all(-180 <= lon <= 180 and -90 <= lat <= 90 for _, lat, lon in line)
        assert all(round(lon, 6) == lon and round(lat, 6) == lat for _, lat, lon in line)
        for one, other in itertools.pairwise(line):
            assert abs(one[2] - other[2]) <= 180
            assert one[0] <= other[0]
    for piece, following in itertools.pairwise(lines):
        # Both touch the meridian, each on its side, at one latitude and time.
        assert piece[-1][:2] == following[0][:2]
        assert {piece[-1][2], following[0][2]} == {-180.0, 180.0}
    assert datetime.fromisoformat(told["from"]) == lines[0][0][0]
    assert datetime.fromisoformat(told["to"]) == lines[-1][-1][0]
    assert told["points"] == 2 or told["kind"] == "track"
    return Part(told["kind"], lines, told["points"])


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")
