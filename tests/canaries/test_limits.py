"""limits and Flask-Limiter: what the strategy asks of a storage, and how both are found."""

import functools
import time
from typing import Any

from flask import Flask
from flask_limiter import Limiter
from limits import RateLimitItemPerMinute
from limits.storage import SlidingWindowCounterSupport, Storage
from tests.canaries.relied_on import relied_on

relied = functools.partial(relied_on, "limits")


class Recording(Storage, SlidingWindowCounterSupport):
    """A storage that notes what it is asked."""

    STORAGE_SCHEME = ["canary"]

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: Any) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions, **options)
        self.asked: list[Any] = []

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        self.asked.append(("acquire", key, limit, expiry, amount))
        return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        self.asked.append(("get", key, expiry))
        return 4, 30.0, 3, 90.0

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        self.asked.append("clear_sliding_window")

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return ()

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        self.asked.append("reset")
        return 0

    def clear(self, key: str) -> None:
        self.asked.append("clear")

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise NotImplementedError

    def get(self, key: str) -> int:
        raise NotImplementedError

    def get_expiry(self, key: str) -> float:
        raise NotImplementedError


def _strategy() -> Any:
    extension = Limiter(lambda: "", storage_uri="canary://", strategy="sliding-window-counter")
    extension.init_app(Flask(__name__))
    return extension.limiter


@relied(
    "a class with STORAGE_SCHEME is found by the scheme, and Limiter.limiter is the strategy over it",
    by="web/rate_counters.py registers process:// and takes the strategy from Flask-Limiter",
)
def test_a_storage_of_ours_is_found_by_its_scheme():
    strategy = _strategy()
    assert type(strategy).__name__ == "SlidingWindowCounterRateLimiter"
    assert type(strategy.storage) is Recording


@relied(
    "hit() asks acquire_sliding_window_entry, get_window_stats() get_sliding_window, and both nothing else",
    by="web/rate_counters.py refuses fixed windows, and counts only in these two",
)
def test_the_strategy_asks_a_storage_two_things():
    strategy = _strategy()
    item = RateLimitItemPerMinute(10)
    assert strategy.hit(item, "key", "1") is True
    strategy.get_window_stats(item, "key", "1")
    [(first, *acquired), (second, *got)] = strategy.storage.asked
    key = item.key_for("key", "1")
    assert (first, acquired) == ("acquire", [key, 10, 60, 1])
    assert (second, got) == ("get", [key, 60])


@relied(
    "get_window_stats() is (when something is free again, how much remains), with two windows weighed",
    by="web/rate_counters.py tells callers both",
)
def test_what_remains_is_weighed():
    reset_at, remaining = _strategy().get_window_stats(RateLimitItemPerMinute(10), "key", "1")
    # 4 of the window before count for half, and 3 of this one.
    assert remaining == 10 - (2 + 3)
    assert -1 <= reset_at - time.time() <= 60
