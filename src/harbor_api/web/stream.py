"""A stream as an answer: what somebody is told before the hub takes over, and how it does.

    hello      or, where what the client had seen last is no more, reset and the end
    vessel...  the fleet as it is, where that was asked for, and then live
    position.. what is behind, read by the request itself: one stretch is read when the one before is with the
               kernel, so a client that reads slowly holds up nobody and nothing is held for it
    position.. from here on by the hub (``live/hub.py``): the server's connection is handed over, and the
               request is over

A server that hands no connection over, as Flask's own for tests, sends what the hub tells by the request.
"""

import errno
import queue
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Protocol

import structlog
from flask import Response, request

from harbor_api.domain import api_keys, presented_keys
from harbor_api.domain.api_keys import Caller
from harbor_api.domain.errors import CursorMismatch, HarborError, InvalidParameter
from harbor_api.domain.feed import Expired
from harbor_api.domain.times import rfc3339
from harbor_api.live import frames
from harbor_api.live.audiences import Audience, Follower, Rate, Subscription
from harbor_api.live.company import HEARTBEAT_S
from harbor_api.live.fleet import Reading
from harbor_api.live.fragments import Question
from harbor_api.live.hub import farewell
from harbor_api.live.seats import Seat
from harbor_api.live.tails import Stretch
from harbor_api.schemas.feed import MEDIA_TYPE, FeedFilters, StreamQuery
from harbor_api.services import feed
from harbor_api.web import feed_cursors, runtime
from harbor_api.web.documented import View, documented
from harbor_api.web.runtime import Runtime

LAST_SEEN = "Last-Event-ID"
# Where gunicorn leaves the connection that a request came on.
_CONNECTION = "gunicorn.socket"
# After how long a client is to connect again that was cut, in milliseconds: not all at the same time.
_RETRY_MS = 3_000, 5_000
_VESSELS_AT_ONCE = 100
# While nothing comes of what is behind, for a filter passes it over.
_SILENT_S = 10.0
_KEY_EVERY_S = 3.0
_PAUSE_S = 0.02
# Above all numbers that there are.
_BEYOND = 2**62

_LAST_SEEN = {
    "in": "header",
    "name": LAST_SEEN,
    "description": "The `id` of the last event that was taken in: the stream goes on behind it, whatever the "
    "query says of where to begin, and tells the fleet no more.",
    "schema": {"type": "string"},
}

log = structlog.get_logger(__name__)


class Connection(Protocol):
    """What a server leaves in the environ that can hand a connection over."""

    def end_with_answer(self) -> None: ...
    def hand_over(self) -> Any: ...
    def is_gone(self) -> bool: ...


def connection_of(environ: Mapping[str, Any]) -> Connection | None:
    """Return the connection that a request came on, None where the server hands none over."""
    found = environ.get(_CONNECTION)
    return found if hasattr(found, "hand_over") else None


class Inbox:
    """A sink whose parts are taken out again by the request itself."""

    def __init__(self) -> None:
        self._parts: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.is_left = False

    def __iter__(self) -> Iterator[bytes]:
        while (part := self._parts.get()) is not None:
            yield part

    def send(self, data: bytes | memoryview) -> int:
        self._parts.put(bytes(data))
        return len(data)

    def recv(self, _: int) -> bytes:
        if self.is_left:
            return b""
        raise BlockingIOError

    def close(self) -> None:
        self._parts.put(None)


def subscription_of(filters: FeedFilters, *, max_rate_s: int | None = None) -> Subscription:
    """Return what the caller follows."""
    secret = presented_keys.read(request.headers.get("Authorization", ""))
    return Subscription(
        viewer=runtime.caller(),
        key_hash=api_keys.digest(secret),
        search=filters.search,
        tag=feed_cursors.tag(filters.bound),
        max_rate_s=max_rate_s,
    )


def resumed(view: View) -> View:
    """Document the header with which a client goes on; ``answer`` reads it."""
    return documented(view, parameters=[_LAST_SEEN])


def answer(query: StreamQuery) -> Response:
    """Return the stream that is asked for; RateLimited where there are too many.

    InvalidParameter, CursorMismatch and CursorExpired for a cursor in the query. What is wrong with the last
    event that a client has seen is told in the stream: nothing else reaches a browser's EventSource.
    """
    now = runtime.current()
    seat = now.hub.streams.take(runtime.caller().id)
    try:
        stream = _Stream(now, query, subscription_of(query.filters, max_rate_s=query.max_rate_s), seat)
        stream.start(query)
    except BaseException:
        seat.leave()
        raise
    response = Response(stream.parts(), content_type=MEDIA_TYPE, headers={"X-Accel-Buffering": "no"})
    response.call_on_close(stream.close)
    return response


class _Stream:
    """One stream, until the hub has taken it."""

    def __init__(self, now: Runtime, query: StreamQuery, subscription: Subscription, seat: Seat) -> None:
        self._hub = now.hub
        self._now = now
        self._subscription = subscription
        self._bound = query.filters.bound
        self._rate = None if query.max_rate_s is None else Rate(query.max_rate_s)
        self._number = 0
        self._moment: datetime | None = None
        self._first: Stretch | None = None
        self._lost: Expired | None = None
        self._reading: Reading | None = None
        self._search = query.filters.search
        self._told = {name: value for name, value in request.args.items() if name in self._bound}
        self._is_begun = self._is_handed_over = False
        self._reason = "client_gone"
        self._inbox: Inbox | None = None
        self._connection = None if request.method == "HEAD" else connection_of(request.environ)
        self._follower = Follower(
            self._sink,
            seat,
            request_id=runtime.request_id(),
            ends_at=now.hub.ends_at(),
            is_chunked=self._connection is not None and request.environ["SERVER_PROTOCOL"] != "HTTP/1.0",
        )

    def start(self, query: StreamQuery) -> None:
        """Find out where it begins; the errors of ``answer``."""
        last_seen = request.headers.get(LAST_SEEN, "")
        if last_seen:
            self._resume(last_seen)
        elif query.snapshot:
            self._reading = self._now.fleet.read(self._subscription.viewer)
            self._number, self._moment = self._reading.number, self._reading.moment
        else:
            with feed_cursors.expiring(self._bound):
                self._go_on(query)
        if self._connection is not None:
            self._connection.end_with_answer()

    def _resume(self, last_seen: str) -> None:
        try:
            self._number = feed_cursors.take(last_seen, self._bound)
            self._look()
        except (InvalidParameter, CursorMismatch):
            try:
                self._hub.catch_up(self._subscription, _BEYOND)
            except Expired as error:
                self._lost = error
        except Expired as error:
            self._lost = error

    def _go_on(self, query: StreamQuery) -> None:
        if query.cursor is not None:
            self._number = feed_cursors.take(query.cursor, self._bound)
            self._look()
            return
        with self._now.database.autocommit() as unit_of_work:
            self._number = feed.first_number(
                unit_of_work, runtime.sight(unit_of_work), query.since, item_key=self._now.item_key
            )

    def _look(self) -> None:
        """Look whether all is there still that comes behind the number; Expired."""
        self._moment = self._hub.moment_at(self._subscription, self._number)
        if self._moment is None:
            self._first = self._hub.catch_up(self._subscription, self._number)
            self._moment = self._first.moment

    def parts(self) -> Iterator[bytes]:
        """Yield the stream up to where the hub takes over, or to its end."""
        self._is_begun = True
        try:
            yield from self._parts()
        except HarborError as error:
            self._reason = error.code
            cause = getattr(error, "cause", None) or error.detail
            log.warning("stream_broken", cause=cause, request_id=self._follower.request_id)
            raise BrokenPipeError(errno.EPIPE, "a stream ended before its end") from error
        except Exception as error:
            self._reason = "failed"
            log.exception("stream_broken", request_id=self._follower.request_id)
            raise BrokenPipeError(errno.EPIPE, "a stream ended before its end") from error

    def close(self) -> None:
        """Let go of what it holds, unless the hub has it by now."""
        if self._inbox is not None:
            self._inbox.is_left = True
            self._hub.leave(self._follower)
        elif not self._is_handed_over:
            self._follower.seat.leave()
            if self._is_begun:
                self._follower.tell_end(self._reason)

    def _parts(self) -> Iterator[bytes]:
        retry = frames.retry(random.randint(*_RETRY_MS))  # noqa: S311 - no secret
        if self._lost is not None:
            yield self._sent(retry + self._reset(self._lost))
            return
        yield self._sent(retry + self._hello())
        if self._reading is not None:
            yield from self._snapshot(self._reading)
            self._reading = None
        yield from self._catch_up()

    def _hello(self) -> bytes:
        data = {
            "cursor": self._cursor(),
            "now": self._time(),
            "heartbeat_s": HEARTBEAT_S,
            "filters": self._told,
            "max_rate_s": self._subscription.max_rate_s,
            "snapshot": self._reading is not None,
        }
        # Who is cut in the midst of the fleet needs all of it again.
        return frames.event("hello", data, None if self._reading is not None else self._cursor())

    def _snapshot(self, reading: Reading) -> Iterator[bytes]:
        question = Question(self._search, retired=False, limit=_BEYOND, behind=None, granted=reading.granted)
        found = iter(reading.picture.find(question))
        while some := [*islice(found, _VESSELS_AT_ONCE)]:
            yield self._sent(b"".join(frames.event("vessel", each.text) for each in some))
        data = {"cursor": self._cursor(), "now": self._time()}
        yield self._sent(frames.event("live", data, self._cursor()))

    def _catch_up(self) -> Iterator[bytes]:
        stretch, self._first = self._first, None
        told_at = asked_at = time.monotonic()
        while True:
            if stretch is None:
                reason = "shutdown" if self._hub.is_ending else None
                if reason is None and time.monotonic() - asked_at > _KEY_EVERY_S:
                    reason, asked_at = self._lapse(), time.monotonic()
                if reason is not None:
                    yield self._farewell(frames.bye(reason, self._cursor()), reason)
                    return
                if self._hub.join(self._follower, self._subscription, self._number, rate=self._rate):
                    self._is_handed_over = True
                    if self._inbox is not None:
                        yield from self._inbox
                    return
                try:
                    stretch = self._hub.catch_up(self._subscription, self._number)
                except Expired as error:
                    yield self._farewell(self._reset(error), "reset")
                    return
            part, has_moved = self._told_of(stretch), stretch.next > self._number
            self._number = stretch.next
            if part:
                told_at = time.monotonic()
                yield part
            elif time.monotonic() - told_at > _SILENT_S:
                told_at = time.monotonic()
                yield self._sent(frames.place(self._cursor()))
            elif not has_moved:
                # Somebody is faster by a moment.
                time.sleep(_PAUSE_S)
            stretch = None

    def _told_of(self, stretch: Stretch) -> bytes:
        items = list(stretch.items)
        if self._rate is not None:
            self._rate.add(items)
            # As the hub asks: what has waited may be of a vessel that the key has been taken meanwhile.
            audience = Audience(self._subscription, self._hub.scope(self._subscription))
            let = [each for each in self._rate.due(time.monotonic()) if audience.asks_for(each)]
            token = self._hub.token(self._rate.told_up_to(stretch.next))
            pieces = [frames.moved(each.piece, token) for each in let]
        else:
            pieces = [each.piece for each in items]
        if not pieces:
            return b""
        part = self._subscription.tag.encode().join(frames.joined(pieces, is_chunked=False))
        return self._sent(part, len(pieces))

    def _lapse(self) -> str | None:
        """Return why nobody may go on with the key, or None and go on with it as it is by now."""
        [found] = self._now.known_keys.recognise([self._subscription.key_hash])
        reason = farewell(self._subscription.viewer, found)
        if reason is None and isinstance(found, Caller):
            self._subscription = replace(self._subscription, viewer=found)
        return reason

    def _cursor(self) -> str:
        number = self._number if self._rate is None else self._rate.told_up_to(self._number)
        return f"{self._subscription.tag}.{self._hub.token(number)}"

    def _time(self) -> str:
        return rfc3339(self._moment or datetime.now(UTC))

    def _reset(self, error: Expired) -> bytes:
        self._reason = "reset"
        return frames.reset(f"{self._subscription.tag}.{self._hub.token(error.oldest)}", error)

    def _farewell(self, part: bytes, reason: str) -> bytes:
        self._reason = reason
        return self._sent(part)

    def _sent(self, part: bytes, items: int = 0) -> bytes:
        self._follower.sent_bytes += len(part)
        self._follower.sent_items += items
        return part

    def _sink(self) -> Any:
        """Return where the hub sends to: the connection, which is handed over with it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            return connection.hand_over()
        self._inbox = Inbox()
        return self._inbox
