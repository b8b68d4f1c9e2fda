"""The OpenAPI document, and Swagger UI to try it with. Every file comes from this service."""

from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Response, abort, render_template, send_from_directory

from harbor_api.web.runtime import current

blueprint = Blueprint(
    "docs",
    __name__,
    static_folder="static",
    static_url_path="/docs/static",
    template_folder="templates",
)
_ASSETS = Path(flask_swagger_ui.__file__).parent / "dist"
_SERVED = {"swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"}
_ASSETS_MAX_AGE_S = 86_400
# Scripts only from here and never inline. Swagger UI draws its icons as data: images.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """Serve the OpenAPI document."""
    return Response(current().document, content_type="application/json")


@blueprint.get("/docs")
def page() -> Response:
    """Serve the Swagger UI page."""
    response = Response(render_template("docs.html"), content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY
    return response


@blueprint.get("/docs/assets/<name>")
def asset(name: str) -> Response:
    """Serve one of Swagger UI's own files."""
    if name not in _SERVED:
        abort(404)
    return send_from_directory(_ASSETS, name, max_age=_ASSETS_MAX_AGE_S)
