"""Limits hold exactly, by a clock that the tests set."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

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
# What becomes of a request: nothing else, or it was a cheap one, as is found out so many requests later.
_turns = st.lists(st.tuples(_steps, st.none() | st.integers(0, 5)), max_size=60)
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


@dataclass
class Plain:
    """What is promised, written down without thought for what it takes: (time, tenths) of all let through."""

    limit: int
    entries: list[tuple[int, int]]

    def left(self, now: int) -> int:
        counting = (cost for at, cost in self.entries if at > now - WINDOW)
        return 10 * self.limit - sum(counting)

    def free_in_s(self, now: int) -> int:
        ends = sorted(at + WINDOW for at, _ in self.entries if at > now - WINDOW)
        free_at = next((end for end in ends if self.left(end) // 10 > self.left(now) // 10), now + WINDOW)
        return -(-(free_at - now) // SECOND)

    def most_in_a_window(self) -> int:
        return max(
            (sum(c for at, c in self.entries if begin <= at < begin + WINDOW) for begin, _ in self.entries),
            default=0,
        )


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
@given(limit=st.integers(1, 5), turns=_turns)
def test_an_unchanged_read_keeps_a_tenth_from_when_it_was_let_through(counting: Counting, limit, turns):
    counting.forget()
    plain = Plain(limit, [])
    # By the turn in which it is found out: what was counted, and its place in the plain list.
    unchanged: dict[int, list[tuple[Counted, int]]] = {}
    for turn, (step, later) in enumerate(turns):
        counting.clock.now += step
        now = counting.clock.now
        has_room = plain.left(now) >= 10
        counted = counting.count(limit)
        assert counted.is_within == has_room
        if has_room:
            if later is not None:
                unchanged.setdefault(turn + later, []).append((counted, len(plain.entries)))
            plain.entries.append((now, 10))
        told = [counted]
        for each, place in unchanged.pop(turn, []):
            # It is told while others are under way, and by then the minute may be over.
            plain.entries[place] = (plain.entries[place][0], 1)
            told.append(counting.counters.make_cheap(each))
        assert told[-1].remaining == plain.left(now) // 10
        assert told[-1].free_in_s == plain.free_in_s(now)
    assert plain.most_in_a_window() <= 10 * limit


def test_of_unchanged_reads_nearly_ten_times_as_many_are_let_through(counting: Counting):
    # Each needs room for a whole one, of which it keeps a tenth.
    remaining = []
    while (counted := counting.count(60)).is_within:
        remaining.append(counting.counters.make_cheap(counted).remaining)
    assert len(remaining) == 591
    assert [remaining[number] for number in (0, 9, 10, 590)] == [59, 59, 58, 0]
    counting.clock.now += counted.free_in_s * SECOND
    assert counting.count(60).is_within


def test_nothing_is_given_back_twice_nor_for_what_was_counted_elsewhere(counting: Counting):
    counted = counting.count(2)
    elsewhere = counted._replace(at=counted.at + 1)
    assert [counting.counters.make_cheap(each).remaining for each in (elsewhere, counted, counted)] == [
        1,
        1,
        1,
    ]
    assert counting.count(2).is_within
    assert not counting.count(2).is_within


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
        told = log.ask(f"one {number}", 60, counts=True)
        log.ask(f"one {number}", 60, back=told.now)
    clock.now += WINDOW
    for number in range(250):
        log.ask(f"other {number}", 60, counts=True)
    assert len(log._callers) == 250


def _hammer(counters: RateCounters, seed: int) -> tuple[int, int]:
    """Ask as fast as can be, in part what is unchanged; return how many whole and cheap ones there were."""
    chance, wholes, cheaps = random.Random(seed), 0, 0
    for _ in range(60):
        counted = counters.count("key", 100, "1")
        if counted.is_within and chance.random() < 0.8:
            counters.make_cheap(counted)
            cheaps += 1
        elif counted.is_within:
            wholes += 1
    return wholes, cheaps


@pytest.mark.parametrize("is_shared", [False, True], ids=["in memory", "in Redis"])
def test_many_who_count_at_once_lose_and_gain_nothing(request: pytest.FixtureRequest, is_shared):
    workers = 6
    if is_shared:
        url = request.getfixturevalue("redis_server").url
        redis.Redis.from_url(url).flushall()
        counters = [RateCounters(url) for _ in range(workers)]
    else:
        counters = [RateCounters()] * workers
    with ThreadPoolExecutor(workers) as pool:
        told = list(pool.map(_hammer, counters, range(workers)))
    wholes, cheaps = (sum(each) for each in zip(*told, strict=True))
    assert cheaps
    assert 10 * wholes + cheaps <= 1_000
    assert counters[0].look("key", 100, "1").remaining == (1_000 - 10 * wholes - cheaps) // 10
    assert not any(each.is_degraded for each in counters)
