"""A page of the change feed, whoever keeps the place: the caller, or the service for a named consumer."""

from datetime import datetime

from flask import Response

from harbor_api.database import UnitOfWork
from harbor_api.domain.feed import FeedPage
from harbor_api.live.following import resolve
from harbor_api.schemas.feed import FeedFilters, StretchQuery, page_text
from harbor_api.services import feed
from harbor_api.web import feed_cursors, long_poll, stream
from harbor_api.web.runtime import caller, current, seen


def answer(
    filters: FeedFilters, query: StretchQuery, *, after: int | None, since: datetime | None = None
) -> Response:
    """Return what comes behind a number, and where nothing does, what has come in a while; CursorExpired.

    Without one it begins now, or with what came in ``since`` a moment.
    """
    runtime, bound = current(), filters.bound

    def read(after: int | None) -> FeedPage:
        found = resolve(runtime.fleet, caller(), filters.search)
        viewed, item_key = seen(), runtime.item_key

        def read_behind(unit_of_work: UnitOfWork) -> FeedPage:
            begin = after
            if begin is None:
                begin = feed.first_number(unit_of_work, viewed, since, item_key=item_key)
            return unit_of_work.feed(viewed, item_key=item_key).page(
                begin, found.following, limit=query.limit, number=found.number
            )

        return runtime.database.read(read_behind)

    with feed_cursors.expiring(bound):
        page = read(after)
        if query.wait and not page.count and not page.has_more:
            subscription = stream.subscription_of(filters)
            page = long_poll.awaited(read, page, subscription, seconds=query.wait)
    return Response(page_text(page, feed_cursors.give(page.next, bound)), content_type="application/json")
