"""Turns on the connections of a pool: who reads the past takes all but one, which is left to all others.

A history takes as long as PostgreSQL reads, and many at once would have those wait for all of them who store
a fix or ask where the fleet is now.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from harbor_api.domain.errors import Unavailable
from harbor_api.postgres import failures
from harbor_api.telemetry import metrics


class Turns:
    """Turns of which each waits no longer than for a connection."""

    def __init__(self, *, pool_size: int, timeout_ms: int) -> None:
        """Leave a connection of a pool to others; of a pool of one all take turns anyway."""
        self._free = BoundedSemaphore(max(1, pool_size - 1))
        self._timeout_s = timeout_ms / 1000

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a turn for as long as the block takes; Unavailable where none is free in time."""
        if not self._free.acquire(blocking=False):
            with metrics.POOL_WAIT_SECONDS.time():
                is_mine = self._free.acquire(timeout=self._timeout_s)
            if not is_mine:
                metrics.DATABASE_FAILURES.labels("pool").inc()
                raise Unavailable("All database connections are in use", cause=failures.POOL_IN_USE)
        try:
            yield
        finally:
            self._free.release()
