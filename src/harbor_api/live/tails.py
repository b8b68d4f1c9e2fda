"""The end of the feed, as keys of one kind see it: read once for all of them, rendered, and kept for a while.

Whoever follows is told of an item by its number, and of all numbers in their order. So at whatever number one
is who reads the feed by itself, it can go on from a tail that reaches back as far, and misses and repeats
nothing.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from harbor_api.database import Database
from harbor_api.domain import feed_cursors
from harbor_api.domain.api_keys import Caller
from harbor_api.domain.feed import ALL, FeedRow, Following
from harbor_api.domain.order import step_of_delay
from harbor_api.domain.vessels import floored
from harbor_api.live import frames
from harbor_api.live.audiences import Audience
from harbor_api.live.kinds import Kind

# How many items are read at once by somebody who is behind, and told to all at once; and how many are kept by
# all tails together, some 5 MB.
CHUNK, TOLD_AT_ONCE = 300, 100
_MOST_KEPT, _LEAST_KEPT = 4_096, 256
_RECEIVED = '"received_at":"'
_TIME = len("2026-01-02T03:04:05.000000Z")


class Item(NamedTuple):
    """An item of the feed, rendered; ``received_at`` is empty where something was withdrawn."""

    number: int
    vessel_id: int
    lat: float | None
    lon: float | None
    received_at: str
    piece: bytes


@dataclass(frozen=True, slots=True)
class Stretch:
    """Items behind one number up to another, ``next``; all ends at ``bound``. ``moment`` is PostgreSQL's."""

    items: Sequence[Item]
    next: int
    moment: datetime
    bound: int
    # Of PostgreSQL's clock too, when a key with a delay sees more; None for one without.
    more_at: datetime | None = None

    @property
    def has_more(self) -> bool:
        """Whether there is more by now."""
        return self.next < self.bound


class FeedReader:
    """Reads the feed, and renders what it reads."""

    def __init__(
        self, database: Database, *, cursor_key: bytes, item_key: bytes, future_tolerance: timedelta
    ) -> None:
        self._database = database
        self._cursor_key = cursor_key
        self._item_key = item_key
        self._future_tolerance = future_tolerance

    def read(
        self,
        viewer: Caller,
        after: int,
        following: Following = ALL,
        *,
        number: int | None = None,
        most: int = CHUNK,
    ) -> Stretch:
        """Return what comes next behind a number, as ``Feed.scan``; Expired, Unavailable."""
        with self._database.autocommit() as unit_of_work:
            sight = unit_of_work.sight(viewer, future_tolerance=self._future_tolerance)
            feed = unit_of_work.feed(sight, item_key=self._item_key)
            scan = feed.scan(after, following, limit=most, number=number)
        more_at = None
        if sight.horizon is not None:
            delay = timedelta(seconds=viewer.delay_s)
            step = step_of_delay(delay)
            more_at = floored(scan.moment - delay, step) + step + delay
        items = [self._rendered(row) for row in scan.rows]
        return Stretch(items, scan.next, scan.moment, scan.bound, more_at)

    def bound(self, viewer: Caller) -> int:
        """Return up to which number somebody sees now."""
        with self._database.autocommit() as unit_of_work:
            horizon = unit_of_work.sight(viewer, future_tolerance=self._future_tolerance).horizon
            return unit_of_work.order.standing().number if horizon is None else horizon.number

    def edited(self) -> int:
        """Return the number of the newest change of what vessels are."""
        with self._database.autocommit() as unit_of_work:
            return unit_of_work.order.edited()

    def token(self, number: int) -> str:
        """Return what stands for a number in all cursors."""
        return feed_cursors.token(self._cursor_key, number)

    def _rendered(self, row: FeedRow) -> Item:
        text = row.text
        begin = text.find(_RECEIVED)
        received_at = "" if begin < 0 else text[begin + len(_RECEIVED) : begin + len(_RECEIVED) + _TIME]
        piece = frames.piece(self.token(row.number), text)
        return Item(row.number, row.vessel_id, row.lat, row.lon, received_at, piece)


class Tail:
    """The last items of the feed, and who is told of them.

    All up to ``number`` has been told, and what came behind ``low`` is there still. Up to ``bound`` there is
    something to tell, as far as is known. ``moment`` is when nothing else was to be seen, by PostgreSQL's
    clock.
    """

    def __init__(self, kind: Kind, number: int) -> None:
        self.kind = kind
        self.number = self.low = self.bound = number
        self.moment: datetime | None = None
        # By our own clock: when it was read last, and when there may be more.
        self.read_at = 0.0
        self.due_at = 0.0
        # When the last who followed went away, None while there is somebody.
        self.idle_since: float | None = None
        self.audiences: set[Audience] = set()
        # Those who follow vessels by what they are.
        self.asking: set[Audience] = set()
        self.of_all: set[Audience] = set()
        self.by_vessel: defaultdict[int, set[Audience]] = defaultdict(set)
        self._items: list[Item] = []
        self._numbers: list[int] = []

    def begin_at(self, number: int) -> None:
        """Begin anew at a number: what comes up to it is told no more."""
        self.number = self.low = self.bound = number
        self._items.clear()
        self._numbers.clear()

    def extend(self, stretch: Stretch, *, tails: int) -> None:
        """Take in what has come, and forget what is too much, beside so many tails."""
        self._items += stretch.items
        self._numbers += [each.number for each in stretch.items]
        self.number, self.bound = stretch.next, stretch.bound
        most = max(_LEAST_KEPT, _MOST_KEPT // tails)
        if len(self._items) > 2 * most:
            gone = len(self._items) - most
            self.low = self._numbers[gone - 1]
            del self._items[:gone], self._numbers[:gone]

    def after(self, number: int, *, most: int | None = None) -> Sequence[Item]:
        """Return what came behind a number that is not below ``low``, or the first so many of it."""
        begin = bisect_right(self._numbers, number)
        return self._items[begin : None if most is None else begin + most]

    def place(self, audience: Audience) -> None:
        """Let an audience be found by its vessels."""
        self.audiences.add(audience)
        if audience.subscription.needs_fleet:
            self.asking.add(audience)
        if audience.ids is None:
            self.of_all.add(audience)
        else:
            for vessel_id in audience.ids:
                self.by_vessel[vessel_id].add(audience)

    def displace(self, audience: Audience) -> None:
        """Let it be found no more."""
        self.audiences.discard(audience)
        self.asking.discard(audience)
        self.of_all.discard(audience)
        for vessel_id in audience.ids or ():
            found = self.by_vessel[vessel_id]
            found.discard(audience)
            if not found:
                del self.by_vessel[vessel_id]
