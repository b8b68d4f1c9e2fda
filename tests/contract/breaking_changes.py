"""Finds what a new OpenAPI 3.1 document breaks for clients that were made from an old one.

One rule holds for all schemas: what a client might send is still taken, and what the service may
answer could be expected before. Beyond it:

- A new value in an enumeration of an answer breaks: generated clients have closed enumerations and
  fail on a value that they do not know. A member that shall grow is a plain string, such as the
  ``code`` of a problem.
- Names break that generated clients are made of: operationIds, the first tag, names of schemas.
- A new member of an answer does not break, even where no further ones were announced: clients must
  pass over what they do not know. Nor does a new 4xx or 5xx, which clients must take for 400 or 500
  (RFC 9110, section 15), or 304, which nobody gets who did not ask for it.
- What it does not understand of a schema and finds changed, it reports.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from tests.support.operations import Operation, operations_of

Json = Mapping[str, Any]
_LOWER = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"}
_UPPER = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}
_COMPARED_APART = {"type", "enum", "const", "properties", "required", "items", "additionalProperties"}
# They say something to people, and hold nobody to anything.
_REMARKS = {"$comment", "title", "description", "examples", "example", "default", "deprecated"} | {
    *("externalDocs", "readOnly", "writeOnly", "xml")
}
_TYPES: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}
_PROBLEM = "application/problem+json"
_NULL: Json = {"type": "null"}


@dataclass(frozen=True)
class Break:
    """A change that breaks clients, and the operations that they may have called."""

    operations: tuple[str, ...]
    what: str

    def __str__(self) -> str:
        return f"{', '.join(self.operations)}: {self.what}"


def breaking_changes(old: Json, new: Json) -> list[Break]:
    """Return what clients of the old document cannot rely on any more in the new one."""
    if "webhooks" in {*old, *new}:
        raise NotImplementedError("webhooks are not compared")
    after = {_route(operation): operation for operation in operations_of(new)}
    broken: dict[str, list[str]] = {}
    names = []
    for operation in operations_of(old):
        names.append(operation.described.get("operationId", str(operation)))
        if _route(operation) in after:
            found = _Comparison(old, new).of_operations(operation, after[_route(operation)])
        else:
            found = iter([f"`{operation}` is removed"])
        # Most schemas are met more than once.
        for what in dict.fromkeys(found):
            broken.setdefault(what, []).append(names[-1])
    return [
        Break(("every operation",) if operations == names else tuple(operations), what)
        for what, operations in broken.items()
    ]


def faults_of(changelog: str, broken: Iterable[Break]) -> list[str]:
    """Return what to do to a changelog so that it names, under Unreleased, just what is broken."""
    items = _items_under(changelog, "Unreleased", "Breaking")
    lines = [str(each) for each in broken]
    return [
        *(f"add: - {line}" for line in lines if not any(_names(item, line) for item in items)),
        *(f"take away: - {item}" for item in items if not any(_names(item, line) for line in lines)),
    ]


def _items_under(changelog: str, *wanted: str) -> list[str]:
    """Return the items of the list under a heading of the second level and one of the third."""
    items: list[str] = []
    version = heading = ""
    for line in changelog.splitlines():
        if line.startswith("## "):
            version, heading = line[3:].strip(), ""
        elif line.startswith("### "):
            heading = line[4:].strip()
        elif (version, heading) == wanted:
            if line.startswith("- "):
                items.append(line[2:].strip())
            elif line.startswith("  ") and items:
                items[-1] += f" {line.strip()}"
    return items


def _names(item: str, line: str) -> bool:
    """Tell whether an item is about a break; what to do about it may follow."""
    return item == line or item.startswith(f"{line}. ")


def _route(operation: Operation) -> tuple[str, str]:
    return operation.method, re.sub(r"{[^}]*}", "{}", operation.path)


@dataclass(frozen=True)
class _Place:
    """Where in what is sent or answered: ``response `VesselProperties.imo` ``."""

    kind: str
    path: str

    def __str__(self) -> str:
        return f"{self.kind} `{self.path}`"

    def member(self, name: str) -> "_Place":
        return _Place(self.kind, f"{self.path}.{name}")

    def items(self) -> "_Place":
        return _Place(self.kind, f"{self.path}[]")


class _Comparison:
    """Compares two operations; yields sentences."""

    def __init__(self, old: Json, new: Json) -> None:
        self._old, self._new = old, new
        self._sent = _Schemas(old, new, answered=False)
        self._answered = _Schemas(old, new, answered=True)

    def of_operations(self, old: Operation, new: Operation) -> Iterator[str]:
        if "callbacks" in {*old.described, *new.described}:
            raise NotImplementedError("callbacks are not compared")
        yield from self._names(old.described, new.described)
        yield from self._security(old.described, new.described)
        yield from self._parameters(old.parameters, new.parameters)
        yield from self._request(old.described.get("requestBody"), new.described.get("requestBody"))
        yield from self._responses(old.described["responses"], new.described["responses"])

    def _names(self, old: Json, new: Json) -> Iterator[str]:
        if old.get("operationId") != new.get("operationId"):
            yield f"the operationId is now `{new.get('operationId')}`"
        if old.get("tags", [])[:1] != new.get("tags", [])[:1]:
            yield f"the tag is now `{', '.join(new.get('tags', [])[:1])}`"
        kept = {server["url"] for server in self._new.get("servers", [])}
        for server in self._old.get("servers", []):
            if server["url"] not in kept:
                yield f"the server `{server['url']}` is removed"

    def _security(self, old: Json, new: Json) -> Iterator[str]:
        offered = _alternatives(self._new, new)
        for alternative in _alternatives(self._old, old):
            # One way in that takes no more than what a client has is enough.
            yield from min((_more(alternative, other) for other in offered), key=len)
            for name in alternative:
                before, after = (_security_scheme(document, name) for document in (self._old, self._new))
                if after and any(
                    before.get(key) != after.get(key) for key in ("type", "scheme", "in", "name")
                ):
                    yield f"the security scheme `{name}` is another one"

    def _parameters(self, old: Sequence[Json], new: Sequence[Json]) -> Iterator[str]:
        before, after = ({_key(each): each for each in parameters} for parameters in (old, new))
        for key, parameter in before.items():
            place = _parameter(parameter)
            if key not in after:
                # It is refused as unknown.
                yield f"{place} is removed"
                continue
            other = after[key]
            if other.get("required") and not parameter.get("required"):
                yield f"{place} is now required"
            if any(parameter.get(how) != other.get(how) for how in ("style", "explode", "content")):
                yield f"{place} is written in another way"
            earlier, later = parameter.get("schema", {}), other.get("schema", {})
            if earlier.get("default", later.get("default")) != later.get("default"):
                yield f"{place} default: {_became(earlier, later, 'default')}"
            yield from self._sent.breaks(earlier, later, place)
        for key, parameter in after.items():
            if key not in before and parameter.get("required"):
                yield f"{_parameter(parameter)} is new and required"

    def _request(self, old: Json | None, new: Json | None) -> Iterator[str]:
        if old and not new:
            yield "the request body is removed"
        if new and new.get("required") and not (old and old.get("required")):
            yield "the request body is now required"
        if old and new:
            yield from self._contents(self._sent, "request", old, new)

    def _responses(self, old: Json, new: Json) -> Iterator[str]:
        for status in old:
            if status not in new:
                yield f"response {status} is removed"
                continue
            yield from self._contents(self._answered, f"response {status}", old[status], new[status])
            yield from self._headers(status, old[status].get("headers", {}), new[status].get("headers", {}))
        for status in new:
            if status not in old and status[0] in "123" and status != "304":
                yield f"response {status} is new"

    def _contents(self, schemas: "_Schemas", kind: str, old: Json, new: Json) -> Iterator[str]:
        for media_type, content in old.get("content", {}).items():
            if media_type not in new.get("content", {}):
                yield f"{_Place(f'{kind} media type', media_type)} is removed"
                continue
            other = new["content"][media_type]
            yield from schemas.breaks(
                content.get("schema", {}), other.get("schema", {}), _Place(kind, "body")
            )
            if media_type == _PROBLEM:
                # Its examples are named for the codes, and codes stay.
                for code in content.get("examples", {}):
                    if code not in other.get("examples", {}):
                        yield f"{kind} has no code `{code}` any more"

    def _headers(self, status: str, old: Json, new: Json) -> Iterator[str]:
        for name, header in old.items():
            place = _Place(f"response {status} header", name)
            if name not in new:
                yield f"{place} is removed"
                continue
            before, after = _resolved(self._old, header), _resolved(self._new, new[name])
            if before.get("required") and not after.get("required"):
                yield f"{place} is no longer required"
            yield from self._answered.breaks(
                before["schema"], after["schema"], _Place("response header", name)
            )


def _parameter(parameter: Json) -> _Place:
    return _Place(f"{parameter['in']} parameter", parameter["name"])


def _key(parameter: Json) -> tuple[str, str]:
    name = parameter["name"]
    return parameter["in"], name.lower() if parameter["in"] == "header" else name


def _alternatives(document: Json, operation: Json) -> list[Json]:
    return operation.get("security", document.get("security", [])) or [{}]


def _security_scheme(document: Json, name: str) -> Json:
    scheme: Json = document.get("components", {}).get("securitySchemes", {}).get(name, {})
    return scheme


def _more(old: Json, new: Json) -> list[str]:
    """Return what one way in takes that another one does not."""
    return [
        *(f"`{scheme}` is now needed" for scheme in new if scheme not in old),
        *(
            f"the scope `{scope}` is now needed"
            for scheme in new
            for scope in new[scheme]
            if scheme in old and scope not in old[scheme]
        ),
    ]


class _Schemas:
    """Compares schemas of what is sent, or of what is answered."""

    def __init__(self, old: Json, new: Json, *, answered: bool) -> None:
        self._old, self._new, self._answered = old, new, answered
        self._known: dict[tuple[str, str], list[str]] = {}

    def breaks(self, old: Json, new: Json, place: _Place) -> list[str]:
        """Return what is broken, named schemas by their own name and only once."""
        if _has_alternatives(old) or _has_alternatives(new):
            return self._compared(old, new, place)
        flat = _flat(self._old, old), _flat(self._new, new)
        was, now = _name(old), _name(new)
        if not was:
            return self._compared(*flat, place)
        key = (was, now or str(place))
        if key not in self._known:
            # Where a schema holds itself, it is as good below as it is here.
            self._known[key] = []
            renamed = [] if was == now else [f"the schema `{was}` is {f'now `{now}`' if now else 'inlined'}"]
            place = _Place("response" if self._answered else "request", was)
            self._known[key] = renamed + self._compared(*flat, place)
        return self._known[key]

    def _compared(self, old: Json, new: Json, place: _Place) -> list[str]:
        before, after = _branches(self._old, old), _branches(self._new, new)
        narrow, wide = (after, before) if self._answered else (before, after)
        broken = []
        for branch in narrow:
            attempts = [self._branch(*self._in_time(branch, other), place) for other in wide]
            if all(attempts):
                broken += self._reasons(branch, narrow, wide, attempts, place)
        return broken

    def _in_time(self, narrow: Json, wide: Json) -> tuple[Json, Json]:
        return (wide, narrow) if self._answered else (narrow, wide)

    def _reasons(
        self,
        branch: Json,
        narrow: Sequence[Json],
        wide: Sequence[Json],
        attempts: Sequence[list[str]],
        place: _Place,
    ) -> list[str]:
        """Return why a branch has no counterpart, by the one that comes nearest to it."""
        paired = len([each for each in narrow if each != _NULL]) == len(
            [each for each in wide if each != _NULL]
        )
        if branch == _NULL or not paired:
            shown = "null" if branch == _NULL else _shown(branch.get("$ref", branch))
            return [f"{place} {'may now be' if self._answered else 'may no longer be'} {shown}"]
        candidates = [
            (_kind(branch) != _kind(other), len(attempt), attempt)
            for other, attempt in zip(wide, attempts, strict=True)
            if other != _NULL
        ]
        return min(candidates, key=lambda candidate: candidate[:2])[2]

    def _branch(self, old: Json, new: Json, place: _Place) -> list[str]:
        if "$ref" in old or "$ref" in new:
            return self.breaks(old, new, place)
        narrow, wide = (new, old) if self._answered else (old, new)
        values = _values(narrow)
        if values and all(Draft202012Validator(wide).is_valid(json.loads(value)) for value in values):
            return []
        if _types(narrow) - _types(wide):
            return [f"{place} type: {_became(old, new, 'type')}"]
        return [
            *self._values(narrow, wide, old, new, place),
            *(
                f"{place} {keyword}: {_became(old, new, keyword)}"
                for keyword in sorted(set(wide) - _COMPARED_APART - _REMARKS)
                if not keyword.startswith("x-") and not _holds(keyword, narrow.get(keyword), wide[keyword])
            ),
            *self._members(old, new, place),
            *self._others(old, new, place),
            *(
                self.breaks(old.get("items", {}), new.get("items", {}), place.items())
                if "items" in wide
                else ()
            ),
        ]

    def _values(self, narrow: Json, wide: Json, old: Json, new: Json, place: _Place) -> Iterator[str]:
        allowed, possible = _values(wide), _values(narrow)
        if allowed is None:
            return
        if possible is None:
            yield f"{place} enum: {_became(old, new, 'enum')}"
            return
        for value in possible:
            if value not in allowed:
                yield f"{place} {'may now be' if self._answered else 'may no longer be'} {value}"

    def _members(self, old: Json, new: Json, place: _Place) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name in before:
            if name in after:
                yield from self.breaks(before[name], after[name], place.member(name))
            else:
                yield f"{place.member(name)} is removed"
        if self._answered:
            for name in old.get("required", ()):
                if name in after and name not in new.get("required", ()):
                    yield f"{place.member(name)} is no longer required"
        else:
            for name in new.get("required", ()):
                if name not in old.get("required", ()):
                    yield f"{place.member(name)} is {'now' if name in before else 'new and'} required"

    def _others(self, old: Json, new: Json, place: _Place) -> list[str]:
        """Compare what there may be beyond the members that are named."""
        before, after = (each.get("additionalProperties", True) for each in (old, new))
        if before is False or (self._answered and before is True):
            # More than was announced is no harm: see above.
            return []
        if after is False:
            return [f"{place} may no longer have further members"]
        if before is after is True:
            return []
        open_ended: Json = {}
        schemas = (open_ended if each is True else each for each in (before, after))
        return self.breaks(*schemas, place.member("*"))


def _has_alternatives(schema: Json) -> bool:
    return "anyOf" in schema or "oneOf" in schema


def _branches(document: Json, schema: Json) -> list[Json]:
    """Return the alternatives of a schema, null always one of its own."""
    if "$ref" in schema and not set(schema) - {"$ref", *_REMARKS}:
        return [schema]
    schema = _flat(document, schema)
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            common = {key: value for key, value in schema.items() if key not in {keyword, *_REMARKS}}
            parts = [_merged(common, _flat(document, part)) if common else part for part in schema[keyword]]
            return [branch for part in parts for branch in _branches(document, part)]
    values = _values(schema)
    if "type" not in schema and values is None:
        return [schema]
    told = schema.get("type", sorted(_types(schema)))
    types = [told] if isinstance(told, str) else told
    others = [each for each in types if each != "null"]
    rest: Json = {**schema, "type": others[0] if len(others) == 1 else others}
    if "enum" in schema:
        rest = {**rest, "enum": [value for value in schema["enum"] if value is not None]}
    null = [_NULL] if "null" in types and (values is None or "null" in values) else []
    return [rest, *null] if others else null


def _flat(document: Json, schema: Json) -> Json:
    """Return a schema without $ref and allOf at its top."""
    parts = [_flat(document, part) for part in schema.get("allOf", ())]
    if "$ref" in schema:
        parts.append(_flat(document, _resolved(document, schema)))
    flat: Json = {key: value for key, value in schema.items() if key not in {"$ref", "allOf"}}
    for part in parts:
        flat = _merged(flat, part)
    return flat


def _merged(one: Json, other: Json) -> Json:
    merged = {**one, **other}
    if "type" in one and "type" in other:
        merged["type"] = sorted(_types(one) & _types(other))
    if "properties" in merged:
        merged["properties"] = {**one.get("properties", {}), **other.get("properties", {})}
    if "required" in merged:
        merged["required"] = [*one.get("required", ()), *other.get("required", ())]
    return merged


def _resolved(document: Json, value: Json) -> Json:
    if "$ref" not in value:
        return value
    found: Any = document
    for token in value["$ref"].removeprefix("#/").split("/"):
        found = found[token.replace("~1", "/").replace("~0", "~")]
    resolved: Json = found
    return resolved


def _name(schema: Json) -> str:
    """Return the name of a schema, the empty string if it has none."""
    if len(schema.get("allOf", ())) == 1:
        return _name(schema["allOf"][0])
    name: str = schema.get("$ref", "").rpartition("/")[2]
    return name


def _types(schema: Json) -> set[str]:
    types = schema.get("type", sorted(_TYPES.values()))
    if "type" not in schema and ("enum" in schema or "const" in schema):
        types = [_TYPES[type(value)] for value in schema.get("enum", [schema.get("const")])]
    found = {types} if isinstance(types, str) else set(types)
    return found | {"integer"} if "number" in found else found


def _kind(schema: Json) -> Any:
    return schema.get("$ref") or _types(schema)


def _values(schema: Json) -> list[str] | None:
    """Return the values of an enumeration as JSON, None where there are more than can be counted."""
    if "const" in schema:
        return [_shown(schema["const"])]
    return [_shown(value) for value in schema["enum"]] if "enum" in schema else None


def _holds(keyword: str, narrow: Any, wide: Any) -> bool:
    """Tell whether a keyword of one schema allows no more than that of another."""
    if narrow is None or keyword not in _LOWER | _UPPER:
        return bool(narrow == wide)
    return bool(narrow >= wide if keyword in _LOWER else narrow <= wide)


def _became(old: Json, new: Json, keyword: str) -> str:
    was, now = (_shown(each[keyword]) if keyword in each else "nothing" for each in (old, new))
    return f"{was} became {now}"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
