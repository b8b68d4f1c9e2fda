"""What keeps the database as it is to be over the years: partitions ahead, and what is kept no longer.

Each step is a transaction of its own, waits for locks no longer than a moment, and can be ended and run
again: it goes on with what is left. What followers are told of goes only once the floor of the feed is above
it, so that nobody finds a hole: whoever is behind is told that something is missing. Which positions go is
``expiry.py``'s to say.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from harbor_api.database import Database, UnitOfWork
from harbor_api.domain.api_keys import ApiKey, holds
from harbor_api.domain.consumers import Consumer
from harbor_api.domain.errors import Unavailable
from harbor_api.domain.months import Month
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


def make_ahead(database: Database, now: datetime) -> list[str]:
    """Make partitions for the months to come and for gaps, and return their names; Unavailable."""
    return patiently(lambda: database.make_partitions(up_to=now + AHEAD))


def settle(database: Database, now: datetime) -> list[str]:
    """Let those who read by number pass over months in which hardly a fix is stored any more; Unavailable.

    Return the names of partitions that are new to it.
    """
    return patiently(lambda: database.settle_partitions(before=Month.of(now - SETTLED_AFTER).begin))


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


def prune_quarantine(database: Database, before: datetime) -> int:
    """Delete fixes in quarantine that came and were decided on before a moment; return how many.

    Those of vessels under a legal hold stay.
    """

    def prune(unit_of_work: UnitOfWork, most: int) -> int:
        unit_of_work.keeping.share()
        return unit_of_work.quarantine.prune(before, most=most)

    return in_steps(database, prune)


def prune_audit(database: Database, before: datetime) -> int:
    """Delete entries of the audit trail of before a moment, and return how many.

    What was done to vessels under a legal hold stays.
    """

    def prune(unit_of_work: UnitOfWork, most: int) -> int:
        unit_of_work.keeping.share()
        return unit_of_work.audit.prune(before, most=most)

    return in_steps(database, prune)


def in_steps(database: Database, work: Callable[[UnitOfWork, int], int], *, most: int = AT_ONCE) -> int:
    """Do something to at most so many rows in a transaction each, until none is left; return to how many."""
    count = 0
    while True:
        with database.unit_of_work() as unit_of_work:
            done = work(unit_of_work, most)
        count += done
        if done < most:
            return count


def patiently(work: Callable[[], Done]) -> Done:
    """Do something that takes a lock, again and again where others hold it for longer than a moment."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return work()
        except Unavailable:
            if attempt == _ATTEMPTS:
                raise
            time.sleep(_PAUSE_S)
    raise AssertionError("unreachable")
