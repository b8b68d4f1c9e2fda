"""Connections are shared out among the workers of a service."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.support.live_service import LiveService

WORKERS = 3
MANY = 48
GET = b"GET /health/live HTTP/1.1\r\nHost: harbor\r\n\r\n"


def _connected(service: LiveService) -> socket.socket:
    while True:
        with suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", service.port), timeout=60)


def _opened(service: LiveService) -> socket.socket:
    """Return a connection on which a worker has answered."""
    connection = _connected(service)
    connection.sendall(GET)
    assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    return connection


@contextmanager
def _held(service: LiveService, *, starts: bool = False) -> Iterator[list[int]]:
    """Open connections all at once, and tell how many of them each worker holds, the fewest first."""
    with ThreadPoolExecutor(MANY) as pool:
        opening = [pool.submit(_opened, service) for _ in range(MANY)]
        if starts:
            service.start()
        connections = [each.result() for each in opening]
    ours = {each.getsockname()[1] for each in connections}
    yield sorted(
        sum(bool(each.raddr) and each.raddr.port in ours for each in worker.net_connections("tcp"))
        for worker in service.workers()
    )
    for each in connections:
        each.close()


def test_each_worker_takes_its_share(new_database, tmp_path: Path):
    """However early they come: a proxy may be there before the service, and keeps what it has opened."""
    service = LiveService(new_database(), log=tmp_path / "log", workers=WORKERS, database_pool=2)
    with ExitStack() as stack:
        # It is started only once they are under way.
        stack.push(service)
        at_the_start = stack.enter_context(_held(service, starts=True))
        later = stack.enter_context(_held(service))
        for held in (at_the_start, later):
            assert sum(held) == MANY
            # Alike, but for what a busy machine does.
            assert held[0] >= MANY // WORKERS // 4, held


def test_a_worker_that_does_nothing_keeps_nobody_waiting(new_database, tmp_path: Path):
    service = LiveService(new_database(), log=tmp_path / "log", workers=2, database_pool=2)
    with service, _held(service):
        hung, _ = service.workers()
        hung.suspend()
        try:
            # What it had accepted already it cannot answer; it accepts no more.
            with ThreadPoolExecutor(MANY) as pool:
                opening = [pool.submit(_opened, service) for _ in range(MANY)]
                for each in opening:
                    each.result(30).close()
        finally:
            hung.resume()
