"""Entity tags (RFC 9110, section 8.8.3): digests, of which nobody learns anything but whether two are equal.

A tag has one part or two. The last is a digest of all bytes that the tag stands for, so that it changes
whenever they do and never otherwise. The one before it, where there is one, is a digest of which edit of
which resource is shown: a change may name a tag that was read before the bytes moved on by themselves.

What is sent in a content coding is other bytes, and has a tag of its own: the same, and the coding's name.
"""

import hashlib
import hmac

_EDIT_BYTES = 8
_BYTES_BYTES = 16


def tag_key(master_key: bytes) -> bytes:
    """Return the 32 bytes with which tags are made: without them no tag can be guessed or compared."""
    return hmac.digest(master_key, b"harbor/etag/v1", hashlib.sha256)


def of_edit(key: bytes, resource: str, version: int) -> str:
    """Return the part of a tag that names the edit of a resource, such as ``vessels/1``."""
    edit = f"{resource}/{version}".encode()
    return hashlib.blake2b(edit, key=key, digest_size=_EDIT_BYTES, person=b"edit").hexdigest()


def of_bytes(key: bytes, content: bytes) -> str:
    """Return the part of a tag that names the bytes of an answer."""
    return hashlib.blake2b(content, key=key, digest_size=_BYTES_BYTES, person=b"bytes").hexdigest()


def of_part(key: bytes, content: bytes) -> bytes:
    """Return a digest of a part of an answer, for ``of_parts``."""
    return hashlib.blake2b(content, key=key, digest_size=_BYTES_BYTES, person=b"part").digest()


def of_parts(key: bytes, head: bytes, parts: bytes) -> str:
    """Return the part of a tag that names the bytes of an answer, by its head and the digest of its parts.

    So a large answer of which little changes has its tag without a look at all of it. It is as good as one
    over the bytes, since the parts in them are told apart by what they hold.
    """
    return of_bytes(key, b"%d:%b%b" % (len(head), head, parts))


def joined(edit: str, content: str) -> str:
    """Return a tag of both parts."""
    return f"{edit}-{content}"


def coded(tag: str, coding: str | None) -> str:
    """Return the tag of what a tag stands for, in a content coding; None is as it is."""
    return tag if coding is None else f"{tag}.{coding}"


def edit_in(tag: str) -> str:
    """Return the part of a tag that may name an edit."""
    return tag.partition("-")[0]
