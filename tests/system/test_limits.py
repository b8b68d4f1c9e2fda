"""The limits of callers: over workers, over hosts, and while Redis is away."""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.factories import SigningTracker, a_fix
from tests.support.live_service import LiveService
from tests.support.redis_server import RedisServer
from tests.support.signed_posts import send
from tests.support.urls import ME, VESSELS
from tests.support.worker_connections import connections_by_worker, in_turn

# What the service may take to find out that Redis is gone, or a request to get past one that hangs.
BOUND_S = 2
# It comes back by itself; how soon is a matter of its own clock, and of a busy machine.
BACK_S = 20


def _at_once(calls: Sequence[Callable[[], httpx.Response]]) -> list[httpx.Response]:
    together = threading.Barrier(len(calls))

    def start(call: Callable[[], httpx.Response]) -> httpx.Response:
        together.wait(30)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(start, calls))


def _statuses(answers: Sequence[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


def _assert_told(answers: Sequence[httpx.Response], policy: str, limit: int) -> None:
    """Assert that each answer says what is allowed and left, and a refusal when to come again."""
    for answer in answers:
        assert answer.headers["RateLimit-Policy"] == f'"{policy}";q={limit};w=60'
        told = re.fullmatch(rf'"{policy}";r=(\d+);t=(\d+)', answer.headers["RateLimit"])
        assert told is not None
        remaining, free_in = int(told[1]), int(told[2])
        assert 1 <= free_in <= 60
        if answer.status_code == 429:
            assert remaining == 0
            assert answer.headers["Retry-After"] == str(free_in)
            assert answer.json()["code"] == "rate_limited"
        else:
            assert 0 <= remaining < limit
            assert "Retry-After" not in answer.headers


def _events(service: LiveService, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in service.log().splitlines()]
    return [line for line in lines if line["event"].startswith(event)]


def _await_health(clients: Sequence[httpx.Client], **expected: str) -> float:
    """Return how many seconds it took until all say what is expected of ``GET /health``."""
    began = time.monotonic()
    waiting = list(clients)
    while waiting:
        answer = waiting[0].get("/health")
        assert answer.status_code == 200
        if answer.json().items() >= expected.items():
            waiting.pop(0)
        else:
            assert time.monotonic() - began < BACK_S, answer.json()
            time.sleep(0.05)
    return time.monotonic() - began


class _Traffic:
    """What callers see who go on calling, each on its own connection."""

    def __init__(self, clients: Sequence[httpx.Client], bearer: dict[str, str]) -> None:
        self._clients = clients
        self._bearer = bearer
        self._over = threading.Event()
        self.seen: list[tuple[int, float]] = []

    def _call(self, client: httpx.Client) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            status = client.get(ME, headers=self._bearer).status_code
            self.seen.append((status, time.monotonic() - began))
            time.sleep(0.05)

    @contextmanager
    def flowing(self) -> Iterator[None]:
        with ThreadPoolExecutor(len(self._clients)) as pool:
            calling = [pool.submit(self._call, client) for client in self._clients]
            try:
                yield
            finally:
                self._over.set()
            for each in calling:
                each.result()


def test_four_workers_count_together(new_database, tmp_path: Path):
    with (
        RedisServer() as redis,
        LiveService(
            new_database(), log=tmp_path / "log", workers=4, database_pool=2, redis_url=redis.url
        ) as service,
        connections_by_worker(service, 4, least=100) as by_worker,
    ):
        clients = in_turn(by_worker)
        bearer = service.world.bearer(requests_per_minute=None)
        answers = _at_once([partial(client.get, ME, headers=bearer) for client in clients[:100]])
        assert _statuses(answers) == {200: 60, 429: 40}
        _assert_told(answers, "key", 60)
        assert service.http.get("/health").json().items() >= {"status": "ok", "limits": "shared"}.items()
        assert not _events(service, "limits_")


def test_two_hosts_count_together(new_database, tmp_path: Path):
    url = new_database()
    with RedisServer() as redis:
        shared = {"redis_url": redis.url, "workers": 2, "tracker_requests_per_minute": 20}
        with (
            LiveService(url, log=tmp_path / "one.log", **shared) as one,
            LiveService(url, log=tmp_path / "two.log", **shared) as two,
        ):
            bearer = one.world.bearer(requests_per_minute=30)
            answers = _at_once([partial(each.http.get, ME, headers=bearer) for each in [one, two] * 25])
            assert _statuses(answers) == {200: 30, 429: 20}
            _assert_told(answers, "key", 30)

            tracker = one.world.tracker()
            answers = _at_once(
                [partial(send, each.http, tracker.signed(a_fix(n))) for n, each in enumerate([one, two] * 15)]
            )
            assert _statuses(answers) == {201: 20, 429: 10}
            _assert_told(answers, "tracker", 20)

            # Unchanged reads take a tenth, whoever answers them; each needs room for a whole one.
            bearer = one.world.bearer(requests_per_minute=3)
            unchanged = bearer | {
                "If-None-Match": one.http.get(f"{VESSELS}/1", headers=bearer).headers["ETag"]
            }
            answers = [each.http.get(f"{VESSELS}/1", headers=unchanged) for each in [one, two] * 7]
            assert _statuses(answers) == {304: 11, 429: 3}
            _assert_told(answers, "key", 3)


def test_one_worker_counts_exactly_without_redis(live_service: LiveService):
    bearer = live_service.world.bearer(requests_per_minute=None)
    answers = _at_once([partial(live_service.http.get, ME, headers=bearer)] * 100)
    assert _statuses(answers) == {200: 60, 429: 40}
    _assert_told(answers, "key", 60)
    assert (
        live_service.http.get("/health").json().items() >= {"status": "ok", "limits": "per_process"}.items()
    )
    assert not _events(live_service, "limits_")


def test_several_workers_without_redis_say_so_once(new_database, tmp_path: Path):
    with LiveService(new_database(), log=tmp_path / "log", workers=2) as service:
        (warning,) = _events(service, "limits_are_counted_by_each_worker")
        assert warning["level"] == "warning"
        health = service.http.get("/health").json()
        assert health.items() >= {"status": "ok", "limits": "per_process"}.items()


@pytest.mark.parametrize(
    ("go", "come_back"),
    [(RedisServer.kill, RedisServer.start), (RedisServer.hang, RedisServer.go_on)],
    ids=["killed", "hung"],
)
def test_redis_gone_and_back(go, come_back, new_database, tmp_path: Path):
    with (
        RedisServer() as redis,
        LiveService(new_database(), log=tmp_path / "log", workers=2, redis_url=redis.url) as service,
        connections_by_worker(service, 2) as calling,
        connections_by_worker(service, 2) as asking,
    ):
        one_of_each = [clients[0] for clients in asking.values()]
        traffic = _Traffic([clients[0] for clients in calling.values()], service.world.bearer())
        _await_health(one_of_each, status="ok", limits="shared")
        with traffic.flowing():
            go(redis)
            gone_after = _await_health(one_of_each, status="degraded", limits="per_process")
            # Each worker counts for itself now, and no request waits for Redis any more.
            bearer = service.world.bearer(requests_per_minute=10)
            for client in one_of_each:
                answers = [client.get(ME, headers=bearer) for _ in range(20)]
                assert _statuses(answers) == {200: 10, 429: 10}
                _assert_told(answers, "key", 10)

            come_back(redis)
            back_after = _await_health(one_of_each, status="ok", limits="shared")
            bearer = service.world.bearer(requests_per_minute=10)
            answers = [client.get(ME, headers=bearer) for _ in range(10) for client in one_of_each]
            assert _statuses(answers) == {200: 10, 429: 10}
        slowest = max(seconds for _, seconds in traffic.seen)
        print(
            f"{len(traffic.seen)} requests, slowest {slowest:.2f} s; "
            f"said to be gone after {gone_after:.2f} s, back after {back_after:.2f} s"
        )
        assert {status for status, _ in traffic.seen} == {200}
        assert slowest < BOUND_S
        # A line from each worker.
        assert [line["level"] for line in _events(service, "limits_degraded")] == ["warning"] * 2
        assert len(_events(service, "limits_shared")) == 2


def test_a_redis_that_hangs_holds_up_many_callers_once(new_database, tmp_path: Path):
    with (
        RedisServer() as redis,
        LiveService(new_database(), log=tmp_path / "log", redis_url=redis.url) as service,
    ):
        bearer = service.world.bearer()

        def call() -> httpx.Response:
            return service.http.get(ME, headers=bearer)

        assert call().status_code == 200
        redis.hang()
        for _ in range(2):
            began = time.monotonic()
            assert _statuses(_at_once([call] * 20)) == {200: 20}
            assert time.monotonic() - began < BOUND_S
        assert service.http.get("/health").json()["status"] == "degraded"
        assert len(_events(service, "limits_degraded")) == 1
        assert not _events(service, "limits_shared")


def test_health_notices_by_itself_that_redis_comes_and_goes(new_database, tmp_path: Path):
    """Nobody calls but a probe: a service that is idle must not look better than it is."""
    with RedisServer() as redis:
        redis.kill()
        with LiveService(new_database(), log=tmp_path / "log", redis_url=redis.url) as service:
            _await_health([service.http], status="degraded", limits="per_process")
            redis.start()
            _await_health([service.http], status="ok", limits="shared")
            redis.kill()
            _await_health([service.http], status="degraded", limits="per_process")
            assert service.http.get(ME, headers=service.world.bearer()).status_code == 200


def _wrong(tracker: SigningTracker) -> SigningTracker:
    return SigningTracker(tracker.tracker, "whsec_" + "A" * 43 + "=")


def test_a_caller_that_fails_locks_nobody_else_out(new_database, tmp_path: Path):
    """A bad integrator and good ones behind one address, and one with the same mistake elsewhere."""
    with (
        RedisServer() as redis,
        LiveService(
            new_database(), log=tmp_path / "log", workers=2, redis_url=redis.url, failures_per_minute=20
        ) as service,
        connections_by_worker(service, 2, least=16) as by_worker,
        httpx.Client(
            base_url=service.base_url,
            transport=httpx.HTTPTransport(local_address="127.0.0.2"),
            event_hooks=service.http.event_hooks,
        ) as elsewhere,
    ):
        clients = in_turn(by_worker)
        tracker = service.world.tracker()
        bearer = service.world.bearer()
        revoked, secret = service.world.key()
        service.world.revoke(revoked)
        bad_keys = [{}, {"Authorization": "Bearer hbr_x"}, {"Authorization": f"Bearer {secret}"}]

        def fail(n: int) -> httpx.Response:
            client = clients[n % len(clients)]
            if n % 4 == 3:
                return send(client, _wrong(tracker).signed(a_fix(n)))
            return client.get(ME, headers=bad_keys[n % 4])

        with ThreadPoolExecutor(len(clients) + 4) as pool:
            failed = pool.map(fail, range(60))
            read = pool.map(lambda _: service.http.get(ME, headers=bearer), range(30))
            posted = pool.map(lambda n: send(service.http, tracker.signed(a_fix(n))), range(30))
            refusals = list(failed)
            assert {answer.status_code for answer in read} == {200}
            assert {answer.status_code for answer in posted} == {201}

        # All workers count together, exactly.
        assert _statuses(refusals) == {401: 20, 429: 40}
        _assert_told([answer for answer in refusals if answer.status_code == 429], "failures", 20)
        assert all("WWW-Authenticate" in answer.headers for answer in refusals if answer.status_code == 401)
        assert service.http.get(ME, headers=bad_keys[1]).status_code == 429
        assert elsewhere.get(ME, headers=bad_keys[1]).status_code == 401
        assert service.http.get(ME, headers=bearer).status_code == 200


def test_failures_are_counted_while_redis_is_gone(new_database, tmp_path: Path):
    with (
        RedisServer() as redis,
        LiveService(
            new_database(), log=tmp_path / "log", redis_url=redis.url, failures_per_minute=5
        ) as service,
    ):
        redis.kill()
        answers = [service.http.get(ME) for _ in range(8)]
        assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 3
        assert service.http.get(ME, headers=service.world.bearer()).status_code == 200
        assert service.http.get("/health").json()["status"] == "degraded"


def test_addresses_behind_a_trusted_proxy_are_told_apart(new_database, tmp_path: Path):
    with LiveService(
        new_database(), log=tmp_path / "log", failures_per_minute=3, trusted_proxies=1
    ) as service:
        for address in ("192.0.2.1", "192.0.2.2"):
            answers = [service.http.get(ME, headers={"X-Forwarded-For": address}) for _ in range(4)]
            assert [answer.status_code for answer in answers] == [401] * 3 + [429]
