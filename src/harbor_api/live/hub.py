"""What has happened goes to all who follow: read once a kind of key, rendered once, sent without waiting.

A worker has one hub, and while nobody follows it does nothing. While somebody does, three threads run:

    listens   hears of each commit, where that is to be heard                 (``postgres/listener.py``)
    tells     reads the end of the feed, once a second at least, and sends it to whom it concerns; asks
              whether keys hold still
    looks     sends what a client did not take at once, heartbeats and farewells; notices who has gone

Whoever begins reads by itself what is behind it, up to where the hub keeps what it has told. Then it joins:
the hub adds the rest, and from there on it is one of an audience. Both go by the numbers of the committed
order, so nothing comes twice and nothing is missed in between.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from harbor_api.database import Database
from harbor_api.domain.api_keys import Caller
from harbor_api.domain.errors import HarborError, KeyExpired, KeyInvalid, KeyRevoked
from harbor_api.domain.feed import Expired
from harbor_api.live.audiences import Audience, Follower, Rate, Scope, Subscription
from harbor_api.live.company import TICK_S, Company
from harbor_api.live.fleet import LiveFleet
from harbor_api.live.following import Scopes, resolve
from harbor_api.live.kinds import Kind
from harbor_api.live.seats import Seats
from harbor_api.live.shared_stretches import SharedStretches
from harbor_api.live.tails import CHUNK, TOLD_AT_ONCE, FeedReader, Stretch, Tail
from harbor_api.postgres.tables import FLEET_ORDER_CHANNEL
from harbor_api.settings import Settings

SCOPE = "vessels:read"
_LOOK_EVERY_S = 1.0
# A key that is revoked is to be noticed within five seconds.
_KEYS_EVERY_S = 3.0
_MOST_KEYS = 1_000
# What may be left to tell to somebody who joins, in bytes of what is kept, and in numbers of what is not yet.
_MOST_BEHIND, _NEAR = 32 * 1024, CHUNK
# Long polls that a key may have waiting at once, and all together: each keeps its request.
WAITS_OF_A_KEY, _MOST_WAITS = 8, 1_000

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
        self._company = Company(self._reader.token)
        self._scopes = Scopes(fleet)
        self._run: _Run | None = None
        self._keys_at = 0.0
        self._is_troubled = False

    def __len__(self) -> int:
        """Return how many follow."""
        return len(self._company.followers)

    @property
    def is_ending(self) -> bool:
        """Whether the worker is told to end: nobody joins any more."""
        return self._company.is_ending

    def stalled_s(self) -> float:
        """Return for how long the slowest client has read nothing of what it was sent."""
        return self._company.stalled_s()

    def lag_s(self) -> float:
        """Return for how long the feed was not read for those who follow, 0 where nobody does."""
        return self._company.lag_s()

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
        with self._company.lock:
            tail = self._company.tails.get(Kind.of(subscription.viewer))
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
            scope = self._scopes.find(subscription)
            if scope.number is None or scope.number >= stretch.next:
                audience = Audience(subscription, scope)
                return replace(stretch, items=[each for each in stretch.items if audience.asks_for(each)])
        with self._places:
            viewer = subscription.viewer
            found = resolve(self._fleet, viewer, subscription.search)
            return self._reader.read(viewer, number, found.following, number=found.number)

    def _kept_behind(self, kind: Kind, number: int) -> Stretch | None:
        """Return what a tail has behind a number, None where it does not reach back as far."""
        with self._company.lock:
            tail = self._company.tails.get(kind)
            if tail is None or tail.moment is None or not tail.low <= number < tail.number:
                return None
            items = tail.after(number, most=CHUNK)
            end = items[-1].number if len(items) == CHUNK else tail.number
            return Stretch(items, end, tail.moment, tail.bound)

    def scope(self, subscription: Subscription) -> Scope:
        """Return which vessels a subscription comes to now; Unavailable."""
        return self._scopes.find(subscription)

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
        scope = self._scopes.find(subscription)
        known, newest = self._company.audiences.get(name), ""
        # Those who only wait are told of no newest.
        is_noted = known is not None and known.newest and not _is_outdated(known, subscription)
        if not is_noted and (follower.is_stream or known is not None):
            newest = self._scopes.newest(subscription, scope)
        bound = None if kind in self._company.tails else self._reader.bound(kind.viewer)
        with self._company.lock:
            if self._company.is_ending:
                return False
            tail = self._company.tails.get(kind)
            if tail is None:
                if bound is None:
                    return False
                tail = self._company.tails[kind] = Tail(kind, bound)
                self._news.set()
            if tail.bound - max(tail.number, number) > _NEAR:
                # It is told more in a moment than many read: who reads for itself is waited for.
                return False
            if number < tail.low or (scope.number is not None and tail.number > max(scope.number, number)):
                return False
            audience = self._company.audiences.get(name) or Audience(
                subscription, scope, name=name, newest=newest, rate=rate
            )
            if _is_outdated(audience, subscription):
                # Its key was granted something, say, and nobody has looked since.
                self._company.look_anew(audience, subscription, scope, newest)
            elif scope.number is not None and scope.number > audience.number:
                self._company.place_anew(tail, audience, scope)
            audience.newest = max(audience.newest, newest)
            rest = [each for each in tail.after(number) if audience.asks_for(each)]
            if sum(len(each.piece) for each in rest) > _MOST_BEHIND:
                return False
            self._company.admit(follower, audience, tail, subscription)
            follower.ahead = number if number > tail.number else None
            if rest:
                self._company.tell(audience, rest, tail, [follower])
            self._begin()
        return True

    def leave(self, follower: Follower) -> None:
        """Let somebody go who wants to be told no more."""
        with self._company.lock:
            # One that has not joined is nobody's.
            if follower.audience is not None and not follower.is_over:
                self._company.drop(follower, "left")

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
        self._company.is_ending = True
        self._news.set()

    def wait_for_end(self, seconds: float) -> None:
        """Wait until all have been told farewell, but no longer than so many seconds."""
        deadline = time.monotonic() + seconds
        # Those who are slow have yet to read theirs.
        while (self._company.followers or self._company.blocked) and time.monotonic() < deadline:
            time.sleep(TICK_S)

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
            time.sleep(max(0.0, TICK_S - (time.monotonic() - began)))

    def _patience(self) -> float:
        now = time.monotonic()
        return max(
            0.0, min((each.due_at - now for each in self._company.tails.values()), default=_LOOK_EVERY_S)
        )

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
        for tail in list(self._company.tails.values()):
            if now >= tail.due_at or (has_heard and not tail.kind.delay_s):
                self._advance(tail)

    def _advance(self, tail: Tail) -> None:
        """Read what has come behind a tail, and tell whom it concerns."""
        has_more = True
        while has_more:
            try:
                stretch = self._reader.read(tail.kind.viewer, tail.number, most=TOLD_AT_ONCE)
            except Expired as error:
                with self._company.lock:
                    self._company.reset(tail, error)
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
        with self._company.lock:
            has_moved = stretch.next > tail.number
            if has_moved and any(edited is None or each.number < edited for each in tail.asking):
                return False
            tail.extend(stretch, tails=len(self._company.tails))
            tail.read_at = time.monotonic()
            if not stretch.has_more:
                tail.moment = stretch.moment
            later = _LOOK_EVERY_S
            if stretch.more_at is not None:
                later = max(TICK_S, (stretch.more_at - stretch.moment).total_seconds())
            tail.due_at = tail.read_at + later
            self._company.deliver(tail, stretch.items)
        return True

    def _find_anew(self, tail: Tail, edited: int | None) -> int:
        """Find who follows which vessels by what they are, and return up to which change that holds."""
        if edited is None:
            edited = self._reader.edited()
        with self._company.lock:
            outdated = [each for each in tail.asking if each.number < edited]
        for audience in outdated:
            subscription = audience.subscription
            ids, number = self._scopes.find(subscription)
            with self._company.lock:
                # Who has joined meanwhile may have brought another one, with what the key may see by now.
                if audience.subscription is subscription:
                    self._company.place_anew(tail, audience, Scope(ids, max(edited, number or 0)))
        return edited

    # --- keys ---

    def _ask_for_keys(self) -> None:
        with self._company.lock:
            hashes = self._company.keys()
        for begin in range(0, len(hashes), _MOST_KEYS):
            some = hashes[begin : begin + _MOST_KEYS]
            for key_hash, found in zip(some, self._recognise(some), strict=True):
                self._hold(key_hash, found)

    def _hold(self, key_hash: bytes, found: Caller | KeyInvalid | KeyRevoked) -> None:
        """Go on with a key as it is now, or say farewell to all who follow with it."""
        with self._company.lock:
            # Who has caught up for long began with the key as it was then.
            for each in self._company.holders(key_hash):
                assert each.audience is not None
                reason = farewell(each.audience.subscription.viewer, found)
                if reason is not None:
                    self._company.say_farewell(each, reason)
            if not isinstance(found, Caller):
                return
            changed = {
                each.audience
                for each in self._company.holders(key_hash)
                if each.audience is not None and each.audience.subscription.viewer.version != found.version
            }
        for audience in changed:
            before = audience.subscription
            subscription = replace(before, viewer=found)
            scope = self._scopes.find(subscription)
            newest = self._scopes.newest(subscription, scope)
            with self._company.lock:
                # Who has joined meanwhile may know better.
                if audience.subscription is before:
                    self._company.look_anew(audience, subscription, scope, newest)

    # --- what is to be looked at ---

    def _look(self, run: _Run) -> None:
        while not run.is_over:
            time.sleep(TICK_S)
            try:
                with self._company.lock:
                    self._company.look(time.monotonic())
            except Exception as error:
                log.exception("hub_failed", exc_info=error)

    def _rest_if_idle(self, run: _Run) -> None:
        """Let go of what nobody has followed for a while, and of all where nobody follows any more."""
        with self._company.lock:
            if self._company.let_rest(time.monotonic()):
                run.is_over, self._run = True, None


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
