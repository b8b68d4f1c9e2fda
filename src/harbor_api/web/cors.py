"""Pages of other origins: which of them may read answers (the Fetch standard's CORS protocol).

An origin is compared as text with those that the operator names: libraries take one with a bracket or a
question mark for a regular expression, and then a dot for any character. There are no cookies here, so
nothing is said of credentials.
"""

from flask import Flask, Response, request

from harbor_api.web import headers

_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
# What an operation may be asked with, beside what a page may always send.
_MAY_SEND = (
    "Authorization",
    "Cache-Control",
    "Content-Encoding",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "X-Request-Id",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
)
_MAY_READ = (*headers.HEADERS, "Date")
# A map polls: it need not ask before each time whether it may. Chromium remembers no longer than this.
_MAX_AGE_S = 7_200


def install(app: Flask, origins: frozenset[str]) -> None:
    """Let pages of these origins read answers; of no others, and where there are none, say nothing."""
    if not origins:
        return

    def allow(response: Response) -> Response:
        # Also on what is told to nobody: a cache must not hand it to a page that may read it.
        response.vary.add("Origin")
        origin = request.headers.get("Origin")
        if origin not in origins:
            return response
        response.headers["Access-Control-Allow-Origin"] = origin
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            response.headers["Access-Control-Allow-Methods"] = _METHODS
            response.headers["Access-Control-Allow-Headers"] = ", ".join(_MAY_SEND)
            response.headers["Access-Control-Max-Age"] = str(_MAX_AGE_S)
        else:
            response.headers["Access-Control-Expose-Headers"] = ", ".join(_MAY_READ)
        return response

    app.after_request(allow)
