"""The OpenAPI document, and Swagger UI to try it with. Every file comes from this service."""

from functools import cache
from pathlib import Path

import flask_swagger_ui
import orjson
from flask import Blueprint, Response, abort, render_template, url_for

from harbor_api.web import representations
from harbor_api.web.openapi import NEWEST_PATH, OLDER_PATH
from harbor_api.web.openapi_3_0 import as_3_0
from harbor_api.web.runtime import current

blueprint = Blueprint("docs", __name__, template_folder="templates")
_OURS = Path(__file__).parent / "static"
_SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"
_OF_SWAGGER_UI = {"swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"}
# Scripts only from here and never inline. Swagger UI draws its icons as data: images.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@blueprint.get(NEWEST_PATH)
def openapi() -> Response:
    """Serve the OpenAPI document."""
    return _linked(representations.answer(current().document, "application/json"))


@blueprint.get(OLDER_PATH)
def openapi_3_0() -> Response:
    """Serve the OpenAPI document as 3.0.3."""
    return _linked(representations.answer(_older(current().document), "application/json"))


@blueprint.get("/docs")
def page() -> Response:
    """Serve the Swagger UI page."""
    text = render_template("docs.html", url_of=_url_of)
    response = _linked(representations.answer(text.encode(), "text/html; charset=utf-8"))
    response.headers["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY
    return response


@blueprint.get("/docs/assets/<name>")
def asset(name: str) -> Response:
    """Serve one of Swagger UI's own files."""
    if name not in _OF_SWAGGER_UI:
        abort(404)
    return representations.file(_SWAGGER_UI / name)


@blueprint.get("/docs/static/<path:filename>")
def static(filename: str) -> Response:
    """Serve one of the pages' own files."""
    path = _OURS / filename
    if path not in _ours():
        abort(404)
    return representations.file(path)


def _linked(response: Response) -> Response:
    """Name the document and its page to programs (RFC 8631)."""
    document, twin, page = (url_for(f"docs.{name}") for name in ("openapi", "openapi_3_0", "page"))
    response.headers["Link"] = ", ".join(
        (
            f'<{document}>; rel="service-desc"; type="application/json"',
            f'<{twin}>; rel="service-desc"; type="application/json"; title="OpenAPI 3.0"',
            f'<{page}>; rel="service-doc"; type="text/html"',
        )
    )
    return response


def _url_of(name: str) -> str:
    """Return the address of a file for as long as it has these bytes."""
    if name in _OF_SWAGGER_UI:
        return url_for("docs.asset", name=name, v=representations.version_of(_SWAGGER_UI / name))
    return url_for("docs.static", filename=name, v=representations.version_of(_OURS / name))


@cache
def _ours() -> frozenset[Path]:
    return frozenset(each for each in _OURS.rglob("*") if each.is_file())


@cache
def _older(document: bytes) -> bytes:
    return orjson.dumps(as_3_0(orjson.loads(document)), option=orjson.OPT_INDENT_2)
