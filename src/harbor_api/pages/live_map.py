"""The live map: an example of using the API, made of files that a frontend developer may copy.

All of them come from this service: the page asks for nothing from outside, and runs nothing inline.
"""

from pathlib import Path

from flask import Blueprint, Response, render_template, url_for

from harbor_api.web import representations

blueprint = Blueprint("live-map", __name__)
_STATIC = Path(__file__).parent / "static"
# All that is seen is drawn by the page's own scripts. Leaflet places what it makes by
# the style of elements, which a policy of styles allows to scripts.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@blueprint.get("/docs/live-map")
def page() -> Response:
    """Serve the page of the live map."""
    text = render_template("live-map.html", url_of=_url_of)
    response = representations.answer(text.encode(), "text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY
    return response


@blueprint.get("/docs/static/live-map/follow.js")
def client() -> Response:
    """Serve the published client of the stream: the map imports the very file that partners copy."""
    return representations.file(representations.published() / "examples" / "follow.js")


def _url_of(name: str) -> str:
    """Return the address of a file for as long as it has these bytes."""
    return url_for("docs.static", filename=name, v=representations.version_of(_STATIC / name))
