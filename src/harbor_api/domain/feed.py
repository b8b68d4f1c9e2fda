"""The change feed: all that happens to the fixes that a key may see, in the committed order.

A fix that was stored is ``upsert`` and one that was withdrawn ``delete``, each at a number of its own in the
order (``domain/order.py``). Whoever has applied all up to one number holds what the key sees up to there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from harbor_api.domain.fleet_search import Box


class Expired(Exception):
    """What comes after a number is not known: up to ``oldest`` it was removed.

    ``oldest_at`` is when what stands there came, None where nothing was removed. With ``is_unknown`` the
    number is of an order that had gone further than what is left of it, as after a restore.
    """

    def __init__(self, oldest: int, oldest_at: datetime | None, *, is_unknown: bool = False) -> None:
        super().__init__(oldest, oldest_at, is_unknown)
        self.oldest = oldest
        self.oldest_at = oldest_at
        self.is_unknown = is_unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """Which fixes somebody follows, of those that the key may see; None is all of them.

    A box is asked of a fix as it is shown. What takes an earlier item back or takes its place passes always.
    """

    vessel_ids: frozenset[int] | None = None
    box: Box | None = None

    @property
    def is_everything(self) -> bool:
        """Whether it is all that the key may see."""
        return self.vessel_ids is None and self.box is None


ALL = Following()


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPage:
    """A stretch of the feed. ``items`` is JSON, with commas between, and ``count`` says how many they are.

    It goes on behind the number ``next``: there is more by now, or not. ``moment`` is PostgreSQL's time.
    """

    moment: datetime
    items: str
    count: int
    next: int
    has_more: bool


class FeedRow(NamedTuple):
    """An item of the feed: its number in the order, whose it is, and its JSON.

    ``lat`` and ``lon`` are as shown; None for what passes any box.
    """

    number: int
    vessel_id: int
    lat: float | None
    lon: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedScan:
    """A stretch of the feed, item by item; else as ``FeedPage``. All that there is ends at ``bound``."""

    moment: datetime
    rows: Sequence[FeedRow]
    next: int
    bound: int

    @property
    def has_more(self) -> bool:
        """Whether there is more by now."""
        return self.next < self.bound
