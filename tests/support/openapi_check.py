"""Holds a response against an OpenAPI 3.1 document: status, media type, headers, body.

It is stricter than the document: that lets answers have further members, as they may come with any release,
while one that is sent and not described is a Lie.
"""

import copy
import csv
import io
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

from jsonschema_rs import Draft202012Validator, Registry
from tests.support.gpx import segments_of

_DOCUMENT = "urn:document"
# What HTTP itself, a browser's security or CORS puts on any answer.
_ANYWHERE = re.compile(
    r"(content-(type|length|security-policy)|date|server|connection|vary|transfer-encoding|"
    r"x-content-type-options|referrer-policy|strict-transport-security|cache-control|access-control-.*)"
)
# What spreadsheets take for a formula, and what they do not.
_FORMULA, _NUMBER = re.compile(r"[=+\-@\t\r\n]"), re.compile(r"-?[0-9]+(\.[0-9]+)?")
# Pages for people, not operations of the API.
_PAGES = re.compile(r"/|/(docs(/.*)?|openapi(-3\.0)?\.json|\.well-known/security\.txt)")


# What the traffic of all tests in this process has met: (operationId, status).
SEEN: set[tuple[str, int]] = set()


class Lie(AssertionError):
    """A response is not what the document says."""


def _value(media_type: str, body: bytes) -> Any:
    """Return what a body says, as its type has it: fails where it is not of that type."""
    if "json" in media_type:
        return json.loads(body)
    text = body.decode()
    if media_type == "text/csv":
        _demand_csv(text)
    elif media_type == "application/gpx+xml":
        segments_of(body)
    return text


def _demand_csv(text: str) -> None:
    """Raise Lie where a text is not CSV with a header by RFC 4180, or a cell is run as a formula."""
    head, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    again = io.StringIO(newline="")
    csv.writer(again).writerows([head, *rows])
    if again.getvalue() != text:
        raise Lie(f"a CSV that is written otherwise: {text[:300]!r}")
    for row in rows:
        if len(row) != len(head):
            raise Lie(f"a row that is not as long as the header: {row}")
        if any(_FORMULA.match(cell) and not _NUMBER.fullmatch(cell) for cell in row):
            raise Lie(f"a cell that spreadsheets run: {row}")


def closed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document whose objects have no members but those that are described."""
    strict: dict[str, Any] = copy.deepcopy(dict(document))
    for schema in strict.get("components", {}).get("schemas", {}).values():
        _close(schema)
    for path in strict["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict):
                bodies = [operation.get("requestBody", {}), *operation.get("responses", {}).values()]
                for body in bodies:
                    for content in body.get("content", {}).values():
                        _close(content.get("schema"))
    return strict


def _close(schema: Any) -> None:
    if not isinstance(schema, dict):
        return
    if "properties" in schema:
        schema.setdefault("unevaluatedProperties", False)
    below = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for name in ("anyOf", "oneOf", "allOf"):
        below += schema.get(name, ())
    for each in below:
        _close(each)


def _check_coding(headers: Mapping[str, str], where: str) -> None:
    """Raise Lie where an answer in a content coding could be taken for one in another, or in none."""
    coding, tag = headers.get("content-encoding"), headers.get("etag", "")
    if coding and "accept-encoding" not in headers.get("vary", "").lower():
        raise Lie(f"{where}: coded, and Vary does not say so")
    # A stream has none.
    if coding and tag and not tag.endswith(f'.{coding}"'):
        raise Lie(f"{where}: sent in {coding}, tagged {tag}")


class Contract:
    """What a document promises. Each promise that is kept is noted in SEEN."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document = closed(document)
        self._registry = Registry([(_DOCUMENT, document)])
        # By the text of their schemas: to make one takes longer than what it is asked.
        self._validators: dict[str, Draft202012Validator] = {}
        self._paths = [
            (re.compile(re.sub(r"\\{[^}]+\\}", "[^/]+", re.escape(path))), path)
            # A path without parameters wins over one that a parameter could match.
            for path in sorted(document["paths"], key=lambda path: path.count("{"))
        ]

    def check(self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Raise Lie where the response is not declared exactly like this."""
        headers = {name.lower(): value for name, value in headers.items()}
        if _PAGES.fullmatch(path):
            return
        if "x-request-id" not in headers:
            raise Lie("no X-Request-Id")
        template = next((template for regex, template in self._paths if regex.fullmatch(path)), None)
        operation = (
            self.document["paths"].get(template, {}).get("get" if method == "HEAD" else method.lower())
        )
        if operation is None:
            self._check_undeclared(method, path, template, status, headers, body)
            return
        response = operation["responses"].get(str(status))
        if response is None:
            raise Lie(f"{method} {template} answered {status}, which is not declared: {body[:300]!r}")
        SEEN.add((operation["operationId"], status))
        where = f"{method} {template} {status}"
        declared_names = {name.lower() for name in response.get("headers", {})}
        for name in headers:
            if name not in declared_names and not _ANYWHERE.fullmatch(name):
                raise Lie(f"{where}: header {name} is not declared")
        for name, header in response.get("headers", {}).items():
            declared = self._resolve(header)
            if name.lower() not in headers:
                if declared.get("required"):
                    raise Lie(f"{where}: no header {name}")
                continue
            self._validate(declared["schema"], headers[name.lower()], f"{where}: header {name}")
        _check_coding(headers, where)
        if method == "HEAD":
            return
        content = response.get("content", {})
        media_type = headers.get("content-type", "").partition(";")[0]
        if not content:
            if body:
                raise Lie(f"{where}: a body, though none is declared")
            return
        if media_type not in content:
            raise Lie(f"{where}: sent as {media_type!r}, declared are {sorted(content)}")
        self._validate(content[media_type]["schema"], _value(media_type, body), where)

    def _check_undeclared(
        self,
        method: str,
        path: str,
        template: str | None,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
    ) -> None:
        if method == "OPTIONS" and template:
            return
        expected = {404} if template is None else {404, 405}
        if status not in expected:
            raise Lie(f"{method} {path} is not declared, but answered {status}")
        if headers.get("content-type") != "application/problem+json":
            raise Lie(f"{method} {path}: an error that is not problem+json")
        if status == 405 and "allow" not in headers:
            raise Lie(f"{method} {path}: 405 without Allow")
        if method != "HEAD":
            self._validate({"$ref": "#/components/schemas/Problem"}, json.loads(body), path)

    def _resolve(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" in value:
            resolved: Any = self.document
            for name in value["$ref"].removeprefix("#/").split("/"):
                resolved = resolved[name]
            return cast("Mapping[str, Any]", resolved)
        return value

    def _validate(self, schema: Mapping[str, Any], value: Any, where: str) -> None:
        absolute = json.dumps(schema).replace('"#/', f'"{_DOCUMENT}#/')
        validator = self._validators.get(absolute)
        if validator is None:
            validator = self._validators[absolute] = Draft202012Validator(
                json.loads(absolute), registry=self._registry, validate_formats=True
            )
        for error in validator.iter_errors(value):
            raise Lie(f"{where}: {'/'.join(map(str, error.instance_path))}: {error.message}")


@lru_cache(maxsize=4)
def contract_of(document: bytes) -> Contract:
    """Return what a document promises, made once for all that hold answers against it."""
    return Contract(json.loads(document))
