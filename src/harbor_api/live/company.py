"""All who follow at a worker: who is told what, what waits for whom, and how each of them goes.

A client costs neither thread nor request: some hundred bytes and a socket. All that is sent goes straight to
the kernel, and what that does not take waits, shared by all who wait for the same. Who has not read it is
sent nothing more, but from what is kept once it has; who is so slow that it is kept no more, or stands still,
is cut. It resumes where it was, and is told what it has missed.

Several threads meet here (``live/hub.py``): whoever calls anything that changes something holds the ``lock``.
"""

import heapq
import itertools
import random
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import timedelta

from harbor_api.domain.feed import Expired
from harbor_api.domain.times import rfc3339
from harbor_api.live import frames
from harbor_api.live.audiences import SLOW, Audience, Follower, Scope, Subscription
from harbor_api.live.kinds import Kind
from harbor_api.live.tails import TOLD_AT_ONCE, Item, Tail

HEARTBEAT_S = 20
TICK_S = 0.04
"""How long lies between two looks at all who follow."""
# For how long all stays ready once nobody follows: who reconnects comes back soon.
_IDLE_S = 5.0
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
# What is sent to who waits and is to look whether there is something: what it is told does not matter.
_LOOK = b" "


class Company:
    """Who follows with what: a tail of the feed for each kind of key, its audiences, and their followers."""

    def __init__(self, token: Callable[[int], str]) -> None:
        """Have nobody follow yet; ``token`` makes of a number what stands for it in all cursors."""
        self.lock = threading.RLock()
        self.is_ending = False
        self.tails: dict[Kind, Tail] = {}
        self.audiences: dict[Hashable, Audience] = {}
        self.followers: dict[Follower, int] = {}
        # Those who have yet to read what they were sent.
        self.blocked: set[Follower] = set()
        self.idle_since = 0.0
        self._token = token
        # Who follows with which key, as it was presented.
        self._holders: dict[bytes, set[Follower]] = {}
        self._rounds: list[set[Follower]] = [set() for _ in range(_TICKS_A_ROUND)]
        self._turn = 0
        self._numbers = itertools.count()
        self._due: list[tuple[float, int, Follower]] = []
        self._rated: set[Audience] = set()
        self._rated_at = 0.0
        self._ending: list[Follower] | None = None
        self._end_by = 0.0

    def stalled_s(self) -> float:
        """Return for how long the slowest client has read nothing of what it was sent."""
        now = time.monotonic()
        return max((now - each.moved_at for each in [*self.blocked]), default=0.0)

    def lag_s(self) -> float:
        """Return for how long the feed was not read for those who follow, 0 where nobody does."""
        now = time.monotonic()
        return max(
            (now - each.read_at for each in [*self.tails.values()] if each.audiences and each.read_at),
            default=0.0,
        )

    def keys(self) -> list[bytes]:
        """Return the hashes of the keys with which somebody follows."""
        return [*self._holders]

    def holders(self, key_hash: bytes) -> list[Follower]:
        """Return who follows with a key."""
        return [*self._holders.get(key_hash, ())]

    # --- who comes, and what is asked of whom ---

    def admit(self, follower: Follower, audience: Audience, tail: Tail, subscription: Subscription) -> None:
        """Let somebody follow with an audience, which may be new."""
        follower.open()
        if audience.name not in self.audiences:
            self.audiences[audience.name] = audience
            tail.place(audience)
            tail.idle_since = None
            if audience.rate is not None:
                self._rated.add(audience)
        follower.audience = audience
        # It may be the secret before a rotation, or the one after it.
        follower.key_hash = subscription.key_hash
        audience.followers.add(follower)
        self._holders.setdefault(subscription.key_hash, set()).add(follower)
        number = self.followers[follower] = next(self._numbers)
        self._rounds[number % _TICKS_A_ROUND].add(follower)
        if follower.is_stream:
            # The first one after a part of the time, so that not all are told at once.
            first = time.monotonic() + HEARTBEAT_S * random.random()  # noqa: S311 - no secret
            heapq.heappush(self._due, (min(first, follower.ends_at), number, follower))

    def place_anew(self, tail: Tail, audience: Audience, scope: Scope) -> None:
        """Let an audience be told of the vessels that it comes to by now."""
        audience.number = max(audience.number, scope.number or 0)
        if audience in tail.audiences and scope.ids != audience.ids:
            tail.displace(audience)
            audience.ids = scope.ids
            tail.place(audience)
            for each in [*audience.followers]:
                if not each.is_stream:
                    # Something may have come already of what it waits for by now.
                    self._send(each, _LOOK)

    def look_anew(self, audience: Audience, subscription: Subscription, scope: Scope, newest: str) -> None:
        """Let an audience be told of what its key may see by now."""
        audience.subscription = subscription
        audience.newest = newest
        tail = self.tails.get(Kind.of(subscription.viewer))
        if tail is not None:
            self.place_anew(tail, audience, scope)

    # --- what is told ---

    def deliver(self, tail: Tail, items: Sequence[Item]) -> None:
        """Tell whom it concerns what has come behind a tail."""
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
                self.tell(audience, told, tail, [*audience.followers])
                sent += len(audience.followers)
            if sent >= _SENT_IN_A_ROW:
                sent = 0
                time.sleep(0)

    def tell(
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
        token = self._token(audience.rate.told_up_to(tail.number))
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
            self.drop(follower, "client_gone")
            return
        if follower.waiting is not None:
            self.blocked.add(follower)

    # --- what is to be looked at ---

    def look(self, now: float) -> None:
        """Send what a client did not take at once, heartbeats and farewells; notice some who have gone."""
        self._turn = (self._turn + 1) % _TICKS_A_ROUND
        self._flush(now)
        self._look_for_gone()
        self._beat(now)
        self._let_due(now)
        if self.is_ending:
            self._end_some(now)

    def _flush(self, now: float) -> None:
        for each in [*self.blocked]:
            try:
                is_done = each.flush(now)
            except OSError:
                self.drop(each, "client_gone")
                continue
            if is_done:
                self.blocked.discard(each)
            if each.is_ending:
                if is_done or now > each.ends_at:
                    self._close(each)
            elif is_done:
                self._tell_rest(each)
            elif now - each.moved_at > _PATIENCE_S or self._is_lost(each):
                self.drop(each, SLOW)

    def _is_lost(self, follower: Follower) -> bool:
        """Return whether what somebody was not told yet is kept no more."""
        return follower.behind is not None and self._tail_of(follower).low > follower.behind

    def _tell_rest(self, follower: Follower) -> None:
        """Tell somebody who has read all that it was sent what has come meanwhile."""
        tail, audience = self._tail_of(follower), follower.audience
        while follower.behind is not None and follower.waiting is None and audience is not None:
            if tail.low > follower.behind:
                self.drop(follower, SLOW)
                return
            items = tail.after(follower.behind, most=TOLD_AT_ONCE)
            follower.behind = items[-1].number if len(items) == TOLD_AT_ONCE else None
            theirs = [each for each in items if audience.asks_for(each)]
            if theirs:
                part = audience.part(theirs, is_chunked=follower.is_chunked)
                self._send(follower, part, len(theirs))

    def _tail_of(self, follower: Follower) -> Tail:
        assert follower.audience is not None
        return self.tails[Kind.of(follower.audience.subscription.viewer)]

    def _look_for_gone(self) -> None:
        for each in [*self._rounds[self._turn]]:
            if each.has_gone():
                self.drop(each, "client_gone")

    def _beat(self, now: float) -> None:
        parts: dict[Audience, bytes] = {}
        while self._due and self._due[0][0] <= now:
            _, number, follower = heapq.heappop(self._due)
            if follower.is_over or follower.is_ending or follower.audience is None:
                continue
            if now >= follower.ends_at:
                self.say_farewell(follower, "rotation")
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
            tail = self.tails[Kind.of(audience.subscription.viewer)]
            self._tell_rated(audience, now, tail)

    def _end_some(self, now: float) -> None:
        if self._ending is None:
            # Those who only wait are answered, which takes no time.
            self._ending = sorted(self.followers, key=lambda each: not each.is_stream)
            self._end_by = now + min(_MOST_FAREWELL_S, len(self._ending) / _FAREWELLS_A_SECOND)
        left = max(1, round((self._end_by - now) / TICK_S))
        many = -(-len(self._ending) // left)
        while self._ending and (many > 0 or not self._ending[-1].is_stream):
            many -= self._ending[-1].is_stream
            self.say_farewell(self._ending.pop(), "shutdown")

    # --- farewells ---

    def reset(self, tail: Tail, error: Expired) -> None:
        """Tell who follows a tail that a part of what comes was removed, or that the order is another.

        Who was told up to there by itself has missed nothing: a key sees so late that all that it comes to
        see was removed.
        """
        for audience in [*tail.audiences]:
            oldest = f"{audience.subscription.tag}.{self._token(error.oldest)}"
            part = frames.reset(oldest, error)
            for each in [*audience.followers]:
                if error.is_unknown or max(tail.number, each.ahead or 0) < error.oldest:
                    self._finish(each, part, "reset")
        if tail.audiences:
            tail.begin_at(error.oldest)
        else:
            self.tails.pop(tail.kind, None)

    def say_farewell(self, follower: Follower, reason: str) -> None:
        """Let a follower go that is told why, and from where it goes on."""
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
        return f"{audience.subscription.tag}.{self._token(number)}"

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

    def drop(self, follower: Follower, reason: str) -> None:
        """Let a follower go without a word to it."""
        if not follower.is_ending:
            self._forget(follower, reason)
        self._close(follower)

    def _close(self, follower: Follower) -> None:
        follower.is_over = True
        self.blocked.discard(follower)
        follower.sink.close()
        follower.seat.leave()

    def _forget(self, follower: Follower, reason: str) -> None:
        """Tell a follower nothing more, and the log why."""
        audience = follower.audience
        assert audience is not None
        number = self.followers.pop(follower)
        self._rounds[number % _TICKS_A_ROUND].discard(follower)
        holders = self._holders[follower.key_hash]
        holders.discard(follower)
        if not holders:
            del self._holders[follower.key_hash]
        audience.followers.discard(follower)
        if not audience.followers:
            del self.audiences[audience.name]
            self._rated.discard(audience)
            tail = self.tails[Kind.of(audience.subscription.viewer)]
            tail.displace(audience)
            if not tail.audiences:
                tail.idle_since = time.monotonic()
        if not self.followers:
            self.idle_since = time.monotonic()
        if follower.is_stream:
            follower.tell_end(reason)

    def let_rest(self, now: float) -> bool:
        """Let go of tails that nobody has followed for a while; return whether nobody follows anything."""
        for kind, tail in [*self.tails.items()]:
            if tail.idle_since is not None and now - tail.idle_since > _IDLE_S:
                del self.tails[kind]
        if self.followers or self.blocked or now - self.idle_since <= _IDLE_S:
            return False
        self.tails.clear()
        return True
