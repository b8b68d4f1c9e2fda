"""Fixes in quarantine, as operators see them."""

from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, ValidationError
from marshmallow.fields import List, Nested, Raw, String
from marshmallow.validate import OneOf, Range

from harbor_api.domain.judgement import REASONS
from harbor_api.domain.quarantine import MOST_AT_ONCE, MOST_COUNTED, NOTE, Selection, Withdrawal
from harbor_api.domain.trackers import tracker_number
from harbor_api.schemas.fields import Number, QueryWhole, Seen, Timestamp, TrueOrFalse, Whole, seen
from harbor_api.schemas.paging import LinksSchema, PageQuery, PageQuerySchema
from harbor_api.schemas.typed import TypedSchema

_STATES = ["held", "released", "rejected", "withdrawn"]
_REASON = {
    "description": "Why it is held: "
    + " ".join(f"`{code}`: {meaning}" for code, meaning in sorted(REASONS.items()))
}
_STATE = {
    "description": "`held`: nobody has decided. `released`: it is in the vessel's history. `rejected`: it "
    "never will be. `withdrawn`: it was, and was taken out again."
}
_VESSEL_ID = {"description": "The vessel's `id`.", "examples": [1]}
_TRACKER_ID = {
    "description": "The tracker that sent it.",
    "pattern": "^trk_[0-9]{4,10}$",
    "examples": ["trk_0001"],
}
_RECORDED_AT = {"description": "When the tracker says it took it.", "examples": ["2026-01-02T03:04:05Z"]}
_DECIDED_BY = {
    "description": "Who decided: a key, a person at the command line, or `judgement`, where others that "
    "agree with it made the service believe it.",
    "examples": ["key 1 (Operations)"],
}
_NOTE = {"description": "What was said of the decision.", "examples": ["Clock of the tracker was wrong"]}


class TrackerNumber(String):
    """A tracker's id, of which the number is kept."""

    def _deserialize(self, value: Any, *args: Any, **rest: Any) -> int:  # type: ignore[override]  # a number
        number = tracker_number(super()._deserialize(value, *args, **rest) or "")
        if number is None:
            raise ValidationError("Not the id of a tracker, such as trk_0001.")
        return number


class HeldFixSchema(Schema):
    """A fix that could not be believed."""

    id = Whole(required=True, metadata={"description": "Grows in the order of arrival.", "examples": [1]})
    vessel_id = Whole(required=True, metadata=_VESSEL_ID)
    tracker_id = String(required=True, metadata=_TRACKER_ID)
    reason = String(required=True, validate=OneOf(sorted(REASONS)), metadata=_REASON)
    state = String(required=True, validate=OneOf(_STATES), metadata=_STATE)
    recorded_at = Timestamp(required=True, metadata=_RECORDED_AT)
    received_at = Timestamp(
        required=True, metadata={"description": "When it came.", "examples": ["2026-01-02T03:04:06Z"]}
    )
    decided_at = Timestamp(
        required=True,
        allow_none=True,
        metadata={
            "description": "When it was released, rejected or withdrawn.",
            "examples": ["2026-01-03T03:04:05Z"],
        },
    )
    decided_by = String(required=True, allow_none=True, metadata=_DECIDED_BY)
    note = String(required=True, allow_none=True, metadata=_NOTE)
    lat = Number(required=True, metadata={"description": "WGS 84 degrees.", "examples": [59.9]})
    lon = Number(required=True, metadata={"description": "WGS 84 degrees.", "examples": [10.7]})
    raw = Raw(
        required=True,
        allow_none=True,
        metadata={
            "description": "The fix as the tracker sent it; null where it was stored at first.",
            "type": "object",
            "examples": [{"recorded_at": "2026-01-02T03:04:05Z", "lat": 0, "lon": 0}],
        },
    )


class HeldFixPageSchema(Schema):
    """A page of the quarantine."""

    quarantine = List(Nested(HeldFixSchema), required=True)
    links = Nested(LinksSchema, required=True)


class WithdrawalSchema(TypedSchema):
    """Which stored fix is wrong, and why."""

    makes = Withdrawal

    vessel_id = Whole(required=True, validate=Range(1, 2**31 - 1), metadata=_VESSEL_ID)
    recorded_at = Timestamp(
        required=True,
        metadata={
            "description": "The fix's `recorded_at`, as the fleet shows it.",
            "examples": ["2026-01-02T03:04:05Z"],
        },
    )
    tracker_id = TrackerNumber(
        metadata={
            **_TRACKER_ID,
            "description": "Needed only where several trackers of the vessel have a fix of that very time.",
        }
    )
    note = String(
        required=True,
        validate=Seen(NOTE),
        metadata=seen(NOTE, **{**_NOTE, "description": "Why: kept with the fix and in the audit trail."}),
    )


class WithdrawnFixSchema(Schema):
    """A fix that was withdrawn, without where it was."""

    id = Whole(required=True, metadata={"description": "Its `id` in quarantine.", "examples": [1]})
    vessel_id = Whole(required=True, metadata=_VESSEL_ID)
    tracker_id = String(required=True, metadata=_TRACKER_ID)
    reason = String(required=True, validate=OneOf(sorted(REASONS)), metadata=_REASON)
    state = String(required=True, validate=OneOf(["withdrawn"]))
    recorded_at = Timestamp(required=True, metadata=_RECORDED_AT)
    decided_at = Timestamp(
        required=True,
        metadata={"description": "When it was withdrawn.", "examples": ["2026-01-03T03:04:05Z"]},
    )
    decided_by = String(required=True, metadata={**_DECIDED_BY, "description": "Who withdrew it."})
    note = String(required=True, metadata=_NOTE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionOnMany:
    """A selection, and whether it is only to be counted."""

    selection: Selection
    dry_run: bool


def _decision(*, dry_run: bool, **wanted: Any) -> DecisionOnMany:
    return DecisionOnMany(selection=Selection(**wanted), dry_run=dry_run)


class SelectionSchema(TypedSchema):
    """Which fixes of those that nobody has decided on: at least one member beside `dry_run`."""

    makes = _decision

    reason = String(validate=OneOf(sorted(REASONS)), metadata={"description": "Only held for this reason."})
    vessel_id = Whole(
        validate=Range(1, 2**31 - 1), metadata={"description": "Only of this vessel.", "examples": [1]}
    )
    tracker_id = TrackerNumber(metadata={**_TRACKER_ID, "description": "Only of this tracker."})
    since = Timestamp(
        data_key="from",
        metadata={
            "description": "Only those recorded at that time or later.",
            "examples": ["2026-01-02T00:00:00Z"],
        },
    )
    until = Timestamp(
        data_key="to",
        metadata={
            "description": "Only those recorded before that time.",
            "examples": ["2026-01-03T00:00:00Z"],
        },
    )
    dry_run = TrueOrFalse(
        load_default=False,
        metadata={"description": "Only count them, and decide nothing.", "examples": [True]},
    )


def _count(description: str) -> Whole:
    told = f"{description} {MOST_COUNTED} stands for that many and more."
    return Whole(
        required=True, validate=Range(0, MOST_COUNTED), metadata={"description": told, "examples": [3]}
    )


class DecidedSchema(Schema):
    """How many fixes were decided on."""

    matched = _count("How many could be decided on.")
    decided = Whole(
        required=True,
        validate=Range(0, MOST_AT_ONCE),
        metadata={
            "description": f"How many were: up to {MOST_AT_ONCE}, the earliest first; 0 in a dry run.",
            "examples": [3],
        },
    )
    left = _count("How many can be decided on now: while there are any, ask again.")
    too_early = _count("How many more are from the future, and may not be released yet.")


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
