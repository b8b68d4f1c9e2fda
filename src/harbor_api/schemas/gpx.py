"""GPX 1.1: tracks as navigators, chart plotters and GIS programs read them, written as they come.

Its schema is http://www.topografix.com/GPX/1/1/gpx.xsd. It knows no longitude of 180, which is -180 here, and
says nothing of lines across that meridian: readers draw them straight, around the world.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from xml.sax.saxutils import escape

MEDIA_TYPE = "application/gpx+xml"

_HEAD = """\
<?xml version="1.0" encoding="UTF-8"?>
<gpx version="1.1" creator="Harbor API" xmlns="http://www.topografix.com/GPX/1/1"\
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"\
 xsi:schemaLocation="http://www.topografix.com/GPX/1/1 http://www.topografix.com/GPX/1/1/gpx.xsd">
<trk><name>{name}</name>
"""
# A plain decimal: the schema knows no exponent.
_POINT = '<trkpt lat="%.6f" lon="%.6f"><time>%s</time></trkpt>\n'
# What XML 1.0 cannot hold, even escaped (section 2.2), and the carriage return, which its readers change.
_NOT_XML = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REPLACEMENT = "\ufffd"

Point = tuple[float, float, str]
"""Latitude and longitude in degrees, and the time as RFC 3339."""


class GpxTrack:
    """One track, in pieces that make a document when they are joined: head, points and parts, tail.

    Holds nothing but where it stands, so that a million points take no more memory than the pieces that they
    are handed over in.
    """

    def __init__(self) -> None:
        self._is_open = False
        self._lon = 0.0

    def head(self, name: str) -> bytes:
        """Return the beginning, with the name of what has made the track."""
        return _HEAD.format(name=escape(_NOT_XML.sub(_REPLACEMENT, name))).encode()

    def points(self, points: Iterable[Point]) -> bytes:
        """Return the next points, in order of time.

        They go on where the ones before ended, in a segment of its own on each side of the meridian of 180
        degrees.
        """
        placed = [(lat, -180.0 if lon == 180 else lon, time) for lat, lon, time in points]
        if not placed:
            return b""
        text = "" if self._is_open else "<trkseg>\n"
        start, last = 0, self._lon if self._is_open else placed[0][1]
        self._is_open = True
        for number, (_, lon, _) in enumerate(placed):
            if abs(lon - last) > 180:
                text += _written(placed[start:number]) + _BREAK
                start = number
            last = lon
        self._lon = last
        return (text + _written(placed[start:])).encode()

    def part(self) -> bytes:
        """Return what stands between two parts that nothing is known between: a gap, a jump."""
        was_open, self._is_open = self._is_open, False
        return b"</trkseg>\n" if was_open else b""

    def tail(self) -> bytes:
        """Return the end."""
        return self.part() + b"</trk>\n</gpx>\n"


_BREAK = "</trkseg>\n<trkseg>\n"


def _written(points: Sequence[Point]) -> str:
    return _POINT * len(points) % tuple(chain.from_iterable(points))
