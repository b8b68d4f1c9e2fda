"""Following: where somebody begins who has no cursor yet."""

from datetime import datetime

from harbor_api.database import UnitOfWork
from harbor_api.postgres.sight import Sight


def first_number(unit_of_work: UnitOfWork, sight: Sight, since: datetime | None, *, item_key: bytes) -> int:
    """Return the number of the order behind which all is that the key comes to see.

    From now on, or of what came in ``since`` a moment: then as with ``Feed.since``.
    """
    if since is not None:
        return unit_of_work.feed(sight, item_key=item_key).since(since)
    return unit_of_work.order.standing().number if sight.horizon is None else sight.horizon.number
