"""Named consumers: kept, moved, and how far each is behind."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache, cached_property
from typing import Any, NamedTuple

from harbor_api.database import UnitOfWork
from harbor_api.domain.api_keys import ApiKey, caller_of
from harbor_api.domain.audit import Actor
from harbor_api.domain.consumers import MOST_CONSUMERS, Consumer, Lag
from harbor_api.domain.errors import Conflict, NotFound
from harbor_api.domain.feed import Expired, Following
from harbor_api.domain.order import Horizon
from harbor_api.domain.vessels import floored
from harbor_api.postgres.sight import Sight
from harbor_api.schemas.consumers import Wanted, filters_of
from harbor_api.schemas.feed import FeedFilters
from harbor_api.services import audit

_NONE = timedelta()
_COARSE = timedelta(hours=1)
_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A consumer as operators see it: whose it is, and how far it is behind."""

    consumer: Consumer
    key: ApiKey
    lag: Lag


class _Identity(NamedTuple):
    """What is asked of a vessel, wherever she is."""

    id: int
    name: str
    imo: str | None
    mmsi: str | None
    call_sign: str | None
    kind: str | None
    flag: str | None
    lat: None = None
    lon: None = None
    received_at: None = None
    stale: bool = False


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
    if found.rows:
        behind_at = feed.came_at(found.rows[0].number - 1)
    elif found.has_more:
        behind_at = feed.came_at(found.next)
        if behind_at is not None and not sight.all_vessels:
            # It may be of a vessel whose times are not for this key.
            behind_at = floored(behind_at, _COARSE)
    if behind_at is None:
        return Lag(behind_at=None, seconds=0.0)
    moment = found.moment if sight.horizon is None else sight.horizon.moment
    return Lag(behind_at=behind_at, seconds=max(sight.whole(moment) - behind_at, _NONE).total_seconds())


class Watch:
    """Looks at the consumers of all keys, and reads what several of them need once."""

    def __init__(self, unit_of_work: UnitOfWork, *, future_tolerance: timedelta) -> None:
        """Look by a unit of work; ``future_tolerance`` as with ``Order.horizon``."""
        self._unit_of_work = unit_of_work
        self._future_tolerance = future_tolerance
        self._key = cache(unit_of_work.api_keys.get)
        self._horizon = cache(self._horizon_of)

    def all(self) -> Iterator[tuple[Consumer, ApiKey]]:
        """Yield all consumers, each with its key, in the order of key and name."""
        after = (0, "")
        while True:
            page = self._unit_of_work.consumers.search(after=after, limit=_PAGE)
            yield from ((each, self._key(each.api_key_id)) for each in page)
            if len(page) < _PAGE:
                return
            after = (page[-1].api_key_id, page[-1].name)

    def behind(self) -> Iterator[Watched]:
        """Yield the same, with how far each is behind."""
        for consumer, key in self.all():
            sight = Sight.of(caller_of(key), self._horizon(key.terms.delay_s))
            following = self._following(filters_of(consumer.filters))
            found = lag(self._unit_of_work, sight, consumer, following, number=None)
            yield Watched(consumer=consumer, key=key, lag=found)

    def _horizon_of(self, delay_s: int) -> Horizon | None:
        delay = timedelta(seconds=delay_s)
        order = self._unit_of_work.order
        return order.horizon(delay, future_tolerance=self._future_tolerance) if delay else None

    def _following(self, filters: FeedFilters) -> Following:
        search = filters.search
        ids = search.vessel_ids
        if filters.imos or filters.mmsis or filters.kinds or filters.flags:
            identities = replace(search, box=None)
            ids = frozenset(each.id for each in self._vessels if identities.keeps(each))
        return Following(vessel_ids=ids, box=search.box)

    @cached_property
    def _vessels(self) -> list[_Identity]:
        return [
            _Identity(
                vessel.id,
                vessel.details.name,
                vessel.details.imo,
                vessel.details.mmsi,
                vessel.details.call_sign,
                vessel.details.kind,
                vessel.details.flag,
            )
            for vessel in self._unit_of_work.vessels.search()
        ]


def remove(unit_of_work: UnitOfWork, key_id: int, name: str, *, actor: Actor) -> None:
    """Keep a consumer of a key no longer, as an operator decides; NotFound where there is none."""
    removed = unit_of_work.consumers.remove(key_id, name)
    if removed is None:
        raise NotFound(f"Key {key_id} has no consumer {name}")
    audit.note(unit_of_work, actor, "api_key.feed_deleted", f"api-keys/{key_id}", before={"feed": name})
