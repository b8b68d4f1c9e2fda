"""How many requests each caller may make, and how callers are told."""

import time
from collections.abc import Callable
from typing import Any, NoReturn, cast

import redis
import structlog
from flask import Flask, Response, g, request
from flask_limiter import Limiter
from limits import RateLimitItemPerMinute
from redis.backoff import NoBackoff
from redis.retry import Retry

from harbor_api import api
from harbor_api.documentation import View, documented
from harbor_api.errors import HarborError, RateLimited
from harbor_api.settings import Settings

_HEADERS = ("RateLimit", "RateLimit-Policy")
_LOOK_EVERY_S = 2
_REDIS_TIMEOUT_S = 0.5

log = structlog.get_logger(__name__)


def _whoever_called() -> str:
    raise RuntimeError("each policy names its own key")


class _AfterAuthentication(Limiter):
    """A limiter that counts nothing before the views' own decorators: who calls is known only there.

    While its storage is away it counts in this process, looks for the storage every two seconds, and
    says in the log when it goes and when it is back.
    """

    _looked_at = 0.0

    @property
    def is_degraded(self) -> bool:
        """Whether the storage that all workers share is away."""
        return self._storage_dead

    def degrade(self) -> None:
        """Count in this process from now on."""
        if not self._storage_dead:
            self._storage_dead = True
            self._looked_at = time.monotonic()
            log.warning("limits_degraded", reason="Redis does not answer; each worker counts alone")

    def recover(self) -> None:
        """Count with the others again where the storage answers; asks at most every two seconds."""
        if self._storage_dead and time.monotonic() - self._looked_at > _LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            if self.storage.check():
                self._storage_dead = False
                log.warning("limits_shared", reason="Redis answers again; all workers count together")

    def _check_request_limit(self, callable_name: str | None = None, in_middleware: bool = True) -> None:
        if in_middleware:
            return
        self.recover()
        was_degraded = self._storage_dead
        super()._check_request_limit(callable_name, in_middleware)
        if self._storage_dead and not was_degraded:
            self._storage_dead = False
            self.degrade()


# A window that slides, kept as two counters a caller: a fixed one lets twice the limit through at its
# edge, and a log of each request costs more with every tracker, as all of them are swept every 10 ms.
limiter = _AfterAuthentication(_whoever_called, strategy="sliding-window-counter")


def _policy(name: str, requests_per_minute: Callable[[], int], who: Callable[[], str]) -> Any:
    def counted_as() -> str:
        g.policy = name
        return who()

    limit = limiter.shared_limit(
        lambda: f"{requests_per_minute()} per minute", scope=name, key_func=counted_as
    )

    def decorator(view: View) -> View:
        return documented(cast("View", limit(view)), errors=(RateLimited,), headers=_HEADERS)

    return decorator


# All requests of a key count together, whichever operation they are for.
by_key = _policy(
    "key",
    lambda: g.api_key.requests_per_minute or api.settings().key_requests_per_minute,
    lambda: str(g.api_key.id),
)
by_tracker = _policy(
    "tracker",
    lambda: api.settings().tracker_requests_per_minute,
    lambda: g.tracker.id,
)


def refuse_failure(error: HarborError) -> NoReturn:
    """Raise the error of a failed authentication, or RateLimited where its address fails too often.

    Only failures are counted, and only failures are refused: whoever shares the address with a caller
    that has lost its key gets in with a valid one.
    """
    allowed = RateLimitItemPerMinute(api.settings().failures_per_minute)
    who = ("failures", request.remote_addr or "")
    try:
        limiter.recover()
        within = limiter.limiter.hit(allowed, *who)
    except redis.RedisError:
        limiter.degrade()
        within = limiter.limiter.hit(allowed, *who)
    if within:
        raise error
    g.policy = "failures"
    reset_at, _ = limiter.limiter.get_window_stats(allowed, *who)
    raise RateLimited(
        "Too many authentications have failed from this address",
        headers=_fields(allowed.amount, allowed.get_expiry(), 0, int(reset_at) + 1),
    ) from error


def are_shared() -> bool:
    """Tell whether all workers count together now."""
    limiter.recover()
    return api.settings().redis_url is not None and not limiter.is_degraded


def are_degraded() -> bool:
    """Tell whether workers that should count together count alone now."""
    return limiter.is_degraded


def left() -> dict[str, int]:
    """Return the limit that the present request counts against, and how many requests remain."""
    counted = limiter.current_limit
    if counted is None:
        raise RuntimeError("this request is not counted")
    return {"limit": counted.limit.amount, "remaining": counted.remaining}


def install(app: Flask, settings: Settings) -> None:
    """Count in Redis where there is one, else in this process, and tell callers in headers."""
    app.config["RATELIMIT_STORAGE_URI"] = (settings.redis_url or "memory://").replace(
        "unix://", "redis+unix://"
    )
    if settings.redis_url is not None:
        # A Redis that hangs must not hang the service: half a second, and no second try.
        app.config["RATELIMIT_STORAGE_OPTIONS"] = {
            "socket_connect_timeout": _REDIS_TIMEOUT_S,
            "socket_timeout": _REDIS_TIMEOUT_S,
            "retry": Retry(NoBackoff(), 0),
        }
    app.config["RATELIMIT_IN_MEMORY_FALLBACK_ENABLED"] = settings.redis_url is not None
    limiter.init_app(app)
    app.after_request(_tell)


def _tell(response: Response) -> Response:
    counted = limiter.current_limit
    if counted is None or g.policy == "failures":
        return response
    try:
        remaining, reset_at = counted.remaining, counted.reset_at
    except redis.RedisError:
        limiter.degrade()
        remaining, reset_at = counted.remaining, counted.reset_at
    fields = _fields(counted.limit.amount, counted.limit.get_expiry(), remaining, reset_at)
    if response.status_code != 429:
        del fields["Retry-After"]
    response.headers.update(fields)
    return response


def _fields(amount: int, window: int, remaining: int, reset_at: int) -> dict[str, str]:
    free_in = min(max(1, reset_at - int(time.time())), window)
    return {
        "RateLimit-Policy": f'"{g.policy}";q={amount};w={window}',
        "RateLimit": f'"{g.policy}";r={remaining};t={free_in}',
        "Retry-After": str(free_in),
    }
