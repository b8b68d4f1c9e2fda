"""Problem details for HTTP APIs (RFC 9457): the body of every error."""

from marshmallow import Schema
from marshmallow.fields import List, Nested, String
from marshmallow.validate import Range

from harbor_api.schemas.fields import Whole

MEDIA_TYPE = "application/problem+json"


class FaultSchema(Schema):
    """One wrong member of the body, or one wrong parameter."""

    pointer = String(
        metadata={
            "description": "Where in the body: a JSON Pointer (RFC 6901) as a URI fragment.",
            "examples": ["#/lat"],
        }
    )
    parameter = String(metadata={"description": "The query parameter's name.", "examples": ["limit"]})
    detail = String(required=True, metadata={"examples": ["Must be from -90 to 90."], "minLength": 1})


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
    errors = List(Nested(FaultSchema), metadata={"description": "Each thing that is wrong."})
