"""limits and Flask-Limiter: how a storage of ours is found, and what is asked of it."""

import functools
from typing import Any

from flask import Flask
from flask_limiter import Limiter
from limits.storage import Storage
from tests.canaries.relied_on import relied_on

relied = functools.partial(relied_on, "limits")


class Recording(Storage):
    """A storage that notes what it is asked."""

    STORAGE_SCHEME = ["canary"]

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: Any) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions, **options)
        self.asked: list[Any] = [uri]

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return ()

    def check(self) -> bool:
        self.asked.append("check")
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


@relied(
    "a class with STORAGE_SCHEME is found by the scheme and made with the URL, Limiter.storage is it, and "
    "nothing is asked of it then",
    by="web/request_logs.py registers two, and web/rate_counters.py takes them from Flask-Limiter",
)
def test_a_storage_of_ours_is_found_by_its_scheme():
    extension = Limiter(lambda: "", storage_uri="canary://a/b")
    extension.init_app(Flask(__name__))
    assert type(extension.storage) is Recording
    assert extension.storage.asked == ["canary://a/b"]
