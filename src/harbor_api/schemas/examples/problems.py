"""What an error looks like."""

from harbor_api.schemas.examples.night import Json
from harbor_api.schemas.examples.positions import INVALID

PROBLEM: Json = {
    "type": "urn:harbor-api:problem:validation_failed",
    "title": "Validation failed",
    "status": 422,
    "detail": "1 member is wrong",
    "instance": "/api/v1/positions",
    "code": "validation_failed",
    "request_id": "5f2b6f0e4c9d4e21b7a1c06c2a6d8f11",
    "errors": [{**INVALID["errors"][0], "pointer": "#/lat"}],
}
