"""What a tracker sends and what it is told."""

from typing import Any

from marshmallow import Schema, ValidationError, post_dump, post_load, pre_load
from marshmallow.fields import Boolean, String
from marshmallow.validate import OneOf, Range

from harbor_api.entities import Fix, Motion
from harbor_api.errors import NoFix
from harbor_api.schemas.fields import Number, Timestamp, Whole
from harbor_api.services.positions import REASONS

# AIS has its own values for "not available" (ITU-R M.1371); a tracker may forward them as they are.
NO_LAT, NO_LON, NO_SOG, NO_COG, NO_HEADING, NO_STATUS = 91, 181, 102.3, 360, 511, 15


def _heading(value: float) -> None:
    if not (0 <= value <= 360 or value == NO_HEADING):
        raise ValidationError("Must be from 0 to 360, or 511 for not available.")


class FixSchema(Schema):
    """One fix. Values that AIS uses for "not available" are taken and stored as null."""

    recorded_at = Timestamp(
        required=True,
        metadata={
            "description": "When the receiver took the fix, by its own clock: RFC 3339 with an "
            "offset, capital T and Z, seconds up to 59. It may lie days back: trackers store and forward.",
            "examples": ["2026-01-02T03:04:05Z"],
        },
    )
    lat = Number(
        required=True,
        validate=Range(-90, 90),
        metadata={"description": "Latitude in WGS 84 degrees.", "examples": [59.9]},
    )
    lon = Number(
        required=True,
        validate=Range(-180, 180),
        metadata={"description": "Longitude in WGS 84 degrees.", "examples": [10.7]},
    )
    sog = Number(
        allow_none=True,
        validate=Range(0, NO_SOG),
        metadata={
            "description": "Speed over ground in knots; 102.3 means not available. All measures are "
            "kept to three decimals.",
            "examples": [8.4],
        },
    )
    cog = Number(
        allow_none=True,
        validate=Range(0, NO_COG),
        metadata={
            "description": "Course over ground in degrees from true north; 360 means not available.",
            "examples": [181.2],
        },
    )
    heading = Number(
        allow_none=True,
        validate=_heading,
        metadata={
            "description": "True heading in degrees; 360 is 0, 511 means not available.",
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 360},
                {"type": "number", "minimum": NO_HEADING, "maximum": NO_HEADING},
                {"type": "null"},
            ],
            "examples": [180],
        },
    )
    nav_status = Whole(
        allow_none=True,
        validate=Range(0, NO_STATUS),
        metadata={
            "description": "AIS navigational status, 0 (under way using engine) to 15 (not available).",
            "examples": [0],
        },
    )
    accuracy_m = Number(
        allow_none=True,
        validate=Range(0, 1_000_000),
        metadata={"description": "Radius of the receiver's own doubt, in metres.", "examples": [4]},
    )
    battery_v = Number(
        allow_none=True,
        validate=Range(0, 1000),
        metadata={"description": "Battery voltage of the tracker, in volts.", "examples": [3.9]},
    )

    @pre_load
    def _refuse_no_fix(self, data: Any, **_: Any) -> Any:
        if isinstance(data, dict) and (data.get("lat") == NO_LAT or data.get("lon") == NO_LON):
            raise NoFix("lat 91 or lon 181 says that the receiver had no fix; there is nothing to keep")
        return data

    @post_load
    def _make_fix(self, data: dict[str, Any], **_: Any) -> Fix:
        data["sog"] = _measure(data.get("sog"), NO_SOG)
        data["cog"] = _direction(data.get("cog"), NO_COG)
        data["heading"] = _direction(data.get("heading"), NO_HEADING)
        data["accuracy_m"] = _measure(data.get("accuracy_m"))
        data["battery_v"] = _measure(data.get("battery_v"))
        if data.get("nav_status") == NO_STATUS:
            data["nav_status"] = None
        return Fix(recorded_at=data.pop("recorded_at"), motion=Motion(**data))


def _measure(value: float | None, sentinel: float | None = None) -> float | None:
    # Three decimals are beyond any receiver's precision; a number closer to 0 or 360 would be neither in
    # PostgreSQL's four bytes.
    return None if value is None or value == sentinel else round(value, 3)


def _direction(value: float | None, sentinel: float) -> float | None:
    degrees = _measure(value, sentinel)
    return None if degrees is None else degrees % 360


class _OutcomeSchema(Schema):
    """What a verdict and its forecast have in common."""

    latest = Boolean(
        required=True,
        metadata={"description": "Whether this fix is now the vessel's latest position."},
    )
    differs = Boolean(
        metadata={
            "description": "Only of a duplicate: whether its content differs from the fix that is "
            "stored for this tracker and time. The first one stays."
        }
    )
    reason = String(
        validate=OneOf(sorted(REASONS)),
        metadata={
            "description": "Only of a quarantined fix: "
            + " ".join(f"`{code}`: {meaning}" for code, meaning in sorted(REASONS.items()))
        },
    )

    @post_dump
    def _leave_out_what_does_not_apply(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {name: value for name, value in data.items() if value is not None}


class VerdictSchema(_OutcomeSchema):
    """What became of a fix. After any of these the tracker may erase it."""

    verdict = String(
        required=True,
        validate=OneOf(["stored", "duplicate", "quarantined"]),
        metadata={
            "description": "`stored`: durable now. `duplicate`: it already was. `quarantined`: held "
            "back for the operator, neither lost nor on the map."
        },
    )

    secret_ends_at = Timestamp(
        metadata={
            "description": "Only where the fix was signed with the secret before a rotation: until when "
            "that one holds. Fetch the new secret before then.",
            "examples": ["2026-01-09T03:04:05Z"],
        }
    )

    class Meta:
        fields = ("verdict", "latest", "differs", "reason", "secret_ends_at")


class ForecastSchema(_OutcomeSchema):
    """What would become of a fix. Nothing was stored: the tracker must keep it."""

    would_be = String(
        attribute="verdict",
        required=True,
        validate=OneOf(["stored", "duplicate", "quarantined"]),
        metadata={"description": "The `verdict` that the fix would get if it were posted now."},
    )

    class Meta:
        fields = ("would_be", "latest", "differs", "reason")
