"""No release breaks a client unless the API's own changelog says so, and the check that sees to it."""

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.contract.breaking_changes import Break, breaking_changes, faults_of

Document = dict[str, Any]
Change = Callable[[Document], Any]
OPENAPI = Path(__file__).resolve().parents[2] / "openapi"
_KEPT = {
    "/health": {"get"},
    "/health/live": {"get"},
    "/health/ready": {"get"},
    "/api/v1/positions/check": {"post"},
    "/api/v1/positions": {"post"},
    "/api/v1/vessels": {"get"},
    "/api/v1/vessels/{vessel_id}": {"get"},
}
FLEET, ONE, POST = "listVessels", "getVessel", "postPosition"


def test_document_breaks_nothing_that_the_changelog_does_not_name(document: Document):
    released = json.loads((OPENAPI / "released" / "harbor-api.json").read_text())
    changelog = (OPENAPI / "CHANGELOG.md").read_text()
    faults = faults_of(changelog, breaking_changes(released, document))
    assert not faults, "\n".join(["In openapi/CHANGELOG.md, '## Unreleased', '### Breaking':", *faults])


def test_changelog_tells_of_the_released_document():
    released = json.loads((OPENAPI / "released" / "harbor-api.json").read_text())
    headings = [
        line for line in (OPENAPI / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")
    ]
    assert headings[:2] == ["## Unreleased", f"## {released['info']['version']}"]


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
    del _response(document, ONE, 200)["headers"]["ETag"]
    _operation(document, FLEET)["parameters"] = [
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
    _schema(document, "VesselProperties")["properties"] |= {
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
    _schema(document, "Fix")["properties"] |= {
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
    _operation(document, POST)["requestBody"]["content"]["application/cbor"] = {"schema": {}}
    return document


def _operation(document: Document, name: str) -> dict[str, Any]:
    for path in document["paths"].values():
        for described in path.values():
            if isinstance(described, dict) and described.get("operationId") == name:
                return described
    raise KeyError(name)


def _response(document: Document, name: str, status: int) -> dict[str, Any]:
    response: dict[str, Any] = _operation(document, name)["responses"][str(status)]
    return response


def _schema(document: Document, name: str) -> dict[str, Any]:
    schema: dict[str, Any] = document["components"]["schemas"][name]
    return schema


def _member(document: Document, place: str) -> dict[str, Any]:
    name, _, member = place.partition(".")
    schema: dict[str, Any] = _schema(document, name)["properties"][member]
    return schema


def _parameter(document: Document, index: int) -> dict[str, Any]:
    parameter: dict[str, Any] = _operation(document, FLEET)["parameters"][index]
    return parameter


def _changed(old: Document, change: Change) -> Document:
    new = copy.deepcopy(old)
    change(new)
    assert new != old
    return new


def _remove_a_member(document: Document, place: str) -> None:
    name, _, member = place.partition(".")
    del _schema(document, name)["properties"][member]
    required = _schema(document, name).get("required", [])
    if member in required:
        required.remove(member)


def _rename_a_schema(document: Document, name: str, other: str) -> None:
    text = json.dumps(document).replace(f'"#/components/schemas/{name}"', f'"#/components/schemas/{other}"')
    document.update(json.loads(text))
    document["components"]["schemas"][other] = document["components"]["schemas"].pop(name)


def _move_an_operation(document: Document) -> None:
    document["paths"]["/api/v1/ships/{vessel_id}"] = document["paths"].pop("/api/v1/vessels/{vessel_id}")


def _rename_a_path_parameter(document: Document) -> None:
    moved = json.loads(json.dumps(document).replace('"vessel_id"', '"id"').replace("{vessel_id}", "{id}"))
    document.update(moved)


BREAKS: dict[str, tuple[Change, str, str]] = {
    # Operations and names.
    "an operation is removed": (
        lambda d: d["paths"]["/api/v1/vessels"].pop("get"),
        FLEET,
        "`GET /api/v1/vessels` is removed",
    ),
    "an operation is moved": (_move_an_operation, ONE, "`GET /api/v1/vessels/{vessel_id}` is removed"),
    "an operation gets another method": (
        lambda d: d["paths"]["/api/v1/vessels"].update(query=d["paths"]["/api/v1/vessels"].pop("get")),
        FLEET,
        "`GET /api/v1/vessels` is removed",
    ),
    "an operationId is renamed": (
        lambda d: _operation(d, FLEET).update(operationId="listShips"),
        FLEET,
        "the operationId is now `listShips`",
    ),
    "an operationId is removed": (
        lambda d: _operation(d, FLEET).pop("operationId"),
        FLEET,
        "the operationId is now `None`",
    ),
    "an operation gets another tag": (
        lambda d: _operation(d, FLEET).update(tags=["ships"]),
        FLEET,
        "the tag is now `ships`",
    ),
    "a schema is renamed": (
        lambda d: _rename_a_schema(d, "Fix", "Fixed"),
        POST,
        "the schema `Fix` is now `Fixed`",
    ),
    "a server is removed": (
        lambda d: d.update(servers=[{"url": "/harbor"}]),
        "every operation",
        "the server `/` is removed",
    ),
    # Answers.
    "a status is removed": (
        lambda d: _operation(d, ONE)["responses"].pop("404"),
        ONE,
        "response 404 is removed",
    ),
    "a good status is new": (
        lambda d: _operation(d, ONE)["responses"].update({"203": _response(d, ONE, 200)}),
        ONE,
        "response 203 is new",
    ),
    "an answer gets another media type": (
        lambda d: _response(d, ONE, 200).update(
            content={"application/json": _response(d, ONE, 200)["content"].popitem()[1]}
        ),
        ONE,
        "response 200 media type `application/geo+json` is removed",
    ),
    "a schema is inlined": (
        lambda d: _operation(d, POST)["requestBody"]["content"]["application/json"].update(
            schema=_schema(d, "Fix")
        ),
        POST,
        "the schema `Fix` is inlined",
    ),
    "a header is removed": (
        lambda d: _response(d, ONE, 429)["headers"].pop("Retry-After"),
        ONE,
        "response 429 header `Retry-After` is removed",
    ),
    "a header is no longer always there": (
        lambda d: d["components"]["headers"]["WWW-Authenticate"].update(required=False),
        FLEET,
        "response 401 header `WWW-Authenticate` is no longer required",
    ),
    "a header is written otherwise": (
        lambda d: d["components"]["headers"]["Retry-After"]["schema"].pop("pattern"),
        FLEET,
        'response header `Retry-After` pattern: "^[0-9]+$" became nothing',
    ),
    "a code is renamed": (
        lambda d: _response(d, ONE, 404)["content"]["application/problem+json"].update(examples={}),
        ONE,
        "response 404 has no code `not_found` any more",
    ),
    "a member of an answer is removed": (
        lambda d: _remove_a_member(d, "VesselProperties.imo"),
        ONE,
        "response `VesselProperties.imo` is removed",
    ),
    "an optional member of an answer is removed": (
        lambda d: _remove_a_member(d, "Verdict.differs"),
        POST,
        "response `Verdict.differs` is removed",
    ),
    "a member of an answer is no longer required": (
        lambda d: _schema(d, "VesselProperties")["required"].remove("imo"),
        FLEET,
        "response `VesselProperties.imo` is no longer required",
    ),
    "a member of an answer may be null": (
        lambda d: _member(d, "VesselProperties.name").update(type=["string", "null"]),
        FLEET,
        "response `VesselProperties.name` may now be null",
    ),
    "a member of an answer may be null by an alternative": (
        lambda d: _schema(d, "VesselFeature")["properties"].update(
            properties={"anyOf": [_member(d, "VesselFeature.properties"), {"type": "null"}]}
        ),
        ONE,
        "response `VesselFeature.properties` may now be null",
    ),
    "a type of an answer is widened": (
        lambda d: _member(d, "VesselFeature.id").update(type="number"),
        ONE,
        'response `VesselFeature.id` type: "integer" became "number"',
    ),
    "a type of an answer is another one": (
        lambda d: _member(d, "VesselFeature.id").update(type="string"),
        ONE,
        'response `VesselFeature.id` type: "integer" became "string"',
    ),
    "a nullable type of an answer is widened": (
        lambda d: _member(d, "VesselProperties.imo").update(type=["string", "integer", "null"]),
        ONE,
        'response `VesselProperties.imo` type: "string" became ["string", "integer"]',
    ),
    "a type of an answer is forgotten": (
        lambda d: _member(d, "Verdict.latest").pop("type"),
        POST,
        'response `Verdict.latest` type: "boolean" became nothing',
    ),
    "an answer has another value": (
        lambda d: _member(d, "Verdict.verdict")["enum"].append("ignored"),
        POST,
        'response `Verdict.verdict` may now be "ignored"',
    ),
    "an answer has any value": (
        lambda d: _member(d, "Health.status").pop("enum"),
        "getLiveness",
        'response `Health.status` enum: ["ok"] became nothing',
    ),
    "an answer has another alternative": (
        lambda d: _member(d, "VesselFeature.geometry")["anyOf"].append({"type": "string"}),
        ONE,
        'response `VesselFeature.geometry` may now be {"type": "string"}',
    ),
    "an alternative of an answer is another one": (
        lambda d: _member(d, "VesselProperties.follows")["anyOf"][1].update(maxLength=6),
        ONE,
        "response `VesselProperties.follows` maxLength: 5 became 6",
    ),
    "null is a value of an answer": (
        lambda d: _member(d, "VesselProperties.grade")["enum"].append(None),
        ONE,
        "response `VesselProperties.grade` may now be null",
    ),
    "an answer has another pattern": (
        lambda d: _member(d, "VesselProperties.mmsi").update(pattern="^[0-9]{9,12}$"),
        ONE,
        'response `VesselProperties.mmsi` pattern: "^[0-9]{9}$" became "^[0-9]{9,12}$"',
    ),
    "an answer has another format": (
        lambda d: _member(d, "VesselProperties.recorded_at").pop("format"),
        ONE,
        'response `VesselProperties.recorded_at` format: "date-time" became nothing',
    ),
    "an answer has a wider limit": (
        lambda d: _member(d, "VesselProperties.nav_status").update(maximum=15),
        ONE,
        "response `VesselProperties.nav_status` maximum: 14 became 15",
    ),
    "an answer has longer lists": (
        lambda d: _member(d, "Point.coordinates").update(maxItems=3),
        ONE,
        "response `Point.coordinates` maxItems: 2 became 3",
    ),
    "an answer has lists of something else": (
        lambda d: _member(d, "Point.coordinates").update(items={"type": ["number", "null"]}),
        ONE,
        "response `Point.coordinates[]` may now be null",
    ),
    "an answer has maps of something else": (
        lambda d: _member(d, "Convoy.speeds").update(additionalProperties={"type": "string"}),
        ONE,
        'response `Convoy.speeds.*` type: "number" became "string"',
    ),
    "an answer has no maps any more": (
        lambda d: _member(d, "Convoy.speeds").update(additionalProperties=False),
        ONE,
        "response `Convoy.speeds` may no longer have further members",
    ),
    "an answer that holds itself is changed": (
        lambda d: _member(d, "Convoy.leader").pop("maxLength"),
        ONE,
        "response `Convoy.leader` maxLength: 20 became nothing",
    ),
    "a limit of an answer goes that the check does not know": (
        lambda d: _member(d, "Convoy.speeds").pop("propertyNames"),
        ONE,
        'response `Convoy.speeds` propertyNames: {"pattern": "^[a-z]+$"} became nothing',
    ),
    # What is sent.
    "a member is to be sent": (
        lambda d: _schema(d, "Fix")["required"].append("sog"),
        POST,
        "request `Fix.sog` is now required",
    ),
    "a new member is to be sent": (
        lambda d: (
            _schema(d, "Fix")["properties"].update(seal={"type": "string"})
            or _schema(d, "Fix")["required"].append("seal")
        ),
        POST,
        "request `Fix.seal` is new and required",
    ),
    "a member is no longer taken": (
        lambda d: _remove_a_member(d, "Fix.sog"),
        POST,
        "request `Fix.sog` is removed",
    ),
    "null is no longer taken": (
        lambda d: _member(d, "Fix.sog").update(type="number"),
        POST,
        "request `Fix.sog` may no longer be null",
    ),
    "null is no longer taken by one of several limits": (
        lambda d: _schema(d, "Fix")["properties"].update(
            sog={"allOf": [{"type": "number"}, _member(d, "Fix.sog")]}
        ),
        POST,
        "request `Fix.sog` may no longer be null",
    ),
    "an alternative is no longer taken": (
        lambda d: _member(d, "Fix.port")["oneOf"].pop(),
        POST,
        'request `Fix.port` may no longer be {"type": "integer", "const": 7}',
    ),
    "a type is no longer taken": (
        lambda d: _member(d, "Fix.lat").update(type="integer"),
        POST,
        'request `Fix.lat` type: "number" became "integer"',
    ),
    "less is taken": (
        lambda d: _member(d, "Fix.lat").update(maximum=80),
        POST,
        "request `Fix.lat` maximum: 90.0 became 80",
    ),
    "more is asked for": (
        lambda d: _member(d, "Fix.lat").update(minimum=-80),
        POST,
        "request `Fix.lat` minimum: -90.0 became -80",
    ),
    "a limit is new": (
        lambda d: _member(d, "Fix.notes").update(uniqueItems=True),
        POST,
        "request `Fix.notes` uniqueItems: nothing became true",
    ),
    "items are limited": (
        lambda d: _member(d, "Fix.notes")["items"].update(minLength=3),
        POST,
        "request `Fix.notes[]` minLength: 2 became 3",
    ),
    "a value is no longer taken": (
        lambda d: _member(d, "Fix.mode")["enum"].remove("b"),
        POST,
        'request `Fix.mode` may no longer be "b"',
    ),
    "only some values are taken": (
        lambda d: _member(d, "Fix.nav_status").update(enum=[0, 1, None]),
        POST,
        "request `Fix.nav_status` enum: nothing became [0, 1]",
    ),
    "something else limits what is taken": (
        lambda d: _member(d, "Fix.accuracy_m").update(multipleOf=0.5),
        POST,
        "request `Fix.accuracy_m` multipleOf: nothing became 0.5",
    ),
    "further members are no longer taken": (
        lambda d: _member(d, "Fix.extras").update(additionalProperties=False),
        POST,
        "request `Fix.extras` may no longer have further members",
    ),
    "further members are limited": (
        lambda d: _member(d, "Fix.extras").update(additionalProperties={"type": "string"}),
        POST,
        'request `Fix.extras.*` type: nothing became "string"',
    ),
    "a media type is no longer taken": (
        lambda d: _operation(d, POST)["requestBody"]["content"].pop("application/cbor"),
        POST,
        "request media type `application/cbor` is removed",
    ),
    "a body is no longer taken": (
        lambda d: _operation(d, POST).pop("requestBody"),
        POST,
        "the request body is removed",
    ),
    "a body is to be sent": (
        lambda d: _operation(d, ONE).update(requestBody=_operation(d, POST)["requestBody"]),
        ONE,
        "the request body is now required",
    ),
    # Parameters.
    "a new parameter is to be sent": (
        lambda d: _operation(d, FLEET)["parameters"].append(
            {"in": "query", "name": "region", "required": True, "schema": {"type": "string"}}
        ),
        FLEET,
        "query parameter `region` is new and required",
    ),
    "a parameter is to be sent": (
        lambda d: _parameter(d, 0).update(required=True),
        FLEET,
        "query parameter `sample` is now required",
    ),
    "a parameter is removed": (
        lambda d: _operation(d, FLEET)["parameters"].pop(0),
        FLEET,
        "query parameter `sample` is removed",
    ),
    "a parameter takes less": (
        lambda d: _parameter(d, 0)["schema"].update(maximum=8),
        FLEET,
        "query parameter `sample` maximum: 9 became 8",
    ),
    "a parameter takes fewer values": (
        lambda d: _parameter(d, 1)["schema"]["enum"].remove("blue"),
        FLEET,
        'header parameter `X-Colour` may no longer be "blue"',
    ),
    "a parameter that is not sent means something else": (
        lambda d: _parameter(d, 0)["schema"].update(default=6),
        FLEET,
        "query parameter `sample` default: 5 became 6",
    ),
    "a parameter is written otherwise": (
        lambda d: _parameter(d, 0).update(style="spaceDelimited"),
        FLEET,
        "query parameter `sample` is written in another way",
    ),
    # Who may call.
    "a scope is needed": (
        lambda d: _operation(d, FLEET)["security"][0]["api_key"].append("fleet:read"),
        FLEET,
        "the scope `fleet:read` is now needed",
    ),
    "a key is needed": (
        lambda d: _operation(d, "getHealth").update(security=[{"api_key": []}]),
        "getHealth",
        "`api_key` is now needed",
    ),
    "a key is needed, as everywhere": (
        lambda d: d.update(security=[{"api_key": []}]) or _operation(d, "getHealth").pop("security"),
        "getHealth",
        "`api_key` is now needed",
    ),
    "a second key is needed": (
        lambda d: _operation(d, FLEET)["security"][0].update(webhook_id=[]),
        FLEET,
        "`webhook_id` is now needed",
    ),
    "a key is sent in another header": (
        lambda d: d["components"]["securitySchemes"]["webhook_id"].update(name="svix-id"),
        POST,
        "the security scheme `webhook_id` is another one",
    ),
}


REMARKS = (
    *("$comment", "title", "example", "default", "deprecated", "externalDocs"),
    *("readOnly", "writeOnly", "xml", "x-unit"),
)
HARMLESS: dict[str, Change] = {
    "an operation is new": lambda d: d["paths"].update({"/new": {"get": {"responses": {}}}}),
    "a method is new": lambda d: d["paths"]["/api/v1/vessels"].update(post=_operation(d, POST)),
    "texts are others": lambda d: (
        _operation(d, FLEET).update(summary="Others.", description="Other words.", deprecated=True)
        or _member(d, "Fix.lat").update(description="Other words.", examples=[1])
        or _member(d, "Fix.lon").update(dict.fromkeys(REMARKS, True))
        or d["info"].update(description="Other words.", version="9.9.9")
    ),
    "a further tag": lambda d: _operation(d, FLEET)["tags"].append("ships"),
    "a further server": lambda d: d["servers"].append({"url": "https://harbor.example"}),
    # Answers.
    "a member of an answer is new": lambda d: _schema(d, "VesselProperties")["properties"].update(
        colour={"type": "string"}
    ),
    "a required member of an answer is new": lambda d: (
        _schema(d, "VesselProperties")["properties"].update(colour={"type": "string"})
        or _schema(d, "VesselProperties")["required"].append("colour")
    ),
    "an answer may have further members": lambda d: _schema(d, "Verdict").update(additionalProperties=True),
    "a member of an answer is now always there": lambda d: _schema(d, "Verdict")["required"].append(
        "differs"
    ),
    "a member of an answer is never null any more": lambda d: _member(d, "VesselProperties.imo").update(
        type="string"
    ),
    "a member of an answer is never null any more by an alternative": lambda d: _schema(d, "VesselFeature")[
        "properties"
    ].update(geometry={"$ref": "#/components/schemas/Point"}),
    "null is written otherwise": lambda d: _schema(d, "VesselProperties")["properties"].update(
        mmsi={"oneOf": [{"type": "string", "pattern": "^[0-9]{9}$"}, {"type": "null"}]}
    ),
    "a member is put together": lambda d: _schema(d, "VesselFeature")["properties"].update(
        properties={"allOf": [_member(d, "VesselFeature.properties")], "description": "Other words."}
    ),
    "a schema is put together": lambda d: d["components"]["schemas"].update(
        Convoy={
            "allOf": [
                {"type": "object", "properties": _schema(d, "Convoy")["properties"], "required": ["leader"]},
                {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]},
            ]
        }
    ),
    "an alternative gets a name": lambda d: (
        d["components"]["schemas"].update(Callsign={"type": "string", "maxLength": 5})
        or _member(d, "VesselProperties.follows")["anyOf"].__setitem__(
            1, {"$ref": "#/components/schemas/Callsign"}
        )
    ),
    "an answer has fewer values": lambda d: _member(d, "Verdict.verdict")["enum"].remove("quarantined"),
    "an enumeration of one is a constant": lambda d: _schema(d, "Health")["properties"].update(
        status={"const": "ok"}
    ),
    "an answer has narrower limits": lambda d: _member(d, "VesselFeature.id").update(maximum=1000, minimum=2),
    "an answer has limits": lambda d: _member(d, "VesselProperties.length_m").update(minimum=0),
    "an error is new": lambda d: _operation(d, ONE)["responses"].update({"409": _response(d, ONE, 404)}),
    "an answer to a condition is new": lambda d: _operation(d, ONE)["responses"].update(
        {"304": {"description": "Not modified."}}
    ),
    "a code is new": lambda d: _response(d, ONE, 404)["content"]["application/problem+json"][
        "examples"
    ].update(gone={}),
    "a header is new": lambda d: _response(d, ONE, 200)["headers"].update(ETag={"schema": {}}),
    "a header is inlined": lambda d: _response(d, ONE, 429)["headers"].update(
        {"Retry-After": d["components"]["headers"]["Retry-After"]}
    ),
    "a media type of an answer is new": lambda d: _response(d, ONE, 200)["content"].update(
        {"application/json": {}}
    ),
    # What is sent.
    "an optional member is new": lambda d: _schema(d, "Fix")["properties"].update(seal={"type": "string"}),
    "a member is optional": lambda d: _schema(d, "Fix")["required"].remove("lat"),
    "null is taken": lambda d: _member(d, "Fix.lat").update(type=["number", "null"]),
    "more is taken": lambda d: _member(d, "Fix.lat").update(maximum=91),
    "more of everything is taken": lambda d: (
        _member(d, "Fix.notes").update(
            minItems=1, maxItems=6, items={"type": "string", "minLength": 1, "maxLength": 6}
        )
        or _member(d, "Fix.extras").update(minProperties=1, maxProperties=6)
        or _member(d, "Fix.rate").update(exclusiveMinimum=1, exclusiveMaximum=6)
    ),
    "the only value is a constant": lambda d: _schema(d, "Fix")["properties"].update(sort={"const": "fix"}),
    "a type of values is told": lambda d: _member(d, "Fix.mode").update(type=["string", "null"]),
    "a limit goes": lambda d: _member(d, "Fix.lat").pop("maximum"),
    "a wider type is taken": lambda d: _member(d, "Fix.nav_status").update(type=["number", "null"]),
    "another value is taken": lambda d: _member(d, "Fix.mode")["enum"].append("c"),
    "another alternative is taken": lambda d: _member(d, "Fix.port")["oneOf"].append({"type": "boolean"}),
    "a value is taken as one within limits": lambda d: _member(d, "Fix.port")["oneOf"].__setitem__(
        1, {"type": "integer", "minimum": 7, "maximum": 7}
    ),
    "further members are taken": lambda d: _schema(d, "Fix").update(additionalProperties=True),
    "another media type is taken": lambda d: _operation(d, POST)["requestBody"]["content"].update(
        {"text/csv": {}}
    ),
    "an optional body is new": lambda d: _operation(d, ONE).update(requestBody={"content": {}}),
    "a body is optional": lambda d: _operation(d, POST)["requestBody"].update(required=False),
    # Parameters.
    "an optional parameter is new": lambda d: _operation(d, FLEET)["parameters"].append(
        {"in": "query", "name": "region", "schema": {"type": "string"}}
    ),
    "a parameter takes more": lambda d: _parameter(d, 0)["schema"].update(maximum=10),
    "a header parameter is spelled otherwise": lambda d: _parameter(d, 1).update(name="x-colour"),
    # Who may call.
    "anybody may call": lambda d: _operation(d, FLEET).update(security=[]),
    "a scope is no longer needed": lambda d: _operation(d, FLEET)["security"][0].update(api_key=[]),
    "there is another way in": lambda d: _operation(d, FLEET)["security"].append({"webhook_id": []}),
}


@pytest.mark.parametrize("name", BREAKS)
def test_catches_when(name: str, old: Document):
    change, operation, what = BREAKS[name]
    [found] = breaking_changes(old, _changed(old, change))
    assert found.what == what
    assert operation in found.operations


@pytest.mark.parametrize("name", HARMLESS)
def test_lets_pass_when(name: str, old: Document):
    assert breaking_changes(old, _changed(old, HARMLESS[name])) == []


def test_lets_pass_what_is_not_changed(old: Document):
    assert breaking_changes(old, copy.deepcopy(old)) == []


def test_tells_of_a_path_parameter_that_is_renamed_as_generated_clients_see_it(old: Document):
    found = breaking_changes(old, _changed(old, _rename_a_path_parameter))
    assert {each.what for each in found} == {
        "path parameter `vessel_id` is removed",
        "path parameter `id` is new and required",
    }


def test_tells_once_of_a_schema_that_several_operations_share(old: Document):
    new = _changed(old, lambda d: _remove_a_member(d, "VesselProperties.imo"))
    [found] = breaking_changes(old, new)
    assert set(found.operations) >= {FLEET, ONE}
    assert str(found) == f"{', '.join(found.operations)}: response `VesselProperties.imo` is removed"


def test_refuses_what_it_would_not_look_at(old: Document):
    for change in (
        lambda d: d.update(webhooks={}),
        lambda d: _operation(d, POST).update(callbacks={}),
    ):
        with pytest.raises(NotImplementedError):
            breaking_changes(old, _changed(old, change))


class TestChangelog:
    BROKEN = (
        Break((FLEET, ONE), "response `VesselProperties.imo` is removed"),
        Break((POST,), "request `Fix.sog` is now required"),
    )
    ITEMS = (
        "- listVessels, getVessel: response `VesselProperties.imo` is removed",
        "- postPosition: request `Fix.sog` is now required",
    )

    @staticmethod
    def text(*items: str, version: str = "Unreleased", heading: str = "Breaking") -> str:
        lines = ["# Changelog", "", f"## {version}", "", "### Added", "", "- Something.", ""]
        return "\n".join([*lines, f"### {heading}", "", *items, "", "## 0.1.0", "", "- The first.", ""])

    def test_that_names_each_break_passes(self):
        assert faults_of(self.text(*self.ITEMS), self.BROKEN) == []

    def test_that_has_no_list_passes_when_nothing_is_broken(self):
        assert faults_of("# Changelog\n\n## Unreleased\n\n## 0.1.0\n", ()) == []

    def test_may_explain_and_wrap(self):
        wrapped = ["- listVessels, getVessel:", "  response `VesselProperties.imo` is removed. Follow `id`."]
        assert faults_of(self.text(*wrapped, self.ITEMS[1]), self.BROKEN) == []

    def test_that_leaves_one_out_is_told_the_line(self):
        assert faults_of(self.text(self.ITEMS[0]), self.BROKEN) == [f"add: {self.ITEMS[1]}"]

    def test_that_names_one_that_is_none_is_told_the_line(self):
        assert faults_of(self.text(*self.ITEMS), self.BROKEN[:1]) == [f"take away: {self.ITEMS[1]}"]

    def test_that_names_it_for_other_operations_does_not_do(self):
        item = self.ITEMS[0].replace("listVessels, ", "")
        faults = faults_of(self.text(item), self.BROKEN[:1])
        assert faults == [f"add: {self.ITEMS[0]}", f"take away: {item}"]

    @pytest.mark.parametrize("elsewhere", [{"version": "0.2.0"}, {"heading": "Changed"}])
    def test_that_names_it_elsewhere_does_not_do(self, elsewhere: Mapping[str, str]):
        faults = faults_of(self.text(*self.ITEMS, **elsewhere), self.BROKEN)
        assert faults == [f"add: {item}" for item in self.ITEMS]
