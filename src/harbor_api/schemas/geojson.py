"""GeoJSON (RFC 7946) objects that responses are made of."""

from marshmallow import Schema
from marshmallow.fields import List, String
from marshmallow.validate import Length, OneOf

from harbor_api.schemas.fields import Number

MEDIA_TYPE = "application/geo+json"


class PointSchema(Schema):
    """A position: [longitude, latitude] in WGS 84 degrees with at most six decimals (0.1 m)."""

    type = String(required=True, validate=OneOf(["Point"]))
    coordinates = List(
        Number(),
        required=True,
        validate=Length(equal=2),
        metadata={"description": "[longitude, latitude]", "examples": [[10.7, 59.9]]},
    )
