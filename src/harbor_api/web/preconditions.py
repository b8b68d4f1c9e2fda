"""What callers may ask of a write: that it replaces only what they read, and that it is done once."""

import hashlib
import re
from collections.abc import Collection
from functools import wraps
from typing import Any, cast

from flask import g, request

from harbor_api.domain import errors
from harbor_api.domain.errors import Fault
from harbor_api.services.idempotency import Once
from harbor_api.web.documented import View, documented

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
# What stands before the first hyphen is the version; the rest moves with what nobody edits.
_VERSION = re.compile(r"([1-9][0-9]{0,9})(-.*)?", re.ASCII)
_IF_MATCH = {
    "in": "header",
    "name": "If-Match",
    "required": True,
    "description": "The `ETag` that was read with what is to be changed. What counts is that nobody has "
    "edited it since: new positions do not matter. `*` changes it whatever it is.",
    "schema": {"type": "string", "minLength": 1},
    "example": "*",
}
_ONCE = {
    "in": "header",
    "name": "Idempotency-Key",
    "description": "Anything unique of up to 255 visible ASCII characters. The same request with the same "
    "key is done once: within a day a repeat gets the first one's result.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    "example": "1f0c9a6e-8a53-4c6e-9f5b-0f2f6f5f7c11",
}


def etag(version: int, *rest: object) -> str:
    """Return the strong ETag of a version, and of whatever else its representation depends on."""
    return '"' + "-".join(str(each) for each in (version, *rest)) + '"'


def demands_version(view: View) -> View:
    """Demand ``If-Match``; the versions that it names are left in ``g.versions``, None for any."""

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        g.versions = _versions()
        return view(*args, **kwargs)

    return documented(
        cast("View", wrapper),
        parameters=[_IF_MATCH],
        errors=(errors.PreconditionRequired, errors.PreconditionFailed),
    )


def done_once(view: View) -> View:
    """Honour ``Idempotency-Key``; what is asked for is left in ``g.once``."""

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        key = request.headers.get("Idempotency-Key")
        if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
            raise errors.InvalidParameter(
                faults=[Fault("Not 1 to 255 visible ASCII characters.", parameter="Idempotency-Key")]
            )
        asked = f"{request.method} {request.path}\n".encode() + request.get_data(cache=True)
        g.once = Once(g.api_key.id, key, hashlib.sha256(asked).digest())
        return view(*args, **kwargs)

    return documented(
        cast("View", wrapper),
        parameters=[_ONCE],
        errors=(errors.IdempotencyKeyReused, errors.InvalidParameter),
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
