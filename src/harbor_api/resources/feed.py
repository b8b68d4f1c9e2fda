"""Following: partners learn of all that happens to fixes, in the order in which it does."""

from flask import Response
from flask.views import MethodView

from harbor_api.domain import errors
from harbor_api.schemas.feed import (
    MEDIA_TYPE,
    STREAM,
    FeedPageSchema,
    FeedQuery,
    FeedQuerySchema,
    StreamQuery,
    StreamQuerySchema,
)
from harbor_api.web import auth, feed_cursors, feed_pages, stream
from harbor_api.web.blueprint import Blueprint
from harbor_api.web.coded import coded

blueprint = Blueprint(
    "feed",
    __name__,
    description="What happens, as it does.",
    url_prefix="/api/v1",
)


@blueprint.route("/positions")
class PositionFeed(MethodView):
    @auth.requires_key("vessels:read")
    @coded
    @blueprint.arguments(FeedQuerySchema, location="query")
    @blueprint.response(
        200, FeedPageSchema, content_type="application/json", description="What has happened."
    )
    @blueprint.raises(errors.CursorMismatch, errors.CursorExpired)
    @blueprint.doc(operationId="followPositions")
    def get(self, query: FeedQuery) -> Response:
        """Follow all that happens to fixes.

        Each fix that is stored, late or not, and each that is withdrawn, once, in one order that nothing is
        ever put into behind you. Begin with the `cursor` of the fleet, and what you hold stays what the
        service holds. Go on with `next`, with the same filters, for as long as you like: it does not expire
        because nothing happens.

        With `wait` an answer that would be empty comes once there is something, within a second of its being
        stored, or else when the time is over. It counts as one request, and a key may have a few of them
        waiting: 429 where it has them.

        410 where something was removed that would have come: never an empty answer instead.
        """
        after = None if query.cursor is None else feed_cursors.take(query.cursor, query.filters.bound)
        return feed_pages.answer(query.filters, query, after=after, since=query.since)


@blueprint.route("/positions/stream")
class PositionStream(MethodView):
    @auth.requires_key("vessels:read")
    @stream.resumed
    @blueprint.arguments(StreamQuerySchema, location="query")
    @blueprint.response(
        200, STREAM, content_type=MEDIA_TYPE, headers=("X-Accel-Buffering",), description="What happens."
    )
    @blueprint.raises(errors.CursorMismatch, errors.CursorExpired)
    @blueprint.doc(operationId="streamPositions")
    def get(self, query: StreamQuery) -> Response:
        """Be told of all that happens to fixes, as it does.

        The same as the change feed, in the same order, as server-sent events: a fix is told within a second
        of its being stored. The `id` of an event is a cursor. Connect again with the last one in
        `Last-Event-ID` whenever the stream ends, and nothing is missed: after `bye` at once, else after
        `retry` and then ever more seldom. After 401 and 403, stop.

        410 where something was removed that would have come behind `cursor`. To a client that resumes with
        `Last-Event-ID` that is told by an event `reset`. Who reads too slowly is cut, and misses nothing by
        that, either. A key may have some streams open; 429 where it has them.
        """
        return stream.answer(query)
