"""What every answer carries to keep browsers and caches from doing harm with it."""

from flask import Flask, Response, request


def install(app: Flask) -> None:
    """Put on every answer what keeps browsers and caches from doing harm with it."""
    app.after_request(_harden)


def _harden(response: Response) -> Response:
    response.headers.add("X-Content-Type-Options", "nosniff")
    response.headers.add("Referrer-Policy", "no-referrer")
    # Positions, keys and health are of the moment and of the caller.
    if request.path.startswith(("/api/", "/health")):
        response.headers.setdefault("Cache-Control", "no-store")
    return response
