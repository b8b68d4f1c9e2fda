"""Bodies and queries on their way to a schema: webargs' parser made strict, and how faults are told."""

from collections.abc import Iterator
from typing import Any, NoReturn
from urllib.parse import quote, unquote_to_bytes

import marshmallow
from flask import Request
from webargs.flaskparser import FlaskParser

from harbor_api.domain.errors import (
    Fault,
    HarborError,
    InvalidParameter,
    UnsupportedMediaType,
    ValidationFailed,
)
from harbor_api.web import runtime
from harbor_api.web.strict_json import decompress, parse_json

# A body of so many more members than its schema has is refused without a look at each of them, and so is a
# list of more items than any body may hold: to find every fault takes far longer than to send it.
_MOST_UNKNOWN = 8
_MOST_ITEMS = 5_000
# A longer name is not repeated to whoever sent it.
_LONGEST_NAME = 64
# What may stand in a URI fragment as it is (RFC 3986).
_FRAGMENT = "~!$&'()*+,;=:@/?"


class StrictParser(FlaskParser):
    """webargs' parser for Flask that refuses what is ambiguous instead of guessing."""

    DEFAULT_UNKNOWN_BY_LOCATION = {
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "query": marshmallow.RAISE,
        # What becomes of a member that is not known is the schema's to say; most refuse it.
        "json": None,
    }

    def load_json(self, req: Request, schema: marshmallow.Schema) -> Any:
        """Return the body as JSON; errors as with ``read_json``, ValidationFailed where it holds too much.

        A schema's ``taken_one_by_one`` names the list of which an item in doubt costs no other.
        """
        value = self.read_json(req, items=getattr(schema, "taken_one_by_one", None))
        _refuse_crowd(schema, value, "#")
        return value

    @staticmethod
    def read_json(req: Request, *, items: str | None = None) -> Any:
        """Return the body as JSON, which views find in ``runtime.body()``; ``items`` as in ``parse_json``.

        UnsupportedMediaType, BadRequest, BodyTooLarge or MalformedJSON where it is not.
        """
        state = runtime.here()
        if state.body is runtime.UNREAD:
            if req.mimetype != "application/json":
                raise UnsupportedMediaType("Send the body as application/json")
            encoding = req.headers.get("Content-Encoding", "identity").strip().lower()
            state.body = parse_json(decompress(req.get_data(cache=True), encoding), items=items)
        return state.body

    def load_querystring(self, req: Request, schema: marshmallow.Schema) -> Any:  # noqa: ARG002 - webargs' signature
        """Return the query parameters; InvalidParameter where one is given twice, or is not UTF-8."""
        if unreadable := list(_not_utf8(req.query_string)):
            raise InvalidParameter(
                faults=[Fault("Not UTF-8, percent-encoded.", parameter=name) for name in unreadable]
            )
        repeated = [name for name, values in req.args.lists() if len(values) > 1]
        if repeated:
            raise InvalidParameter(
                faults=[Fault("Given more than once.", parameter=name) for name in repeated]
            )
        return req.args.to_dict()

    def handle_error(
        self,
        error: marshmallow.ValidationError,
        req: Request,  # noqa: ARG002 - webargs' signature
        schema: marshmallow.Schema,
        **_: Any,
    ) -> NoReturn:
        """Turn marshmallow's messages into faults with pointers or parameter names."""
        [(location, messages)] = error.normalized_messages().items()
        if location == "query":
            raise InvalidParameter(faults=query_faults(messages)) from _without_frames(error)
        found = body_faults(messages)
        count = "1 member is" if len(found) == 1 else f"{len(found)} members are"
        refused_as: type[HarborError] = getattr(schema, "refused_as", ValidationFailed)
        raise refused_as(f"{count} wrong", faults=found) from _without_frames(error)


def _not_utf8(query: bytes) -> Iterator[str]:
    """Yield the names of parameters of which Werkzeug keeps as `%E6` what it cannot read."""
    # What stands between parameters is no part of a character: all are UTF-8, or one is not.
    if _is_utf8(query):
        return
    for each in query.split(b"&"):
        if not _is_utf8(each):
            yield unquote_to_bytes(each.partition(b"=")[0]).decode(errors="replace")


def _is_utf8(quoted: bytes) -> bool:
    try:
        unquote_to_bytes(quoted).decode()
    except UnicodeDecodeError:
        return False
    return True


def load(schema: marshmallow.Schema, value: Any, *, pointer: str) -> Any:
    """Return what a schema makes of a part of a body; ValidationFailed with pointers that begin there."""
    _refuse_crowd(schema, value, pointer)
    try:
        return schema.load(value)
    except marshmallow.ValidationError as error:
        faults = body_faults(error.normalized_messages(), pointer)
        raise ValidationFailed(faults=faults) from _without_frames(error)


def _without_frames(error: marshmallow.ValidationError) -> marshmallow.ValidationError:
    """Return an error that lets go of whoever raised it.

    marshmallow's frame holds the error, and the error the frame, and with it the whole body: until somebody
    looks for cycles, which a body of plain members never makes necessary. A gigabyte of them came together.
    """
    return error.with_traceback(None)


def _refuse_crowd(schema: marshmallow.Schema, value: Any, pointer: str) -> None:
    if not isinstance(value, dict) or schema.unknown == marshmallow.EXCLUDE:
        # Where what is not known is passed over nobody looks at each.
        return
    known = len(schema.fields)
    if len(value) > known + _MOST_UNKNOWN:
        raise ValidationFailed(
            faults=[Fault(f"Has {len(value)} members, where there are {known}.", pointer=pointer)]
        )
    for name, member in value.items():
        if isinstance(member, list) and len(member) > _MOST_ITEMS:
            faults = body_faults({name: f"Has {len(member)} items, more than any list may have."}, pointer)
            raise ValidationFailed(faults=faults)


def body_faults(messages: Any, pointer: str = "#") -> list[Fault]:
    """Return marshmallow's messages about a body, each with its JSON Pointer (RFC 6901)."""
    if not isinstance(messages, dict):
        texts = messages if isinstance(messages, list) else [messages]
        return [Fault(str(text), pointer=pointer) for text in texts]
    found = []
    for name, inner in messages.items():
        if name == "_schema" or len(str(name)) > _LONGEST_NAME:
            found += body_faults(inner, pointer)
        else:
            token = quote(str(name).replace("~", "~0").replace("/", "~1"), safe=_FRAGMENT)
            found += body_faults(inner, f"{pointer}/{token}")
    return found


def query_faults(messages: dict[str, Any]) -> list[Fault]:
    """Return marshmallow's messages about a query string, each with its parameter."""
    return [Fault(str(text), parameter=str(name)) for name, texts in messages.items() for text in texts]
