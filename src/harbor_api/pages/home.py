"""Where somebody begins who knows nothing but the address."""

from flask import Blueprint, Response, jsonify, request

from harbor_api import __version__

blueprint = Blueprint("home", __name__)
# Relations of RFC 8631, and the registry's.
_LINKS = (
    ("service-desc", "/openapi.json", "application/json", "The OpenAPI 3.1 document"),
    ("service-doc", "/docs", "text/html", "The reference, to try it with a key"),
    ("help", "/docs/getting-started", "text/html", "From a key to the first vessel"),
    ("related", "/docs/live-map", "text/html", "The fleet on a map, live and at any moment"),
    ("status", "/health", "application/json", "Whether the service is well"),
    ("version-history", "/docs/changelog", "text/html", "What has changed in the API"),
)
_LINK = ", ".join(f'<{href}>; rel="{rel}"; type="{kind}"' for rel, href, kind, _ in _LINKS)


@blueprint.get("/")
def home() -> Response:
    """Say what this is and where everything begins; lead browsers to the documentation."""
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
        # Relative, so that nothing that a caller says of a host can lead anybody there.
        response = Response(status=302, headers={"Location": "/docs"})
    else:
        links = [dict(zip(("rel", "href", "type", "title"), link, strict=True)) for link in _LINKS]
        response = jsonify(name="Harbor API", version=__version__, links=links)
    response.headers["Link"] = _LINK
    response.headers["Vary"] = "Accept"
    response.headers["Cache-Control"] = "public, max-age=300"
    return response
