"""The operations of an OpenAPI document, one by one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# What a test sends where the document has an example that fits one state of one resource only.
_SENT = {"If-Match": "*"}
# What must be asked, one way or another, which no document can say.
_ASKED = {"followPositions": "from=now"}
_METHODS = ("get", "put", "post", "delete", "patch", "trace", "query")


@dataclass(frozen=True)
class Operation:
    """One method of one path, with the parameters that it shares with its siblings."""

    method: str
    path: str
    described: Mapping[str, Any]
    parameters: tuple[Mapping[str, Any], ...]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def security(self) -> list[Mapping[str, list[str]]]:
        """Return the alternatives of authentication; none where anybody may call."""
        return list(self.described.get("security", []))

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that the operation requires beside its authentication."""
        return {
            parameter["name"]: _SENT.get(parameter["name"]) or str(_a_value(parameter))
            for parameter in self.parameters
            if parameter["in"] == "header" and parameter.get("required")
        }

    @property
    def url(self) -> str:
        """Return a URL that the path matches: where a parameter has no example, its least value."""
        url = self.path
        for parameter in self.parameters:
            if parameter["in"] == "path":
                url = url.replace(f"{{{parameter['name']}}}", str(_a_value(parameter)))
        assert "{" not in url, f"{self} has a path parameter that is not described"
        return url

    def asked(self, query: str = "") -> str:
        """Return the URL with a query, beside what must be asked of it."""
        must = _ASKED.get(self.described["operationId"], "")
        name = must.partition("=")[0]
        parts = [each for each in ("" if f"{name}=" in query else must, query) if each]
        return "?".join((self.url, *(["&".join(parts)] if parts else [])))


def operations_of(document: Mapping[str, Any]) -> Iterator[Operation]:
    """Yield every operation of a document."""
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                described = item[method]
                parameters = (*item.get("parameters", ()), *described.get("parameters", ()))
                yield Operation(
                    method.upper(), path, described, tuple(_resolved(document, each) for each in parameters)
                )


def schemas_in(value: Any, where: str = "#") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every property schema below a part of a document, with its place."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from schemas_in(item, f"{where}/{index}")
    elif isinstance(value, dict):
        properties = value.get("properties")
        if value.get("type") == "object" and isinstance(properties, dict):
            for name, schema in properties.items():
                yield f"{where}/properties/{name}", schema
        for name, item in value.items():
            yield from schemas_in(item, f"{where}/{name}")


def _resolved(document: Mapping[str, Any], value: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in value:
        return value
    found: Any = document
    for token in value["$ref"].removeprefix("#/").split("/"):
        found = found[token]
    resolved: Mapping[str, Any] = found
    return resolved


def _a_value(parameter: Mapping[str, Any]) -> Any:
    schema = parameter["schema"]
    examples = [*schema.get("examples", ()), *schema.get("enum", ())]
    return examples[0] if examples else schema["minimum"]
