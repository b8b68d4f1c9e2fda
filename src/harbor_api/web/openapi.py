"""The OpenAPI document: what flask-smorest gathers from the views, and what it says of the whole."""

from collections.abc import Iterable
from typing import Any

import flask_smorest
import orjson
from flask import Flask
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException

from harbor_api.domain.errors import HarborError
from harbor_api.schemas.problems import ProblemSchema
from harbor_api.web import problems
from harbor_api.web.application import IdentifierConverter, identifier_schema
from harbor_api.web.auth import SECURITY_SCHEMES
from harbor_api.web.blueprint import Blueprint

_ABOUT = """Where a fleet's vessels are and were.

**Trackers** post signed fixes to `POST /api/v1/positions`. **Partners** read the fleet as GeoJSON from
`GET /api/v1/vessels` with an API key: press *Authorize*, paste the key, and try it here.

Every error is `application/problem+json` (RFC 9457) with a stable `code`, and every answer carries
`X-Request-Id`.
"""


def register(app: Flask, blueprints: Iterable[Blueprint]) -> bytes:
    """Register resources with an application and return the OpenAPI document that describes them, as JSON."""
    api = Api(app, spec_kwargs=_about())
    api.register_converter(IdentifierConverter, identifier_schema)
    for name, scheme in SECURITY_SCHEMES.items():
        api.spec.components.security_scheme(name, scheme)
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    return orjson.dumps(api.spec.to_dict(), option=orjson.OPT_INDENT_2)


class Api(flask_smorest.Api):
    """flask-smorest's Api with our errors; it serves no pages of its own."""

    DEFAULT_ERROR_RESPONSE_NAME = None
    ERROR_SCHEMA = ProblemSchema

    def _register_error_handlers(self) -> None:
        self._app.register_error_handler(HarborError, problems.handle_domain)
        self._app.register_error_handler(HTTPException, problems.handle_framework)
        self._app.register_error_handler(ParseException, problems.handle_broken_body)
        self._app.register_error_handler(Exception, problems.handle_unexpected)

    def _register_responses(self) -> None:
        """Leave out the stock responses: each operation documents its own, with their codes."""

    def _register_pagination_header(self) -> None:
        """Leave out the stock pagination by numbers, with its unused component."""

    def _register_etag_headers(self) -> None:
        """Leave out the stock ETag headers, with their unused components."""


def _about() -> dict[str, Any]:
    return {
        "info": {
            "description": f"{_ABOUT}\n{_table_of_errors()}",
            "contact": {"name": "The operator of this service"},
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        # Relative: the document is right wherever the service is reached.
        "servers": [{"url": "/", "description": "This service"}],
    }


def _table_of_errors() -> str:
    """Return all codes that an answer can carry as a table in Markdown."""
    rows = sorted(HarborError.by_code.values(), key=lambda kind: (kind.status, kind.code))
    lines = "\n".join(f"| {kind.status} | `{kind.code}` | {problems.prose(kind)} |" for kind in rows)
    # Folded in Swagger UI, so that the operations are what a reader meets first.
    head = "| status | code | meaning |\n|---|---|---|"
    return f"<details><summary>All error codes</summary>\n\n{head}\n{lines}\n\n</details>\n"
