"""The span of each request, where traces are asked for."""

from flask import Flask, Response

from harbor_api.telemetry import traces
from harbor_api.web import runtime


def install(app: Flask) -> None:
    """Begin and end a span with each request."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    state = runtime.here()
    sent = state.request
    route = "" if sent.url_rule is None else sent.url_rule.rule
    attributes = {"http.request.method": sent.method, "harbor.request_id": state.id}
    state.served = traces.Served(
        f"{sent.method} {route}".strip(),
        traceparent=sent.environ.get("HTTP_TRACEPARENT", ""),
        attributes=attributes | ({"http.route": route} if route else {}),
    )
    state.trace_id = state.served.trace_id or state.trace_id


def _end(response: Response) -> Response:
    state = runtime.here()
    if state.served is not None:
        state.served.end(response.status_code)
        state.served = None
    return response
