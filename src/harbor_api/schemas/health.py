"""What probes are told."""

from marshmallow import Schema
from marshmallow.fields import String
from marshmallow.validate import OneOf


class HealthSchema(Schema):
    """The service is well. When it is not, the answer is a problem document."""

    status = String(required=True, validate=OneOf(["ok"]))
    version = String(required=True, metadata={"description": "The release.", "examples": ["0.2.0"]})


class ServiceHealthSchema(Schema):
    """The service answers; what it does without is said."""

    status = String(
        required=True,
        validate=OneOf(["ok", "degraded"]),
        metadata={
            "description": "`degraded`: it answers, and an operator should look: `limits` or `schema` "
            "says why."
        },
    )
    version = String(required=True, metadata={"description": "The release.", "examples": ["0.2.0"]})
    limits = String(
        required=True,
        validate=OneOf(["shared", "per_process"]),
        metadata={"description": "Whether all workers count requests together, in Redis."},
    )
    schema = String(
        required=True,
        validate=OneOf(["current", "newer"]),
        metadata={
            "description": "`newer`: the next release has migrated the database, and this one goes on "
            "until it is replaced."
        },
    )
