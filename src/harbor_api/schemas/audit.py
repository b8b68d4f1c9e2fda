"""The audit trail as it is read."""

from dataclasses import dataclass

from marshmallow import Schema
from marshmallow.fields import Dict, List, Nested, String
from marshmallow.validate import OneOf

from harbor_api.domain.audit import SUBJECT
from harbor_api.schemas.fields import Timestamp, Whole, of_form
from harbor_api.schemas.paging import LinksSchema, PageQuery, PageQuerySchema


class AuditEntrySchema(Schema):
    """One administrative change."""

    id = Whole(required=True, metadata={"description": "Grows in the order of the changes.", "examples": [1]})
    at = Timestamp(required=True, metadata={"examples": ["2026-01-02T03:04:05.000000Z"]})
    actor = String(
        required=True,
        metadata={"description": "The key, or the person at the command line.", "examples": ["key 1 (ops)"]},
    )
    api_key_id = Whole(
        required=True, allow_none=True, metadata={"description": "Null at the command line.", "examples": [1]}
    )
    action = String(required=True, metadata={"examples": ["vessel.changed"]})
    subject = String(required=True, metadata={"description": "What was changed.", "examples": ["vessels/1"]})
    before = Dict(
        required=True,
        allow_none=True,
        metadata={"description": "The members that changed, as they were.", "examples": [{"name": "Old"}]},
    )
    after = Dict(
        required=True,
        allow_none=True,
        metadata={"description": "The members that changed, as they became.", "examples": [{"name": "New"}]},
    )
    request_id = String(
        required=True,
        allow_none=True,
        metadata={
            "description": "The X-Request-Id of the change.",
            "examples": ["5f2b6f0e4c9d4e21b7a1c06c2a6d8f11"],
        },
    )


class AuditPageSchema(Schema):
    """A page of the audit trail."""

    audit = List(Nested(AuditEntrySchema), required=True)
    links = Nested(LinksSchema, required=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery(PageQuery):
    """Which entries of the trail, and in which order."""

    order: str
    subject: str | None = None


class AuditQuerySchema(PageQuerySchema):
    """Which entries."""

    makes = AuditQuery

    order = String(
        load_default="newest_first",
        validate=OneOf(["newest_first", "oldest_first"]),
        metadata={"description": "Pages of `oldest_first` skip nothing that is added meanwhile."},
    )
    subject = String(
        validate=of_form(SUBJECT),
        metadata={
            "description": "Only what was done to this one.",
            "pattern": f"^({SUBJECT.pattern})$",
            "examples": ["vessels/1"],
        },
    )
