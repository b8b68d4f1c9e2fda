"""Where requests are counted: in Redis for all workers together, or in this process alone.

Flask-Limiter makes the storage and the strategy that the settings ask for, on an application of its own that
serves nothing: its hooks look up and parse the limits of each request anew, a tenth of what a fix costs.
"""

import threading
import time
from functools import cache
from itertools import islice
from math import floor
from typing import Any, NamedTuple

import redis
import structlog
from flask import Flask
from flask_limiter import Limiter
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import SlidingWindowCounterSupport, Storage
from limits.strategies import RateLimiter
from redis.backoff import NoBackoff
from redis.retry import Retry

_LOOK_EVERY_S = 2
_REDIS_TIMEOUT_S = 0.5
_ALONE = "process://"
# Whoever begins a window takes so many away that are over: who has many callers sweeps no more than others.
_MOST_FORGOTTEN = 4
# A window that slides, kept as two counters for each caller: a fixed one lets twice the limit through at its
# edge, and a log of each request costs more with every tracker.
_STRATEGY = "sliding-window-counter"

log = structlog.get_logger(__name__)
_per_minute = cache(RateLimitItemPerMinute)


class Counted(NamedTuple):
    """What a request was counted against, and what remains of that; ``reset_at`` in unix seconds."""

    policy: str
    is_within: bool
    limit: int
    window_s: int
    remaining: int
    reset_at: int

    @property
    def free_in_s(self) -> int:
        """In how many seconds the next request is free again."""
        return min(max(1, self.reset_at - int(time.time())), self.window_s)


class RateCounters:
    """Counts in Redis while it answers, in this process while it does not."""

    def __init__(self, redis_url: str | None = None) -> None:
        """Count in the Redis of a URL for all that share it, None to count alone."""
        self._alone = _strategy(_ALONE)
        self._shared = self._alone if redis_url is None else _redis_strategy(redis_url)
        self._looked_at = 0.0
        self.is_degraded = False

    def count(self, policy: str, requests_per_minute: int, who: str) -> Counted:
        """Count a request of somebody against a limit."""
        item = _per_minute(requests_per_minute)
        is_within, (reset_at, remaining) = self._hit(item, policy, who)
        return Counted(
            policy, is_within, requests_per_minute, item.get_expiry(), remaining, int(reset_at) + 1
        )

    def are_shared(self) -> bool:
        """Return whether all workers count together now."""
        self._look()
        return self._shared is not self._alone and not self.is_degraded

    def reset(self) -> None:
        """Forget what this process has counted."""
        self._alone.storage.reset()

    def _hit(self, item: RateLimitItem, policy: str, who: str) -> Any:
        if self.is_degraded:
            self._look()
        if not self.is_degraded:
            try:
                return _hit(self._shared, item, policy, who)
            except redis.RedisError:
                self._degrade()
        return _hit(self._alone, item, policy, who)

    def _look(self) -> None:
        """Find out whether Redis answers; asks it at most every two seconds."""
        if time.monotonic() - self._looked_at > _LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            if self._shared.storage.check():
                self._recover()
            else:
                self._degrade()

    def _degrade(self) -> None:
        self._looked_at = time.monotonic()
        if not self.is_degraded:
            self.is_degraded = True
            log.warning("limits_degraded", reason="Redis does not answer; each worker counts alone")

    def _recover(self) -> None:
        if self.is_degraded:
            self.is_degraded = False
            log.warning("limits_shared", reason="Redis answers again; all workers count together")


class ProcessStorage(Storage, SlidingWindowCounterSupport):
    """Counters in the memory of this process, on the public interface of the limits library.

    The library's own storage in memory starts a thread to sweep all counters with every request that is not
    within ten milliseconds of the last one, which is a third of what a fix costs.
    """

    STORAGE_SCHEME = ["process"]

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: Any) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions, **options)
        self._lock = threading.Lock()
        # For each key the number of its window, what was counted in that, and in the one before.
        self._windows: dict[str, tuple[int, int, int]] = {}

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count an amount where the window has room for it, and return whether it had."""
        with self._lock:
            number, current, previous, passed = self._now(key, expiry)
            if floor(previous * (1 - passed) + current) + amount > limit:
                return False
            if not current:
                # A window that begins: it goes to the end.
                self._windows.pop(key, None)
            self._windows[key] = number, current + amount, previous
            return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return what the window before and this one have counted, each with how long it counts."""
        with self._lock:
            _, current, previous, passed = self._now(key, expiry)
        left = (1 - passed) * expiry
        return previous, left if previous else 0.0, current, left + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:  # noqa: ARG002 - the library's signature
        """Forget what was counted of a key."""
        self.clear(key)

    def check(self) -> bool:
        """Return whether it can count, which it always can."""
        return True

    def reset(self) -> int | None:
        """Forget all, and return how many keys that were."""
        many = len(self._windows)
        self._windows.clear()
        return many

    def clear(self, key: str) -> None:
        """Forget what was counted of a key."""
        self._windows.pop(key, None)

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        """Return what it may raise: nothing."""
        return ()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Refuse: fixed windows are not kept here."""
        raise NotImplementedError

    def get(self, key: str) -> int:
        """Refuse, as with ``incr``."""
        raise NotImplementedError

    def get_expiry(self, key: str) -> float:
        """Refuse, as with ``incr``."""
        raise NotImplementedError

    def _now(self, key: str, expiry: int) -> tuple[int, int, int, float]:
        """Return a key's window, both its counts, and which part of it has passed."""
        now = time.time() / expiry
        number = int(now)
        found = self._windows.get(key)
        if found is None:
            self._forget_some(number - 1)
            return number, 0, 0, now - number
        counted, current, previous = found
        if counted != number:
            previous = current if counted == number - 1 else 0
            current = 0
        return number, current, previous, now - number

    def _forget_some(self, since: int) -> None:
        """Forget a few windows before one; they are in order, as each is put at the end when it begins."""
        for key in [*islice(self._windows, _MOST_FORGOTTEN)]:
            if self._windows[key][0] >= since:
                return
            del self._windows[key]


def _strategy(uri: str, **options: Any) -> RateLimiter:
    def nobody() -> str:
        raise RuntimeError("each policy names its own key")

    extension = Limiter(nobody, storage_uri=uri, storage_options=options, strategy=_STRATEGY)
    extension.init_app(Flask(__name__))
    return extension.limiter


def _redis_strategy(url: str) -> RateLimiter:
    # A Redis that hangs must not hang the service: half a second, and no second try.
    return _strategy(
        url.replace("unix://", "redis+unix://"),
        socket_connect_timeout=_REDIS_TIMEOUT_S,
        socket_timeout=_REDIS_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


def _hit(limiter: RateLimiter, item: RateLimitItem, *identifiers: str) -> Any:
    return limiter.hit(item, *identifiers), limiter.get_window_stats(item, *identifiers)
