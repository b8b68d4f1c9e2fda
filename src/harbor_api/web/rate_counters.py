"""Where requests are counted: in Redis for all workers together, or in this process alone.

Flask-Limiter makes the strategy and the storage (``request_logs``) that the settings ask for, on an
application of its own that serves nothing: its hooks look up and parse the limits of each request anew, a
tenth of what a fix costs.
"""

import time
from functools import cache
from math import ceil
from typing import NamedTuple

import redis
import structlog
from flask import Flask
from flask_limiter import Limiter
from limits import RateLimitItemPerMinute
from limits.strategies import RateLimiter

from harbor_api.web import request_logs

_LOOK_EVERY_S = 2
_STRATEGY = "moving-window"

log = structlog.get_logger(__name__)
_per_minute = cache(RateLimitItemPerMinute)


class Counted(NamedTuple):
    """What a request was counted against, and what remains of that.

    In ``free_in_s`` seconds one more request is free than now.
    """

    policy: str
    is_within: bool
    limit: int
    window_s: int
    remaining: int
    free_in_s: int


class RateCounters:
    """Counts in Redis while it answers, in this process while it does not."""

    def __init__(self, redis_url: str | None = None) -> None:
        """Count in the Redis of a URL for all that share it, None to count alone."""
        self._alone = _strategy(request_logs.PROCESS)
        self._shared = self._alone if redis_url is None else _strategy(request_logs.REDIS + redis_url)
        self._looked_at = 0.0
        self.is_degraded = False

    def count(self, policy: str, requests_per_minute: int, who: str) -> Counted:
        """Count a request of somebody against a limit."""
        return self._ask(policy, requests_per_minute, who, cost=1)

    def look(self, policy: str, requests_per_minute: int, who: str) -> Counted:
        """Return what is left of a limit, and whether there is any; nothing is counted."""
        return self._ask(policy, requests_per_minute, who, cost=0)

    def are_shared(self) -> bool:
        """Return whether all workers count together now."""
        self._look()
        return self._shared is not self._alone and not self.is_degraded

    def reset(self) -> None:
        """Forget what this process has counted."""
        self._alone.storage.reset()

    def _ask(self, policy: str, requests_per_minute: int, who: str, *, cost: int) -> Counted:
        if self.is_degraded:
            self._look()
        if not self.is_degraded:
            try:
                return _asked(self._shared, policy, requests_per_minute, who, cost)
            except redis.RedisError:
                self._degrade()
        return _asked(self._alone, policy, requests_per_minute, who, cost)

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


def _strategy(uri: str) -> RateLimiter:
    def nobody() -> str:
        raise RuntimeError("each policy names its own key")

    extension = Limiter(nobody, storage_uri=uri, strategy=_STRATEGY)
    extension.init_app(Flask(__name__))
    return extension.limiter


def _asked(limiter: RateLimiter, policy: str, requests_per_minute: int, who: str, cost: int) -> Counted:
    item = _per_minute(requests_per_minute)
    was_taken = limiter.hit(item, policy, who, cost=cost) if cost else None
    reset_at, remaining = limiter.get_window_stats(item, policy, who)
    is_within = remaining > 0 if was_taken is None else was_taken
    window_s = item.get_expiry()
    return Counted(
        policy,
        is_within,
        requests_per_minute,
        window_s,
        # Between the two questions others may have asked, and time has passed.
        max(0, remaining) if is_within else 0,
        min(max(1, ceil(reset_at - time.time())), window_s),
    )
