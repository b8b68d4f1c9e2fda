"""The OpenAPI document as 3.0.3, for tools that cannot read 3.1."""

from copy import deepcopy
from typing import Any


def as_3_0(document: dict[str, Any]) -> dict[str, Any]:
    """Return an OpenAPI 3.1 document as 3.0.3: what JSON Schema says in other words, in OpenAPI's own.

    ``type: [x, "null"]`` becomes ``nullable``, ``const`` a single ``enum``, and a schema's ``examples``
    their first. Scopes of a bearer scheme have no place in 3.0, and a licence has an address instead of
    an identifier.
    """
    older = deepcopy(document)
    older["openapi"] = "3.0.3"
    licence = older["info"]["license"]
    licence["url"] = f"https://spdx.org/licenses/{licence.pop('identifier')}.html"
    for path in older["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict):
                for requirement in operation.get("security", ()):
                    requirement.update({name: [] for name in requirement})
        _convert(path)
    _convert(older["components"])
    return older


def _convert(node: Any) -> None:
    """Rewrite every schema below a node of the document in place."""
    if isinstance(node, list):
        for item in node:
            _convert(item)
    elif isinstance(node, dict):
        if "in" in node and "schema" in node:
            # Tools send the `example` of a parameter's schema, as they would the parameter's own.
            node["schema"].pop("examples", None)
        for key, value in node.items():
            if key == "schemas":
                for schema in value.values():
                    _convert_schema(schema)
            elif key == "schema":
                _convert_schema(value)
            elif key not in {"example", "examples"}:
                _convert(value)


def _convert_schema(schema: dict[str, Any]) -> None:
    types = schema.get("type")
    if isinstance(types, list):
        [schema["type"]] = [each for each in types if each != "null"]
        schema["nullable"] = True
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if "examples" in schema:
        schema["example"] = schema.pop("examples")[0]
    for name in ("anyOf", "oneOf", "allOf"):
        for branch in schema.get(name, ()):
            if branch == {"type": "null"}:
                # 3.0 knows null only beside a type; which one does not matter, as no other value fits.
                branch.update({"type": "object", "nullable": True, "enum": [None]})
            else:
                _convert_schema(branch)
    if "$ref" in schema and len(schema) > 1:
        # 3.0 ignores whatever stands beside a reference.
        schema["allOf"] = [{"$ref": schema.pop("$ref")}]
    for child in schema.get("properties", {}).values():
        _convert_schema(child)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            _convert_schema(schema[name])
