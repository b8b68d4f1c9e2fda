"""Our Blueprint on flask-smorest: its decorators do what they document."""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, cast

import flask_smorest
from flask import Response, current_app
from flask.views import MethodView
from marshmallow import Schema, ValidationError

from harbor_api.domain import errors
from harbor_api.domain.errors import Fault, HarborError, InvalidParameter
from harbor_api.schemas.typed import UNKNOWN_PARAMETER, TypedSchema
from harbor_api.web import runtime
from harbor_api.web.arguments import StrictParser
from harbor_api.web.documented import View, describe_errors, documented

Answer = tuple[dict[str, Any], int, Mapping[str, str]]
"""What a view returns: the members of the body, the status, and headers of its own."""


def _quickly(view: Any, thoroughly: Any, load: Callable[[Any], Any]) -> Any:
    """Return a view that reads its body with ``load`` where that can, and thoroughly otherwise."""

    @wraps(thoroughly)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        loaded = load(Blueprint.ARGUMENTS_PARSER.read_json(runtime.sent()))
        if loaded is None:
            return thoroughly(self, *args, **kwargs)
        return view(self, loaded, *args, **kwargs)

    return wrapper


def _unasked(view: Any, thoroughly: Any, schema: Schema) -> Any:
    """Return a view that does not read a query where there is none: it is what it is without one."""
    try:
        without = schema.load({})
    except ValidationError:
        return thoroughly

    @wraps(thoroughly)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        if runtime.sent().query_string:
            return thoroughly(self, *args, **kwargs)
        return view(self, without, *args, **kwargs)

    return wrapper


class Blueprint(flask_smorest.Blueprint):
    """A blueprint whose decorators do what they document."""

    ARGUMENTS_PARSER = StrictParser()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepare_doc_cbks.append(describe_errors)
        self._with_query: set[tuple[str, str]] = set()
        self._with_body: set[tuple[str, str]] = set()
        self.before_request(self._demand_length)

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
        made = schema()
        parse = super().arguments(made, location=location, **kwargs)

        def decorator(view: Any) -> Any:
            wrapper = parse(view)
            if load is not None:
                wrapper = _quickly(view, wrapper, load)
            if location == "query" and isinstance(made, TypedSchema):
                wrapper = _unasked(view, wrapper, made)
            notes = wrapper._apidoc["arguments"]  # noqa: SLF001 - where flask-smorest keeps its notes
            notes.pop("responses")
            if location == "query":
                notes["query"] = True
                return wrapper
            notes["body"] = True
            return documented(
                wrapper,
                errors=(
                    errors.MalformedJSON,
                    errors.RequestTimeout,
                    errors.LengthRequired,
                    errors.BodyTooLarge,
                    errors.UnsupportedMediaType,
                    getattr(schema, "refused_as", errors.ValidationFailed),
                ),
            )

        return decorator

    def response(
        self,
        status_code: int,
        schema: Any = None,
        *,
        content_type: str | None = None,
        also: Mapping[str, Any] | None = None,
        headers: Iterable[str] = (),
        sometimes: Iterable[str] = (),
        **kwargs: Any,
    ) -> Callable[[Any], Any]:
        """Render what the view returns with a schema, in the media type that is documented.

        ``also`` are further media types that it may come in, each with its schema: then the view returns a
        Response, and says its type. ``headers`` names those of HEADERS that the view sends itself,
        ``sometimes`` those that only some of its answers carry.
        """
        sent: dict[str, Any] = {name: {} for name in headers}
        sent |= {name: {"required": False} for name in sometimes}
        render = super().response(status_code, schema, content_type=content_type, headers=sent, **kwargs)

        def decorator(view: Any) -> Any:
            rendered = render(view)
            if also is not None:
                notes = rendered._apidoc  # noqa: SLF001 - where flask-smorest keeps its notes
                answers = notes["response"]["responses"][status_code]
                # flask-smorest tells of the last one first.
                answers[:0] = [
                    {**answers[0], "headers": dict(answers[0]["headers"]), "content_type": each, "schema": of}
                    for each, of in reversed([*also.items()])
                ]
                return rendered
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
            arguments = {} if method == "parameters" else notes.get("arguments", {})
            for kind, found in (("query", self._with_query), ("body", self._with_body)):
                if arguments.pop(kind, False):
                    found.add((f"{self.name}.{endpoint}", method.upper()))
        if not isinstance(obj, type(MethodView)):
            raise TypeError("resources are MethodViews")

    def _demand_length(self) -> None:
        """Raise LengthRequired where a body is needed and the request does not say that there is one."""
        sent = runtime.sent()
        if (
            not sent.headers.get("Content-Length")
            and (sent.endpoint, sent.method) in self._with_body
            and not sent.headers.get("Transfer-Encoding")
        ):
            raise errors.LengthRequired

    def refuse_unknown_query(self) -> None:
        """Refuse any query parameter on operations that take none; schemas refuse for the others."""
        sent = runtime.sent()
        method = "GET" if sent.method == "HEAD" else sent.method
        if sent.args and (sent.endpoint, method) not in self._with_query:
            raise InvalidParameter(faults=[Fault(UNKNOWN_PARAMETER, parameter=name) for name in sent.args])


def refuse_unknown_query() -> None:
    """Refuse query parameters that the requested operation does not take; InvalidParameter."""
    sent = runtime.sent()
    if sent.query_string:
        cast("Blueprint", current_app.blueprints[sent.blueprints[0]]).refuse_unknown_query()
