"""What probes are told."""

from marshmallow import Schema
from marshmallow.fields import String
from marshmallow.validate import OneOf


class HealthSchema(Schema):
    """The service is well. When it is not, the answer is a problem document."""

    status = String(required=True, validate=OneOf(["ok"]))
    version = String(required=True, metadata={"description": "The release.", "examples": ["0.1.0"]})
