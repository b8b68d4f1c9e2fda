"""What has happened goes to all who follow: read once a kind of key, rendered once, sent without waiting.

A worker has one hub, and while nobody follows it does nothing. While somebody does, three threads run:

    listens   hears of each commit, where that is to be heard                 (``postgres/listener.py``)
    tells     reads the end of the feed, once a second at least, and sends it to whom it concerns; asks
              whether keys hold still
    looks     sends what a client did not take at once, heartbeats and farewells; notices who has gone

A client costs neither thread nor request: some hundred bytes and a socket. All that is sent goes straight to
the kernel, and what that does not take waits, shared by all who wait for the same. Who has not read it is
sent nothing more, but from what is kept once it has; who is so slow that it is kept no more, or stands still,
is cut. It resumes where it was, and is told what it has missed.

Whoever begins reads by itself what is behind it, up to where the hub keeps what it has told. Then it joins:
the hub adds the rest, and from there on it is one of an audience. Both go by the numbers of the committed
order, so nothing comes twice and nothing is missed in between.
"""

import heapq
import itertools
import random
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from harbor_api.database import Database
from harbor_api.domain.api_keys import Caller
from harbor_api.domain.errors import HarborError, KeyExpired, KeyInvalid, KeyRevoked
from harbor_api.domain.feed import Expired
from harbor_api.domain.times import rfc3339
from harbor_api.live import frames
from harbor_api.live.audiences import SLOW, Audience, Follower, Rate, Scope, Subscription
from harbor_api.live.fleet import LiveFleet
from harbor_api.live.following import resolve
from harbor_api.live.fragments import Fragment, Picture
from harbor_api.live.kinds import Kind
from harbor_api.live.seats import Seats
from harbor_api.live.shared_stretches import SharedStretches
from harbor_api.live.tails import CHUNK, TOLD_AT_ONCE, FeedReader, Item, Stretch, Tail
from harbor_api.postgres.tables import FLEET_ORDER_CHANNEL
from harbor_api.settings import Settings

HEARTBEAT_S = 20
SCOPE = "vessels:read"
# How long at least lies between two readings, so that many commits are told at once.
_TICK_S = 0.04
_LOOK_EVERY_S = 1.0
# A key that is revoked is to be noticed within five seconds.
_KEYS_EVERY_S = 3.0
_MOST_KEYS = 1_000
# For how long all stays ready once nobody follows: who reconnects comes back soon.
_IDLE_S = 5.0
# What may be left to tell to somebody who joins, in bytes of what is kept, and in numbers of what is not yet.
_MOST_BEHIND, _NEAR = 32 * 1024, CHUNK
# A part of the clients is looked at each tick, each of them once in so many.
_TICKS_A_ROUND = 50
# For how long a client may read nothing while there is something.
_PATIENCE_S = 30.0
# How long a client that is told farewell may take to read that where the worker ends.
_FAREWELL_S = 5.0
_RATES_EVERY_S = 0.25
# After so many clients others get a turn.
_SENT_IN_A_ROW = 500
# A farewell to many takes a while, so that not all come back at once.
_FAREWELLS_A_SECOND = 200
_MOST_FAREWELL_S = 10.0
# Long polls that a key may have waiting at once, and all together: each keeps its request.
WAITS_OF_A_KEY, _MOST_WAITS = 8, 1_000

# What is sent to who waits and is to look whether there is something: what it is told does not matter.
_LOOK = b" "

Recognise = Callable[[Sequence[bytes]], list[Caller | KeyInvalid | KeyRevoked]]

log = structlog.get_logger(__name__)


class _Run:
    """One time in which somebody follows."""

    def __init__(self) -> None:
        self.is_over = False


class Hub:
    """All who follow at this worker."""

    def __init__(
        self,
        database: Database,
        fleet: LiveFleet,
        settings: Settings,
        *,
        cursor_key: bytes,
        item_key: bytes,
        recognise: Recognise,
    ) -> None:
        """Read from a database; ``recognise`` says whose keys have some hashes, or why they hold no more."""
        self.streams = Seats(
            "streams", kind="stream", most=settings.streams, most_of_a_key=settings.streams_per_key
        )
        self.waits = Seats(
            "requests that wait", kind="long_poll", most=_MOST_WAITS, most_of_a_key=WAITS_OF_A_KEY
        )
        self.is_ending = False
        self._fleet = fleet
        self._recognise = recognise
        self._stream_s = settings.stream_s
        self._reader = FeedReader(
            database,
            cursor_key=cursor_key,
            item_key=item_key,
            future_tolerance=timedelta(seconds=settings.future_tolerance_s),
        )
        self._shared = SharedStretches(self._reader)
        # Whoever catches up must leave connections to those who send fixes.
        self._places = threading.BoundedSemaphore(max(1, settings.database_pool // 2))
        self._listener = database.listener(FLEET_ORDER_CHANNEL, self._hear)
        self._news = threading.Event()
        self._has_heard = False
        self._lock = threading.RLock()
        self._run: _Run | None = None
        self._idle_since = 0.0
        self._tails: dict[Kind, Tail] = {}
        self._audiences: dict[Hashable, Audience] = {}
        # Who follows with which key, as it was presented.
        self._holders: dict[bytes, set[Follower]] = {}
        self._followers: dict[Follower, int] = {}
        self._rounds: list[set[Follower]] = [set() for _ in range(_TICKS_A_ROUND)]
        self._numbers = itertools.count()
        self._due: list[tuple[float, int, Follower]] = []
        self._blocked: set[Follower] = set()
        self._rated: set[Audience] = set()
        self._rated_at = self._keys_at = 0.0
        self._end_by = 0.0
        self._newest_of: tuple[Picture, str] | None = None
        self._is_troubled = False

    def __len__(self) -> int:
        """Return how many follow."""
        return len(self._followers)

    def stalled_s(self) -> float:
        """Return for how long the slowest client has read nothing of what it was sent."""
        now = time.monotonic()
        return max((now - each.moved_at for each in [*self._blocked]), default=0.0)

    def lag_s(self) -> float:
        """Return for how long the feed was not read for those who follow, 0 where nobody does."""
        now = time.monotonic()
        return max(
            (now - each.read_at for each in [*self._tails.values()] if each.audiences and each.read_at),
            default=0.0,
        )

    # --- whoever begins to follow, in its own thread ---

    def ends_at(self) -> float:
        """Return when a stream that begins now is to be ended, by ``time.monotonic``."""
        return time.monotonic() + self._stream_s * random.uniform(0.9, 1.1)  # noqa: S311 - no secret

    def token(self, number: int) -> str:
        """Return what stands for a number in all cursors."""
        return self._reader.token(number)

    def moment_at(self, subscription: Subscription, number: int) -> datetime | None:
        """Return PostgreSQL's time where all is there still that came behind a number, None where not.

        Then the number is one of the order that is followed.
        """
        with self._lock:
            tail = self._tails.get(Kind.of(subscription.viewer))
            if tail is None or tail.moment is None or not tail.low <= number <= tail.number:
                return None
            return tail.moment + timedelta(seconds=max(0.0, time.monotonic() - tail.read_at))

    def catch_up(self, subscription: Subscription, number: int) -> Stretch:
        """Return what comes next behind a number: from what is kept, or else from the database.

        Expired where a part of it was removed, and Unavailable.
        """
        kind = Kind.of(subscription.viewer)
        stretch = self._kept_behind(kind, number)
        if stretch is None:
            # One of all reads there, so it takes no place from those who read for themselves.
            stretch = self._shared.behind(kind, number)
        if stretch is not None:
            scope = self.scope(subscription)
            if scope.number is None or scope.number >= stretch.next:
                audience = Audience(subscription, scope)
                return replace(stretch, items=[each for each in stretch.items if audience.asks_for(each)])
        with self._places:
            viewer = subscription.viewer
            found = resolve(self._fleet, viewer, subscription.search)
            return self._reader.read(viewer, number, found.following, number=found.number)

    def _kept_behind(self, kind: Kind, number: int) -> Stretch | None:
        """Return what a tail has behind a number, None where it does not reach back as far."""
        with self._lock:
            tail = self._tails.get(kind)
            if tail is None or tail.moment is None or not tail.low <= number < tail.number:
                return None
            items = tail.after(number, most=CHUNK)
            end = items[-1].number if len(items) == CHUNK else tail.number
            return Stretch(items, end, tail.moment, tail.bound)

    def scope(self, subscription: Subscription) -> Scope:
        """Return which vessels a subscription comes to now; Unavailable."""
        viewer, search = subscription.viewer, subscription.search
        ids, number = search.vessel_ids, None
        if subscription.needs_fleet:
            found = resolve(self._fleet, viewer, search)
            ids, number = found.following.vessel_ids, found.number
        if not viewer.all_vessels:
            granted = self._fleet.read(viewer).granted
            may_see = frozenset(() if granted is None else granted.ids)
            ids = may_see if ids is None else ids & may_see
        return Scope(ids, number)

    def newest(self, subscription: Subscription, scope: Scope) -> str:
        """Return when the newest was received of what a subscription shows, as text; or empty."""
        picture = self._fleet.read(subscription.viewer).picture
        box = subscription.search.box
        is_whole = scope.ids is None and box is None
        if is_whole and self._newest_of is not None and self._newest_of[0] is picture:
            return self._newest_of[1]
        found: Iterable[Fragment | None] = picture if scope.ids is None else map(picture.get, scope.ids)
        times = [
            each.received_at
            for each in found
            if each is not None
            and each.received_at is not None
            and each.lat is not None
            and each.lon is not None
            and (box is None or box.holds(each.lat, each.lon))
        ]
        newest = rfc3339(max(times)) if times else ""
        if is_whole:
            # Of a large fleet all are looked at for it.
            self._newest_of = picture, newest
        return newest

    def join(
        self, follower: Follower, subscription: Subscription, number: int, *, rate: Rate | None = None
    ) -> bool:
        """Let somebody follow who has been told all up to a number, unless it is too far behind yet.

        Of what was told, ``rate`` holds what has to wait. From then on the follower, its sink and its seat
        are the hub's. Unavailable.
        """
        kind = Kind.of(subscription.viewer)
        # Those who are told at a rate of their own are each by themselves.
        name = (subscription.tag, kind, id(follower) if rate is not None else 0)
        scope = self.scope(subscription)
        known, newest = self._audiences.get(name), ""
        # Those who only wait are told of no newest.
        is_noted = known is not None and known.newest and not _is_outdated(known, subscription)
        if not is_noted and (follower.is_stream or known is not None):
            newest = self.newest(subscription, scope)
        bound = None if kind in self._tails else self._reader.bound(kind.viewer)
        with self._lock:
            if self.is_ending:
                return False
            tail = self._tails.get(kind)
            if tail is None:
                if bound is None:
                    return False
                tail = self._tails[kind] = Tail(kind, bound)
                self._news.set()
            if tail.bound - max(tail.number, number) > _NEAR:
                # It is told more in a moment than many read: who reads for itself is waited for.
                return False
            if number < tail.low or (scope.number is not None and tail.number > max(scope.number, number)):
                return False
            audience = self._audiences.get(name) or Audience(
                subscription, scope, name=name, newest=newest, rate=rate
            )
            if _is_outdated(audience, subscription):
                # Its key was granted something, say, and nobody has looked since.
                self._look_anew(audience, subscription, scope, newest)
            elif scope.number is not None and scope.number > audience.number:
                self._place_anew(tail, audience, scope)
            audience.newest = max(audience.newest, newest)
            rest = [each for each in tail.after(number) if audience.asks_for(each)]
            if sum(len(each.piece) for each in rest) > _MOST_BEHIND:
                return False
            self._admit(follower, audience, tail, subscription)
            follower.ahead = number if number > tail.number else None
            if rest:
                self._tell(audience, rest, tail, [follower])
            self._begin()
        return True

    def leave(self, follower: Follower) -> None:
        """Let somebody go who wants to be told no more."""
        with self._lock:
            # One that has not joined is nobody's.
            if follower.audience is not None and not follower.is_over:
                self._drop(follower, "left")

    def _admit(self, follower: Follower, audience: Audience, tail: Tail, subscription: Subscription) -> None:
        follower.open()
        if audience.name not in self._audiences:
            self._audiences[audience.name] = audience
            tail.place(audience)
            tail.idle_since = None
            if audience.rate is not None:
                self._rated.add(audience)
        follower.audience = audience
        # It may be the secret before a rotation, or the one after it.
        follower.key_hash = subscription.key_hash
        audience.followers.add(follower)
        self._holders.setdefault(subscription.key_hash, set()).add(follower)
        number = self._followers[follower] = next(self._numbers)
        self._rounds[number % _TICKS_A_ROUND].add(follower)
        if follower.is_stream:
            # The first one after a part of the time, so that not all are told at once.
            first = time.monotonic() + HEARTBEAT_S * random.random()  # noqa: S311 - no secret
            heapq.heappush(self._due, (min(first, follower.ends_at), number, follower))

    def _begin(self) -> None:
        if self._run is not None:
            return
        run = self._run = _Run()
        self._keys_at = time.monotonic()
        works = {"tells": self._tell_all, "looks": self._look}
        if self._listener is not None:
            works["listens"] = self._listen
        for name, work in works.items():
            threading.Thread(target=work, args=(run,), name=f"hub-{name}", daemon=True).start()

    # --- the end ---

    def end(self) -> None:
        """Say farewell to all, in their turn: the worker is told to end. Waits for nothing and nobody."""
        self.is_ending = True
        self._news.set()

    def wait_for_end(self, seconds: float) -> None:
        """Wait until all have been told farewell, but no longer than so many seconds."""
        deadline = time.monotonic() + seconds
        # Those who are slow have yet to read theirs.
        while (self._followers or self._blocked) and time.monotonic() < deadline:
            time.sleep(_TICK_S)

    # --- what is heard ---

    def _hear(self) -> None:
        self._has_heard = True
        self._news.set()

    def _listen(self, run: _Run) -> None:
        assert self._listener is not None
        self._listener.listen(lambda: not run.is_over)

    # --- what is told ---

    def _tell_all(self, run: _Run) -> None:
        while not run.is_over:
            self._news.wait(self._patience())
            self._news.clear()
            began = time.monotonic()
            has_heard, self._has_heard = self._has_heard, False
            try:
                self._round(began, has_heard=has_heard)
            except Exception as error:
                self._note_trouble(error)
                time.sleep(_LOOK_EVERY_S)
            else:
                self._is_troubled = False
            self._rest_if_idle(run)
            time.sleep(max(0.0, _TICK_S - (time.monotonic() - began)))

    def _patience(self) -> float:
        now = time.monotonic()
        return max(0.0, min((each.due_at - now for each in self._tails.values()), default=_LOOK_EVERY_S))

    def _note_trouble(self, error: Exception) -> None:
        if isinstance(error, HarborError):
            if not self._is_troubled:
                log.warning("hub_waits", cause=getattr(error, "cause", None) or error.detail)
        else:
            log.error("hub_failed", exc_info=error)
        self._is_troubled = True

    def _round(self, now: float, *, has_heard: bool) -> None:
        if now - self._keys_at >= _KEYS_EVERY_S:
            self._ask_for_keys()
            self._keys_at = now
        for tail in list(self._tails.values()):
            if now >= tail.due_at or (has_heard and not tail.kind.delay_s):
                self._advance(tail)

    def _advance(self, tail: Tail) -> None:
        """Read what has come behind a tail, and tell whom it concerns."""
        has_more = True
        while has_more:
            try:
                stretch = self._reader.read(tail.kind.viewer, tail.number, most=TOLD_AT_ONCE)
            except Expired as error:
                self._reset(tail, error)
                return
            edited = None
            while not self._take_in(tail, stretch, edited):
                edited = self._find_anew(tail, edited)
            has_more = stretch.has_more

    def _take_in(self, tail: Tail, stretch: Stretch, edited: int | None) -> bool:
        """Let a tail go on by a stretch, and return whether it did.

        Not before it is known of all who follow vessels by what they are which these are, up to the change
        ``edited``: one in the stretch may be new, and somebody may have joined who knows nothing of her.
        """
        with self._lock:
            has_moved = stretch.next > tail.number
            if has_moved and any(edited is None or each.number < edited for each in tail.asking):
                return False
            tail.extend(stretch, tails=len(self._tails))
            tail.read_at = time.monotonic()
            if not stretch.has_more:
                tail.moment = stretch.moment
            later = _LOOK_EVERY_S
            if stretch.more_at is not None:
                later = max(_TICK_S, (stretch.more_at - stretch.moment).total_seconds())
            tail.due_at = tail.read_at + later
            self._deliver(tail, stretch.items)
        return True

    def _find_anew(self, tail: Tail, edited: int | None) -> int:
        """Find who follows which vessels by what they are, and return up to which change that holds."""
        if edited is None:
            edited = self._reader.edited()
        with self._lock:
            outdated = [each for each in tail.asking if each.number < edited]
        for audience in outdated:
            subscription = audience.subscription
            ids, number = self.scope(subscription)
            with self._lock:
                # Who has joined meanwhile may have brought another one, with what the key may see by now.
                if audience.subscription is subscription:
                    self._place_anew(tail, audience, Scope(ids, max(edited, number or 0)))
        return edited

    def _place_anew(self, tail: Tail, audience: Audience, scope: Scope) -> None:
        audience.number = max(audience.number, scope.number or 0)
        if audience in tail.audiences and scope.ids != audience.ids:
            tail.displace(audience)
            audience.ids = scope.ids
            tail.place(audience)
            for each in [*audience.followers]:
                if not each.is_stream:
                    # Something may have come already of what it waits for by now.
                    self._send(each, _LOOK)

    def _deliver(self, tail: Tail, items: Sequence[Item]) -> None:
        if not items:
            return
        theirs: dict[Audience, list[Item]] = {}
        for each in items:
            for audience in tail.by_vessel.get(each.vessel_id, ()):
                theirs.setdefault(audience, []).append(each)
        for audience in [*tail.of_all]:
            theirs[audience] = [*items]
        sent = 0
        for audience, found in theirs.items():
            told = found if audience.box is None else [each for each in found if audience.is_there(each)]
            if told:
                self._tell(audience, told, tail, [*audience.followers])
                sent += len(audience.followers)
            if sent >= _SENT_IN_A_ROW:
                sent = 0
                time.sleep(0)

    def _tell(
        self, audience: Audience, items: Sequence[Item], tail: Tail, followers: Iterable[Follower]
    ) -> None:
        """Tell some of an audience of items that it asks for."""
        audience.note(items)
        if audience.rate is not None:
            audience.rate.add(items)
            self._tell_rated(audience, time.monotonic(), tail)
            return
        parts: dict[bool, bytes] = {}
        for each in followers:
            own, part = items, None
            if each.waiting is not None or each.behind is not None:
                # It is told of it once it has read what it was sent.
                each.behind = items[0].number - 1 if each.behind is None else each.behind
                continue
            if each.ahead is not None:
                own = [item for item in items if item.number > each.ahead]
                each.ahead = None if each.ahead <= tail.number else each.ahead
                if not own:
                    continue
                part = audience.part(own, is_chunked=each.is_chunked)
            else:
                part = parts.get(each.is_chunked)
                if part is None:
                    part = parts[each.is_chunked] = audience.part(items, is_chunked=each.is_chunked)
            self._send(each, part, len(own))

    def _tell_rated(self, audience: Audience, now: float, tail: Tail) -> None:
        if audience.rate is None or any(each.waiting is not None for each in audience.followers):
            return
        # What waits may be of a vessel that the key has been taken meanwhile, or that is another by now.
        items = [each for each in audience.rate.due(now) if audience.asks_for(each)]
        if not items:
            return
        # All that waits is behind the cursor: whoever resumes is told of it.
        token = self.token(audience.rate.told_up_to(tail.number))
        pieces = [frames.moved(each.piece, token) for each in items]
        for follower in [*audience.followers]:
            part = audience.tag.join(frames.joined(pieces, is_chunked=follower.is_chunked))
            self._send(follower, part, len(pieces))

    def _send(self, follower: Follower, part: bytes, many: int = 0) -> None:
        if follower.is_ending or follower.is_over:
            return
        try:
            follower.send(part, many)
        except OSError:
            self._drop(follower, "client_gone")
            return
        if follower.waiting is not None:
            self._blocked.add(follower)

    # --- keys ---

    def _ask_for_keys(self) -> None:
        with self._lock:
            hashes = [*self._holders]
        for begin in range(0, len(hashes), _MOST_KEYS):
            some = hashes[begin : begin + _MOST_KEYS]
            for key_hash, found in zip(some, self._recognise(some), strict=True):
                self._hold(key_hash, found)

    def _hold(self, key_hash: bytes, found: Caller | KeyInvalid | KeyRevoked) -> None:
        """Go on with a key as it is now, or say farewell to all who follow with it."""
        with self._lock:
            # Who has caught up for long began with the key as it was then.
            for each in [*self._holders.get(key_hash, ())]:
                assert each.audience is not None
                reason = farewell(each.audience.subscription.viewer, found)
                if reason is not None:
                    self._say_farewell(each, reason)
            if not isinstance(found, Caller):
                return
            changed = {
                each.audience
                for each in self._holders.get(key_hash, ())
                if each.audience is not None and each.audience.subscription.viewer.version != found.version
            }
        for audience in changed:
            before = audience.subscription
            subscription = replace(before, viewer=found)
            scope = self.scope(subscription)
            newest = self.newest(subscription, scope)
            with self._lock:
                # Who has joined meanwhile may know better.
                if audience.subscription is before:
                    self._look_anew(audience, subscription, scope, newest)

    def _look_anew(self, audience: Audience, subscription: Subscription, scope: Scope, newest: str) -> None:
        """Let an audience be told of what its key may see by now."""
        audience.subscription = subscription
        audience.newest = newest
        tail = self._tails.get(Kind.of(subscription.viewer))
        if tail is not None:
            self._place_anew(tail, audience, scope)

    # --- what is to be looked at ---

    def _look(self, run: _Run) -> None:
        turn = 0
        ending: list[Follower] | None = None
        while not run.is_over:
            time.sleep(_TICK_S)
            turn = (turn + 1) % _TICKS_A_ROUND
            try:
                with self._lock:
                    now = time.monotonic()
                    self._flush(now)
                    self._look_for_gone(turn)
                    self._beat(now)
                    self._let_due(now)
                    if self.is_ending:
                        ending = self._end_some(ending, now)
            except Exception as error:
                log.exception("hub_failed", exc_info=error)

    def _flush(self, now: float) -> None:
        for each in [*self._blocked]:
            try:
                is_done = each.flush(now)
            except OSError:
                self._drop(each, "client_gone")
                continue
            if is_done:
                self._blocked.discard(each)
            if each.is_ending:
                if is_done or now > each.ends_at:
                    self._close(each)
            elif is_done:
                self._tell_rest(each)
            elif now - each.moved_at > _PATIENCE_S or self._is_lost(each):
                self._drop(each, SLOW)

    def _is_lost(self, follower: Follower) -> bool:
        """Return whether what somebody was not told yet is kept no more."""
        return follower.behind is not None and self._tail_of(follower).low > follower.behind

    def _tell_rest(self, follower: Follower) -> None:
        """Tell somebody who has read all that it was sent what has come meanwhile."""
        tail, audience = self._tail_of(follower), follower.audience
        while follower.behind is not None and follower.waiting is None and audience is not None:
            if tail.low > follower.behind:
                self._drop(follower, SLOW)
                return
            items = tail.after(follower.behind, most=TOLD_AT_ONCE)
            follower.behind = items[-1].number if len(items) == TOLD_AT_ONCE else None
            theirs = [each for each in items if audience.asks_for(each)]
            if theirs:
                part = audience.part(theirs, is_chunked=follower.is_chunked)
                self._send(follower, part, len(theirs))

    def _tail_of(self, follower: Follower) -> Tail:
        assert follower.audience is not None
        return self._tails[Kind.of(follower.audience.subscription.viewer)]

    def _look_for_gone(self, turn: int) -> None:
        for each in [*self._rounds[turn]]:
            if each.has_gone():
                self._drop(each, "client_gone")

    def _beat(self, now: float) -> None:
        parts: dict[Audience, bytes] = {}
        while self._due and self._due[0][0] <= now:
            _, number, follower = heapq.heappop(self._due)
            if follower.is_over or follower.is_ending or follower.audience is None:
                continue
            if now >= follower.ends_at:
                self._say_farewell(follower, "rotation")
                continue
            heapq.heappush(self._due, (min(now + HEARTBEAT_S, follower.ends_at), number, follower))
            # One that does not read is not told that all is well.
            if follower.waiting is None and follower.behind is None:
                part = parts.get(follower.audience)
                if follower.ahead is not None:
                    part = self._heartbeat(follower, now)
                elif part is None:
                    part = parts[follower.audience] = self._heartbeat(follower, now)
                self._send(follower, frames.chunk(part) if follower.is_chunked else part)

    def _heartbeat(self, follower: Follower, now: float) -> bytes:
        audience = follower.audience
        assert audience is not None
        tail = self._tail_of(follower)
        moment = tail.moment
        as_of = None if moment is None else rfc3339(moment)
        time_now = None if moment is None else rfc3339(moment + timedelta(seconds=max(0, now - tail.read_at)))
        data = {"now": time_now, "as_of": as_of, "newest_received_at": audience.newest or None}
        return frames.event("heartbeat", data, self._cursor_of(follower))

    def _let_due(self, now: float) -> None:
        if not self._rated or now - self._rated_at < _RATES_EVERY_S:
            return
        self._rated_at = now
        for audience in [*self._rated]:
            tail = self._tails[Kind.of(audience.subscription.viewer)]
            self._tell_rated(audience, now, tail)

    def _end_some(self, ending: list[Follower] | None, now: float) -> list[Follower]:
        if ending is None:
            # Those who only wait are answered, which takes no time.
            ending = sorted(self._followers, key=lambda each: not each.is_stream)
            self._end_by = now + min(_MOST_FAREWELL_S, len(ending) / _FAREWELLS_A_SECOND)
        left = max(1, round((self._end_by - now) / _TICK_S))
        many = -(-len(ending) // left)
        while ending and (many > 0 or not ending[-1].is_stream):
            many -= ending[-1].is_stream
            self._say_farewell(ending.pop(), "shutdown")
        return ending

    # --- farewells ---

    def _reset(self, tail: Tail, error: Expired) -> None:
        """Tell who follows a tail that a part of what comes was removed, or that the order is another.

        Who was told up to there by itself has missed nothing: a key sees so late that all that it comes to
        see was removed.
        """
        with self._lock:
            for audience in [*tail.audiences]:
                oldest = f"{audience.subscription.tag}.{self.token(error.oldest)}"
                part = frames.reset(oldest, error)
                for each in [*audience.followers]:
                    if error.is_unknown or max(tail.number, each.ahead or 0) < error.oldest:
                        self._finish(each, part, "reset")
            if tail.audiences:
                tail.begin_at(error.oldest)
            else:
                self._tails.pop(tail.kind, None)

    def _say_farewell(self, follower: Follower, reason: str) -> None:
        if not follower.is_over and not follower.is_ending:
            self._finish(follower, frames.bye(reason, self._cursor_of(follower)), reason)

    def _cursor_of(self, follower: Follower) -> str:
        """Return from where a follower goes on who is told no more."""
        audience = follower.audience
        assert audience is not None
        number = max(self._tail_of(follower).number, follower.ahead or 0)
        if follower.behind is not None:
            number = follower.behind
        if audience.rate is not None:
            number = audience.rate.told_up_to(number)
        return f"{audience.subscription.tag}.{self.token(number)}"

    def _finish(self, follower: Follower, part: bytes, reason: str) -> None:
        """Tell a follower the last that it is told."""
        self._send(follower, frames.last_chunk(part) if follower.is_chunked else part)
        if follower.is_over:
            return
        self._forget(follower, reason)
        follower.is_ending = True
        if follower.waiting is None:
            self._close(follower)
        else:
            # Behind what it has yet to read.
            follower.ends_at = time.monotonic() + (_FAREWELL_S if self.is_ending else _PATIENCE_S)

    def _drop(self, follower: Follower, reason: str) -> None:
        """Let a follower go without a word to it."""
        if not follower.is_ending:
            self._forget(follower, reason)
        self._close(follower)

    def _close(self, follower: Follower) -> None:
        follower.is_over = True
        self._blocked.discard(follower)
        follower.sink.close()
        follower.seat.leave()

    def _forget(self, follower: Follower, reason: str) -> None:
        """Tell a follower nothing more, and the log why."""
        audience = follower.audience
        assert audience is not None
        number = self._followers.pop(follower)
        self._rounds[number % _TICKS_A_ROUND].discard(follower)
        holders = self._holders[follower.key_hash]
        holders.discard(follower)
        if not holders:
            del self._holders[follower.key_hash]
        audience.followers.discard(follower)
        if not audience.followers:
            del self._audiences[audience.name]
            self._rated.discard(audience)
            tail = self._tails[Kind.of(audience.subscription.viewer)]
            tail.displace(audience)
            if not tail.audiences:
                tail.idle_since = time.monotonic()
        if not self._followers:
            self._idle_since = time.monotonic()
        if follower.is_stream:
            follower.tell_end(reason)

    def _rest_if_idle(self, run: _Run) -> None:
        """Let go of what nobody has followed for a while, and of all where nobody follows any more."""
        now = time.monotonic()
        with self._lock:
            for kind, tail in [*self._tails.items()]:
                if tail.idle_since is not None and now - tail.idle_since > _IDLE_S:
                    del self._tails[kind]
            if not self._followers and not self._blocked and now - self._idle_since > _IDLE_S:
                run.is_over, self._run = True, None
                self._tails.clear()


def _is_outdated(audience: Audience, subscription: Subscription) -> bool:
    """Return whether a subscription is with the key as it is later than an audience knows it."""
    return subscription.viewer.version > audience.subscription.viewer.version


def farewell(before: Caller, found: Caller | KeyInvalid | KeyRevoked) -> str | None:
    """Return why nobody may go on to follow with a key, None where that may be."""
    if isinstance(found, KeyExpired):
        return "key_expired"
    if not isinstance(found, Caller):
        return "key_revoked"
    is_same = Kind.of(found) == Kind.of(before) and SCOPE in found.scopes
    return None if is_same else "key_changed"
