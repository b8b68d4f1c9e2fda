"""Whole windows over real connections: clients that go away or do not read, and what ends in the midst.

The service has less patience here than as shipped (tests/support/quick_service.py); the rules are the same.
"""

import http.client
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from tests.support.live_service import LiveService, OwnPostgres
from tests.support.urls import VESSELS

# Far more than the kernel holds of an answer that is not read.
_MANY = 30_000
_SOON_S = 20
_STORE = """
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, cog, heading, seq)
SELECT %s, at, 1, at, 59.9, 10.7, 8.4, 181.2, 180, nextval('fleet_order')
FROM generate_series(1, %s) AS n,
    LATERAL (SELECT timestamptz '2026-01-01 00:00:00Z' + n * interval '1 second' AS at) AS moment
"""


class Scene:
    """A service over a PostgreSQL of its own, with a vessel that has a long history."""

    def __init__(self, postgres: OwnPostgres, service: LiveService, many: int) -> None:
        self.postgres, self.service = postgres, service
        vessel = service.world.vessel()
        self.url = f"{VESSELS}/{vessel.id}/positions?format=csv"
        self.headers = service.world.bearer("vessels:read")
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute(_STORE, (vessel.id, many))

    def begin(self) -> socket.socket:
        """Ask for the whole window, and read its first bytes and no more."""
        client = socket.create_connection(("127.0.0.1", self.service.port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.settimeout(_SOON_S)
        sent = (f"GET {self.url} HTTP/1.1", "Host: harbor", f"Authorization: {self.headers['Authorization']}")
        client.sendall("\r\n".join((*sent, "", "")).encode())
        assert client.recv(1_000).startswith(b"HTTP/1.1 200 ")
        return client

    def many_open(self) -> int:
        """Return how many connections of clients the worker holds."""
        held = self.service.worker().net_connections("tcp")
        return sum(each.laddr.port == self.service.port and bool(each.raddr) for each in held)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    log = tmp_path_factory.mktemp("streams") / "service.log"
    with (
        OwnPostgres() as postgres,
        LiveService(postgres.url, log=log, module="tests.support.quick_service", workers=1) as service,
    ):
        yield Scene(postgres, service, _MANY)


def _soon(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SOON_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _rest(client: socket.socket) -> bytes:
    """Return what still comes of an answer that is broken off, however that ends."""
    rest = b""
    with client, suppress(ConnectionResetError):
        while data := client.recv(1 << 20):
            rest += data
    return rest


def test_all_of_it_comes_however_late_others_come(scene: Scene):
    told = httpx.get(scene.service.base_url + scene.url, headers=scene.headers, timeout=60)
    assert len(told.text.splitlines()) == _MANY + 1
    assert told.headers["Transfer-Encoding"] == "chunked"


def test_a_client_that_goes_away_frees_what_it_held(scene: Scene):
    clients = [scene.begin() for _ in range(4)]
    assert httpx.get(scene.service.base_url + scene.url, headers=scene.headers).status_code == 429
    # Nobody waits for them, and nothing of PostgreSQL's is held for them.
    assert httpx.get(f"{scene.service.base_url}/health").status_code == 200
    for client in clients:
        client.close()
    _soon(lambda: scene.many_open() == 0)
    scene.begin().close()
    _soon(lambda: scene.many_open() == 0)


def test_a_client_that_does_not_read_is_cut(scene: Scene):
    client = scene.begin()
    _soon(lambda: scene.many_open() == 0)
    assert not _rest(client).endswith(b"\r\n0\r\n\r\n")


def test_postgres_gone_in_the_midst_is_noticed(scene: Scene):
    client = scene.begin()
    scene.postgres.crash()
    assert not _rest(client).endswith(b"\r\n0\r\n\r\n")
    told = [line for line in scene.service.log().splitlines() if "stream_broken" in line]
    assert len(told) == 1
    assert '"code": "unavailable"' in told[0]
    assert "Traceback" not in scene.service.log()
    scene.postgres.start()
    _soon(lambda: httpx.get(f"{scene.service.base_url}/health/ready").status_code == 200)
    connection = http.client.HTTPConnection("127.0.0.1", scene.service.port, timeout=_SOON_S)
    connection.request("GET", scene.url, headers=scene.headers)
    assert connection.getresponse().status == 200
    connection.close()


def test_an_end_of_the_service_is_noticed(scene: Scene):
    client = scene.begin()
    assert scene.service.stop() == 0
    assert not _rest(client).endswith(b"\r\n0\r\n\r\n")


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["csv", "gpx"])
@pytest.mark.parametrize("coding", ["identity", "gzip", "zstd", "br"])
def test_a_million_points_take_no_more_memory_than_a_few(tmp_path: Path, format_: str, coding: str):
    with OwnPostgres() as postgres, LiveService(postgres.url, log=tmp_path / "log", workers=1) as service:
        few, many = Scene(postgres, service, 20_000), Scene(postgres, service, 1_000_000)
        peaks = [
            _peak(service.worker(), service.base_url + each.url.replace("csv", format_), each.headers, coding)
            for each in (few, few, many)
        ]
        assert peaks[2] < peaks[1] + 16 * 2**20


def _peak(worker: psutil.Process, url: str, headers: dict[str, str], coding: str) -> int:
    """Read an answer, and return how much memory the worker took of its own at most meanwhile."""
    peak = read = 0
    asked = {**headers, "Accept-Encoding": coding}
    with httpx.stream("GET", url, headers=asked, timeout=600) as answer:
        for number, part in enumerate(answer.iter_raw()):
            read += len(part)
            if number % 50 == 0:
                peak = max(peak, worker.memory_info().rss)
    print(url, coding, f"{read:,} bytes, {peak / 2**20:.0f} MB")
    return peak
