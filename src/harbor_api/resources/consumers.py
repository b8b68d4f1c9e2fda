"""Named consumers of the change feed: partners that keep nothing read on from where they stand."""

from collections.abc import Mapping
from typing import Any

from flask import Response
from flask.views import MethodView

from harbor_api.domain import errors
from harbor_api.domain.consumers import Consumer
from harbor_api.domain.errors import Fault, InvalidParameter, NotFound, ValidationFailed
from harbor_api.live.following import resolve
from harbor_api.schemas.consumers import (
    ConsumerSchema,
    ConsumersSchema,
    ConsumerUpdateSchema,
    Wanted,
    as_consumer,
    filters_of,
)
from harbor_api.schemas.feed import FeedPageSchema, StretchQuery, StretchQuerySchema
from harbor_api.services import consumers, feed
from harbor_api.web import auth, feed_cursors, feed_pages
from harbor_api.web.blueprint import Blueprint
from harbor_api.web.coded import coded
from harbor_api.web.runtime import caller, current, sight

blueprint = Blueprint(
    "feeds",
    __name__,
    description="Following without keeping anything: the service knows how far you have come.",
    url_prefix="/api/v1/feeds",
)
_NAME = {
    "in": "path",
    "name": "name",
    "description": "What you call it; `.` and `..` are no names. Another key's are not there.",
}


@blueprint.route("")
class Consumers(MethodView):
    @auth.requires_key("vessels:read")
    @blueprint.response(200, ConsumersSchema, description="All of them.")
    @blueprint.doc(operationId="listFeeds")
    def get(self) -> dict[str, Any]:
        """List your named consumers.

        With where each stands, and how far it is behind.
        """
        with current().database.autocommit() as unit_of_work:
            found = unit_of_work.consumers.of_key(caller().id)
        return {"feeds": [_members(each) for each in found]}


@blueprint.route("/<consumer:name>", parameters=[_NAME])
class ConsumerByName(MethodView):
    @auth.requires_key("vessels:read")
    @blueprint.response(200, ConsumerSchema, description="Where it stands.")
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="getFeed")
    def get(self, name: str) -> dict[str, Any]:
        """Get a named consumer.

        Where it stands, and how far it is behind: `lag_s` is what to watch.
        """
        with current().database.autocommit() as unit_of_work:
            found = consumers.get(unit_of_work, caller().id, name)
        return _members(found)

    @auth.requires_key("vessels:read")
    @blueprint.arguments(ConsumerUpdateSchema)
    @blueprint.response(200, ConsumerSchema, description="It was there: moved, or left where it stood.")
    @blueprint.alt_response(201, schema=ConsumerSchema, description="Created.", success=True)
    @blueprint.raises(errors.NotFound, errors.CursorMismatch, errors.CursorExpired, errors.Conflict)
    @blueprint.doc(operationId="putFeed")
    def put(self, wanted: Wanted, name: str) -> tuple[dict[str, Any], int]:
        """Create a named consumer, or move it.

        Where there is none, it is created: with the filters that are given, behind `cursor` or `from`, or
        else from now on. Where there is one, `cursor` moves it: give it the `next` of its positions once you
        have kept their items, and it stands behind them. It may be moved back as well, by an earlier cursor
        or by `from`, and is told what comes then once more. Without `cursor` and `from` it stays where it
        is, so the request that created it may be sent at each start.

        Filters stay as they are unless some are given. Other ones than are kept need `from`, or a `cursor`
        that goes with them: that of the fleet, or one of the feed with these filters. 409 without; and 409
        for one more than a key may have, which are 20.

        May be repeated. Of two that acknowledge at once the last one holds: an earlier cursor has things
        told twice, and none is lost. Where it was deleted meanwhile it is created anew, and 201 says so.
        410 for a cursor behind which something was removed: it stays where it was.
        """
        kept, is_new = _keep(name, wanted)
        return _members(kept), 201 if is_new else 200

    @auth.requires_key("vessels:read")
    @blueprint.response(204, description="It is kept no longer.")
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="deleteFeed")
    def delete(self, name: str) -> Response:
        """Delete a named consumer.

        Nothing else is deleted with it. 404 where there is none, also when it is sent once more.
        """
        with current().database.unit_of_work() as unit_of_work:
            if unit_of_work.consumers.remove(caller().id, name) is None:
                raise NotFound(f"This key has no consumer {name}")
        done = Response(status=204)
        del done.headers["Content-Type"]
        return done


@blueprint.route("/<consumer:name>/positions", parameters=[_NAME])
class ConsumerPositions(MethodView):
    @auth.requires_key("vessels:read")
    @coded
    @blueprint.arguments(StretchQuerySchema, location="query")
    @blueprint.response(
        200, FeedPageSchema, content_type="application/json", description="What has happened."
    )
    @blueprint.raises(errors.NotFound, errors.CursorExpired)
    @blueprint.doc(operationId="readFeed")
    def get(self, query: StretchQuery, name: str) -> Response:
        """Read on from where a named consumer stands.

        What `GET /api/v1/positions` answers from there on, with its filters. It stands where it stood after
        that, so an answer that is lost costs nothing: move it by `next` once you have kept the items.

        410 where something was removed that would have come: move it, to `oldest` or elsewhere.
        """
        with current().database.autocommit() as unit_of_work:
            found = consumers.get(unit_of_work, caller().id, name)
            unit_of_work.consumers.note_seen(found.api_key_id, name)
        return feed_pages.answer(filters_of(found.filters), query, after=found.number)


def _keep(name: str, wanted: Wanted) -> tuple[Consumer, bool]:
    with current().database.unit_of_work() as unit_of_work:

        def start(filters: Mapping[str, Any]) -> int:
            bound = filters_of(filters).bound
            seen, item_key = sight(unit_of_work), current().item_key
            with feed_cursors.expiring(bound):
                if wanted.cursor is None:
                    return feed.first_number(unit_of_work, seen, wanted.since, item_key=item_key)
                number = _taken(wanted.cursor, bound)
                unit_of_work.feed(seen, item_key=item_key).demand(number)
            return number

        return consumers.keep(unit_of_work, caller().id, name, wanted, start=start)


def _taken(cursor: str, bound: Mapping[str, str]) -> int:
    try:
        return feed_cursors.take(cursor, bound)
    except InvalidParameter as error:
        faults = [Fault(each.detail, pointer="#/cursor") for each in error.faults]
        raise ValidationFailed("The cursor is none", faults=faults) from error


def _members(consumer: Consumer) -> dict[str, Any]:
    runtime, filters = current(), filters_of(consumer.filters)
    found = resolve(runtime.fleet, caller(), filters.search)
    with runtime.database.autocommit() as unit_of_work:
        lag = consumers.lag(
            unit_of_work,
            sight(unit_of_work),
            consumer,
            found.following,
            number=found.number,
            item_key=runtime.item_key,
        )
    cursor = feed_cursors.give(consumer.number, filters.bound)
    oldest = None if lag.oldest is None else feed_cursors.give(lag.oldest, filters.bound)
    return as_consumer(consumer, lag, cursor=cursor, oldest=oldest)
