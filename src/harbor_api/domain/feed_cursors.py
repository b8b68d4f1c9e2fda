"""Cursors of the change feed: ``tag.token``, so that the greater part is the same for all who follow.

The token hides a number of the committed order, as ``domain/cursors.py`` hides what it seals: encrypted and
authenticated at once by a synthetic initialisation vector. It is rendered once for an item, whoever is told
of it. The tag binds it to an API key and to its filters. Both have one length, so frames that hold them are
as long for everybody.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping

from harbor_api.domain import cursors
from harbor_api.domain.errors import CursorMismatch

FORM = r"[A-Za-z0-9_-]{11}\.[A-Za-z0-9_-]{27}"
_FORM = re.compile(FORM, re.ASCII)
_NUMBER_BYTES, _VECTOR_BYTES, _TAG_BYTES = 8, 12, 8
_PURPOSE = "feed"


def item_key(key: bytes) -> bytes:
    """Return the bytes with which the ids of items are made."""
    return hmac.digest(key, b"harbor/feed-items/v1", hashlib.sha256)


def tag(key: bytes, *, holder: int, filters: Mapping[str, str]) -> str:
    """Return what binds a cursor to an API key and to its filters: 11 characters."""
    bound = f"{holder} {cursors.fingerprint(_PURPOSE, filters)}".encode()
    return _text(hashlib.blake2b(bound, key=key, digest_size=_TAG_BYTES, person=b"tag").digest())


def token(key: bytes, number: int) -> str:
    """Return what stands for a number of the committed order: 27 characters."""
    content = number.to_bytes(_NUMBER_BYTES, "big")
    vector = _vector(key, content)
    return _text(vector + _hidden(key, vector, content))


def is_one(cursor: str) -> bool:
    """Return whether a text has the form of a cursor of the feed."""
    return _FORM.fullmatch(cursor) is not None


def number_in(key: bytes, cursor: str, *, tag: str) -> int:
    """Return the number that a cursor stands for, which has the form of one.

    InvalidParameter where we have not made it, CursorMismatch where it has another tag.
    """
    bound, _, hiding = cursor.partition(".")
    sealed = urlsafe_b64decode(hiding + "=")
    vector = sealed[:_VECTOR_BYTES]
    content = _hidden(key, vector, sealed[_VECTOR_BYTES:])
    # Several texts stand for the same bytes; only one is ours.
    if not hmac.compare_digest(vector, _vector(key, content)) or _text(sealed) != hiding:
        raise cursors.unknown()
    if not hmac.compare_digest(bound, tag):
        raise CursorMismatch(
            "It was given to another key, or with other filters: go on with those that it came with, or "
            "begin anew with the `cursor` of the fleet"
        )
    return int.from_bytes(content, "big")


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _vector(key: bytes, content: bytes) -> bytes:
    return hashlib.blake2b(content, key=key, digest_size=_VECTOR_BYTES, person=b"feed").digest()


def _hidden(key: bytes, vector: bytes, content: bytes) -> bytes:
    """Return a number hidden, or as it was where it is hidden."""
    stream = hashlib.blake2b(vector, key=key, digest_size=_NUMBER_BYTES, person=b"number").digest()
    return bytes(one ^ other for one, other in zip(content, stream, strict=True))
