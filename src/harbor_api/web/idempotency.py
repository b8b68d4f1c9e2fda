"""``Idempotency-Key``: a creation that is sent again is not done again."""

import hashlib
import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, cast

import orjson
from flask import Response, current_app, request
from marshmallow import Schema

from harbor_api.database import UnitOfWork
from harbor_api.domain import errors
from harbor_api.domain.errors import Fault
from harbor_api.services import idempotency
from harbor_api.services.idempotency import Once
from harbor_api.web import preconditions, runtime
from harbor_api.web.blueprint import Answer
from harbor_api.web.documented import View, documented

Rendered = tuple[Response, int, Mapping[str, str]]
Tell = Callable[[UnitOfWork, dict[str, Any], bytes], str]

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_ONCE = {
    "in": "header",
    "name": "Idempotency-Key",
    "description": "Anything unique of up to 255 visible ASCII characters. The same request with the same "
    "key is done once: within a day a repeat gets the answer that the first one got, whatever has changed "
    "since. A secret is told again only while it is the newest one: 409 once it was rotated or revoked.",
    # Not an `example` of the parameter: Swagger UI would send the same one with every request.
    "schema": {
        "type": "string",
        "pattern": "^[!-~]{1,255}$",
        "examples": ["1f0c9a6e-8a53-4c6e-9f5b-0f2f6f5f7c11"],
    },
}


def done_once(view: View) -> View:
    """Honour ``Idempotency-Key``; what is asked for is found by ``do_once``."""

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        key = request.headers.get("Idempotency-Key")
        if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
            raise errors.InvalidHeader(
                faults=[Fault("Not 1 to 255 visible ASCII characters.", header="Idempotency-Key")]
            )
        asked = f"{request.method} {request.path}\n".encode() + request.get_data(cache=True)
        runtime.here().once = Once(runtime.caller().id, key, hashlib.sha256(asked).digest())
        return view(*args, **kwargs)

    return documented(
        cast("View", wrapper),
        parameters=[_ONCE],
        errors=(errors.IdempotencyKeyReused, errors.InvalidHeader, errors.Conflict),
    )


def do_once(
    do: Callable[[UnitOfWork, bytes], Answer],
    schema: type[Schema],
    *,
    below: str | None = None,
    number: str = "id",
    tell: Tell | None = None,
) -> Rendered:
    """Do in a transaction what this request asks for, unless it did so before, and return the answer.

    ``do`` returns what is answered; a repeat gets that of the first one, as it was. Both are handed a nonce
    that is the same whenever the request is sent again. ``below`` is the path below which something is
    created, under the member ``number``. ``tell`` returns the secret that belongs to a body, which is kept
    nowhere: Conflict where it is not the newest one any more.
    """
    with runtime.current().database.unit_of_work() as unit_of_work:
        claim = idempotency.claim(unit_of_work, runtime.once())
        if claim.answer is None:
            members, _, headers = do(unit_of_work, claim.nonce)
            body = schema().dump(members)
            # The tag is that of what was made, which its secret is no part of.
            tag = preconditions.tag_of(headers, current_app.json.dumps(body).encode())
            answer = {"body": body, "headers": {"ETag": tag}}
            claim.done(orjson.dumps(answer))
        else:
            answer = orjson.loads(claim.answer)
        body, headers = answer["body"], answer["headers"]
        if tell is not None:
            body["secret"] = tell(unit_of_work, body, claim.nonce)
    response = cast("Response", current_app.json.response(body))
    if below is None:
        return response, 200, headers
    return response, 201, {**headers, "Location": f"{below}/{body[number]}"}
