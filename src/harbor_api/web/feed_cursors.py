"""Cursors of the change feed as views give and take them (``domain/feed_cursors.py``)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from harbor_api.domain import feed_cursors
from harbor_api.domain.errors import CursorExpired
from harbor_api.domain.feed import Expired
from harbor_api.domain.times import rfc3339
from harbor_api.web import cursors, runtime

_REMOVED = "What came after it was removed: read the fleet anew, or go on with `oldest` and miss a part"
_UNKNOWN = "It is of an order that went further than this one, as before a restore: read the fleet anew"


def tag(filters: Mapping[str, str]) -> str:
    """Return what binds the caller's cursors to its key and to its filters."""
    return feed_cursors.tag(_key(), holder=runtime.caller().id, filters=filters)


def give(number: int, filters: Mapping[str, str]) -> str:
    """Return the cursor with which the caller goes on behind a number of the order."""
    return f"{tag(filters)}.{feed_cursors.token(_key(), number)}"


def take(cursor: str, filters: Mapping[str, str]) -> int:
    """Return the number that the caller goes on behind: by a cursor of the feed, or by one of the fleet.

    InvalidParameter or CursorMismatch where it is neither.
    """
    if feed_cursors.is_one(cursor):
        return feed_cursors.number_in(_key(), cursor, tag=tag(filters))
    [number] = cursors.unseal(cursor, cursors.ORDER)
    return int(number)


@contextmanager
def expiring(filters: Mapping[str, str]) -> Iterator[None]:
    """Tell a caller by CursorExpired where something of what it asks for was removed."""
    try:
        yield
    except Expired as error:
        members = {
            "oldest": give(error.oldest, filters),
            "oldest_at": None if error.oldest_at is None else rfc3339(error.oldest_at),
        }
        raise CursorExpired(_UNKNOWN if error.is_unknown else _REMOVED, members=members) from error


def _key() -> bytes:
    return runtime.current().cursor_key
