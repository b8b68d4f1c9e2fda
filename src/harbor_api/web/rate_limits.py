"""How many requests each caller may make, and how callers are told."""

from collections.abc import Callable
from typing import NoReturn

from flask import Flask, Response, current_app

from harbor_api.domain import addresses
from harbor_api.domain.errors import HarborError, RateLimited
from harbor_api.telemetry import metrics
from harbor_api.web import runtime
from harbor_api.web.blueprint import Blueprint
from harbor_api.web.rate_counters import Counted

# What every answer carries whose request was counted.
HEADERS = ("RateLimit", "RateLimit-Policy")
# Far more than people need who share an address, and a small part of what a worker can do.
PUBLIC_PER_MINUTE = 6_000


def count_key() -> None:
    """Count this request against its key: all of a key count together; RateLimited where it has none left."""
    key = runtime.caller()
    allowed = key.requests_per_minute or runtime.current().settings.key_requests_per_minute
    _count("key", allowed, str(key.id))


def count_tracker() -> None:
    """Count this request against its tracker, as with ``count_key``."""
    allowed = runtime.current().settings.tracker_requests_per_minute
    _count("tracker", allowed, runtime.signer().tracker.id)


def count_repeat() -> None:
    """Count a message that has come before: not against its tracker, whom anybody could shut out with it.

    RateLimited where one address repeats a tracker's messages more often than the tracker may send them.
    """
    allowed = runtime.current().settings.tracker_requests_per_minute
    tracker = runtime.signer().tracker.id
    _count("repeats", allowed, f"{tracker} {address()}")
    # What is told is what the tracker has left.
    runtime.here().counted = runtime.current().counters.look("tracker", allowed, tracker)


def count_stranger() -> None:
    """Count a request that anybody may make; RateLimited where its address makes too many of them."""
    counted = runtime.current().counters.count("public", PUBLIC_PER_MINUTE, address())
    if not counted.is_within:
        metrics.LIMITS_REFUSED.labels(counted.policy).inc()
        raise RateLimited(
            "Too many requests without a key from this address",
            headers={"Retry-After": str(counted.free_in_s)},
        )


def refuse_failure(error: HarborError, *, unless: Callable[[], bool] = lambda: False) -> NoReturn:
    """Raise the error of a failed authentication, or RateLimited where its address fails too often.

    It is not asked how often where ``unless`` says that it has to be told all the same.

    Only failures are counted, and only failures are refused: whoever shares the address with a caller
    that has lost its key gets in with a valid one.
    """
    metrics.AUTHENTICATION_FAILURES.labels(error.code).inc()
    now = runtime.current()
    counted = now.counters.count("failures", now.settings.failures_per_minute, address())
    if counted.is_within or unless():
        raise error
    _refuse(counted, "Too many authentications have failed from this address", cause=error)


def address() -> str:
    """Return what the address of this request's caller is counted as."""
    return addresses.caller(runtime.sent().remote_addr or "")


def left() -> dict[str, int]:
    """Return the limit that this request counts against, and how many requests remain."""
    counted = runtime.counted()
    return {"limit": counted.limit, "remaining": counted.remaining}


def install(app: Flask) -> None:
    """Tell callers in headers what remains, and bound what is no operation of the API."""
    app.before_request(_bound_strangers)
    app.after_request(_tell)


def _bound_strangers() -> None:
    """Count pages, paths that lead nowhere and preflights; operations count by themselves."""
    sent = runtime.sent()
    is_operation = isinstance(current_app.blueprints.get(sent.blueprint or ""), Blueprint)
    if not is_operation or sent.method == "OPTIONS":
        count_stranger()


def _count(policy: str, requests_per_minute: int, who: str) -> None:
    counted = runtime.current().counters.count(policy, requests_per_minute, who)
    if not counted.is_within:
        _refuse(counted)
    runtime.here().counted = counted


def _refuse(counted: Counted, detail: str | None = None, *, cause: HarborError | None = None) -> NoReturn:
    runtime.here().counted = counted
    metrics.LIMITS_REFUSED.labels(counted.policy).inc()
    raise RateLimited(detail, headers={"Retry-After": str(counted.free_in_s)}) from cause


def _tell(response: Response) -> Response:
    counted = runtime.here().counted
    if counted is not None:
        if response.status_code == 304:
            counted = runtime.current().counters.make_cheap(counted)
        name = counted.policy
        response.headers.add("RateLimit-Policy", f'"{name}";q={counted.limit};w={counted.window_s}')
        response.headers.add("RateLimit", f'"{name}";r={counted.remaining};t={counted.free_in_s}')
    return response
