"""Finds what a new schema breaks for clients of an old one; the rule is in compare_operations.py."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator

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
_NULL: Json = {"type": "null"}


@dataclass(frozen=True)
class Place:
    """Where in what is sent or answered: ``response `VesselProperties.imo` ``."""

    kind: str
    path: str

    def __str__(self) -> str:
        return f"{self.kind} `{self.path}`"

    def member(self, name: str) -> "Place":
        return Place(self.kind, f"{self.path}.{name}")

    def items(self) -> "Place":
        return Place(self.kind, f"{self.path}[]")


class Schemas:
    """Compares schemas of what is sent, or of what is answered."""

    def __init__(self, old: Json, new: Json, *, answered: bool) -> None:
        self._old, self._new, self._answered = old, new, answered
        self._known: dict[tuple[str, str], list[str]] = {}

    def breaks(self, old: Json, new: Json, place: Place) -> list[str]:
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
            place = Place("response" if self._answered else "request", was)
            self._known[key] = renamed + self._compared(*flat, place)
        return self._known[key]

    def _compared(self, old: Json, new: Json, place: Place) -> list[str]:
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
        place: Place,
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

    def _branch(self, old: Json, new: Json, place: Place) -> list[str]:
        if "$ref" in old or "$ref" in new:
            return self.breaks(old, new, place)
        narrow, wide = (new, old) if self._answered else (old, new)
        values = _values(narrow)
        if values and all(Draft202012Validator(wide).is_valid(json.loads(value)) for value in values):
            return []
        if _types(narrow) - _types(wide):
            return [f"{place} type: {became(old, new, 'type')}"]
        return [
            *self._values(narrow, wide, old, new, place),
            *(
                f"{place} {keyword}: {became(old, new, keyword)}"
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

    def _values(self, narrow: Json, wide: Json, old: Json, new: Json, place: Place) -> Iterator[str]:
        allowed, possible = _values(wide), _values(narrow)
        if allowed is None:
            return
        if possible is None:
            yield f"{place} enum: {became(old, new, 'enum')}"
            return
        for value in possible:
            if value not in allowed:
                yield f"{place} {'may now be' if self._answered else 'may no longer be'} {value}"

    def _members(self, old: Json, new: Json, place: Place) -> Iterator[str]:
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

    def _others(self, old: Json, new: Json, place: Place) -> list[str]:
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
        parts.append(_flat(document, resolved(document, schema)))
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


def resolved(document: Json, value: Json) -> Json:
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


def became(old: Json, new: Json, keyword: str) -> str:
    was, now = (_shown(each[keyword]) if keyword in each else "nothing" for each in (old, new))
    return f"{was} became {now}"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
