"""What probes are told."""

from marshmallow import Schema
from marshmallow.fields import Dict, Float, List, Nested, String
from marshmallow.validate import OneOf

# Of a draft that monitoring systems know, draft-inadarei-api-health-check.
HEALTH_MEDIA_TYPE = "application/health+json"
_STATES = ["pass", "warn", "fail"]


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


class CheckSchema(Schema):
    """How one part is."""

    status = String(required=True, validate=OneOf(_STATES))
    component_type = String(data_key="componentType", validate=OneOf(["datastore", "component"]))
    observed_value = Float(
        data_key="observedValue", metadata={"description": "What was measured.", "examples": [1.4]}
    )
    observed_unit = String(data_key="observedUnit", validate=OneOf(["ms", "s"]))
    output = String(metadata={"description": "What an operator should know, where it is not well."})


class ReadinessSchema(Schema):
    """Whether requests may be sent here, and how each part is."""

    status = String(
        required=True,
        validate=OneOf(_STATES),
        metadata={
            "description": "`warn`: send requests here, and an operator should look. `fail`: send none, the "
            "status is 503 then."
        },
    )
    version = String(
        required=True, metadata={"description": "The major version of the API.", "examples": ["1"]}
    )
    release_id = String(
        data_key="releaseId", required=True, metadata={"description": "The release.", "examples": ["0.2.0"]}
    )
    checks = Dict(
        keys=String(),
        values=List(Nested(CheckSchema)),
        required=True,
        metadata={
            "description": "By part, such as `postgresql:responseTime`, `postgresql:schema`, "
            "`postgresql:masterKey`, `postgresql:replica` and `redis:limits`. What cannot be asked is left "
            "out."
        },
    )
