"""Structured logs: one JSON object a line, each line of a request with its request id."""

import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import structlog

# How to learn which request is under way: one way for all applications of a process.
_naming: list[Callable[[], Mapping[str, str]]] = []


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


def name_requests(ids: Callable[[], Mapping[str, str]]) -> None:
    """Put on each line the ids of the request that it is written for, where there is one.

    They are asked for when a line is written: to keep them at hand for lines that are not written costs more.
    """
    _naming[:] = [ids]


def _name_request(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for ids in _naming:
        for name, value in ids().items():
            event.setdefault(name, value)
    return event
