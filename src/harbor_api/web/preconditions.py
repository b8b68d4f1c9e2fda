"""``ETag``, ``If-None-Match``, ``If-Match``: nothing is read twice, and nothing replaced that was not read.

A view gives the version of what it shows (``edit_of``), and ``tagged`` adds to it a digest of the bytes that
go out: see ``domain/tags.py``. ``If-Match`` looks at the first part only, ``If-None-Match`` at the whole tag.

What a key reads is nobody else's: browsers may keep it and have to ask about it each time, a cache that many
share may not keep it, and one that does all the same must not take one caller's for another's (``Vary``).
Answers without a tag are not kept at all, and not coded: some tell secrets, and the length of a coded body
may tell what is in it beside what somebody else has put there.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, cast

from flask import Response, request
from werkzeug.datastructures import Headers

from harbor_api.domain import errors, tags
from harbor_api.web import compression, runtime
from harbor_api.web.compression import Coding
from harbor_api.web.documented import View, documented, headers_of

_IF_MATCH = {
    "in": "header",
    "name": "If-Match",
    "required": True,
    "description": "The `ETag` that was read with what is to be changed. What counts is that nobody has "
    "edited it since: new positions do not matter. `*` changes it whatever it is.",
    # Not an `example` of the parameter: Swagger UI would send it, and `*` overwrites whatever is there.
    "schema": {"type": "string", "minLength": 1, "examples": ['"3"', "*"]},
}
_IF_NONE_MATCH = {
    "in": "header",
    "name": "If-None-Match",
    "description": "An `ETag` of an earlier answer, or several: 304 without a body where one of them still "
    "names what would be answered. Send it with the `Accept-Encoding` of the request that got it: each "
    "coding has a tag of its own.",
    "schema": {"type": "string"},
}


_KEEPING = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Accept, Accept-Encoding"}
# Headers of ours that begin so tell of the moment of an answer, not of its bytes.
_OF_THE_MOMENT = "Harbor-"


@dataclass(frozen=True, slots=True)
class Body:
    """What is to be answered, before it is known whether it has to be sent, and how.

    ``tag`` is opaque text that stands for all bytes (``domain/tags.py``), None for a stream that has none.
    ``render`` returns them in a coding, None for as they are, in as many pieces as it likes: they are sent
    without a copy. ``size`` is how many bytes there are as they are, None where nobody knows. ``order`` is
    that of codings where a caller likes several alike.
    """

    tag: str | None
    render: Callable[[Coding | None], Iterable[bytes]]
    size: int | None = None
    order: Sequence[Coding] = compression.CODINGS


class Lazy(Response):
    """An answer whose bytes are made only for whoever has not got them: its tag is known without them."""

    def __init__(self, body: Body, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.body = body


@dataclass(frozen=True, slots=True)
class _Named(Container[int]):
    """The versions of a resource that the tags of ``If-Match`` name: no tag tells which."""

    resource: str
    edits: frozenset[str]

    def __contains__(self, version: object) -> bool:
        return isinstance(version, int) and tags.of_edit(_key(), self.resource, version) in self.edits


def edit_of(number: int, version: int) -> dict[str, str]:
    """Return the header with which a view says which version of what it shows, for ``tagged``."""
    return {"ETag": f'"{tags.of_edit(_key(), _resource(number), version)}"'}


def tag_of(headers: Mapping[str, str] | Headers, content: bytes) -> str:
    """Return the whole tag of some bytes, and of the edit that ``edit_of`` has put in the headers."""
    tag, caller = tags.of_bytes(_key(), content), runtime.caller()
    # An edit that is undone is nothing that one may notice who sees less than there is.
    whole = not caller.delay_s and caller.coordinate_decimals is None
    if whole and "ETag" in headers:
        tag = tags.joined(headers["ETag"].strip('"'), tag)
    return f'"{tag}"'


def tagged(view: View) -> View:
    """Let the tag of an answer stand for its bytes, too."""

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Response:
        response = cast("Response", view(*args, **kwargs))
        response.headers["ETag"] = tag_of(response.headers, response.get_data())
        return response

    return cast("View", wrapper)


def revalidated(view: View) -> View:
    """Answer 304 where the caller has what it asks for, else that, in the coding that the caller likes best.

    The tag stands for the bytes as they are sent: in a coding it ends with its name. A view may return a
    ``Lazy`` answer, or a stream, which is coded as it goes.
    """

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Response:
        response = cast("Response", view(*args, **kwargs))
        body = response.body if isinstance(response, Lazy) else _body(response)
        coding = compression.chosen(
            request.headers.get("Accept-Encoding", ""), response.mimetype, body.size, order=body.order
        )
        tag = None if body.tag is None else tags.coded(body.tag, coding)
        if tag is not None and is_had(tag):
            response = _unchanged(response)
        elif coding is not None or isinstance(response, Lazy):
            _send(response, body.render(coding), coding)
        if tag is not None:
            response.set_etag(tag)
        response.headers.update(_KEEPING)
        return response

    moment = [name for name in headers_of(view, 200) if name.startswith(_OF_THE_MOMENT)]
    return documented(
        cast("View", wrapper),
        parameters=[_IF_NONE_MATCH],
        answers={
            304: (
                "What the caller has is what would be answered; it takes a tenth of a request.",
                ("ETag", *_KEEPING, *moment),
            )
        },
        further={200: ("Content-Encoding", *_KEEPING)},
    )


def _body(response: Response) -> Body:
    if response.is_streamed:
        chunks = cast("Iterable[bytes]", response.response)
        return Body(None, lambda coding: compression.stream(chunks, coding) if coding else chunks)
    content = response.get_data()
    tag = tag_of(response.headers, content).strip('"')
    return Body(
        tag, lambda coding: [compression.encode(content, coding) if coding else content], len(content)
    )


def _unchanged(response: Response) -> Response:
    """Return that there is nothing new, with nothing that tells of a body."""
    unchanged = Response(status=304)
    del unchanged.headers["Content-Type"]
    unchanged.headers.extend(
        [(name, value) for name, value in response.headers if name.startswith(_OF_THE_MOMENT)]
    )
    return unchanged


def _send(response: Response, pieces: Iterable[bytes], coding: Coding | None) -> None:
    response.response = pieces
    response.headers.pop("Content-Length", None)
    if isinstance(pieces, Sequence):
        response.content_length = sum(map(len, pieces))
    if coding is not None:
        response.content_encoding = coding


def is_had(tag: str) -> bool:
    """Return whether If-None-Match names a tag, weakly compared (RFC 9110, section 13.1.2)."""
    named = request.headers.get("If-None-Match", "")
    # Most lists do not hold it, and one may be of 800 kB: it is read only where it could.
    return named.strip() == "*" or (tag in named and request.if_none_match.contains_weak(tag))


def demands_version(view: View) -> View:
    """Demand ``If-Match``; views find what it names in ``runtime.versions()``."""

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        state = runtime.here()
        state.versions, state.demands_version = _versions(), True
        return view(*args, **kwargs)

    return documented(
        cast("View", wrapper),
        parameters=[_IF_MATCH],
        errors=(errors.PreconditionRequired, errors.PreconditionFailed),
    )


def _versions() -> Container[int] | None:
    if "If-Match" not in request.headers:
        raise errors.PreconditionRequired("Send If-Match with the ETag that you read")
    wanted = request.if_match
    if wanted.star_tag:
        return None
    [number] = (request.view_args or {}).values()
    # A proxy that compresses makes a tag weak; the edit in it stays what it was.
    edits = frozenset(tags.edit_in(tag or "") for tag in wanted.as_set(include_weak=True))
    return _Named(_resource(number), edits)


def _resource(number: int) -> str:
    return f"{request.blueprint}/{number}"


def _key() -> bytes:
    return runtime.current().tag_key
