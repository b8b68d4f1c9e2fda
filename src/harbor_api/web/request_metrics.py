"""Each request is counted and timed once it is answered, by its route and never by its path."""

import re
import time
from collections.abc import Callable

from flask import Flask, Response

from harbor_api.telemetry import metrics
from harbor_api.web import runtime

# What leads nowhere is one route, and a method that no route has is one method: whoever makes them up makes
# up no series.
NOWHERE, OTHER = "unmatched", "other"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PARAMETER = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")

_Bound = tuple[Callable[[], None], Callable[[float], None]]
_bound: dict[tuple[str, str, int], _Bound] = {}


def install(app: Flask) -> None:
    """Count the requests of an application."""
    app.after_request(_count)


def _count(response: Response) -> Response:
    state = runtime.here()
    sent = state.request
    rule, method = sent.url_rule, sent.method
    if rule is None and method not in _METHODS:
        method = OTHER
    key = (NOWHERE if rule is None else rule.rule, method, response.status_code)
    found = _bound.get(key)
    if found is None:
        found = _bound[key] = _bind(*key)
    inc, observe = found
    inc()
    observe(time.perf_counter() - state.began)
    return response


def _bind(rule: str, method: str, status: int) -> _Bound:
    route = _PARAMETER.sub(r"{\1}", rule)
    return (
        metrics.REQUESTS.labels(method, route, str(status)).inc,
        metrics.REQUEST_SECONDS.labels(method, route).observe,
    )
