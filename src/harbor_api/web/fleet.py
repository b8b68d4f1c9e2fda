"""The fleet as an answer: callers share what is common to them, and whoever has it already costs no body."""

from collections.abc import Sequence
from functools import partial

from flask import request

from harbor_api.domain import gzip_blocks, tags
from harbor_api.domain.times import rfc3339
from harbor_api.live.fleet import Reading
from harbor_api.live.fragments import Found, Question
from harbor_api.schemas.fleet_query import FleetQuery
from harbor_api.schemas.geojson import MEDIA_TYPE
from harbor_api.schemas.vessels import COLLECTION_END, collection_head
from harbor_api.web import compression, cursors, paging
from harbor_api.web.compression import Coding
from harbor_api.web.preconditions import Body, Lazy

_PAGE = "fleet"
# gzip is joined of what was coded before; of a large fleet that takes less than any other coding.
_ORDER: Sequence[Coding] = ("gzip", "zstd", "br")
# How many callers' answers with the same text are kept coded.
_MOST_CODED = 8


def answer(reading: Reading, query: FleetQuery) -> Lazy:
    """Return the vessels of a reading that are asked for; InvalidParameter or CursorMismatch for a cursor.

    A later page says the same of where the list stands as the first one: what has changed since is behind.
    """
    parameters = request.args.to_dict() if query.cursor is not None else None
    began, behind = None, None
    if query.cursor is not None:
        began, *behind = cursors.unseal(query.cursor, _PAGE, parameters=parameters)
    found = reading.picture.find(
        Question(
            search=query.search,
            retired=query.retired,
            limit=query.limit,
            behind=None if behind is None else tuple(behind),
            granted=reading.granted,
        )
    )
    number = found.number if began is None else began
    link = None if found.more is None else _next(number, found.more)
    head = collection_head(now=found.moment, cursor=cursors.seal(cursors.ORDER, number), next_page=link)
    body = Body(
        tags.of_parts(reading.picture.key, head, found.digest),
        partial(_render, head, found),
        len(head) + found.size + len(COLLECTION_END),
        _ORDER,
    )
    headers = {
        "Harbor-Now": rfc3339(reading.moment),
        "Harbor-Cursor": cursors.seal(cursors.ORDER, reading.number if began is None else began),
        **paging.headers(link),
    }
    return Lazy(body, content_type=MEDIA_TYPE, headers=headers)


def _next(number: int, more: Sequence[int]) -> str:
    return paging.next_page(cursors.seal(_PAGE, number, *more, parameters=request.args.to_dict()))


def _render(head: bytes, found: Found, coding: Coding | None) -> Sequence[bytes]:
    if coding is None:
        return head, found.text, COLLECTION_END
    with found.coding:
        known = found.coded.get((head, coding))
        if known is None:
            if len(found.coded) >= _MOST_CODED:
                found.coded.clear()
            known = found.coded[head, coding] = _encode(head, found, coding)
        return [known]


def _encode(head: bytes, found: Found, coding: Coding) -> bytes:
    if coding == "gzip":
        begin, end = (gzip_blocks.deflate_block(each) for each in (head, COLLECTION_END))
        return gzip_blocks.join_gzip([begin, found.deflated, end])
    return compression.encode(b"".join((head, found.text, COLLECTION_END)), coding)
