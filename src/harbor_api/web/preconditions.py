"""``ETag`` and ``If-Match``: a change replaces only what its sender has read."""

import re
from collections.abc import Collection
from functools import wraps
from typing import Any, cast

from flask import request

from harbor_api.domain import errors
from harbor_api.web import runtime
from harbor_api.web.documented import View, documented

# What stands before the first hyphen is the version; the rest moves with what nobody edits.
_VERSION = re.compile(r"([1-9][0-9]{0,9})(-.*)?", re.ASCII)
_IF_MATCH = {
    "in": "header",
    "name": "If-Match",
    "required": True,
    "description": "The `ETag` that was read with what is to be changed. What counts is that nobody has "
    "edited it since: new positions do not matter. `*` changes it whatever it is.",
    # Not an `example` of the parameter: Swagger UI would send it, and `*` overwrites whatever is there.
    "schema": {"type": "string", "minLength": 1, "examples": ['"3"', "*"]},
}


def etag(*state: object) -> str:
    """Return the strong ETag of a version, which comes first, and of whatever else its bytes depend on."""
    return '"' + "-".join(map(str, state)) + '"'


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


def _versions() -> Collection[int] | None:
    if "If-Match" not in request.headers:
        raise errors.PreconditionRequired("Send If-Match with the ETag that you read")
    wanted = request.if_match
    if wanted.star_tag:
        return None
    # A proxy that compresses makes a tag weak; the version in it stays what it was.
    return {
        int(match[1]) for tag in wanted.as_set(include_weak=True) if (match := _VERSION.fullmatch(tag or ""))
    }
