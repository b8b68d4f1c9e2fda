"""Named consumers: the place in the change feed is kept here, for partners that have nowhere to keep it.

A consumer is one API key's and is kept under a name of its choice, with what it follows. It is read from
where it stands, and does not move by that: it moves when it is told that what came was kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from harbor_api.domain.values import Form

NAME = Form(r"[A-Za-z0-9._-]{1,64}", "Must be 1 to 64 letters, digits, dots, hyphens and underscores.")
# What clients take out of an address before they send it.
_NO_NAMES = {".", ".."}
MOST_CONSUMERS = 20
"""How many one key may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """Whose consumer stands where, and what it follows: ``filters`` as they were given.

    It was told all up to ``number`` of the committed order. ``seen_at`` is when it was last read or moved, to
    the minute, None for never.
    """

    api_key_id: int
    name: str
    number: int
    filters: Mapping[str, Any]
    created_at: datetime
    seen_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How far a consumer is behind.

    ``behind_at`` is when the oldest that it was not told came in, None where it was told all, and ``seconds``
    how long ago that is, without the delay of its key. ``expired`` is whether a part of it was removed: then
    it may go on behind the number ``oldest``, and ``oldest_at`` is from when on all is kept.
    """

    behind_at: datetime | None
    seconds: float
    expired: bool = False
    oldest: int | None = None
    oldest_at: datetime | None = None


def is_name(text: str) -> bool:
    """Return whether a consumer may be called so."""
    return NAME.fault(text) is None and text not in _NO_NAMES
