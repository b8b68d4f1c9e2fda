"""Fixes in quarantine, as operators see them."""

from dataclasses import dataclass

from marshmallow import Schema
from marshmallow.fields import List, Nested, Raw, String
from marshmallow.validate import OneOf, Range

from harbor_api.domain.judgement import REASONS
from harbor_api.schemas.fields import Number, QueryWhole, Timestamp, Whole
from harbor_api.schemas.paging import LinksSchema, PageQuery, PageQuerySchema

_STATES = ["held", "released", "rejected"]
_REASON = {
    "description": "Why it is held: "
    + " ".join(f"`{code}`: {meaning}" for code, meaning in sorted(REASONS.items()))
}
_STATE = {
    "description": "`held`: nobody has decided. `released`: it is in the vessel's history. `rejected`: it "
    "never will be."
}


class HeldFixSchema(Schema):
    """A fix that could not be believed."""

    id = Whole(required=True, metadata={"description": "Grows in the order of arrival.", "examples": [1]})
    vessel_id = Whole(required=True, metadata={"description": "The vessel's `id`.", "examples": [1]})
    tracker_id = String(
        required=True, metadata={"description": "The tracker that sent it.", "examples": ["trk_0001"]}
    )
    reason = String(required=True, validate=OneOf(sorted(REASONS)), metadata=_REASON)
    state = String(required=True, validate=OneOf(_STATES), metadata=_STATE)
    recorded_at = Timestamp(
        required=True,
        metadata={"description": "When the tracker says it took it.", "examples": ["2026-01-02T03:04:05Z"]},
    )
    received_at = Timestamp(
        required=True, metadata={"description": "When it came.", "examples": ["2026-01-02T03:04:06Z"]}
    )
    decided_at = Timestamp(
        required=True,
        allow_none=True,
        metadata={
            "description": "When it was released or rejected.",
            "examples": ["2026-01-03T03:04:05Z"],
        },
    )
    lat = Number(required=True, metadata={"description": "WGS 84 degrees.", "examples": [59.9]})
    lon = Number(required=True, metadata={"description": "WGS 84 degrees.", "examples": [10.7]})
    raw = Raw(
        required=True,
        allow_none=True,
        metadata={
            "description": "The fix as the tracker sent it.",
            "type": "object",
            "examples": [{"recorded_at": "2026-01-02T03:04:05Z", "lat": 0, "lon": 0}],
        },
    )


class HeldFixPageSchema(Schema):
    """A page of the quarantine."""

    quarantine = List(Nested(HeldFixSchema), required=True)
    links = Nested(LinksSchema, required=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineQuery(PageQuery):
    """Which fixes of the quarantine."""

    vessel_id: int | None = None
    reason: str | None = None
    state: str | None = None


class QuarantineQuerySchema(PageQuerySchema):
    """Which fixes."""

    makes = QuarantineQuery

    vessel_id = QueryWhole(
        validate=Range(1, 2**31 - 1), metadata={"description": "Only of this vessel.", "examples": [1]}
    )
    reason = String(validate=OneOf(sorted(REASONS)), metadata={"description": "Only held for this reason."})
    state = String(validate=OneOf(_STATES), metadata={"description": "Only in this state."})
