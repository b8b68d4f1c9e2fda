"""Following: partners learn of all that happens to fixes, in the order in which it does."""

from flask import Response
from flask.views import MethodView

from harbor_api.domain import errors
from harbor_api.domain.feed import FeedPage
from harbor_api.live.following import resolve
from harbor_api.schemas.feed import (
    MEDIA_TYPE,
    STREAM,
    FeedPageSchema,
    FeedQuery,
    FeedQuerySchema,
    StreamQuery,
    StreamQuerySchema,
    page_text,
)
from harbor_api.services import feed
from harbor_api.web import auth, feed_cursors, long_poll, stream
from harbor_api.web.blueprint import Blueprint
from harbor_api.web.coded import coded
from harbor_api.web.runtime import caller, current, sight

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
        runtime, bound = current(), query.filters.bound

        def read(after: int | None) -> FeedPage:
            found = resolve(runtime.fleet, caller(), query.filters.search)
            with runtime.database.autocommit() as unit_of_work:
                seen, item_key = sight(unit_of_work), runtime.item_key
                if after is None:
                    after = feed.first_number(unit_of_work, seen, query.since, item_key=item_key)
                return unit_of_work.feed(seen, item_key=item_key).page(
                    after, found.following, limit=query.limit, number=found.number
                )

        with feed_cursors.expiring(bound):
            page = read(None if query.cursor is None else feed_cursors.take(query.cursor, bound))
            if query.wait and not page.count and not page.has_more:
                subscription = stream.subscription_of(query.filters)
                page = long_poll.awaited(read, page, subscription, seconds=query.wait)
        return Response(page_text(page, feed_cursors.give(page.next, bound)), content_type="application/json")


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
