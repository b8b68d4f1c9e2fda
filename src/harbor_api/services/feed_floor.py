"""Raising the floor of the change feed: what came long ago is told no more, and nobody is left to wonder."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from harbor_api.database import UnitOfWork
from harbor_api.domain.feed import Expired
from harbor_api.domain.order import Horizon
from harbor_api.domain.vessels import COORDINATE_DECIMALS
from harbor_api.postgres.sight import Sight

_ALL = Sight(key_id=0, all_vessels=True, decimals=COORDINATE_DECIMALS, horizon=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """Up to which number nothing is told, and from when on all is kept; ``is_new`` if it is higher now."""

    number: int
    at: datetime
    is_new: bool


def after(unit_of_work: UnitOfWork, age: timedelta) -> Floor:
    """Return where the floor is when what came longer ago than that is told no more.

    By PostgreSQL's clock. It is as it was where that is higher.
    """
    found = unit_of_work.feed_floor.find()
    at = unit_of_work.order.standing().moment - age
    try:
        number = unit_of_work.feed(_ALL, item_key=b"").since(at)
    except Expired as error:
        return Floor(number=error.oldest, at=error.oldest_at or at, is_new=False)
    before, _ = found or (0, at)
    up_to = replace(_ALL, horizon=Horizon(moment=at, number=number))
    if unit_of_work.feed(up_to, item_key=b"").came_at(before) is None:
        # There is nothing between that anybody was told of.
        number, at = found or (0, at)
        return Floor(number=number, at=at, is_new=False)
    return Floor(number=number, at=at, is_new=True)


def prune(unit_of_work: UnitOfWork, floor: Floor, *, most: int) -> int:
    """Put the floor where it is to be, delete withdrawals up to it, and return how many there were.

    Both in one transaction: whoever finds that they are gone finds the floor as well. Up to ``most`` at once.
    """
    if floor.is_new:
        unit_of_work.feed_floor.lift(floor.number, floor.at)
    return unit_of_work.feed_floor.prune(most=most)
