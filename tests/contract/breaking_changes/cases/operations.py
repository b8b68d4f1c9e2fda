"""Changes of operations, of names and of who may call: those that break, and those that do not."""

import json

from tests.contract.breaking_changes.changed_documents import (
    FLEET,
    ONE,
    POST,
    Change,
    Document,
    member_in,
    operation_in,
)


def _rename_a_schema(document: Document, name: str, other: str) -> None:
    text = json.dumps(document).replace(f'"#/components/schemas/{name}"', f'"#/components/schemas/{other}"')
    document.update(json.loads(text))
    document["components"]["schemas"][other] = document["components"]["schemas"].pop(name)


def _move_an_operation(document: Document) -> None:
    document["paths"]["/api/v1/ships/{vessel_id}"] = document["paths"].pop("/api/v1/vessels/{vessel_id}")


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
        lambda d: operation_in(d, FLEET).update(operationId="listShips"),
        FLEET,
        "the operationId is now `listShips`",
    ),
    "an operationId is removed": (
        lambda d: operation_in(d, FLEET).pop("operationId"),
        FLEET,
        "the operationId is now `None`",
    ),
    "an operation gets another tag": (
        lambda d: operation_in(d, FLEET).update(tags=["ships"]),
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
    # Who may call.
    "a scope is needed": (
        lambda d: operation_in(d, FLEET)["security"][0]["api_key"].append("fleet:read"),
        FLEET,
        "the scope `fleet:read` is now needed",
    ),
    "a key is needed": (
        lambda d: operation_in(d, "getHealth").update(security=[{"api_key": []}]),
        "getHealth",
        "`api_key` is now needed",
    ),
    "a key is needed, as everywhere": (
        lambda d: d.update(security=[{"api_key": []}]) or operation_in(d, "getHealth").pop("security"),
        "getHealth",
        "`api_key` is now needed",
    ),
    "a second key is needed": (
        lambda d: operation_in(d, FLEET)["security"][0].update(webhook_id=[]),
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
    # Operations and names.
    "an operation is new": lambda d: d["paths"].update({"/new": {"get": {"responses": {}}}}),
    "a method is new": lambda d: d["paths"]["/api/v1/vessels"].update(post=operation_in(d, POST)),
    "texts are others": lambda d: (
        operation_in(d, FLEET).update(summary="Others.", description="Other words.", deprecated=True)
        or member_in(d, "Fix.lat").update(description="Other words.", examples=[1])
        or member_in(d, "Fix.lon").update(dict.fromkeys(REMARKS, True))
        or d["info"].update(description="Other words.", version="9.9.9")
    ),
    "a further tag": lambda d: operation_in(d, FLEET)["tags"].append("ships"),
    "a further server": lambda d: d["servers"].append({"url": "https://harbor.example"}),
    # Who may call.
    "anybody may call": lambda d: operation_in(d, FLEET).update(security=[]),
    "a scope is no longer needed": lambda d: operation_in(d, FLEET)["security"][0].update(api_key=[]),
    "there is another way in": lambda d: operation_in(d, FLEET)["security"].append({"webhook_id": []}),
}
