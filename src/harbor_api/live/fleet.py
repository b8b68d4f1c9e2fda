"""The fleet, kept warm: each worker has it rendered, and before each answer asks only for what has changed.

All requests that come at the same time are served by one question to the database. It is asked once they
have come, so that nobody is told less than was committed before.

    question    all that has a number above the one that the view stands at: fixes, edits, withdrawals
    answer      those vessels as they are now, PostgreSQL's time, and where the order stands: of one snapshot
    the view    these vessels anew, and those stale whose time has come; it stands at the number of the answer

The number is the greatest that is visible. One that is drawn and not committed is above it, since numbers
become visible in their own order: so what it stands for is in the next answer. At rest the question is three
looks at the end of an index.

There is a view for each precision and delay that keys have. One with a delay moves on in steps of the delay
(``domain/order.py``), the same for all workers; edits and withdrawals it shows at once, and what is committed
late and is due.

What is kept is of one database. A number that is less than the view's, or an order of another origin, means
that the database was restored or is another one, and all is read anew. So does what has come to a table
without a number above the view's: a dump is being restored, table by table.
"""

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from harbor_api.database import Database
from harbor_api.domain import tags
from harbor_api.domain.api_keys import Caller
from harbor_api.domain.errors import Unavailable
from harbor_api.domain.order import Horizon, step_of_delay
from harbor_api.domain.vessels import floored
from harbor_api.live.fragments import Fragment, Granted, Picture, fragment_of
from harbor_api.live.kinds import Kind
from harbor_api.postgres.grouping import Grouping
from harbor_api.postgres.sight import Sight
from harbor_api.repositories.fleet import MOST_NEWS, News
from harbor_api.settings import Settings

# So many vessels take some milliseconds to render, in which nobody else is served.
_CHUNK = 500
_MOST_IN_GROUP = 250
# A fleet that changes as a whole while it is read is read again, but not for ever.
_ATTEMPTS = 3
# Above all numbers: nothing has changed since.
_END = 2**63 - 1
# What is kept, in vessels of all views together. The view that is read is kept, however large.
_MOST_FRAGMENTS = 60_000
_MOST_VIEWS = 500
_IDLE_S = 600.0
# What has changed in a longer time is not asked for: withdrawals are not kept for ever.
_LONGEST_REST = timedelta(hours=12)
# Of how many keys it is remembered what they may see.
_MOST_GRANTED = 1_000


@dataclass(frozen=True, slots=True)
class Reading:
    """The fleet as one key may see it, with all that was committed before it was asked for.

    ``moment`` is PostgreSQL's time, ``number`` up to where in the committed order it was looked, and
    ``origin`` tells that order from others. ``granted`` are the vessels that the key may see, None for all.
    """

    picture: Picture
    moment: datetime
    number: int
    origin: str
    granted: Granted | None = None


class _Due:
    """When which vessels become stale, the earliest first."""

    def __init__(self) -> None:
        self._waiting: list[tuple[datetime, int]] = []
        self._earliest: dict[int, datetime] = {}

    def note(self, fragment: Fragment) -> None:
        """Wait for a vessel that is not stale yet."""
        at = fragment.stale_at
        if fragment.stale or at is None:
            return
        known = self._earliest.get(fragment.id)
        # One that comes to be stale later than is waited for is looked at then, and waited for anew.
        if known is None or at < known:
            self._earliest[fragment.id] = at
            heapq.heappush(self._waiting, (at, fragment.id))

    def pop(self, moment: datetime) -> list[int]:
        """Return the vessels to look at, whose time has come by a moment."""
        found = []
        while self._waiting and self._waiting[0][0] <= moment:
            at, vessel_id = heapq.heappop(self._waiting)
            if self._earliest.get(vessel_id) == at:
                del self._earliest[vessel_id]
                found.append(vessel_id)
        return found


class _State(NamedTuple):
    """What a view stands at. ``aged_to`` is the moment by which vessels are stale in the picture, or not."""

    picture: Picture
    number: int
    tops: Sequence[int | None]
    origin: str
    horizon: Horizon | None
    aged_to: datetime


class _View:
    """The fleet as keys of one kind see it."""

    def __init__(self, kind: Kind, database: Database, settings: Settings, key: bytes) -> None:
        self._kind = kind
        self._database = database
        self._key = key
        self._delay = timedelta(seconds=kind.delay_s)
        self._stale_after = timedelta(seconds=settings.stale_after_s)
        self._future_tolerance = timedelta(seconds=settings.future_tolerance_s)
        self._state: _State | None = None
        # PostgreSQL's time when it was asked last.
        self._asked_at = datetime.min.replace(tzinfo=UTC)
        self._due = _Due()
        self._reads = Grouping(
            self._read,
            name="fleet",
            most_in_group=_MOST_IN_GROUP,
            most_waiting=settings.max_waiting,
            patience_s=settings.patience_s,
        )
        self.read_at = time.monotonic()

    def __len__(self) -> int:
        return 0 if self._state is None else len(self._state.picture)

    def read(self) -> Reading:
        """Return the fleet with all that was committed before; Unavailable."""
        self.read_at = time.monotonic()
        return self._reads.do(None)

    def _read(self, waiting: Sequence[None]) -> list[Reading]:
        for _ in range(_ATTEMPTS):
            if self._state is None:
                self._state = self._load()
            state, news = self._ask(self._state)
            self._state = state
            if state is not None and news is not None:
                number = news.number if state.horizon is None else state.horizon.number
                reading = Reading(state.picture, news.moment, number, news.origin)
                return [reading] * len(waiting)
        raise Unavailable("The fleet changes faster than it can be read")

    def _load(self) -> _State:
        """Read all vessels, some at a time; what changes meanwhile is asked for afterwards."""
        with self._database.autocommit() as unit_of_work:
            begun = unit_of_work.fleet(self._sight(None), stale_after=self._stale_after).news(_END)
        self._asked_at = begun.moment
        horizon = self._horizon_now()
        picture = Picture(self._key)
        last, found = 0, _CHUNK
        while found == _CHUNK:
            with self._database.autocommit() as unit_of_work:
                fleet = unit_of_work.fleet(self._sight(horizon), stale_after=self._stale_after)
                shown = fleet.after(last, most=_CHUNK)
            found = len(shown)
            if shown:
                last = shown[-1].vessel.id
                picture = picture.with_these(fragment_of(each, self._key) for each in shown)
        self._due = _Due()
        for each in picture:
            self._due.note(each)
        aged_to = begun.moment if horizon is None else horizon.moment
        return _State(picture, begun.number, begun.tops, begun.origin, horizon, aged_to)

    def _ask(self, state: _State) -> tuple[_State | None, News | None]:
        """Return the state brought up to now, None where all has to be read anew."""
        horizon = state.horizon
        news = self._news(state, horizon)
        if horizon is not None and (
            news.is_behind or floored(news.moment - self._delay, self._step) != horizon.moment
        ):
            horizon = self._horizon_now()
            news = self._news(state, horizon)
            if horizon is None or state.horizon is None or not self._follows(horizon, state.horizon):
                return None, None
        rested, self._asked_at = news.moment - self._asked_at, news.moment
        if news.vessels is None or rested > _LONGEST_REST or not self._goes_on(news, state):
            return None, None
        fragments = [fragment_of(each, self._key) for each in news.vessels]
        picture = state.picture.with_these(fragments)
        for each in fragments:
            self._due.note(each)
        moment = news.moment if horizon is None else horizon.moment
        picture = self._aged(picture, moment, since=state.aged_to)
        return _State(picture, news.number, news.tops, news.origin, horizon, moment), news

    def _news(self, state: _State, horizon: Horizon | None) -> News:
        with self._database.autocommit() as unit_of_work:
            fleet = unit_of_work.fleet(self._sight(horizon), stale_after=self._stale_after)
            beyond = None if state.horizon is None else state.horizon.number
            return fleet.news(state.number, beyond=beyond)

    def _aged(self, picture: Picture, moment: datetime, *, since: datetime) -> Picture:
        """Return the picture in which all are stale that are so by a moment."""
        if moment < since:
            # The clock was put back: who was stale may be so no more.
            aged = [each.at(moment, self._key) for each in picture]
            self._due = _Due()
        else:
            due = [picture.get(vessel_id) for vessel_id in self._due.pop(moment)]
            aged = [each.at(moment, self._key) for each in due if each is not None]
        for each in aged:
            self._due.note(each)
        return picture.with_these(aged)

    @property
    def _step(self) -> timedelta:
        return step_of_delay(self._delay)

    def _horizon_now(self) -> Horizon | None:
        if not self._delay:
            return None
        with self._database.autocommit() as unit_of_work:
            return unit_of_work.order.horizon(self._delay, future_tolerance=self._future_tolerance)

    @staticmethod
    def _goes_on(news: News, state: _State) -> bool:
        """Return whether the order is the one that a state is of: all that has come is above its number."""
        known = zip(news.tops, state.tops, strict=True)
        # One that has lost its newest rows is no other table: they were withdrawn.
        is_above = all((top or 0) <= (before or 0) or (top or 0) > state.number for top, before in known)
        return news.origin == state.origin and news.number >= state.number and is_above

    @staticmethod
    def _follows(horizon: Horizon, before: Horizon) -> bool:
        """Return whether a view may go on from one horizon to another: not back, and not too far."""
        is_on = horizon.moment >= before.moment and horizon.number >= before.number
        return is_on and horizon.number - before.number <= MOST_NEWS

    def _sight(self, horizon: Horizon | None) -> Sight:
        return Sight(key_id=0, all_vessels=True, decimals=self._kind.decimals, horizon=horizon)


class LiveFleet:
    """The fleet for all keys of a process."""

    def __init__(self, database: Database, settings: Settings) -> None:
        """Read from a database; nothing is read before somebody asks."""
        self._database = database
        self._settings = settings
        self._key = tags.tag_key(settings.require_master_key())
        self._views: dict[Kind, _View] = {}
        self._granted: dict[int, tuple[str, int, Granted]] = {}

    def read(self, viewer: Caller) -> Reading:
        """Return the fleet as a key may see it, with all that was committed before; Unavailable."""
        reading = self._view(Kind.of(viewer).now).read()
        if viewer.all_vessels:
            return reading
        granted = self._granted_to(viewer, reading.origin)
        return Reading(reading.picture, reading.moment, reading.number, reading.origin, granted)

    def _view(self, kind: Kind) -> _View:
        view = self._views.get(kind)
        if view is None:
            self._make_room()
            view = self._views[kind] = _View(kind, self._database, self._settings, self._key)
        return view

    def _make_room(self) -> None:
        """Let go of views that nobody has read for a while, and where there are many, of the oldest."""
        now = time.monotonic()
        by_age = sorted(self._views.items(), key=lambda each: each[1].read_at)
        held = sum(len(view) for _, view in by_age)
        for kind, view in by_age:
            is_idle = now - view.read_at > _IDLE_S
            if is_idle or held > _MOST_FRAGMENTS or len(self._views) >= _MOST_VIEWS:
                self._views.pop(kind, None)
                held -= len(view)

    def _granted_to(self, viewer: Caller, origin: str) -> Granted:
        """Return what a key may see that sees some vessels: asked for once of each version of the key."""
        known = self._granted.pop(viewer.id, None)
        if known is None or known[:2] != (origin, viewer.version):
            sight = Sight.of(viewer, None)
            with self._database.autocommit() as unit_of_work:
                ids = unit_of_work.fleet(sight, stale_after=timedelta()).granted()
            known = origin, viewer.version, Granted(tuple(ids))
        while len(self._granted) >= _MOST_GRANTED:
            self._granted.pop(next(iter(self._granted)), None)
        self._granted[viewer.id] = known
        return known[2]
