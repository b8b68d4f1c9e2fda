"""harbor-api demo: what it shows, what it refuses, and that nothing of it stays behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from tests.support.live_service import free_port

COMMAND = [sys.executable, "-m", "harbor_api.cli", "demo", "--interval", "0.5"]
_START_S = 60


@pytest.fixture
def environ() -> Iterator[dict[str, str]]:
    directory = tempfile.mkdtemp(prefix="harbor-")
    yield {
        **{name: value for name, value in os.environ.items() if not name.startswith("HARBOR_")},
        "HARBOR_DATA_DIR": f"{directory}/Application Support",
        "HARBOR_BIND": f"127.0.0.1:{free_port()}",
        # What it asks of itself is on this machine, whatever proxy there is for the rest.
        "HTTP_PROXY": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1",
    }
    shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _running(environ) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run the demo; give its process, and the header and the URL of the command that it prints."""
    with subprocess.Popen(
        COMMAND,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as demo:
        try:
            yield demo, next(line for line in demo.stdout if "curl" in line).split("'")
        finally:
            demo.kill()
    _await_end(environ)


def _family(environ) -> list[psutil.Process]:
    """Return all processes that name the data directory, or have it in their environment."""
    wanted = environ["HARBOR_DATA_DIR"]
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        words = process.info["cmdline"] or []
        is_told = (process.info["environ"] or {}).get("HARBOR_DATA_DIR") == wanted
        if is_told or any(word.startswith(wanted) for word in words):
            found.append(process)
    return found


def _await_end(environ) -> None:
    deadline = time.monotonic() + _START_S
    while left := _family(environ):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.05)


def test_it_moves_twelve_vessels_and_ends_cleanly(environ):
    with _running(environ) as (demo, command):
        name, value = command[1].split(": ")
        url = command[2].strip()
        looks = []
        for _ in range(2):
            time.sleep(3)
            features = httpx.get(url, headers={name: value}).json()["features"]
            looks.append({feature["id"]: feature["geometry"]["coordinates"] for feature in features})
        assert len(looks[0]) == len(looks[1]) == 12
        assert sum(looks[0][vessel] != looks[1][vessel] for vessel in looks[0]) >= 10
        assert len(_family(environ)) >= 4, "the demo, its service, PostgreSQL and its keeper"
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0
        assert _family(environ) == []
        assert list(Path(environ["HARBOR_DATA_DIR"]).glob("postgres/*.pid")) == []


@pytest.mark.parametrize("how", [signal.SIGHUP, signal.SIGKILL])
def test_nothing_stays_behind(how: signal.Signals, environ):
    with _running(environ) as (demo, _):
        demo.send_signal(how)
        assert demo.wait(30) == (0 if how == signal.SIGHUP else -how)
        if how == signal.SIGHUP:
            assert _family(environ) == []
        _await_end(environ)
        assert list(Path(environ["HARBOR_DATA_DIR"]).glob("postgres/*.pid")) == [], "it was not shut down"


def test_it_ends_when_its_service_does(environ):
    with _running(environ) as (demo, _):
        [service] = [child for child in psutil.Process(demo.pid).children() if "serve" in child.cmdline()]
        service.kill()
        assert demo.wait(30) == 1
        # Workers that have lost their master may still say so behind it.
        told = "harbor-api: the service ended by itself, with status -9; its own lines above say why"
        assert told in demo.stderr.read().splitlines()


def test_it_says_that_its_address_is_taken_and_does_nothing(environ):
    host, _, port = environ["HARBOR_BIND"].partition(":")
    with socket.create_server((host, int(port))) as other:
        done = subprocess.run(COMMAND, env=environ, capture_output=True, text=True, timeout=60, check=False)
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"harbor-api: HARBOR_BIND {host}:{port} is taken: something else listens there; "
        "end that, or set HARBOR_BIND to another address\n"
    )
    assert not Path(environ["HARBOR_DATA_DIR"], "postgres").exists()
