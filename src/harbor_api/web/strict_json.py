"""JSON that is beyond doubt, out of a body in one of the encodings that are taken.

What is in doubt (a repeated name, NaN, NUL) costs the body. But in a list whose items are taken one by one it
costs only the item that it stands in, which becomes a ``Doubtful``.
"""

import json
import math
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from harbor_api.domain.errors import BadRequest, BodyTooLarge, MalformedJSON, UnsupportedMediaType

# A double holds 309 digits; longer integers only serve to burn time in the conversion.
_MOST_DIGITS = 309
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# What C's printf makes of a number that is none; texts are passed over, one that does not end to the end.
_NOT_A_NUMBER = re.compile(
    r"""("(?:[^"\\]|\\.)*+"?)|(?<![\w.+-])([+-]?)(?:(nan)|inf(?:inity)?)(?![\w.])""",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
LARGEST_DECOMPRESSED = 1024 * 1024
# RFC 1952: a gzip file is a series of members. A tracker may compress each fix as it takes it.
_MOST_MEMBERS = 2_000
_PIECE = 16 * 1024


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
    window = -zlib.MAX_WBITS if raw else zlib.MAX_WBITS | (0 if encoding == "deflate" else 16)
    try:
        content, is_whole = _inflate(body, window, most_streams=1 if encoding == "deflate" else _MOST_MEMBERS)
    except zlib.error as error:
        raise BadRequest(f"The body is not {encoding}") from error
    if not is_whole:
        raise BadRequest(f"The body is not whole: the {encoding} stream is cut off or has more behind it")
    return content


def _inflate(body: bytes, window: int, *, most_streams: int) -> tuple[bytes, bool]:
    """Return what streams one behind the other hold, and whether the last one ends where the body does."""
    parts: list[bytes] = []
    room = LARGEST_DECOMPRESSED + 1
    machine = zlib.decompressobj(window)
    begun = 1
    # In pieces, as what is left behind a stream is copied: a body of tiny streams would be copied for each.
    for start in range(0, len(body), _PIECE):
        piece = body[start : start + _PIECE]
        while piece:
            if machine.eof:
                if begun == most_streams:
                    return b"", False
                machine = zlib.decompressobj(window)
                begun += 1
            parts.append(machine.decompress(piece, room))
            room -= len(parts[-1])
            if room <= 0:
                raise BodyTooLarge(f"The body holds more than {LARGEST_DECOMPRESSED} bytes")
            piece = machine.unused_data
    return b"".join(parts), machine.eof


@dataclass(frozen=True, slots=True)
class Doubtful:
    """An item that cannot be taken for what it says: what is wrong with it, and what of it is beyond doubt.

    ``messages`` are those of marshmallow's form: a text, or texts by the name of the member.
    """

    messages: Any
    value: Any


def parse_json(body: bytes, *, items: str | None = None) -> Any:
    """Return the value of a JSON text (RFC 8259) in UTF-8.

    MalformedJSON for what I-JSON (RFC 7493) warns of: repeated member names, lone surrogates, numbers
    beyond a double; and for NaN, Infinity and NUL, which PostgreSQL or a partner's parser would refuse.
    Where this is within an item of the list that is the member ``items`` of the outermost object, the item
    becomes a Doubtful instead.
    """
    plain = _plain(body)
    if plain is not None:
        return plain
    found: list[_Doubt] = []
    try:
        value = _decoded(body.decode("utf-8"), found)
        # Only an escape can bring in a surrogate or a NUL: UTF-8 and JSON's grammar refuse them raw.
        if found or b"\\u" in body:
            value = _without_doubt(value, items)
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


class _Doubt:
    """What is no JSON beyond doubt, in the place where it stands."""

    def __init__(self, detail: str, value: Any = None) -> None:
        self.detail = detail
        self.value = value


def _decoder(found: list[_Doubt]) -> json.JSONDecoder:
    """Return a decoder that puts a _Doubt, and notes it, in the place of each value that is in doubt."""

    def doubt(detail: str, value: Any = None) -> _Doubt:
        found.append(_Doubt(detail, value))
        return found[-1]

    def read_object(pairs: list[tuple[str, Any]]) -> Any:
        members = dict(pairs)
        if len(members) == len(pairs):
            return members
        names = [name for name, _ in pairs]
        # Which of two is meant nobody knows; of a crowd nothing is told.
        once = {name: value for name, value in pairs if len(pairs) < 100 and names.count(name) == 1}
        return doubt("A member name is repeated in an object", once)

    def read_float(text: str) -> Any:
        number = float(text)
        return doubt("A number is too large for a double") if math.isinf(number) else number

    def read_int(text: str) -> Any:
        if len(text) > _MOST_DIGITS or math.isinf(float(text)):
            return doubt("A number is too large for a double")
        return int(text)

    return json.JSONDecoder(
        object_pairs_hook=read_object,
        parse_constant=lambda name: doubt(f"{name} is not a JSON number"),
        parse_float=read_float,
        parse_int=read_int,
    )


def _decoded(text: str, found: list[_Doubt]) -> Any:
    """Return the value of a JSON text, where `nan` and `inf` are in doubt as `NaN` and `Infinity` are."""
    try:
        return _decoder(found).decode(text)
    except json.JSONDecodeError:
        found.clear()
        spelt = _NOT_A_NUMBER.sub(_spelt, text)
        if spelt != text:
            with suppress(json.JSONDecodeError):
                return _decoder(found).decode(spelt)
        raise


def _spelt(match: re.Match[str]) -> str:
    whole, sign, is_nan = match[1], match[2], match[3]
    if whole is not None:
        return whole
    return "NaN" if is_nan else "-Infinity" if sign == "-" else "Infinity"


def _without_doubt(value: Any, items: str | None) -> Any:
    """Return a value without any doubt but in Doubtful items; MalformedJSON where there is one elsewhere."""
    listed = value.get(items) if isinstance(value, dict) and items is not None else None
    rest = value
    if isinstance(listed, list):
        rest = {**value, items: None}
        value = {**value, items: [_sorted_out(item) for item in listed]}
    if detail := next(_doubts(rest), None):
        raise MalformedJSON(detail)
    return value


def _sorted_out(item: Any) -> Any:
    """Return an item as it is, a Doubtful where something in it is in doubt."""
    detail = next(_doubts(item), None)
    if detail is None:
        return item
    if not isinstance(item, dict):
        return Doubtful(detail, item.value if isinstance(item, _Doubt) else None)
    wrong: dict[str, Any] = {}
    beyond = {}
    for name, member in item.items():
        told = next(_doubts({name: member}), None)
        if told is None:
            beyond[name] = member
        elif next(_doubts(name), None) is None:
            wrong[name] = told
        else:
            wrong["_schema"] = told
    return Doubtful(wrong, beyond)


def _doubts(value: Any) -> Iterator[str]:
    """Yield what is wrong in a value, in the order in which it stands there."""
    if isinstance(value, _Doubt):
        yield value.detail
    elif isinstance(value, str):
        if "\0" in value or _SURROGATE.search(value):
            yield "A text holds NUL or a lone surrogate"
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _doubts(name)
            yield from _doubts(member)
    elif isinstance(value, list):
        for each in value:
            yield from _doubts(each)
