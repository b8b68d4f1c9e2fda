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

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.contract.breaking_changes.compare_schemas import Json, Place, Schemas, became, resolved
from tests.support.operations import Operation, operations_of

_PROBLEM = "application/problem+json"


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


def _route(operation: Operation) -> tuple[str, str]:
    return operation.method, re.sub(r"{[^}]*}", "{}", operation.path)


class _Comparison:
    """Compares two operations; yields sentences."""

    def __init__(self, old: Json, new: Json) -> None:
        self._old, self._new = old, new
        self._sent = Schemas(old, new, answered=False)
        self._answered = Schemas(old, new, answered=True)

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
                yield f"{place} default: {became(earlier, later, 'default')}"
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

    def _contents(self, schemas: "Schemas", kind: str, old: Json, new: Json) -> Iterator[str]:
        for media_type, content in old.get("content", {}).items():
            if media_type not in new.get("content", {}):
                yield f"{Place(f'{kind} media type', media_type)} is removed"
                continue
            other = new["content"][media_type]
            yield from schemas.breaks(content.get("schema", {}), other.get("schema", {}), Place(kind, "body"))
            if media_type == _PROBLEM:
                # Its description names the codes, and codes stay.
                after = _codes(new)
                for code in _codes(old):
                    if code not in after:
                        yield f"{kind} has no code `{code}` any more"

    def _headers(self, status: str, old: Json, new: Json) -> Iterator[str]:
        for name, header in old.items():
            place = Place(f"response {status} header", name)
            if name not in new:
                yield f"{place} is removed"
                continue
            before, after = resolved(self._old, header), resolved(self._new, new[name])
            if before.get("required") and not after.get("required"):
                yield f"{place} is no longer required"
            yield from self._answered.breaks(
                before["schema"], after["schema"], Place("response header", name)
            )


def _codes(response: Json) -> list[str]:
    """Return the codes that a problem's description names: first in each line, or in each part of one."""
    return re.findall(r"(?:^(?:- )?|, )`([a-z][a-z0-9_]*)`", response.get("description", ""), re.MULTILINE)


def _parameter(parameter: Json) -> Place:
    return Place(f"{parameter['in']} parameter", parameter["name"])


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
