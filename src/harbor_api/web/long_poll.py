"""Waiting for news: a request that finds none is answered once there is some, or its time is over.

It waits with all who follow (``live/hub.py``), and reads for itself once it is told that there is something:
so what it answers is what it would have been answered a moment later.
"""

import threading
import time
from collections.abc import Callable

from flask import request

from harbor_api.domain.feed import FeedPage
from harbor_api.live.audiences import Follower, Subscription
from harbor_api.live.hub import SCOPE
from harbor_api.web import callers, runtime
from harbor_api.web.stream import Connection, connection_of

_PAUSE_S = 0.02


class _Bell:
    """A sink that only tells that there is something."""

    def __init__(self, connection: Connection | None) -> None:
        self._connection = connection
        self._rung = threading.Event()
        self.is_closed = False

    def send(self, data: bytes | memoryview) -> int:
        self._rung.set()
        return len(data)

    def recv(self, _: int) -> bytes:
        if self.is_gone:
            return b""
        raise BlockingIOError

    def close(self) -> None:
        self.is_closed = True
        self._rung.set()

    @property
    def is_gone(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._connection is not None and self._connection.is_gone()

    def wait(self, seconds: float) -> bool:
        """Return whether there is something, as soon as there is."""
        is_rung = self._rung.wait(seconds)
        self._rung.clear()
        return is_rung


def awaited(
    read: Callable[[int], FeedPage], page: FeedPage, subscription: Subscription, *, seconds: float
) -> FeedPage:
    """Return a page that is not empty, or after so many seconds the one that there is then.

    ``read`` returns the page behind a number. RateLimited where too many wait with a key, KeyRevoked where
    it has been revoked meanwhile, and what ``read`` raises.
    """
    now = runtime.current()
    # As long as a connection is held for a stream, and no longer.
    hub, deadline = now.hub, time.monotonic() + min(seconds, now.settings.stream_s)
    seat = hub.waits.take(subscription.viewer.id)
    bell = _Bell(connection_of(request.environ))
    follower = Follower(
        lambda: bell, seat, request_id=runtime.request_id(), ends_at=deadline, is_stream=False
    )
    try:
        while not hub.join(follower, subscription, page.next):
            if hub.is_ending or time.monotonic() > deadline:
                return page
            time.sleep(_PAUSE_S)
            page = read(page.next)
            if page.count or page.has_more:
                return page
        while not (page.count or page.has_more):
            left = deadline - time.monotonic()
            if bell.is_closed or left <= 0:
                break
            bell.wait(left)
            if bell.is_gone:
                break
            # Of a wait of a minute the key may have come to its end.
            callers.present_again(SCOPE)
            page = read(page.next)
        return page
    finally:
        hub.leave(follower)
        seat.leave()
