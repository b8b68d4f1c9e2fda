"""What a request may look like before any schema sees it: strict JSON, strict query strings."""

import json
import math
import zlib
from typing import Any, NoReturn
from urllib.parse import quote

import marshmallow
import orjson
from flask import Request, g
from webargs.flaskparser import FlaskParser

from harbor_api.domain.errors import (
    BadRequest,
    BodyTooLarge,
    Fault,
    InvalidParameter,
    MalformedJSON,
    UnsupportedMediaType,
    ValidationFailed,
)

# A double holds 309 digits; longer integers only serve to burn time in the conversion.
_MOST_DIGITS = 309
LARGEST_DECOMPRESSED = 1024 * 1024
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
        "json": marshmallow.RAISE,
    }

    def load_json(self, req: Request, schema: marshmallow.Schema) -> Any:
        """Return the body as JSON; errors as with ``read_json``, ValidationFailed where it holds too much."""
        value = self.read_json(req)
        _refuse_crowd(schema, value, "#")
        return value

    @staticmethod
    def read_json(req: Request) -> Any:
        """Return the body as JSON, which is left in ``g.json``.

        UnsupportedMediaType, BadRequest, BodyTooLarge or MalformedJSON where it is not.
        """
        if "json" not in g:
            if req.mimetype != "application/json":
                raise UnsupportedMediaType("Send the body as application/json")
            encoding = req.headers.get("Content-Encoding", "identity").strip().lower()
            g.json = parse_json(decompress(req.get_data(cache=True), encoding))
        return g.json

    def load_querystring(self, req: Request, schema: marshmallow.Schema) -> Any:  # noqa: ARG002 - webargs' signature
        """Return the query parameters; InvalidParameter where one is given twice."""
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
        schema: marshmallow.Schema,  # noqa: ARG002 - webargs' signature
        **_: Any,
    ) -> NoReturn:
        """Turn marshmallow's messages into faults with pointers or parameter names."""
        [(location, messages)] = error.normalized_messages().items()
        if location == "query":
            raise InvalidParameter(faults=query_faults(messages)) from error
        found = body_faults(messages)
        count = "1 member is" if len(found) == 1 else f"{len(found)} members are"
        raise ValidationFailed(f"{count} wrong", faults=found) from error


def decompress(body: bytes, encoding: str) -> bytes:
    """Return what a body holds that was sent with a Content-Encoding.

    UnsupportedMediaType for an encoding that is not taken, BadRequest for bytes that are not of it,
    BodyTooLarge as soon as more than LARGEST_DECOMPRESSED bytes come out.
    """
    if encoding == "identity":
        return body
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        error = UnsupportedMediaType("Send the body as it is, or with Content-Encoding gzip or deflate")
        error.headers["Accept-Encoding"] = "gzip, deflate"
        raise error
    # RFC 9110: deflate is zlib's format; some senders leave out its header, which begins with 8.
    raw = encoding == "deflate" and body[:1] and body[0] & 15 != 8
    machine = zlib.decompressobj(
        -zlib.MAX_WBITS if raw else zlib.MAX_WBITS | (0 if encoding == "deflate" else 16)
    )
    try:
        content = machine.decompress(body, LARGEST_DECOMPRESSED + 1)
    except zlib.error as error:
        raise BadRequest(f"The body is not {encoding}") from error
    if len(content) > LARGEST_DECOMPRESSED:
        raise BodyTooLarge(f"The body holds more than {LARGEST_DECOMPRESSED} bytes")
    if not machine.eof or machine.unused_data:
        raise BadRequest(f"The body is not one whole {encoding} stream")
    return content


def parse_json(body: bytes) -> Any:
    """Return the value of a JSON text (RFC 8259) in UTF-8.

    MalformedJSON for what I-JSON (RFC 7493) warns of: repeated member names, lone surrogates, numbers
    beyond a double; and for NaN, Infinity and NUL, which PostgreSQL or a partner's parser would refuse.
    """
    plain = _plain(body)
    if plain is not None:
        return plain
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_float,
            parse_int=_int,
        )
        # Only an escape can bring in a surrogate or a NUL: UTF-8 and JSON's grammar refuse them raw.
        if b"\\u" in body:
            _refuse_unstorable(value)
    except RecursionError as error:
        raise MalformedJSON("The JSON is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise MalformedJSON("The body is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise MalformedJSON(f"{error.msg} at line {error.lineno} column {error.colno}") from error
    return value


def _plain(body: bytes) -> Any:
    """Return the value that a body is where that is beyond doubt, None where it takes a closer look.

    orjson is ten times as fast and as strict but for repeated names, which it forgets. Where there is no
    backslash every quotation mark opens or closes a name or a text, so that their number tells whether
    any got lost.
    """
    if b"\\" in body:
        return None
    try:
        value = orjson.loads(body)
        kept = orjson.dumps(value).count(b'"')
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    return value if kept == body.count(b'"') else None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedJSON("A member name is repeated in an object")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedJSON(f"{name} is not a JSON number")


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise MalformedJSON("A number is too large for a double")
    return number


def _int(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise MalformedJSON("A number is too large for a double")
    number = int(text)
    _float(text)
    return number


def _refuse_unstorable(value: Any) -> None:
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise MalformedJSON("A text holds NUL or a lone surrogate")
    elif isinstance(value, dict):
        for name, member in value.items():
            _refuse_unstorable(name)
            _refuse_unstorable(member)
    elif isinstance(value, list):
        for item in value:
            _refuse_unstorable(item)


def load(schema: marshmallow.Schema, value: Any, *, pointer: str) -> Any:
    """Return what a schema makes of a part of a body; ValidationFailed with pointers that begin there."""
    _refuse_crowd(schema, value, pointer)
    try:
        return schema.load(value)
    except marshmallow.ValidationError as error:
        raise ValidationFailed(faults=body_faults(error.normalized_messages(), pointer)) from error


def _refuse_crowd(schema: marshmallow.Schema, value: Any, pointer: str) -> None:
    if not isinstance(value, dict):
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
