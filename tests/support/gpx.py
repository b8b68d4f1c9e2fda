"""What the schema of GPX 1.1 demands of a document that holds one track."""

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

_NAMESPACE = "{http://www.topografix.com/GPX/1/1}"
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)", re.ASCII)
_UTC = re.compile(r"-?\d{4,}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z", re.ASCII)


def segments_of(content: bytes) -> list[list[tuple[float, float, str]]]:
    """Return latitude, longitude and time of each point by segment; fails where the schema is not obeyed.

    A segment of nothing is fine by the schema, and no use to anybody: that fails, too.
    """
    root = ET.fromstring(content)
    assert root.tag == f"{_NAMESPACE}gpx"
    assert root.attrib["version"] == "1.1"
    assert root.attrib["creator"]
    [track] = root
    assert track.tag == f"{_NAMESPACE}trk"
    name, *segments = track
    assert name.tag == f"{_NAMESPACE}name"
    assert len(name) == 0
    told = []
    for segment in segments:
        assert segment.tag == f"{_NAMESPACE}trkseg"
        assert len(segment)
        told.append([_point(each) for each in segment])
        assert all(abs(one[1] - other[1]) <= 180 for one, other in pairwise(told[-1]))
    return told


def _point(point: ET.Element) -> tuple[float, float, str]:
    assert point.tag == f"{_NAMESPACE}trkpt"
    assert set(point.attrib) == {"lat", "lon"}
    assert all(_DECIMAL.fullmatch(value) for value in point.attrib.values())
    lat, lon = float(point.attrib["lat"]), float(point.attrib["lon"])
    assert -90 <= lat <= 90
    assert -180 <= lon < 180
    [time] = point
    assert time.tag == f"{_NAMESPACE}time"
    assert time.text
    assert _UTC.fullmatch(time.text)
    return lat, lon, time.text
