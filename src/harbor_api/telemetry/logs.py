"""Structured logs: one JSON object a line, each line of a request with its request id."""

import logging
import re
import secrets
import sys
import time
from collections.abc import MutableMapping
from typing import Any

import structlog
from flask import Flask, Response, g, has_request_context, request

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
# What a healthy fleet does all day, signed posts and probes: a line for each would cost a third of
# the throughput and bury the rest. They are logged at debug, and at info as soon as they go wrong.
_ROUTINE = {"positions", "health"}

log = structlog.get_logger("harbor_api.requests")


def configure(level: str) -> None:
    """Send everything, gunicorn's and libraries' lines included, to stderr as JSON."""
    shared: list[Any] = [
        _name_request,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Without the local variables, among which are keys and secrets.
        structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        ),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # It announces each of its plugins at every start.
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def install(app: Flask) -> None:
    """Give each request its id and log how it ended."""
    app.before_request(_begin)
    app.after_request(_end)


def _name_request(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put the request id on each line that is written while a request is handled."""
    if has_request_context() and "request_id" in g:
        event.setdefault("request_id", g.request_id)
    return event


def _begin() -> None:
    presented = request.headers.get("X-Request-Id", "")
    g.request_id = presented if _SANE_REQUEST_ID.fullmatch(presented) else secrets.token_hex(16)
    g.began = time.perf_counter()


def _end(response: Response) -> Response:
    response.headers.add("X-Request-Id", g.request_id)
    routine = request.blueprint in _ROUTINE and response.status_code < 400
    if routine and not logging.getLogger().isEnabledFor(logging.DEBUG):
        return response
    write = log.debug if routine else log.info
    write(
        "request",
        method=request.method,
        path=request.path,
        status=response.status_code,
        ms=round((time.perf_counter() - g.began) * 1000, 1),
        caller=_caller(),
    )
    return response


def _caller() -> str | None:
    if "tracker" in g:
        return str(g.tracker.id)
    if "api_key" in g:
        return f"key {g.api_key.id}"
    return request.remote_addr
