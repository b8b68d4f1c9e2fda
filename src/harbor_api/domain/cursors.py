"""Cursors that partners keep: what one stands for is sealed, so that it can be read and made by nobody else.

A cursor tells the numbers of the committed order and the times and trackers of fixes, which are nobody's
business, and a forged one would start a page where the service never ended one. So it is encrypted and
authenticated at once by a synthetic initialisation vector, the construction of RFC 5297 over keyed BLAKE2b:
the vector is a digest of what is sealed, and what is sealed is hidden by a stream that the vector begins. The
same cursor is therefore the same text on all workers, whoever makes it, and a tag over an answer holds.

Inside stand whose it is and what it goes on with: a cursor is bound to the API key that it was given to, and
to the parameters of the list.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from harbor_api.domain.errors import CursorMismatch, Fault, InvalidParameter

_VECTOR_BYTES = 12
_BLOCK_BYTES = 64
# A longer text is none of ours.
_MOST_CHARACTERS = 1_000


def cursor_key(master_key: bytes) -> bytes:
    """Return the 32 bytes with which cursors are sealed."""
    return hmac.digest(master_key, b"harbor/cursor/v1", hashlib.sha256)


def fingerprint(purpose: str, parameters: Mapping[str, str]) -> str:
    """Return what tells one list, read by some parameters, from all others."""
    listed = json.dumps([purpose, sorted(parameters.items())]).encode()
    return hashlib.blake2b(listed, digest_size=8, person=b"list").hexdigest()


def seal(key: bytes, *, holder: int, of: str, values: list[int | str]) -> str:
    """Return the cursor of an API key that goes on with a list of a ``fingerprint`` from some values."""
    content = json.dumps([holder, of, *values], separators=(",", ":")).encode()
    vector = _vector(key, content)
    return base64.urlsafe_b64encode(vector + _hidden(key, vector, content)).rstrip(b"=").decode()


def unseal(key: bytes, cursor: str, *, holder: int, of: str) -> list[Any]:
    """Return the values of a cursor.

    InvalidParameter for a text that is no cursor of ours, CursorMismatch for one that was given to another
    API key or with other parameters.
    """
    sealed = _bytes_of(cursor)
    vector = sealed[:_VECTOR_BYTES]
    content = _hidden(key, vector, sealed[_VECTOR_BYTES:])
    if not hmac.compare_digest(vector, _vector(key, content)):
        raise unknown()
    values: list[Any]
    given_to, given_of, *values = json.loads(content)
    if (given_to, given_of) != (holder, of):
        raise CursorMismatch(
            "It was given to another key, or with other parameters: go on with `links.next` as it is"
        )
    return values


def _bytes_of(cursor: str) -> bytes:
    try:
        if len(cursor) > _MOST_CHARACTERS:
            raise unknown()
        sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise unknown() from None
    # Several texts stand for the same bytes; only one is ours.
    if base64.urlsafe_b64encode(sealed).rstrip(b"=").decode() != cursor:
        raise unknown()
    return sealed


def unknown() -> InvalidParameter:
    """Return what is told of a text that is no cursor of ours."""
    return InvalidParameter(
        faults=[Fault("Not a cursor of this service: take it from an answer as it is.", parameter="cursor")]
    )


def _vector(key: bytes, content: bytes) -> bytes:
    return hashlib.blake2b(content, key=key, digest_size=_VECTOR_BYTES, person=b"vector").digest()


def _hidden(key: bytes, vector: bytes, content: bytes) -> bytes:
    """Return bytes hidden, or as they were where they are hidden."""
    blocks = range(-(-len(content) // _BLOCK_BYTES))
    stream = b"".join(
        hashlib.blake2b(vector + block.to_bytes(4, "big"), key=key, person=b"stream").digest()
        for block in blocks
    )
    return bytes(one ^ other for one, other in zip(content, stream, strict=False))
