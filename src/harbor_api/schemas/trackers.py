"""Trackers, as operators register and see them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from marshmallow import Schema
from marshmallow.fields import List, Nested, String
from marshmallow.validate import Range

from harbor_api.domain.trackers import LABEL
from harbor_api.schemas.fields import Seen, Timestamp, TrueOrFalse, Whole, seen
from harbor_api.schemas.paging import LinksSchema
from harbor_api.schemas.positions import GapSchema
from harbor_api.schemas.typed import TypedSchema, edit

_VESSEL_ID = {"description": "The vessel's `id`.", "examples": [1]}
_LABEL = seen(LABEL, description="What people call it: where it is mounted, its serial.", examples=["bridge"])
_label = Seen(LABEL)
_TEST = {
    "description": "Under development: `POST /api/v1/positions/check` tells it what it signed wrong.",
    "examples": [False],
}
_ASSIGNMENTS = {"description": "In order of time. A late fix goes to the vessel of its own time."}
_DISABLED = {
    "description": "Since when its fixes are refused; null while it may post.",
    "examples": ["2026-01-09T03:04:05.000000Z"],
}


class AssignmentSchema(Schema):
    """The vessel that the tracker's fixes belong to from a moment on."""

    vessel_id = Whole(required=True, validate=Range(1, 2**31 - 1), metadata=_VESSEL_ID)
    starts_at = Timestamp(
        required=True,
        metadata={
            "description": "Fixes recorded from then on; 0001-01-01T00:00:00Z for the first vessel.",
            "examples": ["2026-01-02T03:04:05.000000Z"],
        },
    )


class TrackerSchema(Schema):
    """A device that signs fixes."""

    id = String(
        required=True,
        metadata={
            "description": "What the tracker calls itself in `webhook-id`.",
            "pattern": "^trk_[0-9]{4,10}$",
            "examples": ["trk_0001"],
        },
    )
    number = Whole(
        required=True,
        metadata={"description": "The number in its id, for the path.", "examples": [1]},
    )
    label = String(required=True, metadata=_LABEL)
    test = TrueOrFalse(required=True, metadata=_TEST)
    vessel_id = Whole(required=True, metadata={"description": "Of the newest assignment.", "examples": [1]})
    assignments = List(
        Nested(AssignmentSchema),
        required=True,
        metadata=_ASSIGNMENTS,
    )
    generation = Whole(
        required=True, metadata={"description": "Of its secret; grows with each rotation.", "examples": [1]}
    )
    previous_valid_until = Timestamp(
        required=True,
        allow_none=True,
        metadata={
            "description": "Until when the secret before the last rotation holds.",
            "examples": ["2026-01-09T03:04:05.000000Z"],
        },
    )
    disabled_at = Timestamp(required=True, allow_none=True, metadata=_DISABLED)


class TrackerSecretSchema(TrackerSchema):
    """A tracker with its secret, which is told only now."""

    secret = String(
        required=True,
        metadata={
            "description": "For the tracker's HMAC: 32 bytes in base64 after `whsec_`.",
            "pattern": "^whsec_[A-Za-z0-9+/]{43}=$",
        },
    )


# What a key without `trackers:read` is told of one that it has rotated, beside the secret.
ROTATED = ("id", "number", "generation", "previous_valid_until")


class RotatedTrackerSchema(TrackerSecretSchema):
    """A tracker with its next secret, which is told only now.

    The members that are not required are told to a key that carries `trackers:read`.
    """

    label = String(metadata=_LABEL)
    test = TrueOrFalse(metadata=_TEST)
    vessel_id = Whole(metadata={"description": "Of the newest assignment.", "examples": [1]})
    assignments = List(Nested(AssignmentSchema), metadata=_ASSIGNMENTS)
    disabled_at = Timestamp(allow_none=True, metadata=_DISABLED)


class TrackerDetailsSchema(TrackerSchema):
    """A tracker, and which of its fixes have not arrived."""

    missing = List(
        Nested(GapSchema),
        required=True,
        metadata={
            "description": "Numbers of fixes that have not arrived, the newest 20 gaps; empty where none is "
            "missing or the tracker does not number its fixes."
        },
    )


class TrackerPageSchema(Schema):
    """A page of trackers, in order of their numbers."""

    trackers = List(Nested(TrackerSchema), required=True)
    links = Nested(LinksSchema, required=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTracker:
    """A tracker to register."""

    vessel_id: int
    label: str
    test: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reassignment:
    """Another vessel for a tracker, from a moment on; None is now."""

    vessel_id: int
    starts_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """For how long the earlier secret still holds."""

    grace_s: int

    @property
    def grace(self) -> timedelta:
        """The same as a span of time."""
        return timedelta(seconds=self.grace_s)


class TrackerCreationSchema(TypedSchema):
    """A tracker to register."""

    makes = NewTracker

    vessel_id = Whole(required=True, validate=Range(1, 2**31 - 1), metadata=_VESSEL_ID)
    label = String(load_default="", validate=_label, metadata=_LABEL)
    test = TrueOrFalse(load_default=False, metadata=_TEST)


class TrackerUpdateSchema(TypedSchema):
    """What to change of a tracker; members that are left out stay."""

    makes = edit

    label = String(validate=_label, metadata=_LABEL)
    test = TrueOrFalse(metadata=_TEST)


class ReassignmentSchema(TypedSchema):
    """Another vessel for a tracker."""

    makes = Reassignment

    vessel_id = Whole(required=True, validate=Range(1, 2**31 - 1), metadata=_VESSEL_ID)
    starts_at = Timestamp(
        metadata={
            "description": "The first moment whose fixes belong to it, after all fixes that are stored; "
            "now where it is left out.",
            "examples": ["2026-01-02T03:04:05.000000Z"],
        }
    )


class RotationSchema(TypedSchema):
    """How long the earlier secret still holds."""

    makes = Rotation

    grace_s = Whole(
        load_default=604_800,
        validate=Range(0, 31_536_000),
        metadata={
            "description": "Seconds; a week where it is left out. 0 ends all earlier secrets at once.",
            "examples": [604_800],
        },
    )
