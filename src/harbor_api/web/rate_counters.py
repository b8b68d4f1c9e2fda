"""Where requests are counted: in Redis for all workers together, or in this process alone.

Flask-Limiter makes the log (``request_logs``) that the settings ask for, on an application of its own that
serves nothing: its hooks look up and parse the limits of each request anew, a tenth of what a fix costs.
"""

import time
from typing import NamedTuple, cast

import redis
import structlog
from flask import Flask
from flask_limiter import Limiter

from harbor_api.telemetry import metrics
from harbor_api.web import request_logs
from harbor_api.web.request_logs import SECOND, WHOLE, WINDOW_S, RequestLog, Window

_LOOK_EVERY_S = 2

log = structlog.get_logger(__name__)


class Counted(NamedTuple):
    """What a request was counted against, and what remains of that.

    ``remaining`` is in whole requests, rounded down; in ``free_in_s`` seconds one more is free than now.
    ``who`` and ``at``, by the clock of the log that it was counted in, tell the request from others.
    """

    policy: str
    is_within: bool
    limit: int
    window_s: int
    remaining: int
    free_in_s: int
    who: str
    at: int


class RateCounters:
    """Counts in Redis while it answers, in this process while it does not."""

    def __init__(self, redis_url: str | None = None) -> None:
        """Count in the Redis of a URL for all that share it, None to count alone."""
        self._alone = _log(request_logs.PROCESS)
        self._shared = self._alone if redis_url is None else _log(request_logs.REDIS + redis_url)
        self._looked_at = 0.0
        self.is_degraded = False

    def count(self, policy: str, requests_per_minute: int, who: str) -> Counted:
        """Count a request of somebody against a limit."""
        return self._ask(policy, requests_per_minute, who, counts=True)

    def look(self, policy: str, requests_per_minute: int, who: str) -> Counted:
        """Return what is left of a limit, and whether there is any; nothing is counted."""
        return self._ask(policy, requests_per_minute, who)

    def make_cheap(self, counted: Counted) -> Counted:
        """Let a request that was counted take a tenth of one, and return what remains now.

        It stays a whole one where Redis has gone or come back since it was counted.
        """
        return self._ask(counted.policy, counted.limit, counted.who, back=counted.at)

    def are_shared(self) -> bool:
        """Return whether all workers count together now."""
        self._look()
        return self._shared is not self._alone and not self.is_degraded

    def reset(self) -> None:
        """Forget what this process has counted."""
        self._alone.reset()

    def _ask(
        self,
        policy: str,
        requests_per_minute: int,
        who: str,
        *,
        counts: bool = False,
        back: int | None = None,
    ) -> Counted:
        key = f"{policy}/{who}/{requests_per_minute}"
        told = self._told(key, requests_per_minute, counts=counts, back=back)
        return Counted(
            policy,
            told.is_within,
            requests_per_minute,
            WINDOW_S,
            told.left // WHOLE,
            -(-told.free_in // SECOND),
            who,
            told.now,
        )

    def _told(self, key: str, limit: int, *, counts: bool, back: int | None) -> Window:
        if self.is_degraded:
            self._look()
        if not self.is_degraded:
            if self._shared is not self._alone:
                metrics.REDIS_REQUESTS.inc()
            try:
                return self._shared.ask(key, limit, counts=counts, back=back)
            except redis.RedisError:
                metrics.REDIS_FAILURES.inc()
                self._degrade()
        return self._alone.ask(key, limit, counts=counts, back=back)

    def _look(self) -> None:
        """Find out whether Redis answers; asks it at most every two seconds."""
        if time.monotonic() - self._looked_at > _LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            if self._shared.check():
                self._recover()
            else:
                self._degrade()

    def _degrade(self) -> None:
        self._looked_at = time.monotonic()
        if not self.is_degraded:
            self.is_degraded = True
            metrics.LIMITS_DEGRADED.set(1)
            log.warning("limits_degraded", reason="Redis does not answer; each worker counts alone")

    def _recover(self) -> None:
        if self.is_degraded:
            self.is_degraded = False
            metrics.LIMITS_DEGRADED.set(0)
            log.warning("limits_shared", reason="Redis answers again; all workers count together")


def _log(uri: str) -> RequestLog:
    def nobody() -> str:
        raise RuntimeError("each policy names its own key")

    extension = Limiter(nobody, storage_uri=uri)
    extension.init_app(Flask(__name__))
    return cast("RequestLog", extension.storage)
