"""The fleet as it was at a moment, as an answer."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from flask import request

from harbor_api.domain import tags
from harbor_api.domain.times import rfc3339
from harbor_api.postgres.sight import Sight
from harbor_api.schemas.fleet_query import FleetQuery
from harbor_api.schemas.geojson import MEDIA_TYPE
from harbor_api.schemas.moments import feature_texts
from harbor_api.schemas.vessels import COLLECTION_END, collection_head, measured
from harbor_api.services import moments
from harbor_api.services.moments import Rules
from harbor_api.web import compression, cursors, paging, runtime
from harbor_api.web.preconditions import Body, Lazy

_PAGE = "moment"


class _Placed(NamedTuple):
    """A vessel as bytes, where in the list it stands, and the greatest number of the order in it."""

    position: tuple[int, ...]
    number: int
    text: bytes


def answer(query: FleetQuery, at: datetime) -> Lazy:
    """Return the vessels that are asked for as they were at a moment.

    InvalidParameter where the key does not see so far; that or CursorMismatch for a cursor. A later page
    shows the past as the first one did, by what had come then.
    """
    began: int | None = None
    behind: list[int] = []
    if query.cursor is not None:
        began, *behind = cursors.unseal(query.cursor, _PAGE, parameters=request.args.to_dict())
    with runtime.current().database.autocommit() as unit_of_work:
        sight = runtime.sight(unit_of_work)
        standing = moments.stand(unit_of_work, sight, at, parameter="as_of")
    number = standing.number if began is None else began
    page, more = _page(query, sight, at, number=number, behind=tuple(behind))
    link = None if more is None else _next(number, more)
    head = collection_head(
        as_of=sight.whole(at),
        now=sight.whole(at),
        # What is told of a vessel is as it is now, and may be newer than the past.
        cursor=cursors.seal(cursors.ORDER, min(number, max((each.number for each in page), default=0))),
        next_page=link,
    )
    headers = {
        "Harbor-Now": rfc3339(standing.moment),
        "Harbor-Cursor": cursors.seal(cursors.ORDER, number),
        **paging.headers(link),
    }
    pieces = [head, b",".join([each.text for each in page]), COLLECTION_END]
    return Lazy(_body(pieces), content_type=MEDIA_TYPE, headers=headers)


def _body(pieces: Sequence[bytes]) -> Body:
    content = b"".join(pieces)
    return Body(
        tags.of_bytes(runtime.current().tag_key, content),
        lambda coding: [content if coding is None else compression.encode(content, coding)],
        len(content),
    )


def _page(
    query: FleetQuery, sight: Sight, at: datetime, *, number: int, behind: tuple[int, ...]
) -> tuple[list[_Placed], tuple[int, ...] | None]:
    """Return what is on a page behind a position, and the position of its end if there is more."""
    runs = moments.fleet_at(
        runtime.current().database,
        sight,
        at,
        number=number,
        search=query.search,
        retired=query.retired,
        rules=_rules(query),
        # Where the nearest come first, any of them may.
        behind=behind[0] if behind and query.search.near is None else 0,
    )
    placed: list[_Placed] = []
    for run in runs:
        placed += _rendered(run)
        if query.search.near is None and len(placed) > query.limit:
            break
    if query.search.near is not None:
        placed = sorted(each for each in placed if each.position > behind)
    page = placed[: query.limit]
    return page, page[-1].position if len(placed) > len(page) else None


def _rendered(run: Sequence[moments.Placed]) -> Iterator[_Placed]:
    texts = feature_texts([one for one, _ in run])
    for (one, seen), text in zip(run, texts, strict=True):
        if seen is None:
            yield _Placed((one.id,), one.number, text)
        else:
            yield _Placed((round(seen.distance_m * 10), one.id), one.number, measured(text, seen))


def _rules(query: FleetQuery) -> Rules:
    """Return by what the places of a moment are told that a caller asks for."""
    current = runtime.current()
    return Rules(gap=query.gap, limits=current.intake.thresholds, stale_after=current.stale_after)


def _next(number: int, more: Sequence[int]) -> str:
    return paging.next_page(cursors.seal(_PAGE, number, *more, parameters=request.args.to_dict()))
