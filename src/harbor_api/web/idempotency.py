"""``Idempotency-Key``: a creation that is sent again is not done again."""

import hashlib
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from flask import request

from harbor_api.database import UnitOfWork
from harbor_api.domain import errors
from harbor_api.domain.errors import Fault
from harbor_api.services import idempotency
from harbor_api.services.idempotency import Once
from harbor_api.web import runtime
from harbor_api.web.documented import View, documented

Shown = TypeVar("Shown")

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_ONCE = {
    "in": "header",
    "name": "Idempotency-Key",
    "description": "Anything unique of up to 255 visible ASCII characters. The same request with the same "
    "key is done once: within a day a repeat gets the first one's result.",
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
            raise errors.InvalidParameter(
                faults=[Fault("Not 1 to 255 visible ASCII characters.", parameter="Idempotency-Key")]
            )
        asked = f"{request.method} {request.path}\n".encode() + request.get_data(cache=True)
        runtime.here().once = Once(runtime.caller().id, key, hashlib.sha256(asked).digest())
        return view(*args, **kwargs)

    return documented(
        cast("View", wrapper),
        parameters=[_ONCE],
        errors=(errors.IdempotencyKeyReused, errors.InvalidParameter),
    )


def do_once(do: Callable[[UnitOfWork, bytes], int], show: Callable[[UnitOfWork, int, bytes], Shown]) -> Shown:
    """Do in a transaction what this request asks for, unless it did so before, and show what came of it.

    ``do`` returns the id of what it has made or changed, by which ``show`` finds it; both are handed a nonce
    that is the same whenever the request is sent again, and the last thing of a secret's derivation.
    """
    with runtime.current().database.unit_of_work() as unit_of_work:
        claim = idempotency.claim(unit_of_work, runtime.once())
        subject_id = claim.subject_id
        if subject_id is None:
            subject_id = do(unit_of_work, claim.nonce)
            claim.done(subject_id)
        return show(unit_of_work, subject_id, claim.nonce)
