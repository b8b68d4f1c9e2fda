"""Vessels as GeoJSON: what partners read."""

from datetime import datetime
from typing import Any

import orjson
from marshmallow import Schema
from marshmallow.fields import Boolean, List, Nested, String
from marshmallow.validate import Length, OneOf, Range, Regexp

from harbor_api.domain import vessels as rules
from harbor_api.domain.fleet_search import Bearing
from harbor_api.domain.identifiers import IMO_RULE, MMSI_RULE
from harbor_api.domain.positions import Motion
from harbor_api.domain.times import rfc3339
from harbor_api.domain.vessels import COORDINATE_DECIMALS, VesselDetails, VesselOnMap
from harbor_api.schemas.fields import Number, Seen, Timestamp, Whole, of_form, of_span, seen
from harbor_api.schemas.geojson import PointSchema
from harbor_api.schemas.paging import LinksSchema
from harbor_api.schemas.typed import TypedSchema, edit

# Of the paths that lead to one vessel, and to what is hers.
VESSEL_ID = {"in": "path", "name": "vessel_id", "description": "The vessel's `id`."}
_MAX_SPEED = {
    "description": "What the vessel cannot exceed, in knots: a fix that asks for more is held in quarantine. "
    "Null for the operator's usual limit.",
    "examples": [45],
}


class VesselPropertiesSchema(Schema):
    """The vessel itself, and how it moved at its latest position. What is not known is null."""

    name = String(required=True, metadata={"examples": ["Skagerrak Trader"]})
    imo = String(
        required=True,
        allow_none=True,
        validate=Regexp(r"\A[0-9]{7}\Z"),
        metadata={
            "description": "IMO number, 7 digits of which the last is a check digit.",
            "pattern": "^[0-9]{7}$",
            "examples": ["9074729"],
        },
    )
    mmsi = String(
        required=True,
        allow_none=True,
        validate=Regexp(r"\A[0-9]{9}\Z"),
        metadata={
            "description": "MMSI, 9 digits. It changes with the flag: follow `id`, not this.",
            "pattern": "^[0-9]{9}$",
            "examples": ["257123450"],
        },
    )
    call_sign = String(required=True, allow_none=True, metadata={"examples": ["LAXY5"]})
    flag = String(
        required=True,
        allow_none=True,
        metadata={"description": "ISO 3166-1 alpha-2 code.", "examples": ["NO"]},
    )
    kind = String(required=True, allow_none=True, metadata={"examples": ["cargo"]})
    length_m = Number(required=True, allow_none=True, metadata={"description": "Metres.", "examples": [86.5]})
    beam_m = Number(required=True, allow_none=True, metadata={"description": "Metres.", "examples": [13.2]})
    draught_m = Number(required=True, allow_none=True, metadata={"description": "Metres.", "examples": [4.1]})
    max_speed_kn = Number(required=True, allow_none=True, metadata=_MAX_SPEED)
    recorded_at = Timestamp(
        required=True,
        allow_none=True,
        metadata={
            "description": "When the tracker took the latest fix; null before the first one. To a key with "
            "`coordinate_decimals` below 6 it is rounded down.",
            "examples": ["2026-01-02T03:04:05.000000Z"],
        },
    )
    received_at = Timestamp(
        required=True,
        allow_none=True,
        metadata={
            "description": "When that fix reached the service. To a key with `coordinate_decimals` below 6 "
            "it is rounded down.",
            "examples": ["2026-01-02T03:04:06.251000Z"],
        },
    )
    retired_at = Timestamp(
        required=True,
        allow_none=True,
        metadata={
            "description": "Since when the vessel is off the map; null for one in service.",
            "examples": ["2026-02-02T03:04:05.000000Z"],
        },
    )
    stale = Boolean(
        required=True,
        metadata={
            "description": "Whether the newest fix is as old as the operator's threshold, or there is none. "
            "A stale vessel is where it was last seen, not where it is. To a key with a delay: whether it "
            "was stale then, by the fixes up to then."
        },
    )
    stale_at = Timestamp(
        required=True,
        allow_none=True,
        metadata={
            "description": "When the vessel is stale if no newer fix comes: then a map may show it so. Null "
            "for a vessel that was never seen. To a key with `coordinate_decimals` below 6 it counts from "
            "the end of the step that `recorded_at` begins.",
            "examples": ["2026-01-02T03:19:05.000000Z"],
        },
    )
    sog = Number(
        required=True,
        allow_none=True,
        metadata={"description": "Speed over ground, knots.", "examples": [8.4]},
    )
    cog = Number(
        required=True,
        allow_none=True,
        metadata={
            "description": "Course over ground, degrees from true north.",
            "examples": [181.2],
        },
    )
    heading = Number(
        required=True,
        allow_none=True,
        metadata={"description": "True heading, degrees.", "examples": [180]},
    )
    nav_status = Whole(
        required=True,
        allow_none=True,
        validate=Range(0, 14),
        metadata={"description": "AIS navigational status.", "examples": [0]},
    )
    accuracy_m = Number(
        required=True,
        allow_none=True,
        metadata={"description": "Radius of the receiver's own doubt, metres.", "examples": [4]},
    )
    distance_m = Number(
        metadata={
            "description": "Where `near` was asked for: how far it is from the point along the great circle, "
            "in metres.",
            "examples": [3718.4],
        }
    )
    bearing = Number(
        metadata={
            "description": "Where `near` was asked for: where it is from the point, in degrees from true "
            "north; 0 where it is at the point.",
            "examples": [181.2],
        }
    )
    basis = String(
        allow_none=True,
        validate=OneOf(["measured", "interpolated", "last_known"]),
        metadata={
            "description": "In a fleet `as_of` a moment: from what it is known where the vessel was. "
            "`measured`: a fix of that very moment. `interpolated`: on the straight line in degrees between "
            "the fix before and the one after, at the share of the time. `last_known`: where the fix before "
            "was, as none came after it, or one later than `gap`, or one where no such vessel can have been "
            "by then. Null: it had not been seen by then. Everything but the place is of the fix before, "
            "`accuracy_m` too. To a key with `coordinate_decimals` below 6 it is always `last_known`.",
        },
    )
    between = List(
        Timestamp(),
        allow_none=True,
        validate=Length(equal=2),
        metadata={
            "description": "In a fleet `as_of` a moment: the times of the two fixes between which the place "
            "is interpolated; null where it is not.",
            "examples": [["2026-01-02T03:04:05.000000Z", "2026-01-02T03:14:05.000000Z"]],
        },
    )


class VesselFeatureSchema(Schema):
    """A vessel as a GeoJSON Feature at its latest position."""

    type = String(required=True, validate=OneOf(["Feature"]))
    id = Whole(
        required=True,
        validate=Range(1, 2**31 - 1),
        metadata={
            "description": "Identifies the vessel for good. Vessels are numbered as they are registered: an "
            "id tells about how many there were before, and nothing else of those that the key does not see.",
            "examples": [1],
        },
    )
    geometry = Nested(
        PointSchema,
        required=True,
        allow_none=True,
        metadata={"description": "null for a vessel that was never seen."},
    )
    properties = Nested(VesselPropertiesSchema, required=True)


class VesselFeatureCollectionSchema(Schema):
    """The fleet as a GeoJSON FeatureCollection, in order of id, or the nearest first."""

    type = String(required=True, validate=OneOf(["FeatureCollection"]))
    as_of = Timestamp(
        metadata={
            "description": "The moment of which the fleet is told, where one was asked for. To a key with "
            "`coordinate_decimals` below 6 it is rounded down: only whole steps of time before it count.",
            "examples": ["2026-01-02T03:10:00.000000Z"],
        }
    )
    now = Timestamp(
        required=True,
        allow_none=True,
        metadata={
            "description": "The moment that this body is of: the latest of the times of reception and of "
            "retirement in it, and of each `stale_at` that had passed. So `stale` is `stale_at <= now`, and "
            "the body stays the same while nothing in it changes; what time it is now says `Harbor-Now`. "
            "Null where nothing in it has such a time. Of a fleet `as_of` a moment it is that moment.",
            "examples": ["2026-01-02T03:04:06.251000Z"],
        },
    )
    cursor = String(
        required=True,
        metadata={
            "description": "Up to where in the committed order this body is made from what it shows. Whoever "
            "follows from here misses nothing; `Harbor-Cursor` may be further on, and is the better one.",
            "examples": ["q3JkUGk2bSeKT0Yb0Yx2sD1m"],
        },
    )
    links = Nested(LinksSchema, required=True)
    features = List(Nested(VesselFeatureSchema), required=True)


_metres_long, _knots = of_span(rules.METRES), of_span(rules.KNOTS)
_NAME = seen(rules.NAME, description="What it is called.", examples=["Skagerrak Trader"])
_name, _kind = Seen(rules.NAME), Seen(rules.KIND)
_IMO = {
    "description": "IMO number: 7 digits, the first 1 to 9, the last a check digit. On one vessel in service "
    "at a time.",
    "pattern": "^[1-9][0-9]{6}$",
    "format": "imo-number",
    "examples": ["9074729"],
}
_MMSI = {
    "description": "MMSI: 9 digits. On one vessel in service at a time.",
    "pattern": "^(?!0{9})[0-9]{9}$",
    "examples": ["257123450"],
}
_CALL_SIGN = {
    "description": "Radio call sign.",
    "pattern": f"^{rules.CALL_SIGN.pattern}$",
    "examples": ["LAXY5"],
}
_FLAG = {"description": "ISO 3166-1 alpha-2 code.", "pattern": f"^{rules.FLAG.pattern}$", "examples": ["NO"]}
_KIND = seen(rules.KIND, description="Such as cargo, tanker, passenger.", examples=["cargo"])
_imo = Regexp(r"\A[1-9][0-9]{6}\Z", error=IMO_RULE)
_mmsi = Regexp(r"\A(?!0{9})[0-9]{9}\Z", error=MMSI_RULE)
_call_sign, _flag = of_form(rules.CALL_SIGN), of_form(rules.FLAG)


def _metres(example: float) -> dict[str, object]:
    return {"description": "Metres.", "examples": [example]}


class VesselCreationSchema(TypedSchema):
    """A vessel to register. What is not known is left out or null."""

    makes = VesselDetails

    name = String(required=True, validate=_name, metadata=_NAME)
    imo = String(allow_none=True, validate=_imo, metadata=_IMO)
    mmsi = String(allow_none=True, validate=_mmsi, metadata=_MMSI)
    call_sign = String(allow_none=True, validate=_call_sign, metadata=_CALL_SIGN)
    flag = String(allow_none=True, validate=_flag, metadata=_FLAG)
    kind = String(allow_none=True, validate=_kind, metadata=_KIND)
    length_m = Number(allow_none=True, validate=_metres_long, metadata=_metres(86.5))
    beam_m = Number(allow_none=True, validate=_metres_long, metadata=_metres(13.2))
    draught_m = Number(allow_none=True, validate=_metres_long, metadata=_metres(4.1))
    max_speed_kn = Number(allow_none=True, validate=_knots, metadata=_MAX_SPEED)


class VesselUpdateSchema(TypedSchema):
    """What to change of a vessel: members that are left out stay, null takes away what was known."""

    makes = edit

    name = String(validate=_name, metadata=_NAME)
    imo = String(allow_none=True, validate=_imo, metadata=_IMO)
    mmsi = String(allow_none=True, validate=_mmsi, metadata=_MMSI)
    call_sign = String(allow_none=True, validate=_call_sign, metadata=_CALL_SIGN)
    flag = String(allow_none=True, validate=_flag, metadata=_FLAG)
    kind = String(allow_none=True, validate=_kind, metadata=_KIND)
    length_m = Number(allow_none=True, validate=_metres_long, metadata=_metres(86.5))
    beam_m = Number(allow_none=True, validate=_metres_long, metadata=_metres(13.2))
    draught_m = Number(allow_none=True, validate=_metres_long, metadata=_metres(4.1))
    max_speed_kn = Number(allow_none=True, validate=_knots, metadata=_MAX_SPEED)


def as_feature(shown: VesselOnMap) -> dict[str, Any]:
    """Return a vessel as a GeoJSON Feature (RFC 7946): [longitude, latitude], 6 decimals."""
    details, latest = shown.vessel.details, shown.latest
    # Written out: this is done for the whole fleet at once.
    lat, lon, sog, cog, heading, nav_status, accuracy_m, _ = _UNSEEN if latest is None else latest.motion
    return {
        "type": "Feature",
        "id": shown.vessel.id,
        "geometry": None
        if latest is None
        else {
            "type": "Point",
            "coordinates": [round(lon, COORDINATE_DECIMALS) + 0.0, round(lat, COORDINATE_DECIMALS) + 0.0],
        },
        "properties": {
            "name": details.name,
            "imo": details.imo,
            "mmsi": details.mmsi,
            "call_sign": details.call_sign,
            "flag": details.flag,
            "kind": details.kind,
            "length_m": details.length_m,
            "beam_m": details.beam_m,
            "draught_m": details.draught_m,
            "max_speed_kn": details.max_speed_kn,
            "recorded_at": latest and latest.recorded_at,
            "received_at": latest and latest.received_at,
            "retired_at": shown.vessel.retired_at,
            "stale": shown.stale,
            "stale_at": shown.stale_at,
            "sog": sog,
            "cog": cog,
            "heading": heading,
            "nav_status": nav_status,
            "accuracy_m": accuracy_m,
        },
    }


def feature_text(shown: VesselOnMap) -> bytes:
    """Return a vessel as the JSON of a Feature, to the byte as every answer has it."""
    text = orjson.dumps(as_feature(shown), default=rfc3339, option=orjson.OPT_PASSTHROUGH_DATETIME)
    # A copy of just its size: orjson's own holds 8 kB, and this one is kept.
    return memoryview(text).tobytes()


def measured(feature: bytes, bearing: Bearing) -> bytes:
    """Return a Feature that tells where the vessel is, seen from a point, too."""
    # It ends with the members of its properties.
    return b'%b,"distance_m":%b,"bearing":%b}}' % (feature[:-2], *map(orjson.dumps, bearing))


def collection_head(
    *, now: datetime | None, cursor: str, next_page: str | None, as_of: datetime | None = None
) -> bytes:
    """Return what stands before the Features in the JSON of a collection; ``COLLECTION_END`` follows them."""
    members = {
        "type": "FeatureCollection",
        **({} if as_of is None else {"as_of": rfc3339(as_of)}),
        "now": now and rfc3339(now),
        "cursor": cursor,
        "links": {"next": next_page},
    }
    head: bytes = orjson.dumps(members)[:-1] + b',"features":['
    return head


COLLECTION_END = b"]}"
_UNSEEN = Motion(0.0, 0.0)
