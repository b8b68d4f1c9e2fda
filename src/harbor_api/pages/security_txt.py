"""Whom a researcher tells of a weakness."""

from datetime import UTC, datetime, timedelta

from flask import Blueprint, Response, abort

from harbor_api.web.runtime import current

blueprint = Blueprint("security", __name__)
_TXT_HOLDS = timedelta(days=180)


@blueprint.get("/.well-known/security.txt")
def security_txt() -> Response:
    """Say whom to tell of a weakness (RFC 9116), where the operator has named somebody."""
    contact = current().settings.security_contact
    if contact is None:
        abort(404)
    expires = (datetime.now(UTC) + _TXT_HOLDS).strftime("%Y-%m-%dT00:00:00Z")
    lines = (
        f"Contact: {contact}",
        f"Expires: {expires}",
        "Preferred-Languages: en",
    )
    return Response("\n".join((*lines, "")), content_type="text/plain; charset=utf-8")
