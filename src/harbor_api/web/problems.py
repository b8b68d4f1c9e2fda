"""How errors reach the caller: whatever is raised becomes application/problem+json (RFC 9457).

    HarborError       any floor of ours      handle_domain         as it is
    HTTPException     Flask, werkzeug        handle_framework      the one of ours for its status
    ParseException    gunicorn, in a body    handle_broken_body    400
    any other         a mistake of ours      handle_unexpected     500: the trace goes to the log, and to
                                                                   the caller the id to quote

``web/openapi.py`` registers these four. What gunicorn refuses before there is a request (a head that is none,
or too large) is told in the same words by ``server/worker.py``, through ``document``.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import orjson
import structlog
from flask import Response, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException

from harbor_api.domain import errors
from harbor_api.domain.errors import Fault, HarborError
from harbor_api.schemas.problems import MEDIA_TYPE
from harbor_api.telemetry import error_reports
from harbor_api.web import runtime

# Whoever sends more mistakes than this learns of the first ones: the answer must not outgrow the request.
MOST_TOLD = 50
_TYPE = "urn:harbor-api:problem:"
_FRAMEWORK: dict[int, type[HarborError]] = {
    400: errors.BadRequest,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    413: errors.BodyTooLarge,
    414: errors.URITooLong,
    415: errors.UnsupportedMediaType,
    429: errors.RateLimited,
}

# What says this has asked for no resource of ours at all.
_NOWHERE = "There is nothing at this address; /docs says what there is"

log = structlog.get_logger(__name__)


def render(error: HarborError) -> Response:
    """Return the response that tells a caller about an error."""
    response = Response(
        orjson.dumps(
            document(
                error,
                instance=request.path,
                request_id=runtime.request_id(),
                trace_id=runtime.trace_id(),
            )
        ),
        status=error.status,
        headers=error.headers,
    )
    response.content_type = MEDIA_TYPE
    return response


def document(
    error: HarborError, *, instance: str, request_id: str, trace_id: str | None = None
) -> dict[str, Any]:
    """Return the members of a problem document; ``errors`` only where there is something to name."""
    members: dict[str, Any] = {
        "type": _TYPE + error.code,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": _encodable(instance),
        "code": error.code,
        "request_id": request_id,
    }
    if trace_id is not None:
        members["trace_id"] = trace_id
    if error.faults:
        members["errors"] = told(error.faults)
    return members | error.members


def told(faults: Iterable[Fault]) -> list[dict[str, str]]:
    """Return faults as the members that a caller is told, the first MOST_TOLD of them."""
    return [
        {
            name: _encodable(value)
            for name in ("pointer", "parameter", "header", "detail")
            if (value := getattr(fault, name)) is not None
        }
        for fault in islice(faults, MOST_TOLD)
    ]


def prose(kind: type[HarborError]) -> str:
    """Return what an error's docstring says, on one line."""
    return " ".join((kind.__doc__ or kind.title).split())


def table() -> str:
    """Return all codes that an answer can carry as a table in Markdown."""
    kinds = sorted(HarborError.by_code.values(), key=lambda kind: (kind.status, kind.code))
    rows = (f"| {kind.status} | `{kind.code}` | {prose(kind)} |" for kind in kinds)
    return "\n".join(("| status | code | meaning |", "|---|---|---|", *rows))


def from_framework(exception: HTTPException) -> HarborError:
    """Return our error for one that Flask, werkzeug or the limiter raised, with its headers."""
    kind = _FRAMEWORK.get(exception.code or 500)
    if kind is None:
        kind = errors.BadRequest if 400 <= (exception.code or 500) < 500 else errors.InternalError
    error = kind(_NOWHERE if kind is errors.NotFound else None)
    response = exception.get_response()
    for name in ("Allow", "Retry-After"):
        if name in response.headers:
            error.headers[name] = response.headers[name]
    return error


def handle_domain(error: HarborError) -> Response:
    """Render an error that a layer of ours raised."""
    if error.status >= 500:
        tell_of(error)
    return render(error)


def tell_of(error: HarborError) -> None:
    """Log why a request cannot be answered now: once for the many that meet the same."""
    cause = getattr(error, "cause", None) or error.detail
    left_out = runtime.current().repeats.left_out((error.code, cause))
    if left_out is None:
        runtime.here().is_routine = True
    else:
        log.warning("unavailable", code=error.code, cause=cause, left_out=left_out)


def handle_framework(exception: HTTPException) -> Response:
    """Render an error that the framework raised."""
    return render(from_framework(exception))


def handle_broken_body(_: ParseException) -> Response:
    """Render what gunicorn finds only when the body is read: chunks that are none."""
    return render(errors.BadRequest("The chunks of the body are not as HTTP/1.1 says"))


def handle_unexpected(exception: Exception) -> Response:
    """Log what nobody foresaw with its trace, and tell the caller nothing but the request id."""
    log.error("unexpected_exception", exc_info=exception)
    state = runtime.here()
    route = None if state.request.url_rule is None else state.request.url_rule.rule
    error_reports.report(exception, request_id=state.id, trace_id=state.trace_id, route=route)
    return render(errors.InternalError("The service failed; quote the request id to the operator"))


def _encodable(text: str) -> str:
    # A caller's own text may hold what UTF-8 cannot; an error about it must not fail for it.
    return text.encode("utf-8", "backslashreplace").decode()
