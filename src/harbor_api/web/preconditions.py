"""``ETag``, ``If-None-Match``, ``If-Match``: nothing is read twice, and nothing replaced that was not read.

A view gives the version of what it shows (``edit_of``), and ``tagged`` adds to it a digest of the bytes that
go out: see ``domain/tags.py``. ``If-Match`` looks at the first part only, ``If-None-Match`` at the whole tag.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, cast

from flask import Response, request
from werkzeug.datastructures import Headers

from harbor_api.domain import errors, tags
from harbor_api.web import runtime
from harbor_api.web.documented import View, documented

_IF_MATCH = {
    "in": "header",
    "name": "If-Match",
    "required": True,
    "description": "The `ETag` that was read with what is to be changed. What counts is that nobody has "
    "edited it since: new positions do not matter. `*` changes it whatever it is.",
    # Not an `example` of the parameter: Swagger UI would send it, and `*` overwrites whatever is there.
    "schema": {"type": "string", "minLength": 1, "examples": ['"3"', "*"]},
}
_IF_NONE_MATCH = {
    "in": "header",
    "name": "If-None-Match",
    "description": "An `ETag` of an earlier answer, or several: 304 without a body where one of them still "
    "names what would be answered.",
    "schema": {"type": "string"},
}


@dataclass(frozen=True, slots=True)
class _Named(Container[int]):
    """The versions of a resource that the tags of ``If-Match`` name: no tag tells which."""

    resource: str
    edits: frozenset[str]

    def __contains__(self, version: object) -> bool:
        return isinstance(version, int) and tags.of_edit(_key(), self.resource, version) in self.edits


def edit_of(number: int, version: int) -> dict[str, str]:
    """Return the header with which a view says which version of what it shows, for ``tagged``."""
    return {"ETag": f'"{tags.of_edit(_key(), _resource(number), version)}"'}


def tag_of(headers: Mapping[str, str] | Headers, content: bytes) -> str:
    """Return the whole tag of some bytes, and of the edit that ``edit_of`` has put in the headers."""
    tag, caller = tags.of_bytes(_key(), content), runtime.caller()
    # An edit that is undone is nothing that one may notice who sees less than there is.
    whole = not caller.delay_s and caller.coordinate_decimals is None
    if whole and "ETag" in headers:
        tag = tags.joined(headers["ETag"].strip('"'), tag)
    return f'"{tag}"'


def tagged(view: View) -> View:
    """Let the tag of an answer stand for its bytes, too."""

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Response:
        response = cast("Response", view(*args, **kwargs))
        response.headers["ETag"] = tag_of(response.headers, response.get_data())
        return response

    return cast("View", wrapper)


def revalidated(view: View) -> View:
    """Answer 304 where the caller has what it asks for; the answer's tag stands for its bytes."""
    tagging = tagged(view)

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Response:
        response = cast("Response", tagging(*args, **kwargs))
        tag, _ = response.get_etag()
        if request.if_none_match.contains_weak(tag or ""):
            unchanged = Response(status=304)
            unchanged.set_etag(tag or "")
            # It has no body that could be of any type.
            del unchanged.headers["Content-Type"]
            response = unchanged
        response.vary.add("Authorization")
        return response

    return documented(
        cast("View", wrapper),
        parameters=[_IF_NONE_MATCH],
        answers={304: ("What the caller has is what would be answered.", ("ETag",))},
    )


def demands_version(view: View) -> View:
    """Demand ``If-Match``; views find what it names in ``runtime.versions()``."""

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        state = runtime.here()
        state.versions, state.demands_version = _versions(), True
        return view(*args, **kwargs)

    return documented(
        cast("View", wrapper),
        parameters=[_IF_MATCH],
        errors=(errors.PreconditionRequired, errors.PreconditionFailed),
    )


def _versions() -> Container[int] | None:
    if "If-Match" not in request.headers:
        raise errors.PreconditionRequired("Send If-Match with the ETag that you read")
    wanted = request.if_match
    if wanted.star_tag:
        return None
    [number] = (request.view_args or {}).values()
    # A proxy that compresses makes a tag weak; the edit in it stays what it was.
    edits = frozenset(tags.edit_in(tag or "") for tag in wanted.as_set(include_weak=True))
    return _Named(_resource(number), edits)


def _resource(number: int) -> str:
    return f"{request.blueprint}/{number}"


def _key() -> bytes:
    return tags.tag_key(runtime.current().settings.require_master_key())
