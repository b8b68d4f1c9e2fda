"""What a stream says: server-sent events (WHATWG HTML, 9.2), as bytes.

The event of an item is rendered once for all who are told of it. What differs is the tag of its cursor,
so a piece is what stands between two tags: with ``pieces`` of one length for all, what a client is sent is
``tag.join(pieces)``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from harbor_api.domain.feed import Expired
from harbor_api.domain.times import rfc3339

# What stands before a cursor.
ID = b"id: "
_END_OF_BODY = b"0\r\n\r\n"


def event(name: str, data: Mapping[str, Any] | bytes, cursor: str | None = None) -> bytes:
    """Return an event; where it has a cursor, a client that is told no more goes on from there."""
    content = data if isinstance(data, bytes) else orjson.dumps(data)
    head = "" if cursor is None else f"id: {cursor}\n"
    return b"%bevent: %b\ndata: %b\n\n" % (head.encode(), name.encode(), content)


def bye(reason: str, cursor: str) -> bytes:
    """Return the farewell, with from where to go on."""
    return event("bye", {"reason": reason, "cursor": cursor}, cursor)


def reset(oldest: str, error: Expired) -> bytes:
    """Return what tells that something was removed of what would come, and where what is kept begins."""
    reason = "cursor_unknown" if error.is_unknown else "cursor_expired"
    at = None if error.oldest_at is None else rfc3339(error.oldest_at)
    return event("reset", {"reason": reason, "oldest": oldest, "oldest_at": at}, oldest)


def retry(milliseconds: int) -> bytes:
    """Return what tells after how long to connect again."""
    return f"retry: {milliseconds}\n".encode()


def place(cursor: str) -> bytes:
    """Return what moves a client on to a cursor, and tells nothing else."""
    return f"id: {cursor}\n\n".encode()


def piece(token: str, item: str) -> bytes:
    """Return what comes behind the tag in the event of an item, and before the tag in the one after it."""
    return f".{token}\nevent: position\ndata: {item}\n\nid: ".encode()


def moved(old: bytes, token: str) -> bytes:
    """Return a piece with another token in place of its own."""
    return b".%b%b" % (token.encode(), old[1 + len(token) :])


def joined(pieces: Sequence[bytes], *, is_chunked: bool) -> list[bytes]:
    """Return the pieces of some events as one part of a body, to be joined by the tag of whoever gets it.

    ``is_chunked`` tells that it is a chunk of its own (RFC 9112, 7.1): tags have one length.
    """
    last = pieces[-1][: -len(ID)]
    if not is_chunked:
        return [ID, *pieces[:-1], last]
    size = len(ID) + sum(map(len, pieces)) - len(ID) + TAG_LENGTH * len(pieces)
    return [b"%x\r\n%b" % (size, ID), *pieces[:-1], last + b"\r\n"]


def chunk(part: bytes) -> bytes:
    """Return a part of a body as a chunk."""
    return b"%x\r\n%b\r\n" % (len(part), part)


def last_chunk(part: bytes) -> bytes:
    """Return the last part of a body as a chunk, and the body's end."""
    return chunk(part) + _END_OF_BODY


TAG_LENGTH = 11
"""How long the tag of a cursor is (``domain/feed_cursors.py``)."""
