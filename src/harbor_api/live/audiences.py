"""Those who follow: each a connection, and all who are told exactly the same are one audience."""

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import structlog

from harbor_api.domain.api_keys import Caller
from harbor_api.domain.fleet_search import Box, Search
from harbor_api.live import frames
from harbor_api.live.seats import Seat
from harbor_api.telemetry import metrics

SLOW = "slow_reader"

log = structlog.get_logger(__name__)


class Told(Protocol):
    """What is known of an item to whoever decides who is told of it."""

    @property
    def number(self) -> int: ...
    @property
    def vessel_id(self) -> int: ...
    @property
    def lat(self) -> float | None: ...
    @property
    def lon(self) -> float | None: ...
    @property
    def received_at(self) -> str: ...
    @property
    def piece(self) -> bytes: ...


class Sink(Protocol):
    """Where bytes go to: a socket that does not block, or what stands in for one."""

    def send(self, data: bytes | memoryview, /) -> int: ...
    def recv(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What somebody follows: with which key, which vessels and where, and at most how often each in seconds.

    ``tag`` is that of its cursors.
    """

    viewer: Caller
    key_hash: bytes
    search: Search
    tag: str
    max_rate_s: int | None = None

    @property
    def needs_fleet(self) -> bool:
        """Whether it is asked of the fleet which vessels these are."""
        search = self.search
        return any(each is not None for each in (search.imos, search.mmsis, search.kinds, search.flags))


class Scope(NamedTuple):
    """Which vessels a subscription comes to, None for all.

    ``number`` is up to where in the committed order that holds, None where it does whatever comes.
    """

    ids: frozenset[int] | None
    number: int | None = None


class Rate:
    """Lets each vessel's items through once in some seconds: of those that came meanwhile the newest."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._told_at: dict[int, float] = {}
        self._waiting: dict[int, Told] = {}
        self._at_once: list[Told] = []

    def add(self, items: Iterable[Told]) -> None:
        """Take in what has come."""
        for each in items:
            waiting = self._waiting.get(each.vessel_id)
            if b'"op":"delete"' in each.piece:
                # Whoever shows it must not go on with that; one that was not told yet is told no more.
                if waiting is not None and _name(waiting) == _name(each):
                    del self._waiting[each.vessel_id]
                self._at_once.append(each)
            elif waiting is None or b'"late":true' not in each.piece:
                self._waiting[each.vessel_id] = each

    def due(self, now: float) -> list[Told]:
        """Return what is to be told now, in its order."""
        earliest = now - self._every_s
        if len(self._told_at) > 2 * len(self._waiting):
            self._told_at = {name: at for name, at in self._told_at.items() if at > earliest}
        found = [
            each for each in self._waiting.values() if self._told_at.get(each.vessel_id, earliest) <= earliest
        ]
        for each in found:
            del self._waiting[each.vessel_id]
            self._told_at[each.vessel_id] = now
        found += self._at_once
        self._at_once = []
        return sorted(found, key=lambda each: each.number)

    def told_up_to(self, number: int) -> int:
        """Return up to where all was told, of what came up to a number."""
        waiting = (*self._waiting.values(), *self._at_once)
        return min((each.number - 1 for each in waiting), default=number)


def _name(item: Told) -> bytes:
    """Return the id of an item."""
    begin = item.piece.index(b'"id":"')
    return item.piece[begin : begin + 18]


class Audience:
    """All who follow the same with the same key, and so get the same bytes.

    ``ids`` are the vessels that it is told of, None for all, and ``number`` is up to where in the committed
    order it was looked what they are. ``newest`` is when the newest was received of what it may see, as text,
    empty where there is none.
    """

    __slots__ = ("box", "followers", "ids", "name", "newest", "number", "rate", "subscription", "tag")

    def __init__(
        self,
        subscription: Subscription,
        scope: Scope,
        *,
        name: Hashable = None,
        newest: str = "",
        rate: Rate | None = None,
    ) -> None:
        self.subscription = subscription
        self.name = name
        self.tag = subscription.tag.encode()
        self.ids, self.number = scope.ids, scope.number or 0
        self.box: Box | None = subscription.search.box
        self.newest = newest
        self.rate = rate
        self.followers: set[Follower] = set()

    def asks_for(self, item: Told) -> bool:
        """Return whether it is told of an item."""
        if self.ids is not None and item.vessel_id not in self.ids:
            return False
        return self.is_there(item)

    def is_there(self, item: Told) -> bool:
        """Return whether an item is in the box, if there is one."""
        if self.box is None or item.lat is None or item.lon is None:
            return True
        return self.box.holds(item.lat, item.lon)

    def note(self, items: Iterable[Told]) -> None:
        """Note when the newest of some items was received."""
        for each in items:
            self.newest = max(self.newest, each.received_at)

    def part(self, items: Sequence[Told], *, is_chunked: bool) -> bytes:
        """Return the events of some items as it is sent them."""
        return self.tag.join(frames.joined([each.piece for each in items], is_chunked=is_chunked))


class Follower:
    """One connection: what was sent on it, and what waits for the client to read."""

    __slots__ = (
        "_open_sink",
        "_sink",
        "ahead",
        "audience",
        "began",
        "behind",
        "ends_at",
        "is_chunked",
        "is_ending",
        "is_over",
        "is_stream",
        "key_hash",
        "moved_at",
        "request_id",
        "seat",
        "sent_bytes",
        "sent_items",
        "waiting",
    )

    def __init__(
        self,
        open_sink: Callable[[], Sink],
        seat: Seat,
        *,
        request_id: str,
        ends_at: float,
        is_chunked: bool = False,
        is_stream: bool = True,
    ) -> None:
        """Send to what ``open_sink`` gives; who is no stream only has to know that there is something."""
        self._open_sink: Callable[[], Sink] | None = open_sink
        self._sink: Sink | None = None
        self.seat = seat
        self.request_id = request_id
        self.is_chunked = is_chunked
        self.is_stream = is_stream
        self.began = time.monotonic()
        self.ends_at = ends_at
        self.audience: Audience | None = None
        self.key_hash = b""
        # Up to where it has been told already by itself, None where no further than all others.
        self.ahead: int | None = None
        self.is_ending = self.is_over = False
        self.sent_items = self.sent_bytes = 0
        # What the client does not read yet of the last that it was sent, since when, and up to where it was
        # told by then, None where up to where all others are.
        self.waiting: deque[memoryview] | None = None
        self.moved_at = 0.0
        self.behind: int | None = None

    @property
    def sink(self) -> Sink:
        """Where it is sent to."""
        assert self._sink is not None
        return self._sink

    def open(self) -> None:
        """Let the sink be opened: from now on nobody else sends to it."""
        assert self._open_sink is not None
        self._sink, self._open_sink = self._open_sink(), None

    def send(self, data: bytes, many: int = 0) -> None:
        """Send a part of a body, of so many items; what the client does not read yet waits.

        OSError where the client is gone.
        """
        self.sent_items += many
        self.sent_bytes += len(data)
        if self.waiting is not None:
            self.waiting.append(memoryview(data))
            return
        try:
            sent = self.sink.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            # All of an audience share the bytes.
            self.waiting = deque([memoryview(data)[sent:]])
            self.moved_at = time.monotonic()

    def flush(self, now: float) -> bool:
        """Send what waits, and return whether none does any more; OSError where the client is gone."""
        while self.waiting:
            data = self.waiting[0]
            try:
                sent = self.sink.send(data)
            except BlockingIOError:
                return False
            self.moved_at = now
            if sent < len(data):
                self.waiting[0] = data[sent:]
                return False
            self.waiting.popleft()
        self.waiting = None
        return True

    def tell_end(self, reason: str) -> None:
        """Tell the log how a stream has ended."""
        metrics.STREAMS_ENDED.labels(reason).inc()
        # A client that is cut has to be found by whoever looks for why it comes back.
        write = partial(log.warning, "stream_cut") if reason == SLOW else partial(log.info, "stream_ended")
        write(
            reason=reason,
            items=self.sent_items,
            bytes=self.sent_bytes,
            s=round(time.monotonic() - self.began, 1),
            caller=None if self.audience is None else f"key {self.audience.subscription.viewer.id}",
            request_id=self.request_id,
        )

    def has_gone(self) -> bool:
        """Return whether the client has gone; what it may send is of no interest."""
        try:
            while data := self.sink.recv(4_096):
                if len(data) < 4_096:
                    return False
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True
