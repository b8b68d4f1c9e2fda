"""The embedded PostgreSQL: shared by services, it outlives a kill -9 of one, and ends with the last."""

import base64
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
from tests.support.factories import MASTER_KEY
from tests.support.live_service import free_port
from tests.support.urls import VESSELS

COMMAND = [sys.executable, "-m", "harbor_api.cli"]


@pytest.fixture
def environ(tmp_path_factory: pytest.TempPathFactory):
    import shutil
    import tempfile

    directory = Path(tempfile.mkdtemp(prefix="harbor-"))
    yield {
        **{name: value for name, value in os.environ.items() if not name.startswith("HARBOR_")},
        "HARBOR_DATA_DIR": str(directory),
        "HARBOR_TRACKER_MASTER_KEY": base64.b64encode(MASTER_KEY).decode(),
    }
    shutil.rmtree(directory, ignore_errors=True)


def _run(environ, *arguments: str) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _serve(environ) -> tuple[subprocess.Popen[bytes], str]:
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, "serve"],
        env=environ | {"HARBOR_BIND": f"127.0.0.1:{port}"},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health/ready", timeout=2, verify=False).status_code == 200:
                return process, url
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("did not start")


def _servers(environ) -> list[int]:
    """Return the processes of the PostgreSQL server in the data directory."""
    wanted = str(Path(environ["HARBOR_DATA_DIR"], "postgres"))
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"] and wanted in process.info["cmdline"]
    ]


def _await_end(environ) -> None:
    """Wait until there is no server: whoever was killed could not wait for it."""
    deadline = time.monotonic() + 30
    while _servers(environ):
        assert time.monotonic() < deadline, "nobody uses it, and it is still there"
        time.sleep(0.05)


def test_it_is_shared_survives_kill_9_and_ends_with_the_last(environ):
    assert "from empty to" in _run(environ, "migrate")
    assert "already" in _run(environ, "migrate")
    assert _servers(environ) == []
    vessel = _run(environ, "vessels", "add", "Skagerrak Trader", "--imo", "9074729").strip()
    tracker = _run(environ, "trackers", "add", vessel)
    key = _run(environ, "keys", "add", "partner").strip()
    assert "trk_0001" in tracker
    assert "whsec_" in tracker
    assert "whsec_" not in _run(environ, "trackers", "list")
    assert key not in _run(environ, "keys", "list")

    first, _ = _serve(environ)
    second, url = _serve(environ)
    assert len(_servers(environ)) == 1
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    fleet = httpx.get(f"{url}{VESSELS}", headers={"Authorization": f"Bearer {key}"})
    assert fleet.json()["features"][0]["properties"]["imo"] == "9074729"

    os.killpg(second.pid, signal.SIGKILL)
    second.wait()
    _await_end(environ)
    third, url = _serve(environ)
    fleet = httpx.get(f"{url}{VESSELS}", headers={"Authorization": f"Bearer {key}"})
    assert len(fleet.json()["features"]) == 1
    assert "revoked" in _run(environ, "keys", "revoke", "1")
    fleet = httpx.get(f"{url}{VESSELS}", headers={"Authorization": f"Bearer {key}"})
    assert fleet.json()["code"] == "key_revoked"
    third.terminate()
    assert third.wait(30) == 0
    assert _servers(environ) == []
