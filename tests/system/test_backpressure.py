"""A database that hangs: the service sheds load in bounded time and memory, and recovers by itself.

The database hangs in three ways: a lock that another session holds, the lock of the fleet's order, and a
server whose processes are stopped and whose sockets stay open, as when its disk has gone.
"""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from tests.support import sql
from tests.support.factories import a_fix
from tests.support.live_service import LiveService, OwnPostgres
from tests.support.signed_posts import send
from tests.support.urls import BATCH, POSITIONS

from harbor_api.postgres.tables import FLEET_ORDER_LOCK
from harbor_api.schemas import fix_columns

_TIMEOUT_MS = 1_000
_CALLERS = 40
_POOL = 4
_SHED_FOR_S = 6
# What a request may wait for: its place in a group, then a lock three times over; and a slow machine.
_LONGEST_WAIT_S = 12
_LONGEST_RECOVERY_S = 20


@contextmanager
def _locked(postgres: OwnPostgres, statement: str) -> Iterator[None]:
    with psycopg.connect(postgres.url) as connection:
        connection.execute(statement)
        yield


def _table_locked(postgres: OwnPostgres):
    return _locked(postgres, "LOCK TABLE positions IN ACCESS EXCLUSIVE MODE")


def _order_locked(postgres: OwnPostgres):
    return _locked(postgres, f"SELECT pg_advisory_xact_lock({FLEET_ORDER_LOCK})")


@contextmanager
def _processes_stopped(postgres: OwnPostgres) -> Iterator[None]:
    family = postgres.processes()
    try:
        for each in family:
            each.suspend()
        yield
    finally:
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.resume()


# As few as are taken by the column.
_BATCH_OF = fix_columns.LEAST


def _resident_mib(service: LiveService) -> float:
    resident: int = sum(each.memory_info().rss for each in service.processes())
    return resident / 2**20


@pytest.mark.parametrize("hang", [_table_locked, _order_locked, _processes_stopped])
def test_a_database_that_hangs_costs_no_more_than_patience(hang, tmp_path: Path):
    with (
        OwnPostgres() as postgres,
        LiveService(
            postgres.url,
            log=tmp_path / "log",
            database_timeout_ms=_TIMEOUT_MS,
            max_waiting=100,
            database_pool=_POOL,
        ) as service,
        ThreadPoolExecutor(_CALLERS) as pool,
    ):
        tracker = service.world.tracker()
        seconds = iter(range(1, 1_000_000))
        waits: list[float] = []

        def post() -> tuple[int, str | None, float]:
            number = next(seconds)
            fixes = [a_fix(number * _BATCH_OF + each) for each in range(_BATCH_OF)]
            # Each third time a batch that is taken by the column, and joined to groups.
            body, url = ({"fixes": fixes}, BATCH) if number % 3 == 0 else (fixes[0], POSITIONS)
            began = time.monotonic()
            answer = send(service.http, tracker.signed(body), url, timeout=60)
            status = 201 if (url, answer.status_code) == (BATCH, 200) else answer.status_code
            return status, answer.headers.get("Retry-After"), time.monotonic() - began

        def post_until(ends: float) -> list[tuple[int, str | None, float]]:
            answers = [post()]
            while time.monotonic() < ends:
                answers.append(post())
            return answers

        assert post()[0] == 201
        before = _resident_mib(service)
        with hang(postgres):
            ends = time.monotonic() + _SHED_FOR_S
            asked = [pool.submit(post_until, ends) for _ in range(_CALLERS)]
            while time.monotonic() < ends:
                began = time.monotonic()
                assert service.http.get("/health/live").status_code == 200
                waits.append(time.monotonic() - began)
                time.sleep(0.1)
            during = _resident_mib(service)
            deadline = ends + _LONGEST_WAIT_S
            while not all(each.done() for each in asked) and time.monotonic() < deadline:
                time.sleep(0.1)
            unanswered = sum(not each.done() for each in asked)
        released = time.monotonic()
        answers = [answer for each in asked for answer in each.result(60)]
        while post()[0] != 201:
            assert time.monotonic() < released + _LONGEST_RECOVERY_S
        recovered = time.monotonic() - released
        counts = Counter(status for status, _, _ in answers)
        print(
            f"{hang.__name__}: {dict(counts)}, longest wait {max(wait for *_, wait in answers):.1f} s, "
            f"{unanswered} without an answer while it hung, liveness {max(waits) * 1000:.0f} ms at most, "
            f"{before:.0f} MiB before, {during:.0f} MiB during, recovered in {recovered:.1f} s"
        )
        shed = [retry_after for status, retry_after, _ in answers if status == 503]
        assert len(shed) > _CALLERS
        assert all(int(retry_after) > 0 for retry_after in shed)
        assert set(counts) <= {201, 503}
        # PostgreSQL itself ends what waits for too long; where it cannot, the service hangs up.
        assert unanswered == 0
        assert max(waits) < 5
        assert during - before < 100
        # What was answered while the database hung, and what after: it is stored or it was refused.
        stored = counts[201]
        kept = sql.count(service.world.database, "positions")
        assert stored <= kept


def test_more_than_may_wait_is_refused_at_once(tmp_path: Path):
    with (
        OwnPostgres() as postgres,
        LiveService(postgres.url, log=tmp_path / "log", max_waiting=10) as service,
        ThreadPoolExecutor(_CALLERS) as pool,
    ):
        tracker = service.world.tracker()

        def post(second: int) -> tuple[int, float]:
            request = tracker.signed(a_fix(second))
            began = time.monotonic()
            answer = send(service.http, request)
            return answer.status_code, time.monotonic() - began

        with _order_locked(postgres):
            asked = [pool.submit(post, second) for second in range(_CALLERS)]
            # The leader's statement may take 5 s; nobody beyond the queue waits for that.
            time.sleep(3)
            refused = [each.result() for each in asked if each.done()]
        answers = [each.result(60)[0] for each in asked]
        # Ten may be under way, those that came along with the leader, while ten more wait.
        assert len(refused) >= _CALLERS - 20
        assert {status for status, _ in refused} == {503}
        assert Counter(answers) == {503: len(refused), 201: _CALLERS - len(refused)}
