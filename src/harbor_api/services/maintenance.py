"""What keeps the database as it is to be over the years: partitions ahead, and what is kept no longer.

Each step is a transaction of its own, waits for locks no longer than a moment, and can be ended and run
again: it goes on with what is left. What followers are told of goes only once the floor of the feed is above
it, so that nobody finds a hole: whoever is behind is told that something is missing.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from harbor_api.database import Database, UnitOfWork
from harbor_api.domain.api_keys import ApiKey, holds
from harbor_api.domain.consumers import Consumer
from harbor_api.domain.errors import Unavailable
from harbor_api.domain.months import Month
from harbor_api.postgres.partitions import Partition
from harbor_api.services import consumers, feed_floor
from harbor_api.services.feed_floor import Floor

Done = TypeVar("Done")
AHEAD = timedelta(days=92)
"""For how long partitions are made ahead."""
SETTLED_AFTER = timedelta(days=31)
"""How long ago a month ended that is settled: later fixes of it cost those who follow some time."""
# In a transaction each: one statement for a year's worth would take longer than PostgreSQL may, and where
# followers are told of what goes, whoever stores a fix waits for it.
AT_ONCE, AT_ONCE_TOLD = 5_000, 500
_ATTEMPTS, _PAUSE_S = 15, 1.0
_FIRST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """What becomes of positions when those recorded before a moment are kept no longer.

    Partitions ``to_drop`` go whole, and of those ``to_trim`` what is older than ``before``. The ``floor`` is
    where the feed's comes to be; consumers that are ``behind`` it will be told that something is missing, and
    keys that are ``blind`` see so late that they can be told nothing.
    """

    before: datetime
    floor: Floor
    to_drop: Sequence[Partition]
    to_trim: Sequence[Partition]
    behind: Sequence[tuple[Consumer, ApiKey]]
    blind: Sequence[ApiKey]


def make_ahead(database: Database, now: datetime) -> list[str]:
    """Make partitions for the months to come and for gaps, and return their names; Unavailable."""
    return _patiently(lambda: database.make_partitions(up_to=now + AHEAD))


def settle(database: Database, now: datetime) -> list[str]:
    """Let those who read by number pass over months in which hardly a fix is stored any more; Unavailable.

    Return the names of partitions that are new to it.
    """
    return _patiently(lambda: database.settle_partitions(before=Month.of(now - SETTLED_AFTER).begin))


def expiry(unit_of_work: UnitOfWork, keep: timedelta, *, future_tolerance: timedelta) -> Expiry:
    """Return what would go of positions that are kept for so long. Nothing is changed."""
    before = unit_of_work.order.standing().moment - keep
    floor = feed_floor.after(unit_of_work, keep)
    there = unit_of_work.partitions.all()
    return Expiry(
        before=before,
        floor=floor,
        to_drop=[
            each for each in there if each.is_going or (each.until is not None and each.until <= before)
        ],
        to_trim=[
            each
            for each in there
            if each.since is None and not each.is_going and each.until is not None and each.until > before
        ],
        behind=[*behind(unit_of_work, floor, future_tolerance=future_tolerance)],
        blind=[*blind(unit_of_work, keep)],
    )


def behind(
    unit_of_work: UnitOfWork, floor: Floor, *, future_tolerance: timedelta
) -> Iterator[tuple[Consumer, ApiKey]]:
    """Yield the consumers of keys that hold which have not come as far as a floor."""
    now = datetime.now(UTC)
    for consumer, key in consumers.Watch(unit_of_work, future_tolerance=future_tolerance).all():
        if consumer.number < floor.number and holds(key, now):
            yield consumer, key


def blind(unit_of_work: UnitOfWork, age: timedelta) -> Iterator[ApiKey]:
    """Yield the keys that hold and see so late that all of that age is gone before."""
    now = datetime.now(UTC)
    for key in unit_of_work.api_keys.search():
        if holds(key, now) and timedelta(seconds=key.terms.delay_s) >= age:
            yield key


def lift(database: Database, floor: Floor) -> int:
    """Put the floor of the feed where it is to be, delete withdrawals below it, and return how many."""
    return in_steps(database, lambda unit, most: feed_floor.prune(unit, floor, most=most))


def drop(database: Database, partition: Partition, *, number: int) -> int:
    """Drop a partition, and return of how many fixes followers were told that they are gone.

    Those came after the floor's ``number``, late as they were recorded: they go as what is withdrawn does.
    All others are below the floor. Unavailable where the partition is in use for longer than is waited.
    """
    told = 0
    if partition.until is not None and not partition.is_going:
        told = _tell(database, partition.since or _FIRST, partition.until, number=number)
    _patiently(lambda: database.drop_partition(partition.name))
    return told


def trim(database: Database, *, before: datetime, number: int) -> int:
    """Delete what was recorded before a moment of the partition of all that is older; return how much it was.

    ``number`` is the floor's; followers are told of what came after it.
    """

    def trim_one(unit_of_work: UnitOfWork, most: int, *, vessel_id: int) -> int:
        return unit_of_work.partitions.trim(vessel_id, _FIRST, before, number=number, most=most)

    gone = _tell(database, _FIRST, before, number=number)
    with database.autocommit() as unit_of_work:
        vessel_ids = unit_of_work.partitions.vessels()
    return gone + sum(in_steps(database, partial(trim_one, vessel_id=each)) for each in vessel_ids)


def in_steps(database: Database, work: Callable[[UnitOfWork, int], int], *, most: int = AT_ONCE) -> int:
    """Do something to at most so many rows in a transaction each, until none is left; return to how many."""
    count = 0
    while True:
        with database.unit_of_work() as unit_of_work:
            done = work(unit_of_work, most)
        count += done
        if done < most:
            return count


def _tell(database: Database, since: datetime, until: datetime, *, number: int) -> int:
    def erase(unit_of_work: UnitOfWork, most: int) -> int:
        names = unit_of_work.partitions.above(number, since, until, most=most)
        return unit_of_work.partitions.erase(names, since, until) if names else 0

    return in_steps(database, erase, most=AT_ONCE_TOLD)


def _patiently(work: Callable[[], Done]) -> Done:
    """Do something that takes a lock, again and again where others hold it for longer than a moment."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return work()
        except Unavailable:
            if attempt == _ATTEMPTS:
                raise
            time.sleep(_PAUSE_S)
    raise AssertionError("unreachable")
