"""How many requests each caller may make, and how callers are told."""

import time
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, NamedTuple, NoReturn, cast

from flask import Flask, Response, g, request
from flask_limiter import Limiter
from limits import RateLimitItemPerMinute
from redis.backoff import NoBackoff
from redis.retry import Retry

from harbor_api.domain.errors import HarborError, RateLimited
from harbor_api.settings import Settings
from harbor_api.web import blueprint
from harbor_api.web.documented import View, documented
from harbor_api.web.rate_counters import SharedOrAlone

_HEADERS = ("RateLimit", "RateLimit-Policy")
_REDIS_TIMEOUT_S = 0.5


def _whoever_called() -> str:
    raise RuntimeError("each policy names its own key")


class _Limiter(Limiter):
    """Flask-Limiter for its configuration, its storage and its strategy.

    Its own decorators look up the limits of the endpoint, the blueprint and the application and parse them
    for every request, a tenth of what a fix costs, and count before anybody knows who calls. Here each
    policy counts by itself.
    """

    counters: SharedOrAlone

    def init_app(self, app: Flask) -> None:
        # Where it finds itself registered it leaves its hooks out.
        app.extensions.setdefault("limiter", set()).add(self)
        super().init_app(app)
        # Its own fallback loses requests that are under way when Redis goes.
        self.counters = SharedOrAlone(self.limiter)


# A window that slides, kept as two counters a caller: a fixed one lets twice the limit through at its
# edge, and a log of each request costs more with every tracker, as all of them are swept every 10 ms.
limiter = _Limiter(_whoever_called, strategy="sliding-window-counter")
_per_minute = cache(RateLimitItemPerMinute)


class _Counted(NamedTuple):
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


def _count(policy: str, requests_per_minute: int, who: str) -> _Counted:
    allowed = _per_minute(requests_per_minute)
    is_within, (reset_at, remaining) = limiter.counters.count(allowed, policy, who)
    return _Counted(
        policy, is_within, requests_per_minute, allowed.get_expiry(), remaining, int(reset_at) + 1
    )


def _refuse(counted: _Counted, detail: str | None = None, *, cause: HarborError | None = None) -> NoReturn:
    g.counted = counted
    raise RateLimited(detail, headers={"Retry-After": str(counted.free_in_s)}) from cause


def _policy(
    name: str, requests_per_minute: Callable[[], int], who: Callable[[], str]
) -> Callable[[View], View]:
    def decorator(view: View) -> View:
        @wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            counted = _count(name, requests_per_minute(), who())
            if not counted.is_within:
                _refuse(counted)
            g.counted = counted
            return view(*args, **kwargs)

        return documented(cast("View", wrapper), errors=(RateLimited,), headers=_HEADERS)

    return decorator


# All requests of a key count together, whichever operation they are for.
by_key = _policy(
    "key",
    lambda: g.api_key.requests_per_minute or blueprint.settings().key_requests_per_minute,
    lambda: str(g.api_key.id),
)
by_tracker = _policy(
    "tracker",
    lambda: blueprint.settings().tracker_requests_per_minute,
    lambda: g.tracker.id,
)


def refuse_failure(error: HarborError) -> NoReturn:
    """Raise the error of a failed authentication, or RateLimited where its address fails too often.

    Only failures are counted, and only failures are refused: whoever shares the address with a caller
    that has lost its key gets in with a valid one.
    """
    counted = _count("failures", blueprint.settings().failures_per_minute, request.remote_addr or "")
    if counted.is_within:
        raise error
    _refuse(counted, "Too many authentications have failed from this address", cause=error)


def are_shared() -> bool:
    """Tell whether all workers count together now."""
    limiter.counters.look()
    return blueprint.settings().redis_url is not None and not limiter.counters.is_degraded


def are_degraded() -> bool:
    """Tell whether workers that should count together count alone now."""
    return limiter.counters.is_degraded


def left() -> dict[str, int]:
    """Return the limit that the present request counts against, and how many requests remain."""
    counted: _Counted = g.counted
    return {"limit": counted.limit, "remaining": counted.remaining}


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
    counted: _Counted | None = g.get("counted")
    if counted is not None:
        name = counted.policy
        response.headers.add("RateLimit-Policy", f'"{name}";q={counted.limit};w={counted.window_s}')
        response.headers.add("RateLimit", f'"{name}";r={counted.remaining};t={counted.free_in_s}')
    return response
