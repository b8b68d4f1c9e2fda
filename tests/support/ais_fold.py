"""The fleet at a moment as a file of AIS positions has it: read, sorted and interpolated by code of its own.

Nothing of the service is used, so that the two can be held against each other.
"""

import bisect
import csv
import math
import re
from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

GAP = timedelta(seconds=1800)
STALE_AFTER = timedelta(seconds=900)
Row = tuple[datetime, float, float]


class Seen(NamedTuple):
    """Where a ship was: latitude and longitude, by what basis, by which fix before, between which two."""

    lat: float
    lon: float
    basis: str
    recorded_at: datetime
    between: tuple[datetime, datetime] | None
    stale: bool


def read(file: Path, stored: Collection[tuple[str, datetime]]) -> dict[str, list[Row]]:
    """Return the rows of each ship, by MMSI and in order of time, of those that the service has stored.

    Of several rows of a ship and time the first with a position counts, as the one that was sent first.
    """
    tracks: dict[str, dict[datetime, Row]] = defaultdict(dict)
    with file.open(newline="", encoding="utf-8", errors="replace") as lines:
        for row in csv.DictReader(lines):
            if "# Timestamp" in row:
                if row["Type of mobile"] not in {"Class A", "Class B"}:
                    continue
                moment = datetime.strptime(row["# Timestamp"], "%d/%m/%Y %H:%M:%S").replace(tzinfo=UTC)
                lat, lon = float(row["Latitude"]), float(row["Longitude"])
            else:
                moment = datetime.fromisoformat(row["BaseDateTime"]).replace(tzinfo=UTC)
                lat, lon = float(row["LAT"]), float(row["LON"])
            mmsi = row["MMSI"]
            is_position = abs(lat) <= 90 and abs(lon) <= 180 and re.fullmatch("[2-7][0-9]{8}", mmsi)
            if is_position and (mmsi, moment) in stored:
                tracks[mmsi].setdefault(moment, (moment, lat, lon))
    return {mmsi: sorted(rows.values()) for mmsi, rows in tracks.items()}


def at(track: list[Row], moment: datetime) -> Seen | None:
    """Return where a ship was at a moment, None where no row is that old."""
    place = bisect.bisect_right(track, moment, key=lambda row: row[0])
    if place == 0:
        return None
    when, lat, lon = track[place - 1]
    stale = moment - when >= STALE_AFTER
    if when == moment:
        return Seen(lat, lon, "measured", when, None, stale)
    if place < len(track):
        then, other_lat, other_lon = track[place]
        seconds = (then - when).total_seconds()
        if then - when <= GAP and _metres(lat, lon, other_lat, other_lon) <= seconds * 60 * 0.514444 + 500:
            share = (moment - when).total_seconds() / seconds
            # No ship of the files goes over 180 degrees.
            there = lat * (1 - share) + other_lat * share, lon * (1 - share) + other_lon * share
            return Seen(*there, "interpolated", when, (when, then), stale)
    return Seen(lat, lon, "last_known", when, None, stale)


def _metres(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    """Return the distance on a sphere, by the angle between two vectors."""
    one, other = _vector(lat, lon), _vector(other_lat, other_lon)
    return 6_371_008.8 * 2 * math.asin(min(1, math.dist(one, other) / 2))


def _vector(lat: float, lon: float) -> tuple[float, float, float]:
    north, east = math.radians(lat), math.radians(lon)
    return math.cos(north) * math.cos(east), math.cos(north) * math.sin(east), math.sin(north)
