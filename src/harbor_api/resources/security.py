"""What a browser, a cache and a researcher are told about security."""

from datetime import UTC, datetime, timedelta

from flask import Blueprint, Flask, Response, abort, request

from harbor_api.web.blueprint import settings

blueprint = Blueprint("security", __name__)
_TXT_HOLDS = timedelta(days=180)


@blueprint.get("/.well-known/security.txt")
def security_txt() -> Response:
    """Say whom to tell of a weakness (RFC 9116), where the operator has named somebody."""
    contact = settings().security_contact
    if contact is None:
        abort(404)
    expires = (datetime.now(UTC) + _TXT_HOLDS).strftime("%Y-%m-%dT00:00:00Z")
    lines = (
        f"Contact: {contact}",
        f"Expires: {expires}",
        "Preferred-Languages: en",
    )
    return Response("\n".join((*lines, "")), content_type="text/plain; charset=utf-8")


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
