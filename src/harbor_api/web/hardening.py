"""What every answer carries to keep browsers and caches from doing harm with it."""

from flask import Flask, Response


def install(app: Flask) -> None:
    """Put on every answer what keeps browsers and caches from doing harm with it."""
    app.after_request(_harden)


def _harden(response: Response) -> Response:
    response.headers.add("X-Content-Type-Options", "nosniff")
    response.headers.add("Referrer-Policy", "no-referrer")
    # Positions, keys, health and errors are of the moment and of the caller. What may be kept says so itself.
    response.headers.setdefault("Cache-Control", "no-store")
    return response
