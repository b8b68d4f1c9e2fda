"""Our Api and Blueprint on flask-smorest: strict input, problem+json, and a document that is true."""

from collections.abc import Callable, Iterable
from functools import wraps
from http import HTTPStatus
from typing import Any, cast

import flask_smorest
import orjson
from flask import Flask, Response, current_app, g, request
from flask.json.provider import JSONProvider
from flask.views import MethodView
from gunicorn.http.errors import ParseException
from marshmallow import Schema
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter, ValidationError

from harbor_api.database import Database
from harbor_api.domain import errors
from harbor_api.domain.entities import Actor, Delivery, Receipt
from harbor_api.domain.errors import Fault, HarborError, InvalidParameter
from harbor_api.domain.judgement import Thresholds
from harbor_api.ingest.grouping import Grouping
from harbor_api.ingest.known_trackers import KnownTrackers
from harbor_api.schemas.fields import rfc3339
from harbor_api.schemas.problems import MEDIA_TYPE, ProblemSchema
from harbor_api.settings import Settings
from harbor_api.web import problems
from harbor_api.web.arguments import StrictParser
from harbor_api.web.documented import View, documented

# Any operation can fail like this, whatever it does.
_EVERYWHERE = (
    errors.BadRequest,
    errors.InvalidParameter,
    errors.URITooLong,
    errors.HeadersTooLarge,
    errors.InternalError,
)
HEADERS = {
    "X-Request-Id": {
        "description": "Identifies this exchange in the service's logs: the caller's own "
        "X-Request-Id where it was sane, else a new one.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    },
    "RateLimit-Policy": {
        "description": "How many requests (q) are allowed in how many seconds (w), as in the IETF "
        "draft on RateLimit header fields.",
        "required": True,
        "schema": {"type": "string", "examples": ['"key";q=60;w=60']},
    },
    "RateLimit": {
        "description": "How many requests remain (r), and in how many seconds the next one is free "
        "again (t).",
        "required": True,
        "schema": {"type": "string", "examples": ['"key";r=59;t=60']},
    },
    "Retry-After": {
        "description": "Seconds to wait before trying again.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$", "examples": ["12"]},
    },
    "WWW-Authenticate": {
        "description": "How to authenticate here.",
        "required": True,
        "schema": {"type": "string"},
    },
    "ETag": {
        "description": "Names this state of the resource: for `If-Match`.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[^"]+"$', "examples": ['"3"']},
    },
    "Location": {
        "description": "Where what was created is.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference", "examples": ["/api/v1/vessels/1"]},
    },
    "Link": {
        "description": 'The next page, with `rel="next"`; absent on the last one.',
        "required": False,
        "schema": {
            "type": "string",
            "examples": ['</api/v1/audit?limit=100&cursor=after-100>; rel="next"'],
        },
    },
    "Accept-Encoding": {
        "description": "The encodings that a body may have, where it came in another one.",
        "required": False,
        "schema": {"type": "string", "examples": ["gzip, deflate"]},
    },
    "Allow": {
        "description": "The methods that this resource takes.",
        "required": True,
        "schema": {"type": "string"},
    },
}
_HEADERS_OF_STATUS = {
    401: ("WWW-Authenticate",),
    415: ("Accept-Encoding",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}


class IdentifierConverter(BaseConverter):
    """A positive number in plain ASCII digits that PostgreSQL's integer can hold."""

    regex = r"[1-9][0-9]{0,9}"

    def to_python(self, value: str) -> int:
        number = int(value)
        if number >= 2**31:
            raise ValidationError
        return number


class OrjsonProvider(JSONProvider):
    """Flask's JSON through orjson; times as RFC 3339 with ``Z``."""

    def dumps(self, obj: Any, **_: Any) -> str:
        return orjson.dumps(obj, default=_default, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()

    def loads(self, s: str | bytes, **_: Any) -> Any:
        return orjson.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        response = Response(self.dumps(self._prepare_response_obj(args, kwargs)))
        response.content_type = "application/json"
        return response


def _default(value: Any) -> Any:
    if hasattr(value, "astimezone"):
        return rfc3339(value)
    raise TypeError(f"{type(value)} has no JSON form")


def _quickly(view: Any, thoroughly: Any, load: Callable[[Any], Any]) -> Any:
    """Return a view that reads its body with ``load`` where that can, and thoroughly otherwise."""

    @wraps(thoroughly)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        loaded = load(Blueprint.ARGUMENTS_PARSER.read_json(request))
        if loaded is None:
            return thoroughly(self, *args, **kwargs)
        return view(self, loaded, *args, **kwargs)

    return wrapper


class Blueprint(flask_smorest.Blueprint):
    """A blueprint whose decorators do what they document."""

    ARGUMENTS_PARSER = StrictParser()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepare_doc_cbks.append(self._prepare_errors_doc)
        self._with_query: set[tuple[str, str]] = set()

    def arguments(
        self,
        schema: type[Schema],
        *,
        location: str = "json",
        load: Callable[[Any], Any] | None = None,
        **kwargs: Any,
    ) -> Callable[[Any], Any]:
        """Parse the body or the query with a schema, and document that and what can go wrong.

        ``load`` is asked first: it returns what the schema would, None where the schema must be asked.
        """
        # An instance: webargs would make one anew from a class for every request.
        parse = super().arguments(schema(), location=location, **kwargs)

        def decorator(view: Any) -> Any:
            wrapper = parse(view)
            if load is not None:
                wrapper = _quickly(view, wrapper, load)
            notes = wrapper._apidoc["arguments"]  # noqa: SLF001 - where flask-smorest keeps its notes
            notes.pop("responses")
            if location == "query":
                notes["query"] = True
                return wrapper
            return documented(
                wrapper,
                errors=(
                    errors.MalformedJSON,
                    errors.RequestTimeout,
                    errors.BodyTooLarge,
                    errors.UnsupportedMediaType,
                    errors.ValidationFailed,
                ),
            )

        return decorator

    def response(
        self,
        status_code: int,
        schema: Any = None,
        *,
        content_type: str | None = None,
        headers: Iterable[str] = (),
        **kwargs: Any,
    ) -> Callable[[Any], Any]:
        """Render what the view returns with a schema, in the media type that is documented.

        ``headers`` names those of HEADERS that the view sends itself.
        """
        render = super().response(
            status_code, schema, content_type=content_type, headers={name: {} for name in headers}, **kwargs
        )

        def decorator(view: Any) -> Any:
            rendered = render(view)
            if content_type is None:
                return rendered

            @wraps(rendered)
            def wrapper(*args: Any, **kwargs: Any) -> Response:
                response = cast("Response", rendered(*args, **kwargs))
                response.content_type = content_type
                return response

            return wrapper

        return decorator

    @staticmethod
    def raises(*kinds: type[HarborError]) -> Callable[[View], View]:
        """Document errors that the view itself may answer, beside those of its other decorators."""
        return lambda view: documented(view, errors=kinds)

    def _store_endpoint_docs(self, endpoint: str, obj: Any, *args: Any, **kwargs: Any) -> None:
        super()._store_endpoint_docs(endpoint, obj, *args, **kwargs)
        for method, notes in self._docs[endpoint].items():
            if method != "parameters" and notes.get("arguments", {}).pop("query", False):
                self._with_query.add((f"{self.name}.{endpoint}", method.upper()))
        if not isinstance(obj, type(MethodView)):
            raise TypeError("resources are MethodViews")

    def refuse_unknown_query(self) -> None:
        """Refuse any query parameter on operations that take none; schemas refuse for the others."""
        method = "GET" if request.method == "HEAD" else request.method
        if request.args and (request.endpoint, method) not in self._with_query:
            raise InvalidParameter(
                faults=[Fault("Unknown parameter.", parameter=name) for name in request.args]
            )

    @staticmethod
    def _prepare_errors_doc(
        doc: dict[str, Any], doc_info: dict[str, Any], *, spec: Any, **_: Any
    ) -> dict[str, Any]:
        codes = {*doc_info.get("errors", ()), *(error.code for error in _EVERYWHERE)}
        if doc_info.get("header_parameters"):
            doc["parameters"] = [*doc.get("parameters", ()), *doc_info["header_parameters"]]
        responses = doc.setdefault("responses", {})
        by_status: dict[int, list[type[HarborError]]] = {}
        for code in sorted(codes):
            error = HarborError.by_code[code]
            by_status.setdefault(error.status, []).append(error)
        for status, kinds in sorted(by_status.items()):
            if status in responses:
                raise TypeError(f"{status} is both an answer and an error")
            responses[status] = _problem_response(status, kinds)
        for status, response in responses.items():
            names = ["X-Request-Id", *_HEADERS_OF_STATUS.get(int(status), ())]
            components = {name: name for name in names}
            # Limits are counted once the caller is known: some refusals come before that.
            counted = int(status) in {*range(200, 400), 409, 412, 422, 428, 429}
            for name in sorted(doc_info.get("headers", ())):
                components[name] = name if counted else f"{name}-Where-Counted"
            components |= {name: name for name in response.get("headers", {})}
            response.setdefault("headers", {}).update(
                {name: {"$ref": f"#/components/headers/{key}"} for name, key in components.items()}
            )
            for name, key in components.items():
                if key not in spec.components.headers:
                    always = HEADERS[name].get("required", False) and key == name
                    spec.components.header(key, HEADERS[name] | {"required": always})
        return doc


def _problem_response(status: int, kinds: list[type[HarborError]]) -> dict[str, Any]:
    """Document one error status of an operation: which codes it can carry, each with an example."""
    meanings = "\n".join(f"- `{kind.code}`: {problems.prose(kind)}" for kind in kinds)
    return {
        "description": f"{HTTPStatus(status).phrase}\n\n{meanings}",
        "content": {
            MEDIA_TYPE: {
                "schema": ProblemSchema,
                "examples": {
                    kind.code: {
                        "summary": kind.title,
                        "value": problems.document(
                            kind(),
                            instance="/api/v1/...",
                            request_id="5f2b6f0e4c9d4e21b7a1c06c2a6d8f11",
                        ),
                    }
                    for kind in kinds
                },
            }
        },
    }


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


def install(app: Flask) -> None:
    """Teach an application our JSON and our identifiers in paths."""
    app.json = OrjsonProvider(app)
    app.url_map.converters["identifier"] = IdentifierConverter


def refuse_unknown_query() -> None:
    """Refuse query parameters that the requested operation does not take; InvalidParameter."""
    cast("Blueprint", current_app.blueprints[request.blueprints[0]]).refuse_unknown_query()


def database() -> Database:
    """Return the database of the application that handles this request."""
    return cast("Database", current_app.extensions["harbor_database"])


def ingest() -> Grouping[Delivery, Receipt]:
    """Return what stores the fixes that this process receives."""
    return cast("Grouping[Delivery, Receipt]", current_app.extensions["harbor_ingest"])


def known_trackers() -> KnownTrackers:
    """Return the trackers that this process has met."""
    return cast("KnownTrackers", current_app.extensions["harbor_trackers"])


def thresholds() -> Thresholds:
    """Return what fixes are judged by."""
    return cast("Thresholds", current_app.extensions["harbor_thresholds"])


def settings() -> Settings:
    """Return the settings of the application that handles this request."""
    return cast("Settings", current_app.extensions["harbor_settings"])


def actor() -> Actor:
    """Return who makes the change that this request asks for: the key that it came with."""
    caller = g.api_key
    return Actor(name=f"key {caller.id} ({caller.name})", api_key_id=caller.id, request_id=g.request_id)


def identifier_schema(_: IdentifierConverter) -> dict[str, Any]:
    """Document a path parameter that ``IdentifierConverter`` reads."""
    return {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
