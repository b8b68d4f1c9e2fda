"""What a key sees of positions: the one place that says it, for every repository that partners read through.

A key has up to four limits. It may see some vessels only; it may see late, by the committed order as it was
(see ``domain/order.py``); it may see coarsely: then it is shown one fix in each step of time, the first of
the step, so that nobody tells from many answers what one of them hides (see ``domain.vessels.coarsened``);
and it may see so far back only, in all but the newest position of a vessel, which is shown however old.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from harbor_api.domain.api_keys import Caller
from harbor_api.domain.order import Horizon
from harbor_api.domain.positions import FixKey
from harbor_api.domain.vessels import COORDINATE_DECIMALS, EPOCH, floored, step_of

# The least by which one time is later than another.
_NEXT = timedelta(microseconds=1)
_MINUTE = timedelta(minutes=1)
# How far back a key sees is rounded so: it stands still from one page to the next, but for once in a while.
_HOUR = timedelta(hours=1)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
# What a key without a delay sees of the order: all of it.
_ALL = Horizon(moment=_LAST, number=2**63 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one key sees: of what is past, nothing that was recorded before ``oldest``.

    ``horizon`` is None for one that has no delay.
    """

    key_id: int
    all_vessels: bool
    decimals: int
    horizon: Horizon | None
    oldest: datetime = _FIRST

    @classmethod
    def of(cls, viewer: Caller, horizon: Horizon | None) -> "Sight":
        """Return what a key sees whose horizon is known."""
        decimals = viewer.coordinate_decimals
        return cls(
            key_id=viewer.id,
            all_vessels=viewer.all_vessels,
            decimals=COORDINATE_DECIMALS if decimals is None else decimals,
            horizon=horizon,
            oldest=_FIRST
            if viewer.history_days is None
            else floored(datetime.now(UTC) - timedelta(days=viewer.history_days), _HOUR),
        )

    @property
    def is_coarse(self) -> bool:
        """Whether it sees time, place and motion in steps."""
        return self.decimals < COORDINATE_DECIMALS

    @property
    def sees_all(self) -> bool:
        """Whether it sees each vessel, however far back."""
        return self.all_vessels and self.oldest == _FIRST

    @property
    def step(self) -> timedelta:
        """How long the steps are in which it sees time, where it ``is_coarse``."""
        return step_of(self.decimals)

    def whole(self, moment: datetime) -> datetime:
        """Return the latest moment up to another of which it sees all: a step's beginning to a coarse key."""
        try:
            return floored(moment, self.step) if self.is_coarse else moment
        except OverflowError:
            return _FIRST

    @property
    def begin(self) -> datetime:
        """From when on it sees what was recorded: to a coarse key that is the beginning of a step."""
        return _up(self.oldest, self.step) if self.is_coarse else self.oldest

    def received_since(self, moment: datetime) -> datetime:
        """Return the moment, at another or before it, from which on the key may ask for what came in.

        Whoever may ask for any one finds out by many when each fix came in that has to be passed over: to a
        coarse key that is to be a step, and to one that sees some vessels nothing of all others.
        """
        if self.is_coarse or self.all_vessels:
            return self.whole(moment)
        try:
            return floored(moment, _MINUTE)
        except OverflowError:
            return _FIRST

    def bounded(self, number: int | None = None) -> dict[str, Any]:
        """Return what the texts below take, but for which stretch of which vessel.

        ``number`` is one of the order beyond which nothing is to be seen either: a page shows the state that
        the first one has shown.
        """
        horizon = self.horizon or _ALL
        return {
            "key_id": self.key_id,
            "all_vessels": self.all_vessels,
            "moment": horizon.moment,
            "number": horizon.number if number is None else min(number, horizon.number),
            "step": self.step,
            "oldest": self.begin,
        }


# Whether the key may see %(vessel_id)s at all.
IS_GRANTED = """(%(all_vessels)s OR EXISTS (
    SELECT FROM grants AS g WHERE g.api_key_id = %(key_id)s AND g.vessel_id = %(vessel_id)s
))"""
# Of a relation p of positions: what the key sees by its place in the order. The sum keeps the index on the
# numbers out of it, below which is nearly all that is stored: a plan of when there was little goes by that.
_BY_NUMBER = "p.seq + 0 <= %(number)s"
WITHIN_HORIZON = f"p.recorded_at <= %(moment)s AND {_BY_NUMBER}"
_OF_VESSEL = f"p.vessel_id = %(vessel_id)s AND {_BY_NUMBER}"
# Between two names of fixes, both outside: from one time up to another when the trackers in them are 0. The
# same time stands alone, too, as by that PostgreSQL knows which partitions not to open. No other bound of
# the time stands beside it on the same side: of two PostgreSQL may begin at the wrong one, and reads all that
# lies between.
_AFTER = """p.recorded_at >= %(after_at)s
    AND (p.recorded_at, p.tracker_id) > (%(after_at)s, %(after_tracker)s)"""
_BEFORE = """p.recorded_at <= %(before_at)s
    AND (p.recorded_at, p.tracker_id) < (%(before_at)s, %(before_tracker)s)"""
# When the step of time began of a fix in a relation.
BEGAN = "date_bin(%(step)s, {0}.recorded_at, timestamptz '1970-01-01 00:00:00Z')"
# When the oldest fix of %(vessel_id)s was recorded that the key sees, if not coarsely.
OLDEST = f"""(
    SELECT p.recorded_at FROM positions AS p
    WHERE {_OF_VESSEL} AND p.recorded_at >= %(oldest)s AND p.recorded_at <= %(moment)s
    ORDER BY p.recorded_at, p.tracker_id LIMIT 1
)"""  # noqa: S608 - constants of ours are put in, none from a caller


def _fine(order: str) -> str:
    return f"""(
        SELECT p.* FROM positions AS p WHERE {_OF_VESSEL} AND {_AFTER} AND {_BEFORE}
        ORDER BY p.recorded_at {order}, p.tracker_id {order}
    )"""  # noqa: S608 - constants of ours are put in, none from a caller


# From step to step, each found by one probe of the key: the fixes between are not read.
_COARSE_ASC = f"""(
    WITH RECURSIVE stepped AS (
        (
            SELECT p.* FROM positions AS p WHERE {_OF_VESSEL} AND {_AFTER} AND {_BEFORE}
            ORDER BY p.recorded_at, p.tracker_id LIMIT 1
        ) UNION ALL (
            SELECT next.* FROM stepped CROSS JOIN LATERAL (
                SELECT p.* FROM positions AS p
                WHERE {_OF_VESSEL} AND {_BEFORE} AND p.recorded_at >= {BEGAN.format("stepped")} + %(step)s
                ORDER BY p.recorded_at, p.tracker_id LIMIT 1
            ) AS next
        )
    ) SELECT * FROM stepped
)"""  # noqa: S608 - constants of ours are put in, none from a caller


def first_of_step(newest: str, vessel: str = "%(vessel_id)s") -> str:
    """Return the fix that is shown for the step of time of the ``newest`` one that is seen, all columns."""
    return f"""
        SELECT p.* FROM positions AS p
        WHERE p.vessel_id = {vessel} AND {_BY_NUMBER}
            AND p.recorded_at >= {BEGAN.format(newest)} AND p.recorded_at <= {newest}.recorded_at
        ORDER BY p.recorded_at, p.tracker_id LIMIT 1
    """  # noqa: S608 - constants of ours are put in, none from a caller


_COARSE_DESC = f"""(
    WITH RECURSIVE stepped AS (
        (
            SELECT first.* FROM (
                SELECT p.recorded_at FROM positions AS p WHERE {_OF_VESSEL} AND {_AFTER} AND {_BEFORE}
                ORDER BY p.recorded_at DESC, p.tracker_id DESC LIMIT 1
            ) AS newest CROSS JOIN LATERAL ({first_of_step("newest")}) AS first
        ) UNION ALL (
            SELECT first.* FROM stepped CROSS JOIN LATERAL (
                SELECT p.recorded_at FROM positions AS p
                WHERE {_OF_VESSEL} AND {_AFTER} AND p.recorded_at < {BEGAN.format("stepped")}
                ORDER BY p.recorded_at DESC, p.tracker_id DESC LIMIT 1
            ) AS newest CROSS JOIN LATERAL ({first_of_step("newest")}) AS first
        )
    ) SELECT * FROM stepped
)"""  # noqa: S608 - constants of ours are put in, none from a caller

SEEN = {
    (False, False): _fine("ASC"),
    (False, True): _fine("DESC"),
    (True, False): _COARSE_ASC,
    (True, True): _COARSE_DESC,
}
"""The stored fixes of %(vessel_id)s that a key sees, all columns, in order, by (is coarse, is descending).

A relation to select from, with a LIMIT: nothing beyond that is read. What a coarse key is shown of a row is
``domain.vessels.coarsened``; the ends of its stretches are whole steps (``stretch``).
"""


def stretch(
    sight: Sight,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    beyond: FixKey | None = None,
    end: datetime | None = None,
    descending: bool = False,
) -> dict[str, Any]:
    """Return the ends of a stretch for ``SEEN``: from ``since`` up to but without ``until``, as shown.

    It begins no earlier than the key sees.
    ``beyond`` names the fix that was read last, from which it goes on. No fix is later than ``end`` that is
    to be seen: none that is later is read.
    """
    after, before = (max(since or _FIRST, sight.oldest), 0), (until or _LAST, 0)
    if sight.is_coarse:
        # What is recorded in a step is shown as at its beginning, and nothing else of the step is.
        after, before = (_up(after[0], sight.step), 0), (_up(before[0], sight.step), 0)
        if beyond is not None:
            began = floored(beyond[0], sight.step)
            beyond = (began if descending else began + sight.step, 0)
    if beyond is not None and descending:
        before = min(before, beyond)
    elif beyond is not None:
        after = max(after, beyond)
    for last in (end or _LAST, (sight.horizon or _ALL).moment):
        if last < _LAST:
            before = min(before, (last + _NEXT, 0))
    return {
        "after_at": after[0],
        "after_tracker": after[1],
        "before_at": before[0],
        "before_tracker": before[1],
    }


def _up(moment: datetime, step: timedelta) -> datetime:
    try:
        return EPOCH - (EPOCH - moment) // step * step
    except OverflowError:
        return _LAST
