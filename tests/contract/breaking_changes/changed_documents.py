"""A document with a change in it, and its parts by the names that the cases call them by."""

import copy
from collections.abc import Callable
from typing import Any

Document = dict[str, Any]
Change = Callable[[Document], Any]
FLEET, ONE, POST = "listVessels", "getVessel", "postPosition"


def operation_in(document: Document, name: str) -> dict[str, Any]:
    for path in document["paths"].values():
        for described in path.values():
            if isinstance(described, dict) and described.get("operationId") == name:
                return described
    raise KeyError(name)


def response_in(document: Document, name: str, status: int) -> dict[str, Any]:
    response: dict[str, Any] = operation_in(document, name)["responses"][str(status)]
    return response


def schema_in(document: Document, name: str) -> dict[str, Any]:
    schema: dict[str, Any] = document["components"]["schemas"][name]
    return schema


def member_in(document: Document, place: str) -> dict[str, Any]:
    name, _, member = place.partition(".")
    schema: dict[str, Any] = schema_in(document, name)["properties"][member]
    return schema


def parameter_in(document: Document, index: int) -> dict[str, Any]:
    parameter: dict[str, Any] = operation_in(document, FLEET)["parameters"][index]
    return parameter


def changed(old: Document, change: Change) -> Document:
    new = copy.deepcopy(old)
    change(new)
    assert new != old
    return new


def remove_a_member(document: Document, place: str) -> None:
    name, _, member = place.partition(".")
    del schema_in(document, name)["properties"][member]
    required = schema_in(document, name).get("required", [])
    if member in required:
        required.remove(member)
