"""When each caller's requests of the last minute were: in the memory of this process, or in Redis for all.

Only a log of all of them holds what is promised: in no sixty seconds more than the limit, and nobody is
refused who keeps to it. Two counters for each caller, one for this minute and one for the last, let 67 of
60 through.

    in Redis      its own clock counts, as those of the hosts that share it differ; one script does it, so
                  that no other worker comes between
    in memory     a clock that nobody sets; the limits library's own storage starts a thread to sweep all
                  callers, which is a third of what a fix costs

A window is half open: what is let through counts for sixty seconds, and a place is free exactly then. All
times are whole microseconds, which a script in Redis holds without loss.

What is counted is tenths. A request is let through where there is room for a whole one, which it takes; where
it turns out to have been a cheap one, nine tenths are given back, at the very time at which it was let
through. So whoever is let through is so for good, and who asks cheaply asks ten times as often.

Both are storages of the limits library, and are asked past its strategies: those ask twice for each request,
and can give nothing back.
"""

import threading
import time
from abc import abstractmethod
from collections import deque
from itertools import islice
from typing import Any, NamedTuple

import redis
from limits.storage import Storage
from redis.backoff import NoBackoff
from redis.retry import Retry

PROCESS = "process://"
# What stands before a Redis URL.
REDIS = "log+"
WINDOW_S = 60
# What a request takes, in tenths, and what one that was cheap keeps.
WHOLE, CHEAP = 10, 1
SECOND = 1_000_000
_WINDOW = WINDOW_S * SECOND
_REDIS_TIMEOUT_S = 0.5
# An entry is a time and what is taken there, in its last bits.
_COST_BITS = 4
_COST = (1 << _COST_BITS) - 1
# Whoever is counted first takes so many away whose requests are over: who has many callers sweeps no more
# than others.
_MOST_FORGOTTEN = 4
# Counts a request, gives nine tenths of one back, or only looks; returns whether there is, or was, room for a
# whole one, the tenths that are left, after how long one more whole request is free, and the time. Whole ones
# and cheap ones have a list each, in order of time. A log from after now is from before the clock was set
# back, and worth nothing.
_SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local limit, window, counts, back = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1', ARGV[4]
local wholes, cheaps = KEYS[1], KEYS[2]

local function many(log)
    local newest = redis.call('LINDEX', log, -1)
    if newest and tonumber(newest) > now then
        redis.call('DEL', log)
    end
    local oldest = redis.call('LINDEX', log, 0)
    while oldest and tonumber(oldest) <= now - window do
        redis.call('LPOP', log)
        oldest = redis.call('LINDEX', log, 0)
    end
    return redis.call('LLEN', log)
end

local function note(log, at)
    local later = {}
    local last = redis.call('RPOP', log)
    while last and tonumber(last) > tonumber(at) do
        later[#later + 1] = last
        last = redis.call('RPOP', log)
    end
    if last then
        redis.call('RPUSH', log, last)
    end
    redis.call('RPUSH', log, at)
    for i = #later, 1, -1 do
        redis.call('RPUSH', log, later[i])
    end
    redis.call('PEXPIRE', log, window / 1000 + 1)
end

local used = many(wholes) * 10 + many(cheaps)
local is_within = used + 10 <= limit
if counts and is_within then
    note(wholes, string.format('%.0f', now))
    used = used + 10
end
if back ~= '' and redis.call('LREM', wholes, -1, back) == 1 then
    note(cheaps, back)
    used = used - 9
end
local free_at = redis.call('LINDEX', cheaps, 9 - (limit - used) % 10)
local oldest = redis.call('LINDEX', wholes, 0)
if oldest and (not free_at or tonumber(oldest) < tonumber(free_at)) then
    free_at = oldest
end
return {is_within and 1 or 0, limit - used, (free_at or now) + window - now, now}
"""


class Window(NamedTuple):
    """What a log says of a caller. Times are microseconds of its own clock.

    ``is_within`` tells whether there was room for a whole request. ``left`` is in tenths; after ``free_in``
    there is room for one more whole request than now.
    """

    is_within: bool
    left: int
    free_in: int
    now: int


class RequestLog(Storage):
    """What both have in common."""

    @abstractmethod
    def ask(self, key: str, limit: int, *, counts: bool = False, back: int | None = None) -> Window:
        """Tell what is left of a limit, in requests a minute.

        With ``counts`` a request is noted first, at ``now``, where there is room for a whole one. ``back`` is
        when one was noted that has turned out to be cheap; where none is known nothing is given back.
        """

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Refuse: the library's fixed windows are not kept here."""
        raise NotImplementedError

    def get(self, key: str) -> int:
        """Refuse, as with ``incr``."""
        raise NotImplementedError

    def get_expiry(self, key: str) -> float:
        """Refuse, as with ``incr``."""
        raise NotImplementedError


class _Entries:
    """A caller's requests that count still, in their order, and the tenths that they take together."""

    __slots__ = ("entries", "used")

    def __init__(self) -> None:
        self.entries: deque[int] = deque()
        self.used = 0

    def note(self, now: int) -> None:
        self.entries.append(now << _COST_BITS | WHOLE)
        self.used += WHOLE

    def make_cheap(self, at: int) -> None:
        noted = at << _COST_BITS | WHOLE
        # It is among the last: what came since then is under way, or was a moment ago.
        for place in range(-1, -len(self.entries) - 1, -1):
            if self.entries[place] == noted:
                self.entries[place] += CHEAP - WHOLE
                self.used += CHEAP - WHOLE
                return
            if self.entries[place] < at << _COST_BITS:
                return

    def forget(self, since: int) -> None:
        while self.entries and self.entries[0] >> _COST_BITS <= since:
            self.used -= self.entries.popleft() & _COST

    def told(self, limit: int, now: int, *, is_within: bool) -> Window:
        left = limit * WHOLE - self.used
        missing = WHOLE - left % WHOLE
        free_at = now
        for entry in self.entries:
            free_at = entry >> _COST_BITS
            missing -= entry & _COST
            if missing <= 0:
                break
        return Window(is_within, left, free_at + _WINDOW - now, now)


class ProcessLog(RequestLog):
    """The requests that this process has let through."""

    STORAGE_SCHEME = [PROCESS.removesuffix("://")]

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: Any) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions, **options)
        self._lock = threading.Lock()
        # In the order of their newest request: whoever is first has been silent for longest.
        self._callers: dict[str, _Entries] = {}

    def ask(self, key: str, limit: int, *, counts: bool = False, back: int | None = None) -> Window:
        """Tell what is left, and note what is to be noted."""
        with self._lock:
            now = _now()
            caller = self._counting(key, now)
            is_within = caller.used + WHOLE <= limit * WHOLE
            if counts and is_within:
                caller.note(now)
                # It goes to the end.
                self._callers.pop(key, None)
                self._callers[key] = caller
            if back is not None:
                caller.make_cheap(back)
            return caller.told(limit, now, is_within=is_within)

    def check(self) -> bool:
        """Return whether it can count, which it always can."""
        return True

    def reset(self) -> int | None:
        """Forget all, and return how many callers that were."""
        many = len(self._callers)
        self._callers.clear()
        return many

    def clear(self, key: str) -> None:
        """Forget a caller."""
        self._callers.pop(key, None)

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        """Return what it may raise: nothing."""
        return ()

    def _counting(self, key: str, now: int) -> _Entries:
        """Return what counts still of a caller's requests."""
        since = now - _WINDOW
        caller = self._callers.get(key)
        if caller is None:
            self._forget_some(since)
            return _Entries()
        caller.forget(since)
        return caller

    def _forget_some(self, since: int) -> None:
        for key in [*islice(self._callers, _MOST_FORGOTTEN)]:
            entries = self._callers[key].entries
            if entries and entries[-1] >> _COST_BITS > since:
                return
            del self._callers[key]


class RedisLog(RequestLog):
    """The requests that all who share a Redis have let through."""

    STORAGE_SCHEME = [REDIS + scheme for scheme in ("redis", "rediss", "unix")]

    def __init__(self, uri: str, wrap_exceptions: bool = False, **options: Any) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions, **options)
        # A Redis that hangs must not hang the service: half a second, and no second try.
        self._client = redis.Redis.from_url(
            uri.removeprefix(REDIS),
            socket_connect_timeout=_REDIS_TIMEOUT_S,
            socket_timeout=_REDIS_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._script = self._client.register_script(_SCRIPT)

    def ask(self, key: str, limit: int, *, counts: bool = False, back: int | None = None) -> Window:
        """Tell what is left, and note what is to be noted."""
        is_within, *told = self._script(
            _lists(key), [limit * WHOLE, _WINDOW, int(counts), "" if back is None else back]
        )
        return Window(bool(is_within), *told)

    def check(self) -> bool:
        """Return whether Redis answers."""
        try:
            return bool(self._client.ping())
        except redis.RedisError:
            return False

    def reset(self) -> int | None:
        """Forget nothing: it is not this process's alone."""
        return None

    def clear(self, key: str) -> None:
        """Forget a caller."""
        self._client.delete(*_lists(key))

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        """Return what it may raise."""
        return redis.RedisError


def _lists(key: str) -> list[str]:
    """Return the names of a caller's two lists; what is in braces keeps them on one node of a cluster."""
    return [f"harbor:{{{key}}}:whole", f"harbor:{{{key}}}:cheap"]


def _now() -> int:
    return time.monotonic_ns() // 1_000
