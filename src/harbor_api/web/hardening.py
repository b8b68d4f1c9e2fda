"""What every answer carries to keep browsers and caches from doing harm with it."""

from flask import Flask, Response


def install(app: Flask) -> None:
    """Put on every answer what keeps browsers and caches from doing harm with it."""
    app.after_request(_harden)


def _harden(response: Response) -> Response:
    headers = response.headers
    headers.add("X-Content-Type-Options", "nosniff")
    headers.add("Referrer-Policy", "no-referrer")
    # Secrets, health, errors and what becomes of a fix are nobody's to keep. What may be kept says so itself.
    # (To ask for what is not there costs an exception.)
    if not any(name == "Cache-Control" for name, _ in headers):
        headers.add("Cache-Control", "no-store")
    return response
