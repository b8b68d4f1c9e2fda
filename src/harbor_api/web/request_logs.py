"""When each caller's requests of the last minute were: in the memory of this process, or in Redis for all.

Both are storages of the limits library for its moving window, which needs the time of every request that it
has let through. Only that holds what is promised: in no sixty seconds more than the limit, and nobody is
refused who keeps to it. Two counters for each caller, one for this minute and one for the last, let 67 of
60 through.

    in Redis      its own clock counts, as those of the hosts that share it differ; one script does it, so
                  that no other worker comes between
    in memory     a clock that nobody sets; the library's own storage starts a thread to sweep all callers,
                  which is a third of what a fix costs

A window is half open: what is let through counts for sixty seconds, and a place is free exactly then. All
times are whole microseconds, which a script in Redis holds without loss.
"""

import threading
import time
from collections import deque
from itertools import islice
from typing import Any

import redis
from limits.storage import MovingWindowSupport, Storage
from redis.backoff import NoBackoff
from redis.retry import Retry

PROCESS = "process://"
# What stands before a Redis URL.
REDIS = "log+"
_REDIS_TIMEOUT_S = 0.5
_SECOND = 1_000_000
# Whoever is counted first takes so many away whose requests are over: who has many callers sweeps no more
# than others.
_MOST_FORGOTTEN = 4
# Returns whether the request was let through, how many count now, and the time since the oldest of them. With
# nothing to add it only looks. A log from after now is from before the clock was set back, and worth nothing.
_SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local limit, window, amount = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local newest = redis.call('LINDEX', KEYS[1], -1)
if newest and tonumber(newest) > now then
    redis.call('DEL', KEYS[1])
end
local oldest = redis.call('LINDEX', KEYS[1], 0)
while oldest and tonumber(oldest) <= now - window do
    redis.call('LPOP', KEYS[1])
    oldest = redis.call('LINDEX', KEYS[1], 0)
end
local many = redis.call('LLEN', KEYS[1])
if many + amount > limit then
    return {0, many, now - (oldest or now)}
end
for _ = 1, amount do
    redis.call('RPUSH', KEYS[1], string.format('%.0f', now))
end
if amount > 0 then
    redis.call('PEXPIRE', KEYS[1], window / 1000 + 1)
end
return {1, many + amount, now - (oldest or now)}
"""


class _RequestLog(Storage, MovingWindowSupport):
    """What both have in common: they count in moving windows alone."""

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Refuse: fixed windows are not kept here."""
        raise NotImplementedError

    def get(self, key: str) -> int:
        """Refuse, as with ``incr``."""
        raise NotImplementedError

    def get_expiry(self, key: str) -> float:
        """Refuse, as with ``incr``."""
        raise NotImplementedError


class ProcessLog(_RequestLog):
    """The requests that this process has let through."""

    STORAGE_SCHEME = [PROCESS.removesuffix("://")]

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: Any) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions, **options)
        self._lock = threading.Lock()
        # In the order of their newest request: whoever is first has been silent for longest.
        self._times: dict[str, deque[int]] = {}

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Note an amount of requests where the window has room for them, and return whether it had."""
        with self._lock:
            now = _now()
            times = self._counting(key, now, expiry)
            if len(times) + amount > limit:
                return False
            times.extend([now] * amount)
            # It goes to the end.
            self._times.pop(key, None)
            self._times[key] = times
            return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:  # noqa: ARG002 - the library's signature
        """Return the unix time of the oldest request that counts, now where none does, and how many do."""
        with self._lock:
            now = _now()
            times = self._counting(key, now, expiry)
            age = now - times[0] if times else 0
        return time.time() - age / _SECOND, len(times)

    def check(self) -> bool:
        """Return whether it can count, which it always can."""
        return True

    def reset(self) -> int | None:
        """Forget all, and return how many callers that were."""
        many = len(self._times)
        self._times.clear()
        return many

    def clear(self, key: str) -> None:
        """Forget a caller."""
        self._times.pop(key, None)

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        """Return what it may raise: nothing."""
        return ()

    def _counting(self, key: str, now: int, expiry: int) -> deque[int]:
        """Return the times of a caller's requests that count still, in their order."""
        since = now - expiry * _SECOND
        times = self._times.get(key)
        if times is None:
            self._forget_some(since)
            return deque()
        while times and times[0] <= since:
            times.popleft()
        return times

    def _forget_some(self, since: int) -> None:
        for key in [*islice(self._times, _MOST_FORGOTTEN)]:
            times = self._times[key]
            if times and times[-1] > since:
                return
            del self._times[key]


class RedisLog(_RequestLog):
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

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Note an amount of requests where the window has room for them, and return whether it had."""
        is_within, _, _ = self._script([key], [limit, expiry * _SECOND, amount])
        return bool(is_within)

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return the unix time of the oldest request that counts, now where none does, and how many do."""
        _, many, age = self._script([key], [limit, expiry * _SECOND, 0])
        return time.time() - age / _SECOND, many

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
        self._client.delete(key)

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        """Return what it may raise."""
        return redis.RedisError


def _now() -> int:
    return time.monotonic_ns() // 1_000
