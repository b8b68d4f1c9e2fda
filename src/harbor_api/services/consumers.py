"""Named consumers: kept, moved, and how far each is behind."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from harbor_api.database import UnitOfWork
from harbor_api.domain.consumers import MOST_CONSUMERS, Consumer, Lag
from harbor_api.domain.errors import Conflict, NotFound
from harbor_api.domain.feed import Expired, Following
from harbor_api.postgres.sight import Sight
from harbor_api.schemas.consumers import Wanted, filters_of

_NONE = timedelta()


def get(unit_of_work: UnitOfWork, key_id: int, name: str) -> Consumer:
    """Return a consumer of a key; NotFound."""
    found = unit_of_work.consumers.find(key_id, name)
    if found is None:
        raise NotFound(f"This key has no consumer {name}")
    return found


def keep(
    unit_of_work: UnitOfWork,
    key_id: int,
    name: str,
    wanted: Wanted,
    *,
    start: Callable[[Mapping[str, Any]], int],
) -> tuple[Consumer, bool]:
    """Keep a consumer as it is wanted; return it, and whether there was none.

    ``start`` returns where one begins that has some filters. Conflict where the key has as many as it may
    have, and where other filters are wanted and nobody says where to begin with them. Of two that create one
    at once, the second finds that of the first.
    """
    consumers = unit_of_work.consumers
    kept = consumers.lock(key_id, name)
    if kept is None:
        consumers.lock_key(key_id)
        kept = consumers.lock(key_id, name)
    if kept is None:
        if len(consumers.of_key(key_id)) >= MOST_CONSUMERS:
            raise Conflict(f"A key has {MOST_CONSUMERS} consumers at most: delete one that is not read")
        filters = wanted.filters or {}
        return consumers.add(key_id, name, number=start(filters), filters=filters), True
    filters = kept.filters if wanted.filters is None else wanted.filters
    if wanted.cursor is not None or wanted.begins:
        return consumers.move(key_id, name, number=start(filters), filters=filters), False
    if filters_of(filters).bound != filters_of(kept.filters).bound:
        raise Conflict("It is kept with other filters: say where it begins with these, by `from` or `cursor`")
    return kept, False


def lag(
    unit_of_work: UnitOfWork,
    sight: Sight,
    consumer: Consumer,
    following: Following,
    *,
    number: int | None,
    item_key: bytes = b"",
) -> Lag:
    """Return how far a consumer is behind, of what its key sees and it follows.

    What it follows is known up to ``number``. The delay of the key does not count, and to a coarse key time
    goes in steps.
    """
    feed = unit_of_work.feed(sight, item_key=item_key)
    try:
        found = feed.scan(consumer.number, following, limit=1, number=number)
    except Expired as error:
        moment = unit_of_work.order.standing().moment
        since = _NONE if error.oldest_at is None else moment - error.oldest_at
        return Lag(
            behind_at=error.oldest_at,
            seconds=max(since, _NONE).total_seconds(),
            expired=True,
            oldest=error.oldest,
            oldest_at=error.oldest_at,
        )
    behind_at = None
    if found.rows or found.has_more:
        behind_at = feed.came_at(found.rows[0].number - 1 if found.rows else found.next)
    if behind_at is None:
        return Lag(behind_at=None, seconds=0.0)
    moment = found.moment if sight.horizon is None else sight.horizon.moment
    return Lag(behind_at=behind_at, seconds=max(sight.whole(moment) - behind_at, _NONE).total_seconds())
