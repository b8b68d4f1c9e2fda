"""Flask as we use it: our JSON, and our identifiers in paths."""

from collections.abc import Callable
from typing import Any

import orjson
from flask import Flask, Request, Response
from flask.json.provider import JSONProvider
from werkzeug.routing import BaseConverter, MapAdapter, ValidationError

from harbor_api.domain.consumers import NAME, is_name
from harbor_api.domain.times import rfc3339
from harbor_api.web import whole_bodies
from harbor_api.web.literal_paths import LiteralPaths

# A path that no rule has.
_NOWHERE = "/."


class Application(Flask):
    """Flask with our JSON and identifiers, and without a question.

    It asks of each hook and view of each request whether it is a coroutine; none is.
    """

    request_class = whole_bodies.Request

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.json = OrjsonProvider(self)
        self.url_map.converters["identifier"] = IdentifierConverter
        self.url_map.converters["consumer"] = ConsumerConverter
        self.url_map.strict_slashes = False
        # Where slashes are doubled there is nothing: to redirect is to name a host, and only the caller has.
        self.url_map.merge_slashes = False
        self._literal_paths = LiteralPaths(self.url_map)

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        if request is None:
            return super().create_url_adapter(request)
        found = self._literal_paths.recall(request)
        if found is not None:
            return found
        adapter = super().create_url_adapter(request)
        if adapter is None:
            return None
        if adapter.path_info.startswith("//"):
            # Werkzeug would take off all but one of the first slashes, and what a proxy keeps closed by its
            # path would be open under another.
            adapter.path_info = _NOWHERE
        self._literal_paths.note(request, adapter)
        return adapter

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func


class IdentifierConverter(BaseConverter):
    """A positive number in plain ASCII digits that PostgreSQL's integer can hold."""

    regex = r"[1-9][0-9]{0,9}"

    def to_python(self, value: str) -> int:
        number = int(value)
        if number >= 2**31:
            raise ValidationError
        return number


class ConsumerConverter(BaseConverter):
    """What a named consumer may be called."""

    regex = NAME.pattern

    def to_python(self, value: str) -> str:
        if not is_name(value):
            raise ValidationError
        return value


class OrjsonProvider(JSONProvider):
    """Flask's JSON through orjson; times as RFC 3339 with ``Z``."""

    def dumps(self, obj: Any, **_: Any) -> str:
        return as_json(obj).decode()

    def loads(self, s: str | bytes, **_: Any) -> Any:
        return orjson.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        return Response(as_json(self._prepare_response_obj(args, kwargs)), content_type="application/json")


def as_json(value: Any) -> bytes:
    """Return a value as the JSON that is answered."""
    return orjson.dumps(value, default=_default, option=orjson.OPT_PASSTHROUGH_DATETIME)


def _default(value: Any) -> Any:
    if hasattr(value, "astimezone"):
        return rfc3339(value)
    raise TypeError(f"{type(value)} has no JSON form")


def identifier_schema(_: IdentifierConverter) -> dict[str, Any]:
    """Document a path parameter that ``IdentifierConverter`` reads."""
    # No `example` of the parameter, which Swagger UI would send: a click must not act on number 1.
    return {"type": "integer", "minimum": 1, "maximum": 2**31 - 1, "examples": [1]}


def consumer_schema(_: ConsumerConverter) -> dict[str, Any]:
    """Document a path parameter that ``ConsumerConverter`` reads."""
    return {"type": "string", "pattern": f"^{NAME.pattern}$", "examples": ["warehouse"]}
