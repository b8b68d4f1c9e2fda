"""How many requests each caller may make, and how callers are told."""

import time
from collections.abc import Callable
from typing import Any, NoReturn, cast

from flask import Flask, Response, g, request
from flask_limiter import Limiter
from limits import RateLimitItemPerMinute
from redis.backoff import NoBackoff
from redis.retry import Retry

from harbor_api import api
from harbor_api.counters import SharedOrAlone
from harbor_api.documentation import View, documented
from harbor_api.errors import HarborError, RateLimited
from harbor_api.settings import Settings

_HEADERS = ("RateLimit", "RateLimit-Policy")
_REDIS_TIMEOUT_S = 0.5


def _whoever_called() -> str:
    raise RuntimeError("each policy names its own key")


class _AfterAuthentication(Limiter):
    """A limiter that counts nothing before the views' own decorators: who calls is known only there."""

    counters: SharedOrAlone

    def init_app(self, app: Flask) -> None:
        super().init_app(app)
        # Its own fallback loses requests that are under way when Redis goes.
        self._limiter = self.counters = SharedOrAlone(self.storage)

    def _check_request_limit(self, callable_name: str | None = None, in_middleware: bool = True) -> None:
        if not in_middleware:
            super()._check_request_limit(callable_name, in_middleware)


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
    within = limiter.counters.hit(allowed, *who)
    if within:
        raise error
    g.policy = "failures"
    reset_at, _ = limiter.counters.get_window_stats(allowed, *who)
    raise RateLimited(
        "Too many authentications have failed from this address",
        headers=_fields(allowed.amount, allowed.get_expiry(), 0, int(reset_at) + 1),
    ) from error


def are_shared() -> bool:
    """Tell whether all workers count together now."""
    limiter.counters.look()
    return api.settings().redis_url is not None and not limiter.counters.is_degraded


def are_degraded() -> bool:
    """Tell whether workers that should count together count alone now."""
    return limiter.counters.is_degraded


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
    limiter.init_app(app)
    app.after_request(_tell)


def _tell(response: Response) -> Response:
    counted = limiter.current_limit
    if counted is None or g.policy == "failures":
        return response
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
