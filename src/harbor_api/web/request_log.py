"""The id of each request, and the line that says how it ended."""

import logging
import re
import secrets
import time

import structlog
from flask import Flask, Response, request

from harbor_api.domain import addresses
from harbor_api.telemetry import logs, traces
from harbor_api.web import runtime

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
# What a healthy fleet does all day, signed posts and probes: a line for each would cost a third of
# the throughput and bury the rest. They are logged at debug, and at info as soon as they go wrong. While the
# database is away all go wrong alike: of those ``problems`` tells, in one line now and then.
_ROUTINE = {"positions", "health"}

log = structlog.get_logger("harbor_api.requests")


def install(app: Flask) -> None:
    """Give each request its id and log how it ended."""
    logs.name_requests(runtime.present_ids)
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    presented = request.environ.get("HTTP_X_REQUEST_ID", "")
    traceparent = request.environ.get("HTTP_TRACEPARENT")
    runtime.begin_request(
        presented if _SANE_REQUEST_ID.fullmatch(presented) else secrets.token_hex(16),
        None if traceparent is None else traces.given(traceparent),
    )


def _end(response: Response) -> Response:
    state = runtime.here()
    response.headers.add("X-Request-Id", state.id)
    sent = state.request
    routine = state.is_routine or (response.status_code < 400 and sent.blueprint in _ROUTINE)
    if routine and not logging.getLogger().isEnabledFor(logging.DEBUG):
        return response
    write = log.debug if routine else log.info
    write(
        "request",
        method=sent.method,
        path=sent.path,
        route=None if sent.url_rule is None else sent.url_rule.rule,
        status=response.status_code,
        ms=round((time.perf_counter() - state.began) * 1000, 1),
        caller=runtime.who(),
        address=addresses.shown(sent.remote_addr or ""),
    )
    return response
