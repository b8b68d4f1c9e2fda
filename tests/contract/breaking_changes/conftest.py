"""The document that the cases change."""

import pytest
from tests.contract.breaking_changes.changed_documents import (
    FLEET,
    ONE,
    POST,
    Document,
    operation_in,
    response_in,
    schema_in,
)

_KEPT = {
    "/health": {"get"},
    "/health/live": {"get"},
    "/health/ready": {"get"},
    "/api/v1/positions/check": {"post"},
    "/api/v1/positions": {"post"},
    "/api/v1/vessels": {"get"},
    "/api/v1/vessels/{vessel_id}": {"get"},
}


@pytest.fixture
def old(document: Document) -> Document:
    """Return some operations of the document, with what it may come to have and a check must know."""
    document["paths"] = {
        path: {
            method: described
            for method, described in item.items()
            if method in kept or method == "parameters"
        }
        for path, item in document["paths"].items()
        if (kept := _KEPT.get(path))
    }
    document["components"]["schemas"] = {
        name: schema
        for name, schema in document["components"]["schemas"].items()
        if not name.startswith(("Tracker", "Reassignment", "Assignment"))
    }
    del response_in(document, ONE, 200)["headers"]["ETag"]
    del operation_in(document, ONE)["responses"]["304"]
    operation_in(document, FLEET)["parameters"] = [
        {
            "in": "query",
            "name": "sample",
            "schema": {"type": "integer", "minimum": 1, "maximum": 9, "default": 5},
        },
        {"in": "header", "name": "X-Colour", "schema": {"type": "string", "enum": ["red", "blue"]}},
    ]
    # A schema that holds itself.
    document["components"]["schemas"]["Convoy"] = {
        "type": "object",
        "properties": {
            "leader": {"type": "string", "maxLength": 20},
            "convoys": {"type": "array", "items": {"$ref": "#/components/schemas/Convoy"}},
            "speeds": {
                "type": "object",
                "additionalProperties": {"type": "number"},
                "propertyNames": {"pattern": "^[a-z]+$"},
            },
        },
        "required": ["leader"],
    }
    schema_in(document, "VesselProperties")["properties"] |= {
        "convoy": {"$ref": "#/components/schemas/Convoy"},
        "follows": {
            "anyOf": [
                {"$ref": "#/components/schemas/Convoy"},
                {"type": "string", "maxLength": 5},
                {"type": "null"},
            ]
        },
        "grade": {"type": ["string", "null"], "enum": ["a", "b"]},
    }
    schema_in(document, "Fix")["properties"] |= {
        "mode": {"enum": ["a", "b", None]},
        "port": {"oneOf": [{"type": "string"}, {"type": "integer", "const": 7}]},
        "sort": {"enum": ["fix"]},
        "notes": {
            "type": "array",
            "minItems": 2,
            "maxItems": 5,
            "items": {"type": "string", "minLength": 2, "maxLength": 5},
        },
        "extras": {"type": "object", "minProperties": 2, "maxProperties": 5},
        "rate": {"type": "number", "exclusiveMinimum": 2, "exclusiveMaximum": 5},
    }
    operation_in(document, POST)["requestBody"]["content"]["application/cbor"] = {"schema": {}}
    return document
