"""What a running service tells Prometheus: sums that never fall, whoever is killed, and nothing in public."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

import httpx
import psutil
import pytest
from tests.conftest import NewDatabase
from tests.support.live_service import LiveService, OwnPostgres, free_port
from tests.support.redis_server import RedisServer
from tests.support.scraped import Samples, awaited, scrape, sums, total, value
from tests.support.signed_posts import Connection, register_fleet
from tests.support.streams import StreamClient
from tests.support.urls import POSITIONS, VESSELS

WORKERS = 2
_COMMAND = [sys.executable, "-m", "harbor_api.cli", "serve"]


class Watched(LiveService):
    """A service that is asked for its metrics."""

    def __init__(self, database_url: str, **more) -> None:
        self.metrics_port = free_port()
        super().__init__(database_url, metrics_bind=f"127.0.0.1:{self.metrics_port}", **more)

    def awaited(self, name: str, number: float, **labels: str) -> Samples:
        """Return the first samples in which a series has a value."""
        return awaited(self.metrics_port, lambda samples: value(samples, name, **labels) == number)

    def directory(self) -> Path:
        """Return where its processes count."""
        return Path(self.exporter().environ()["PROMETHEUS_MULTIPROC_DIR"])


@contextmanager
def _posting(service: LiveService, trackers: int) -> Iterator[list[int]]:
    """Post fixes until the block ends, and yield the statuses that have come."""
    statuses: list[int] = []
    is_over = threading.Event()

    def post(number: int) -> None:
        second = 0
        with Connection(service.port, timeout_s=10) as connection:
            while not is_over.is_set():
                second += 1
                fix = {
                    "recorded_at": f"2026-01-02T03:{second // 60 % 60:02}:{second % 60:02}Z",
                    "lat": 59,
                    "lon": 10,
                }
                # Of a worker that was killed there is no answer.
                with suppress(OSError, HTTPException):
                    statuses.append(connection.post(POSITIONS, number, fix)[0])

    threads = [threading.Thread(target=post, args=(number,)) for number in range(1, trackers + 1)]
    for each in threads:
        each.start()
    try:
        yield statuses
    finally:
        is_over.set()
        for each in threads:
            each.join()


def test_sums_never_fall_while_workers_are_killed(new_database: NewDatabase, tmp_path: Path):
    url = new_database()
    with Watched(url, log=tmp_path / "log", workers=WORKERS) as service:
        register_fleet(service.world.database, 4)
        before = service.awaited("harbor_workers", WORKERS)
        files: list[int] = []
        with _posting(service, 4) as statuses:
            for killed in range(1, 5):
                service.workers()[0].kill()
                while value(before, "harbor_worker_exits_total", how="unexpected") != killed:
                    now = scrape(service.metrics_port)
                    for key, number in sums(before):
                        assert now.get(key, -1) >= number, key
                    # As many as live, and as many as there were when one had gone.
                    assert (value(now, "harbor_workers") or 0) <= WORKERS
                    before = now
                before = service.awaited("harbor_workers", WORKERS)
                files.append(len(list(service.directory().iterdir())))
        # Those that died had answered more than anybody has read.
        told = scrape(service.metrics_port)
        answered = len([each for each in statuses if each in {200, 201}])
        assert total(told, "harbor_http_requests_total", route=POSITIONS) >= answered > 0
        assert total(told, "harbor_fixes_total", verdict="stored") >= statuses.count(201)
        assert value(told, "harbor_worker_starts_total") == WORKERS + 4
        assert files[0] == files[-1]
        directory = service.directory()
        assert service.stop() == 0
        assert not directory.exists()


def test_metrics_are_at_their_address_and_nothing_else_is(new_database: NewDatabase, tmp_path: Path):
    with Watched(new_database(), log=tmp_path / "log") as service:
        service.awaited("harbor_workers", 1)
        assert service.http.get("/metrics").status_code == 404
        for path in ("/health/live", "/openapi.json", "/api/v1/vessels", "/docs"):
            assert (
                httpx.get(f"http://127.0.0.1:{service.metrics_port}{path}", verify=False).status_code == 404
            )
        # What never was a request, and what was not answered as it was asked for.
        with socket.create_connection(("127.0.0.1", service.port)) as stranger:
            stranger.sendall(b"nonsense\r\n\r\n")
            assert stranger.recv(4096).startswith(b"HTTP/1.1 400")
        service.awaited("harbor_http_refused_total", 1, status="400")
        # A worker that is told to end says so.
        os.kill(service.pid, signal.SIGHUP)
        service.awaited("harbor_worker_exits_total", 1, how="told")


def test_those_who_follow_are_told_of_while_they_do(new_database: NewDatabase, tmp_path: Path):
    with Watched(new_database(), log=tmp_path / "log", workers=WORKERS) as service:
        service.awaited("harbor_workers", WORKERS)
        bearer = service.world.bearer("vessels:read")
        streams = [StreamClient(service.port, bearer) for _ in range(3)]
        samples = service.awaited("harbor_followers", 3, kind="stream")
        assert (value(samples, "harbor_followers_most", kind="stream") or 0) >= 3
        # As long ago as the feed was read; and whoever follows is no connection that is waited for.
        awaited(service.metrics_port, lambda found: bool(value(found, "harbor_feed_lag_seconds")))
        service.awaited("harbor_connections", 0)
        for each in streams:
            each.socket.close()
        service.awaited("harbor_streams_ended_total", 3, reason="client_gone")
        service.awaited("harbor_followers", 0, kind="stream")


def test_redis_that_is_gone_is_told_of(new_database: NewDatabase, tmp_path: Path):
    with (
        RedisServer() as redis,
        Watched(new_database(), log=tmp_path / "log", redis_url=redis.url) as service,
    ):
        bearer = service.world.bearer("vessels:read")
        assert service.http.get(VESSELS, headers=bearer).status_code == 200
        samples = service.awaited("harbor_limits_degraded", 0)
        assert (value(samples, "harbor_redis_requests_total") or 0) > 0
        assert value(samples, "harbor_redis_failures_total") == 0
        redis.kill()
        assert service.http.get(VESSELS, headers=bearer).status_code == 200
        samples = service.awaited("harbor_limits_degraded", 1)
        assert (value(samples, "harbor_redis_failures_total") or 0) > 0


def test_the_exporter_comes_back_and_ends_with_the_service(new_database: NewDatabase, tmp_path: Path):
    with Watched(new_database(), log=tmp_path / "log") as service:
        service.awaited("harbor_workers", 1)
        exporter = service.exporter()
        # As a terminal does: it tells of the end of the others as well.
        exporter.send_signal(signal.SIGINT)
        scrape(service.metrics_port)
        assert service.exporter() == exporter
        exporter.kill()
        # In its time: one that cannot be is not begun without end.
        service.awaited("harbor_workers", 1)
        exporter, left = service.exporter(), service.directory()
        psutil.Process(service.pid).kill()
        exporter.wait(10)
        service.kill()
        with Watched(service.environ["HARBOR_DATABASE_URL"], log=tmp_path / "next") as following:
            following.awaited("harbor_workers", 1)
            assert not left.exists()


def test_without_a_database_the_rest_is_told(tmp_path: Path):
    with OwnPostgres() as postgres, Watched(postgres.url, log=tmp_path / "log") as service:
        service.awaited("harbor_database_up", 1)
        postgres.crash()
        samples = service.awaited("harbor_database_up", 0)
        assert value(samples, "harbor_workers") == 1
        assert value(samples, "harbor_feed_head") is None
        postgres.start()
        service.awaited("harbor_database_up", 1)


@pytest.mark.parametrize("taken", ["by another", "by itself"])
def test_an_address_that_is_taken_stops_the_start_with_one_line(
    taken: str, new_database: NewDatabase, tmp_path: Path
):
    with Watched(new_database(), log=tmp_path / "log") as service:
        other = {"HARBOR_BIND": f"127.0.0.1:{free_port()}"}
        environ = service.environ | other
        if taken == "by itself":
            environ["HARBOR_METRICS_BIND"] = other["HARBOR_BIND"]
        done = subprocess.run(_COMMAND, env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"harbor-api: HARBOR_METRICS_BIND {environ['HARBOR_METRICS_BIND']} is taken")
