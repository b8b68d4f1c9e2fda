"""Where requests are counted: in Redis for all workers together, or in this process alone."""

import time

import redis
import structlog
from limits import RateLimitItem, WindowStats
from limits.storage import MemoryStorage
from limits.strategies import RateLimiter

_LOOK_EVERY_S = 2
_SWEEP_EVERY_S = 1

log = structlog.get_logger(__name__)


class _Memory(MemoryStorage):
    """The library's storage in memory, which sweeps out what has expired once a second.

    As it comes it starts a thread to sweep all counters with every request that is not within ten
    milliseconds of the last one, which is a third of what a fix costs.
    """

    _swept_at = 0.0

    def _MemoryStorage__schedule_expiry(self) -> None:  # noqa: N802 - the name that Python gives the private one
        if time.monotonic() - self._swept_at > _SWEEP_EVERY_S:
            self._swept_at = time.monotonic()
            self._MemoryStorage__expire_events()  # type: ignore[attr-defined]  # private to the library


class SharedOrAlone:
    """Counts in Redis while it answers, in this process while it does not."""

    def __init__(self, shared: RateLimiter) -> None:
        """Count as ``shared`` does, with it where that is Redis."""
        self._storage = shared.storage
        self._memory = _Memory()
        self._alone = type(shared)(self._memory)
        self._shared = self._alone if isinstance(shared.storage, MemoryStorage) else shared
        self._looked_at = 0.0
        self.is_degraded = False

    def count(self, item: RateLimitItem, *identifiers: str) -> tuple[bool, WindowStats]:
        """Count a request; tell whether it is within its limit, when the next is free, how many remain."""
        if self.is_degraded:
            self.look()
        if not self.is_degraded:
            try:
                return _count(self._shared, item, identifiers)
            except redis.RedisError:
                self._degrade()
        return _count(self._alone, item, identifiers)

    def look(self) -> None:
        """Find out whether Redis answers; asks it at most every two seconds."""
        if time.monotonic() - self._looked_at > _LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            if self._storage.check():
                self._recover()
            else:
                self._degrade()

    def reset(self) -> None:
        """Forget what this process has counted."""
        self._memory.reset()

    def _degrade(self) -> None:
        self._looked_at = time.monotonic()
        if not self.is_degraded:
            self.is_degraded = True
            log.warning("limits_degraded", reason="Redis does not answer; each worker counts alone")

    def _recover(self) -> None:
        if self.is_degraded:
            self.is_degraded = False
            log.warning("limits_shared", reason="Redis answers again; all workers count together")


def _count(
    limiter: RateLimiter, item: RateLimitItem, identifiers: tuple[str, ...]
) -> tuple[bool, WindowStats]:
    return limiter.hit(item, *identifiers), limiter.get_window_stats(item, *identifiers)
