"""limits and Flask-Limiter: what the strategy asks of a storage, and how both are found."""

import functools
from typing import Any

from flask import Flask
from flask_limiter import Limiter
from limits import RateLimitItemPerMinute
from limits.storage import MovingWindowSupport, Storage
from tests.canaries.relied_on import relied_on

relied = functools.partial(relied_on, "limits")


class Recording(Storage, MovingWindowSupport):
    """A storage that notes what it is asked."""

    STORAGE_SCHEME = ["canary"]

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: Any) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions, **options)
        self.asked: list[Any] = [uri]

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        self.asked.append(("acquire", key, limit, expiry, amount))
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        self.asked.append(("get", key, limit, expiry))
        return 1_000.0, 7

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
    extension = Limiter(lambda: "", storage_uri="canary://a/b", strategy="moving-window")
    extension.init_app(Flask(__name__))
    return extension.limiter


@relied(
    "a class with STORAGE_SCHEME is found by the scheme and made with the URL, and Limiter.limiter is the "
    "strategy over it",
    by="web/request_logs.py registers two, and web/rate_counters.py takes the strategy from Flask-Limiter",
)
def test_a_storage_of_ours_is_found_by_its_scheme():
    strategy = _strategy()
    assert type(strategy).__name__ == "MovingWindowRateLimiter"
    assert type(strategy.storage) is Recording
    assert strategy.storage.asked == ["canary://a/b"]


@relied(
    "hit() asks acquire_entry, get_window_stats() get_moving_window, and both nothing else",
    by="web/request_logs.py refuses fixed windows, and counts only in these two",
)
def test_the_strategy_asks_a_storage_two_things():
    strategy = _strategy()
    item = RateLimitItemPerMinute(10)
    assert strategy.hit(item, "key", "1", cost=2) is True
    strategy.get_window_stats(item, "key", "1")
    [_, (first, *acquired), (second, *got)] = strategy.storage.asked
    key = item.key_for("key", "1")
    assert (first, acquired) == ("acquire", [key, 10, 60, 2])
    assert (second, got) == ("get", [key, 10, 60])


@relied(
    "get_window_stats() is (when the oldest request is a window old, how much remains)",
    by="web/rate_counters.py tells callers both",
)
def test_what_remains_is_told():
    assert _strategy().get_window_stats(RateLimitItemPerMinute(10), "key", "1") == (1_060.0, 3)
