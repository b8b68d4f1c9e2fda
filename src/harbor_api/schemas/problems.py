"""Problem details for HTTP APIs (RFC 9457): the body of every error."""

from marshmallow import Schema
from marshmallow.fields import List, Nested, String
from marshmallow.validate import Range

from harbor_api.schemas.fields import Timestamp, Whole

MEDIA_TYPE = "application/problem+json"


class FaultSchema(Schema):
    """One wrong member of the body, parameter of the query or header field."""

    pointer = String(
        metadata={
            "description": "Where in the body: a JSON Pointer (RFC 6901) as a URI fragment.",
            "examples": ["#/lat"],
        }
    )
    parameter = String(metadata={"description": "The query parameter's name.", "examples": ["limit"]})
    header = String(metadata={"description": "The header field's name.", "examples": ["Idempotency-Key"]})
    detail = String(required=True, metadata={"examples": ["Must be from -90 to 90."], "minLength": 1})


class SignedBytesSchema(Schema):
    """The bytes that a signature had to cover, to be compared with those that the tracker signed."""

    base64 = String(
        required=True,
        metadata={
            "description": "`webhook-id`, a dot, `webhook-timestamp`, a dot and the body as they arrived, "
            "in base64; of more than 4,096 bytes the first 4,096.",
            "examples": ["dHJrXzAwMDEtMS4xNzY3MzIzMDQ1Lnt9"],
        },
    )
    length = Whole(
        required=True, validate=Range(min=0), metadata={"description": "Of all of them.", "examples": [24]}
    )
    sha256 = String(
        required=True,
        metadata={
            "description": "Of all of them, in hexadecimal.",
            "pattern": "^[0-9a-f]{64}$",
            "examples": ["6c8cc2e0b56ae57d8a9a1d34c9e6ad9b5d4c3c6b4ad8c5b8bd5fd9d0fbe7c0ad"],
        },
    )
    hint = String(
        required=True,
        allow_none=True,
        metadata={
            "description": "The mistake that the signature was made with, where it is a usual one.",
            "examples": ["The secret's text was the key; decode what follows whsec_ from base64 first."],
        },
    )


class ProblemSchema(Schema):
    """An error. Programs decide by `status` and `code`; `detail` is for people and may change."""

    type = String(
        required=True,
        metadata={
            "format": "uri",
            "description": "`urn:harbor-api:problem:` and the code.",
            "examples": ["urn:harbor-api:problem:validation_failed"],
        },
    )
    title = String(
        required=True,
        metadata={"description": "The same for each `code`.", "examples": ["Validation failed"]},
    )
    status = Whole(required=True, validate=Range(400, 599), metadata={"examples": [422]})
    detail = String(required=True, metadata={"examples": ["1 member is wrong"]})
    instance = String(
        required=True,
        metadata={"description": "The path that was asked for.", "examples": ["/api/v1/positions"]},
    )
    trace_id = String(
        metadata={
            "description": "The trace that the request belongs to, as its `traceparent` said.",
            "pattern": "^[0-9a-f]{32}$",
            "examples": ["4bf92f3577b34da6a3ce929d0e0e4736"],
        }
    )
    code = String(
        required=True,
        metadata={
            "description": "What went wrong, for programs. Codes stay; new ones may be added.",
            "pattern": "^[a-z][a-z0-9_]*$",
            "examples": ["validation_failed"],
        },
    )
    request_id = String(
        required=True,
        metadata={
            "description": "The X-Request-Id of this exchange; quote it to the operator.",
            "examples": ["5f2b6f0e4c9d4e21b7a1c06c2a6d8f11"],
        },
    )
    errors = List(Nested(FaultSchema), metadata={"description": "Each thing that is wrong, the first 50."})
    expected = Nested(
        SignedBytesSchema,
        metadata={
            "description": "Only of `signature_invalid` from `/api/v1/positions/check`, for a tracker that "
            "the operator has marked as one under test."
        },
    )
    oldest = String(
        metadata={
            "description": "Only of `cursor_expired`: the cursor that goes on with the oldest that is kept, "
            "for the same filters.",
            "examples": ["kq0vJZ3cX1A.2gB8m1Jd0uXc6Zr5oQbYp3VtLw9"],
        },
    )
    oldest_at = Timestamp(
        allow_none=True,
        metadata={
            "description": "Only of `cursor_expired`: from when on all is kept; null where nothing was "
            "removed.",
            "examples": ["2026-01-02T03:04:05.000000Z"],
        },
    )
