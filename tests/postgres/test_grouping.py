"""Group commit with real threads: who gets which result, how groups form, and that nobody waits for ever."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial

import pytest
from prometheus_client import REGISTRY

from harbor_api.domain.errors import Unavailable
from harbor_api.postgres.grouping import Grouping

_SOON_S = 20


def _double(jobs: Sequence[int]) -> list[int]:
    return [2 * job for job in jobs]


def _grouping(work: Callable[[Sequence[int]], Sequence[int]] = _double, **bounds) -> Grouping[int, int]:
    return Grouping(
        work, **{"name": "test", "most_in_group": 10, "most_waiting": 100, "patience_s": _SOON_S} | bounds
    )


def _eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SOON_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.001)


class _Gate:
    """Work that stops at its first group until it is let go, and remembers all groups."""

    def __init__(self, then: Callable[[Sequence[int]], Sequence[int]] = _double) -> None:
        self.groups: list[list[int]] = []
        self.entered = threading.Event()
        self.opened = threading.Event()
        self._then = then

    def has_seen(self, groups: int) -> bool:
        return len(self.groups) == groups

    def __call__(self, jobs: Sequence[int]) -> Sequence[int]:
        self.groups.append(list(jobs))
        self.entered.set()
        assert self.opened.wait(_SOON_S)
        return self._then(jobs)


class _Callers:
    """Callers, each a thread, who come one after another."""

    def __init__(self, grouping: Grouping[int, int]) -> None:
        self._grouping = grouping
        self._pool = ThreadPoolExecutor(64)

    def ask(self, job: int, *, weight: int = 1) -> "Future[int]":
        """Ask for a job, and return once it waits behind those that were asked for before."""
        before = len(self._grouping._waiting)
        asked = self._pool.submit(self._grouping.do, job, weight=weight)
        _eventually(lambda: asked.done() or len(self._grouping._waiting) == before + 1)
        return asked

    def ask_alone(self, job: int, *, weight: int) -> "Future[int]":
        """Ask for a job that fills a group by itself."""
        return self._pool.submit(self._grouping.do, job, weight=weight)

    def lead(self, job: int, gate: _Gate) -> "Future[int]":
        """Ask for the job that is the first group, which stops at the gate."""
        asked = self._pool.submit(self._grouping.do, job)
        assert gate.entered.wait(_SOON_S)
        return asked

    def __enter__(self) -> "_Callers":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


def _is_idle(grouping: Grouping[int, int]) -> bool:
    with grouping._lock:
        return not grouping._waiting and grouping._weight == 0 and not grouping._is_led


def test_a_caller_alone_is_done_at_once():
    grouping = _grouping()
    assert grouping.do(21) == 42
    assert _is_idle(grouping)


def test_those_who_wait_are_done_in_one_group_and_each_gets_its_own_result():
    gate = _Gate()
    grouping = _grouping(gate)
    with _Callers(grouping) as callers:
        asked = [callers.lead(0, gate)]
        asked += [callers.ask(job) for job in range(1, 8)]
        gate.opened.set()
        assert [each.result(_SOON_S) for each in asked] == [2 * job for job in range(8)]
    assert gate.groups == [[0], [1, 2, 3, 4, 5, 6, 7]]
    assert _is_idle(grouping)


def test_where_several_wait_those_who_come_in_a_moment_come_along(monkeypatch):
    gate, slept = _Gate(), time.sleep
    grouping = _grouping(gate, gathered_s=0.5)
    with _Callers(grouping) as callers:

        def sleep(seconds: float) -> None:
            if seconds == 0.5:
                callers.ask(3)
            else:
                slept(seconds)

        monkeypatch.setattr(time, "sleep", sleep)
        asked = [callers.lead(0, gate), callers.ask(1), callers.ask(2)]
        gate.opened.set()
        assert [each.result(_SOON_S) for each in asked] == [0, 2, 4]
    assert gate.groups == [[0], [1, 2, 3]]


def test_a_group_is_bounded_in_weight_and_keeps_the_order():
    gate = _Gate()
    grouping = _grouping(gate, most_in_group=10)
    with _Callers(grouping) as callers:
        callers.lead(0, gate)
        for job, weight in enumerate([4, 6, 1, 9, 2, 9, 1], start=1):
            callers.ask(job, weight=weight)
        gate.opened.set()
    assert gate.groups == [[0], [1, 2], [3, 4], [5], [6, 7]]


def test_jobs_that_fill_a_group_go_alone_and_two_of_them_side_by_side():
    gate = _Gate()
    grouping = _grouping(gate, most_in_group=10)
    with _Callers(grouping) as callers:
        asked = [callers.lead(0, gate), callers.ask(1)]
        for groups, (job, weight) in zip((2, 3, 3), ((2, 10), (3, 50), (4, 10)), strict=True):
            asked.append(callers.ask_alone(job, weight=weight))
            _eventually(partial(gate.has_seen, groups))
        _eventually(lambda: grouping._weight == 1 + 10)
        # The small one waits for the group before it, and the third large one for a place.
        assert gate.groups == [[0], [2], [3]]
        gate.opened.set()
        assert [each.result(_SOON_S) for each in asked] == [0, 2, 4, 6, 8]
    assert sorted(gate.groups[3:]) == [[1], [4]]
    assert _is_idle(grouping)


def test_a_job_that_goes_alone_tells_what_went_wrong_and_leaves_its_place():
    def fail(_: Sequence[int]) -> list[int]:
        raise ValueError("it cannot be done")

    grouping = _grouping(fail, most_in_group=10)
    for _ in range(3):
        with pytest.raises(ValueError, match="cannot be done"):
            grouping.do(1, weight=10)
    assert _is_idle(grouping)


def test_a_job_that_goes_alone_is_no_more_patient_than_others():
    gate = _Gate()
    grouping = _grouping(gate, most_in_group=10, patience_s=0.1)
    with _Callers(grouping) as callers:
        asked = [callers.ask_alone(job, weight=10) for job in (1, 2)]
        _eventually(lambda: len(gate.groups) == 2)
        with pytest.raises(Unavailable, match="too slow"):
            grouping.do(3, weight=10)
        gate.opened.set()
        assert [each.result(_SOON_S) for each in asked] == [2, 4]
    assert _is_idle(grouping)


def test_the_queue_is_bounded_in_weight_and_refuses_at_once():
    gate = _Gate()
    grouping = _grouping(gate, most_waiting=10)
    with _Callers(grouping) as callers:
        asked = [callers.lead(0, gate), callers.ask(1, weight=4), callers.ask(2, weight=6)]
        began = time.monotonic()
        with pytest.raises(Unavailable, match="Too much is waiting"):
            grouping.do(3)
        assert time.monotonic() - began < _SOON_S / 2
        gate.opened.set()
        assert [each.result(_SOON_S) for each in asked] == [0, 2, 4]
        # The one that was refused is not done, and there is room again.
        assert grouping.do(4) == 8
    assert 3 not in [job for group in gate.groups for job in group]


def test_what_waits_and_what_is_refused_is_counted():
    def count(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, {"queue": "test", **labels}) or 0

    gate = _Gate()
    grouping = _grouping(gate, most_waiting=10)
    refused, groups = (
        count("harbor_group_refused_total", reason="full"),
        count("harbor_group_size_count"),
    )
    with _Callers(grouping) as callers:
        asked = [callers.lead(0, gate), callers.ask(1, weight=4), callers.ask(2, weight=6)]
        assert grouping.waiting == (2, 10)
        with pytest.raises(Unavailable):
            grouping.do(3)
        gate.opened.set()
        assert [each.result(_SOON_S) for each in asked] == [0, 2, 4]
    assert grouping.waiting == (0, 0)
    assert count("harbor_group_refused_total", reason="full") == refused + 1
    assert count("harbor_group_size_count") == groups + 2
    assert count("harbor_group_duration_seconds_count") == groups + 2


def test_a_job_that_is_heavier_than_the_queue_may_be_gets_its_turn():
    gate = _Gate()
    grouping = _grouping(gate, most_waiting=10)
    with _Callers(grouping) as callers:
        heavy = [callers.ask_alone(job, weight=11) for job in (1, 2)]
        _eventually(lambda: len(gate.groups) == 2)
        heavy.append(callers.ask_alone(3, weight=11))
        _eventually(lambda: grouping._weight == 11)
        with pytest.raises(Unavailable, match="Too much is waiting"):
            grouping.do(4)
        with pytest.raises(Unavailable, match="Too much is waiting"):
            grouping.do(5, weight=11)
        gate.opened.set()
        assert [each.result(_SOON_S) for each in heavy] == [2, 4, 6]
        assert grouping.do(6, weight=1_000) == 12


def test_a_job_that_fails_spoils_no_other():
    def fail_at_thirteen(jobs: Sequence[int]) -> list[int]:
        if 13 in jobs:
            raise ValueError("13 cannot be done")
        return _double(jobs)

    gate = _Gate(fail_at_thirteen)
    grouping = _grouping(gate)
    with _Callers(grouping) as callers:
        asked = [callers.lead(0, gate), *(callers.ask(job) for job in (12, 13, 14))]
        gate.opened.set()
        assert [each.result(_SOON_S) for each in asked if each is not asked[2]] == [0, 24, 28]
        with pytest.raises(ValueError, match="13 cannot be done"):
            asked[2].result(_SOON_S)
    assert gate.groups == [[0], [12, 13, 14], [12], [13], [14]]
    assert _is_idle(grouping)


def test_a_job_that_fails_alone_is_not_done_twice():
    done: list[int] = []

    def fail(jobs: Sequence[int]) -> list[int]:
        done.extend(jobs)
        raise ValueError("no")

    grouping = _grouping(fail)
    with pytest.raises(ValueError, match="no"):
        grouping.do(1)
    assert done == [1]
    assert _is_idle(grouping)


def test_a_group_fails_whole_where_the_database_is_away():
    def away(jobs: Sequence[int]) -> list[int]:
        if 0 in jobs:
            return _double(jobs)
        raise Unavailable("The database does not answer")

    gate = _Gate(away)
    grouping = _grouping(gate)
    with _Callers(grouping) as callers:
        callers.lead(0, gate)
        asked = [callers.ask(job) for job in (1, 2, 3)]
        gate.opened.set()
        for each in asked:
            with pytest.raises(Unavailable, match="does not answer"):
                each.result(_SOON_S)
    # Nobody asked it again for each of them, which would take as many times as long.
    assert gate.groups == [[0], [1, 2, 3]]
    assert _is_idle(grouping)


def test_patience_ends_and_what_was_given_up_is_not_done_later():
    gate = _Gate()
    grouping = _grouping(gate, patience_s=0.1)
    with _Callers(grouping) as callers:
        first = callers.lead(0, gate)
        with pytest.raises(Unavailable, match="too slow"):
            grouping.do(1, weight=7)
        assert grouping._weight == 0
        gate.opened.set()
        assert first.result(_SOON_S) == 0
        assert grouping.do(2) == 4
    assert gate.groups == [[0], [2]]
    assert _is_idle(grouping)


def test_patience_ends_for_one_whose_group_is_under_way():
    gate = _Gate()
    slow = threading.Event()

    def work(jobs: Sequence[int]) -> list[int]:
        if 1 in jobs:
            assert slow.wait(_SOON_S)
        return _double(jobs)

    gate._then = work
    grouping = _grouping(gate, patience_s=0.5)
    with _Callers(grouping) as callers:
        callers.lead(0, gate)
        leader, follower = callers.ask(1), callers.ask(2)
        gate.opened.set()
        # Whether it will still be done is not known; here it will be.
        with pytest.raises(Unavailable, match="too slow"):
            follower.result(_SOON_S)
        slow.set()
        assert leader.result(_SOON_S) == 2
        assert grouping.do(3) == 6
    assert gate.groups == [[0], [1, 2], [3]]
    assert _is_idle(grouping)


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_leader_that_is_ended_passes_the_lead_on(end: type[BaseException]):
    """What gevent raises in a greenlet that it kills is no Exception either."""

    def die_at_one(jobs: Sequence[int]) -> list[int]:
        if 1 in jobs:
            raise end
        return _double(jobs)

    gate = _Gate(die_at_one)
    grouping = _grouping(gate, most_in_group=2)
    ended: list[BaseException] = []

    def ask_and_be_ended() -> None:
        try:
            grouping.do(1)
        except BaseException as error:
            ended.append(error)

    with _Callers(grouping) as callers:
        callers.lead(0, gate)
        leader = threading.Thread(target=ask_and_be_ended)
        leader.start()
        _eventually(lambda: len(grouping._waiting) == 1)
        follower, next_group = callers.ask(2), callers.ask(3)
        gate.opened.set()
        with pytest.raises(Unavailable, match="ending"):
            follower.result(_SOON_S)
        assert next_group.result(_SOON_S) == 6
        leader.join(_SOON_S)
    assert [type(each) for each in ended] == [end]
    assert _is_idle(grouping)


def test_groups_never_run_beside_each_other():
    running: list[int] = []
    most: list[int] = []

    def work(jobs: Sequence[int]) -> list[int]:
        running.append(1)
        most.append(len(running))
        time.sleep(0.001)
        running.pop()
        return _double(jobs)

    grouping = _grouping(work)
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(grouping.do, range(300))) == [2 * job for job in range(300)]
    assert max(most) == 1
    assert len(most) < 300


@pytest.mark.parametrize("seed", range(4))
def test_nobody_is_forgotten_and_nothing_is_done_twice_under_stress(seed: int):
    """Random timings, weights, failures and impatience: each call ends with what became of its own job."""
    done: list[int] = []

    def work(jobs: Sequence[int]) -> list[int]:
        chance = random.Random(hash((seed, tuple(jobs))))
        if chance.random() < 0.3:
            time.sleep(chance.random() * 0.004)
        if chance.random() < 0.02:
            raise Unavailable("away")
        if any(job % 97 == 0 for job in jobs):
            raise ValueError("cannot be done")
        done.extend(jobs)
        return _double(jobs)

    grouping = _grouping(work, most_in_group=8, most_waiting=30, patience_s=0.005)
    told: dict[int, str] = {}

    def call_on_and_on(first: int) -> None:
        chance = random.Random(seed * 1_000 + first)
        for job in range(first * 200, first * 200 + 200):
            if chance.random() < 0.2:
                time.sleep(chance.random() * 0.002)
            try:
                assert grouping.do(job, weight=chance.randint(1, 5)) == 2 * job
                told[job] = "done"
            except Unavailable as error:
                told[job] = "refused at once" if "Too much" in str(error) else "unknown"
            except ValueError:
                told[job] = "failed"

    with ThreadPoolExecutor(24) as pool:
        asked = [pool.submit(call_on_and_on, first) for first in range(24)]
        assert not wait(asked, timeout=60).not_done
        for each in asked:
            each.result()
    assert len(told) == 24 * 200
    assert len(done) == len(set(done)), "done twice"
    assert {job for job in told if told[job] == "done"} <= set(done)
    assert not {job for job in told if told[job] in {"failed", "refused at once"}} & set(done)
    assert {job for job in told if told[job] == "failed"} <= set(range(0, 24 * 200, 97))
    assert {"done", "unknown", "failed"} <= set(told.values())
    assert _is_idle(grouping)
