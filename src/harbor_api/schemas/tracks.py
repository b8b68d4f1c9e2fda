"""Tracks as GeoJSON and as GPX: what partners ask for and draw.

Written from columns into bytes: an object for each of ten thousand positions would take longer than all else.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import orjson
from marshmallow import Schema, ValidationError, validates_schema
from marshmallow.fields import Integer, List, Nested, Raw, String
from marshmallow.validate import OneOf, Range

from harbor_api.domain.columns import Floats, Times
from harbor_api.domain.moments import LONGEST_GAP
from harbor_api.domain.track_events import (
    LEAST_STOP_S,
    STOPPED_KN,
    TURN_DEGREES,
    TURN_S,
    TURNING_KN,
    UNDER_WAY_KN,
)
from harbor_api.domain.track_geometry import Line, crossings, pieces
from harbor_api.domain.track_times import WIDTH, rfc3339_column
from harbor_api.domain.tracks import MOST_FIXES, Track
from harbor_api.schemas.fields import Number, QueryNumber, QueryWhole, Timestamp, demand_order
from harbor_api.schemas.formats import format_of
from harbor_api.schemas.gpx import GpxTrack
from harbor_api.schemas.typed import QuerySchema

_LEAST_POINTS = 2
_MOST_TOLERANCE_M = 100_000
_MOST_GAP_S = 366 * 86_400
_LONGEST_GAP_S = int(LONGEST_GAP.total_seconds())
_GAP_S = 1_800
# How many points of GPX are written in one go: some milliseconds.
_AT_ONCE = 2_000
_ALWAYS_KEPT = (
    "Always kept are the ends of each part, where stops begin and end (slower than "
    f"{STOPPED_KN:g} knots for {LEAST_STOP_S // 60} minutes, until faster than {UNDER_WAY_KN:g}), and "
    f"changes of course above {TURNING_KN:g} knots (by {TURN_DEGREES:g} degrees from one fix to the next, or "
    f"within {TURN_S} seconds)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackQuery:
    """Which time, what counts as a gap, and how many positions are wanted; None where that was not said.

    ``at`` is a moment alone, in place of a stretch of time.
    """

    start: datetime | None = None
    end: datetime | None = None
    gap_s: int
    tolerance_m: float | None = None
    most: int | None = None
    format: str | None = None
    at: datetime | None = None


class TrackQuerySchema(QuerySchema):
    """Which part of a vessel's history, and how it is drawn."""

    makes = TrackQuery

    start = Timestamp(
        data_key="from",
        metadata={"description": "The first moment, included. Default: 24 hours before `to`."},
    )
    end = Timestamp(data_key="to", metadata={"description": "The last moment, not included. Default: now."})
    gap_s = QueryWhole(
        data_key="gap",
        load_default=_GAP_S,
        validate=Range(1, _MOST_GAP_S),
        metadata={"description": "Seconds: where the next fix is later than this the track is split."},
    )
    tolerance_m = QueryNumber(
        data_key="simplify",
        validate=Range(0, _MOST_TOLERANCE_M),
        metadata={
            "description": "Metres: leave out each fix that is no further than this from where the line "
            f"that is left says the ship was at the time of the fix. {_ALWAYS_KEPT}"
        },
    )
    most = QueryWhole(
        data_key="max_points",
        validate=Range(_LEAST_POINTS, MOST_FIXES),
        metadata={
            "description": "Leave out as many as leave no more than so many fixes, by the smallest "
            "tolerance that does (`tolerance_m` of the answer). What is always kept (see `simplify`) may be "
            "more, and then stays: `points_out` tells."
        },
    )
    format = format_of("geojson", "gpx")
    at = Timestamp(
        metadata={
            "description": "Where the vessel was at one moment, no later than the key sees: a Feature as in "
            "`GET /api/v1/vessels?as_of=`, with `basis` and `between`. Beside it only `gap` is taken, which "
            f"then is at most {_LONGEST_GAP_S:,}."
        }
    )

    @validates_schema
    def _refuse_beside_at(self, data: dict[str, Any], **_: Any) -> None:
        beside = {"start", "end", "tolerance_m", "most"} & set(data)
        if "at" in data and (beside or data.get("format") == "gpx"):
            raise ValidationError("Goes with `gap` alone.", "at")
        if "at" in data and data["gap_s"] > _LONGEST_GAP_S:
            raise ValidationError(f"With `at` it is at most {_LONGEST_GAP_S}.", "gap")

    @validates_schema
    def _refuse_both(self, data: dict[str, Any], **_: Any) -> None:
        if "tolerance_m" in data and "most" in data:
            raise ValidationError("Give either `simplify` or `max_points`.", "max_points")

    @validates_schema
    def _demand_window(self, data: dict[str, Any], **_: Any) -> None:
        demand_order(data.get("start"), data.get("end"))


_POSITION = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_TIME = {"type": "string", "format": "date-time"}


def _list_of(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_POSITION = {**_list_of({"type": "number"}), "minItems": 2, "maxItems": 2}
_TIME = {"type": "string", "format": "date-time"}


class TrackGeometrySchema(Schema):
    """A line of [longitude, latitude] in WGS 84 degrees; of several pieces where it crosses 180 degrees."""

    type = String(required=True, validate=OneOf(["Point", "LineString", "MultiLineString"]))
    coordinates = Raw(
        required=True,
        metadata={
            "anyOf": [_POSITION, _list_of(_POSITION), _list_of(_list_of(_POSITION))],
            "description": "One position; a list of them; or a list of lines. Pieces that meet at 180 "
            "degrees both touch it, at the latitude on the way from one fix to the next.",
            "examples": [[[10.7, 59.9], [10.71, 59.92]]],
        },
    )


class TrackPropertiesSchema(Schema):
    """One part of a track."""

    kind = String(
        required=True,
        validate=OneOf(["track", "gap", "jump"]),
        metadata={
            "description": "`track`: the ship was followed. `gap`: nothing is known between these two fixes. "
            "`jump`: she cannot have gone from one to the other in that time."
        },
    )
    start = Timestamp(required=True, data_key="from", metadata={"description": "Time of its first fix."})
    end = Timestamp(required=True, data_key="to", metadata={"description": "Time of its last fix."})
    points = Integer(
        required=True,
        metadata={"description": "Its fixes, without positions on the meridian of 180 degrees."},
    )
    coord_times = Raw(
        required=True,
        data_key="coordTimes",
        metadata={
            "anyOf": [_list_of(_TIME), _list_of(_list_of(_TIME))],
            "description": "The time of each position, nested as the coordinates of a line are. Between two "
            "of them the line goes evenly.",
            "examples": [["2026-01-02T03:04:05.000000Z", "2026-01-02T03:04:15.000000Z"]],
        },
    )


class TrackFeatureSchema(Schema):
    """One part of a track, or what lies between two."""

    type = String(required=True, validate=OneOf(["Feature"]))
    geometry = Nested(TrackGeometrySchema, required=True)
    properties = Nested(TrackPropertiesSchema, required=True)


class TrackSchema(Schema):
    """The track of a vessel as GeoJSON: its parts in order of time, and what lies between them."""

    type = String(required=True, validate=OneOf(["FeatureCollection"]))
    vessel_id = Integer(required=True, metadata={"description": "Whose track it is."})
    points_in = Integer(required=True, metadata={"description": "Fixes in that time."})
    points_out = Integer(required=True, metadata={"description": "Those of them that the lines are made of."})
    tolerance_m = Number(
        required=True,
        metadata={
            "description": "Metres: no fix that was left out is further from where its line says that the "
            "ship was at that time. 0 where none was."
        },
    )
    gap_s = Integer(
        required=True,
        metadata={
            "description": "Seconds: the `gap` that the track was split by. For a key that sees time in "
            "steps it is a step at least."
        },
    )
    features = List(Nested(TrackFeatureSchema), required=True)


def as_geojson(track: Track, *, vessel_id: int, gap_s: int) -> bytes:
    """Return a track as ``TrackSchema`` has it, in JSON."""
    line = track.line
    head = {
        "type": "FeatureCollection",
        "vessel_id": vessel_id,
        "points_in": track.fixes,
        "points_out": len(line.times),
        "tolerance_m": track.tolerance_m,
        "gap_s": gap_s,
    }
    return b'%b,"features":[%b]}' % (orjson.dumps(head)[:-1], b",".join(_features(track)))


def as_gpx(track: Track, *, name: str) -> Iterator[bytes]:
    """Yield a track as GPX 1.1 in pieces, with a segment for each part in which the ship was followed."""
    lons, lats = track.line.lons.tolist(), track.line.lats.tolist()
    times = _texts(track.line.times)
    written = GpxTrack()
    yield written.head(name)
    for kind, first, last in track.parts():
        if kind != "track":
            continue
        yield written.part()
        for begin in range(first, last + 1, _AT_ONCE):
            piece = slice(begin, min(begin + _AT_ONCE, last + 1))
            yield written.points(zip(lats[piece], lons[piece], times[piece], strict=True))
    yield written.tail()


_QUOTED = WIDTH + len('"",')
_FEATURE = (
    b'{"type":"Feature","geometry":{"type":"%b","coordinates":%b},'
    b'"properties":{"kind":"%b","from":%b,"to":%b,"points":%d,"coordTimes":%b}}'
)


def _features(track: Track) -> Iterator[bytes]:
    line = track.line
    positions = np.column_stack((line.lons, line.lats))
    times = _quoted(line.times)
    # Up to each fix, how many of the ways are across 180 degrees.
    crossed = np.concatenate(([0], np.cumsum(crossings(line.lons))))
    for kind, first, last in track.parts():
        begins, ends = _QUOTED * first, _QUOTED * last
        form = b"Point" if first == last else b"LineString"
        coordinates = _json(positions[first] if first == last else positions[first : last + 1])
        told = b"[%b]" % times[begins : ends + _QUOTED - 1]
        if crossed[first] != crossed[last]:
            lines = pieces(_between(line, first, last))
            coordinates = b",".join(_json(np.column_stack((each.lons, each.lats))) for each in lines)
            told = b",".join(b"[%b]" % _quoted(each.times)[:-1] for each in lines)
            # One that only touches the meridian stays in one piece.
            if len(lines) > 1:
                form, coordinates, told = b"MultiLineString", b"[%b]" % coordinates, b"[%b]" % told
        yield _FEATURE % (
            form,
            coordinates,
            kind.encode(),
            times[begins : begins + _QUOTED - 1],
            times[ends : ends + _QUOTED - 1],
            last + 1 - first,
            told,
        )


def _between(line: Line, first: int, last: int) -> Line:
    return Line(line.times[first : last + 1], line.lons[first : last + 1], line.lats[first : last + 1])


def _quoted(times: Times) -> bytes:
    """Return times as JSON, each with a comma behind it."""
    return rfc3339_column(times, before=b'"', after=b'",')


def _texts(times: Times) -> list[str]:
    column = rfc3339_column(times).decode()
    return [column[at : at + WIDTH] for at in range(0, len(column), WIDTH)]


def _json(positions: Floats) -> bytes:
    return orjson.dumps(positions, option=orjson.OPT_SERIALIZE_NUMPY)
