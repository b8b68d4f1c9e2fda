"""How many requests each caller may make, and how callers are told."""

import time
from collections.abc import Callable
from typing import Any, cast

from flask import Flask, Response, g
from flask_limiter import Limiter

from harbor_api import api
from harbor_api.documentation import View, documented
from harbor_api.errors import RateLimited
from harbor_api.settings import Settings

_HEADERS = ("RateLimit", "RateLimit-Policy")


def _whoever_called() -> str:
    raise RuntimeError("each policy names its own key")


class _AfterAuthentication(Limiter):
    """A limiter that counts nothing before the views' own decorators: who calls is known only there."""

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


def left() -> dict[str, int]:
    """Return the limit that the present request counts against, and how many requests remain."""
    counted = limiter.current_limit
    if counted is None:
        raise RuntimeError("this request is not counted")
    return {"limit": counted.limit.amount, "remaining": counted.remaining}


def install(app: Flask, settings: Settings) -> None:
    """Count in Redis where there is one, else in this process, and tell callers in headers."""
    app.config["RATELIMIT_STORAGE_URI"] = settings.redis_url or "memory://"
    app.config["RATELIMIT_IN_MEMORY_FALLBACK_ENABLED"] = settings.redis_url is not None
    limiter.init_app(app)
    app.after_request(_tell)


def _tell(response: Response) -> Response:
    counted = limiter.current_limit
    if counted is None:
        return response
    window = counted.limit.get_expiry()
    free_in = min(max(1, counted.reset_at - int(time.time())), window)
    response.headers["RateLimit-Policy"] = f'"{g.policy}";q={counted.limit.amount};w={window}'
    response.headers["RateLimit"] = f'"{g.policy}";r={counted.remaining};t={free_in}'
    if response.status_code == 429:
        response.headers["Retry-After"] = str(free_in)
    return response
