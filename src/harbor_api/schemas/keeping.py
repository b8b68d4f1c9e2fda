"""What is said of how long positions of a vessel are kept, as operators say and read it."""

from marshmallow import Schema
from marshmallow.fields import String
from marshmallow.validate import Range

from harbor_api.domain import keeping as rules
from harbor_api.schemas.fields import Seen, Timestamp, Whole, of_span, seen
from harbor_api.schemas.typed import TypedSchema, edit

_days, _reason = of_span(rules.DAYS), Seen(rules.REASON)
_DAYS = {
    "description": "For how many days of 24 hours her positions are kept, by `recorded_at`: longer or "
    "shorter than the service keeps others'. 0: all of hers are kept. Null: as long as others'.",
    "examples": [3650],
}
_REASON = seen(
    rules.REASON,
    description="Why she is under a legal hold: while it lasts nothing that is stored of her is deleted, "
    "whatever else is said. Null: she is under none.",
    examples=["Court order 12/2026"],
)


class KeepingSchema(Schema):
    """What is said of how long positions of a vessel are kept."""

    vessel_id = Whole(required=True, validate=Range(1, 2**31 - 1), metadata={"examples": [1]})
    keep_positions_days = Whole(required=True, allow_none=True, metadata=_DAYS)
    hold_reason = String(required=True, allow_none=True, metadata=_REASON)
    held_by = String(
        required=True,
        allow_none=True,
        metadata={"description": "Who has put her under hold.", "examples": ["Legal desk"]},
    )
    held_since = Timestamp(
        required=True,
        allow_none=True,
        metadata={
            "description": "Since when she is under it.",
            "examples": ["2026-01-02T03:04:05.000000Z"],
        },
    )


class KeepingUpdateSchema(TypedSchema):
    """What to say of a vessel: members that are left out stay, null takes back what was said."""

    makes = edit

    keep_positions_days = Whole(allow_none=True, validate=_days, metadata=_DAYS)
    hold_reason = String(allow_none=True, validate=_reason, metadata=_REASON)
