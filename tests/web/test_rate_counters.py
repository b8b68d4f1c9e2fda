"""Limits hold exactly, by a clock that the tests set."""

from collections.abc import Callable, Iterator

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.redis_server import RedisServer

from harbor_api.web import request_logs
from harbor_api.web.rate_counters import Counted, RateCounters

SECOND = 1_000_000
WINDOW = 60 * SECOND
# Moments that lie where a window's edge may be, and anywhere between.
_steps = st.one_of(
    st.sampled_from([0, 1, SECOND, 10 * SECOND, WINDOW - 1, WINDOW, WINDOW + 1]), st.integers(0, 3 * SECOND)
)
_cheaply = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Clock:
    """A clock in microseconds that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1_000_000_000 * SECOND


class Counting:
    """One caller's requests against counters whose clock is the test's."""

    def __init__(self, counters: RateCounters, clock: Clock, forget: Callable[[], None]) -> None:
        self.counters, self.clock, self.forget = counters, clock, forget

    def count(self, limit: int, who: str = "1") -> Counted:
        return self.counters.count("key", limit, who)


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(params=["in memory", "in Redis"])
def counting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Counting:
    clock = Clock()
    monkeypatch.setattr(request_logs.time, "time", lambda: clock.now / SECOND)
    if request.param == "in memory":
        monkeypatch.setattr(request_logs.time, "monotonic_ns", lambda: clock.now * 1_000)
        counters = RateCounters()
        return Counting(counters, clock, counters.reset)
    url = request.getfixturevalue("redis_server").url
    client = redis.Redis.from_url(url)
    # The script reads the test's clock where it would read that of Redis.
    told = request_logs._SCRIPT.replace("redis.call('TIME')", "{0, redis.call('GET', 'clock')}")
    monkeypatch.setattr(request_logs, "_SCRIPT", told)
    counters = RateCounters(url)
    asked = counters._ask

    def ask(*arguments, **named) -> Counted:
        client.set("clock", clock.now)
        return asked(*arguments, **named)

    monkeypatch.setattr(counters, "_ask", ask)
    client.flushall()
    return Counting(counters, clock, client.flushall)


def _most_in_a_window(moments: list[int]) -> int:
    return max((sum(begin <= each < begin + WINDOW for each in moments) for begin in moments), default=0)


@_cheaply
@given(limit=st.integers(1, 9), steps=st.lists(_steps, max_size=60))
def test_in_no_window_are_more_let_through_than_the_limit_says(counting: Counting, limit, steps):
    counting.forget()
    let_through: list[int] = []
    for step in steps:
        counting.clock.now += step
        counted = counting.count(limit)
        now = counting.clock.now
        if counted.is_within:
            let_through.append(now)
        recent = [each for each in let_through if each > now - WINDOW]
        # Whoever is refused has used up all of it, and all that is told is true.
        assert counted.is_within or len(recent) == limit
        assert counted.remaining == limit - len(recent)
        assert counted.free_in_s == -(-(recent[0] + WINDOW - now) // SECOND)
    assert _most_in_a_window(let_through) <= limit


@_cheaply
@given(limit=st.sampled_from([1, 2, 3, 7, 59, 60]), begin=st.integers(0, WINDOW))
def test_whoever_asks_at_the_rate_of_the_limit_is_never_refused(counting: Counting, limit, begin):
    counting.forget()
    counting.clock.now += begin
    first = counting.clock.now
    for number in range(3 * limit):
        counting.clock.now = first + number * WINDOW // limit
        assert counting.count(limit).is_within, number


def test_sixty_at_once_and_none_before_a_minute_is_over(counting: Counting):
    assert all(counting.count(60).is_within for _ in range(60))
    counting.clock.now += 15 * SECOND
    assert not any(counting.count(60).is_within for _ in range(10))
    assert counting.count(60).free_in_s == 45
    counting.clock.now += 45 * SECOND - 1
    assert not counting.count(60).is_within
    counting.clock.now += 1
    assert counting.count(60).is_within


def test_whoever_comes_again_when_told_is_let_through(counting: Counting):
    counting.count(1)
    counting.clock.now += SECOND // 3
    counting.clock.now += counting.count(1).free_in_s * SECOND
    assert counting.count(1).is_within


def test_callers_and_looks_do_not_count_for_others(counting: Counting):
    assert counting.count(1, "one").is_within
    assert counting.counters.look("key", 1, "other")[1:5] == (True, 1, 60, 1)
    assert counting.count(1, "other").is_within
    assert counting.counters.look("key", 1, "other")[1:5] == (False, 1, 60, 0)


@pytest.mark.parametrize("counting", ["in Redis"], indirect=True)
def test_a_clock_of_redis_that_is_set_back_locks_nobody_out(counting: Counting):
    assert counting.count(1).is_within
    counting.clock.now -= 10_000 * WINDOW
    assert counting.count(1).is_within
    assert not counting.count(1).is_within


def test_callers_who_are_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    monkeypatch.setattr(request_logs.time, "monotonic_ns", lambda: clock.now * 1_000)
    log = request_logs.ProcessLog()
    for number in range(1_000):
        log.acquire_entry(f"one {number}", 60, 60)
    clock.now += WINDOW
    for number in range(250):
        log.acquire_entry(f"other {number}", 60, 60)
    assert len(log._times) == 250
