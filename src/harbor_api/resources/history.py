"""Where a vessel was: its history in pages, or as a whole window."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flask import Response
from flask.views import MethodView

from harbor_api.domain import errors
from harbor_api.domain.history import HistoryPage
from harbor_api.domain.times import from_rfc3339, rfc3339
from harbor_api.schemas.formats import MEDIA_TYPES
from harbor_api.schemas.history import (
    USUAL_LIMIT,
    WRITERS,
    HistoryQuery,
    HistoryQuerySchema,
    PositionFeaturePageSchema,
    PositionPageSchema,
    Writer,
)
from harbor_api.schemas.vessels import VESSEL_ID
from harbor_api.services import history
from harbor_api.web import auth, cursors, negotiation, paging, preconditions
from harbor_api.web.blueprint import Blueprint
from harbor_api.web.runtime import caller, current, request_id, seen

blueprint = Blueprint(
    "history",
    __name__,
    description="Where vessels were.",
    url_prefix="/api/v1/vessels",
)
_PURPOSE = "positions"
_CSV = (
    "A header, and a line for each fix, as RFC 4180 has it: UTC, and an empty cell for what is not known. "
    "A name that a spreadsheet might take for a formula has an apostrophe before it."
)
_GPX = "GPX 1.1: one track, with the time of each point."


@blueprint.route("/<identifier:vessel_id>/positions", parameters=[VESSEL_ID])
class VesselPositions(MethodView):
    @auth.requires_key("vessels:read")
    @preconditions.revalidated
    @blueprint.arguments(HistoryQuerySchema, location="query")
    @blueprint.response(
        200,
        PositionPageSchema,
        content_type=MEDIA_TYPES["json"],
        also={
            MEDIA_TYPES["geojson"]: PositionFeaturePageSchema,
            MEDIA_TYPES["csv"]: {"type": "string", "description": _CSV},
            MEDIA_TYPES["gpx"]: {"type": "string", "description": _GPX},
        },
        headers=("Harbor-Cursor", "Harbor-Now", "Link"),
        sometimes=("Content-Disposition", "ETag"),
        description="A page, or the whole window.",
    )
    @blueprint.raises(errors.NotFound, errors.CursorMismatch)
    @blueprint.doc(operationId="listPositions")
    def get(self, query: HistoryQuery, vessel_id: int) -> Response:
        """List where a vessel was.

        Its fixes in order of time. All pages show what was stored at the first one: fixes that come late
        meanwhile are in none of them, and what was withdrawn is in none from then on. CSV and GPX without
        `limit` hold the whole window, however large; one that does not end as it should has been broken off.
        """
        name = negotiation.chosen(query.format, tuple(WRITERS))
        writes = WRITERS[name]
        limit = query.limit or (None if writes.file_suffix else USUAL_LIMIT)
        bound = query.bound(vessel_id, name)
        place = _place(query.cursor, bound)
        window = query.window(vessel_id)
        database = current().database
        viewed = seen()
        first = database.read(
            lambda it: it.history(viewed).page(window, writes.form, limit=limit or history.PART, **place)
        )
        writer = writes(vessel_id, first)
        if limit is None and first.last is not None:
            streams = current().streams
            streams.demand_room(caller().id)
            parts = _written(history.parts(database, viewed, window, writes.form, first), writer)
            stream = streams.sent(caller().id, parts, request_id=request_id())
            return _told(Response(stream, content_type=writes.content_type), writer, None)
        link = None
        if first.last is not None:
            at, tracker = first.last
            end = first.end and rfc3339(first.end)
            cursor = cursors.seal(_PURPOSE, first.number, rfc3339(at), tracker, end or "", parameters=bound)
            # Whoever follows the link gets the same format, whatever it accepts.
            link = paging.next_page(cursor, format=name)
        return _told(Response(writer.whole(link), content_type=writes.content_type), writer, link)


def _place(cursor: str | None, bound: Mapping[str, str]) -> dict[str, Any]:
    """Return what says where a further page goes on, as ``History.page`` takes it."""
    if cursor is None:
        return {}
    number, at, tracker, end = cursors.unseal(cursor, _PURPOSE, parameters=bound)
    return {"number": number, "beyond": (from_rfc3339(at), tracker), "end": from_rfc3339(end)}


def _written(pages: Iterable[HistoryPage], writer: Writer) -> Iterator[bytes]:
    yield writer.head()
    for page in pages:
        yield writer.fixes(page)
    yield writer.tail(None)


def _told(response: Response, writer: Writer, link: str | None) -> Response:
    """Return an answer with what its headers tell of it."""
    response.headers["Harbor-Cursor"] = cursors.seal(cursors.ORDER, writer.first.number)
    response.headers["Harbor-Now"] = rfc3339(writer.first.moment)
    response.headers.update(paging.headers(link))
    if writer.file_suffix is not None:
        name = f"vessel-{writer.vessel_id}.{writer.file_suffix}"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
