"""The signers against the running service: the same bytes must convince the real verifier."""

import http.client
import json
import os
import re
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.support.live_service import LiveService
from tests.support.urls import POSITIONS as PATH

from harbor_api.domain import signatures

FIRMWARE = Path(__file__).resolve().parents[2] / "openapi" / "firmware"
CHANGED = (b"59.9", b"59.8")

Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
def live_service(module_service: LiveService) -> LiveService:
    """Return one service for all tests here: each has its own tracker."""
    return module_service


def fix(*, minutes_ago: int = 1) -> bytes:
    recorded_at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    return json.dumps(
        {"recorded_at": f"{recorded_at:%Y-%m-%dT%H:%M:%SZ}", "lat": 59.9, "lon": 10.7, "sog": 8.4}
    ).encode()


def post(live_service: LiveService, headers: dict[str, str], body: bytes) -> Answer:
    connection = http.client.HTTPConnection(urlsplit(live_service.base_url).netloc, timeout=10)
    try:
        headers = {"content-type": "application/json", **headers}
        connection.request("POST", PATH, body, headers)
        answer = connection.getresponse()
        received = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, received, answer.read()
    finally:
        connection.close()


def sign_with_c(run_c: Any, secret: str, tracker: str, now: int, body: bytes) -> dict[str, str]:
    made = run_c(tracker, "live-1", str(now), secret=secret, body=body)
    assert made.returncode == 0, made.stderr
    return dict(line.split(": ", 1) for line in made.stdout.decode().splitlines())


def sign_with_micropython(
    command: list[str], script: Path, secret: str, tracker: str, now: int, body: bytes
) -> dict[str, str]:
    script.write_text(
        (FIRMWARE / "harbor_sign.py").read_text(encoding="utf-8")
        + f"print(json.dumps(sign_headers({tracker!r}, 'live-1', {now}, {body!r}, [{secret!r}])))\n",
        encoding="utf-8",
    )
    ran = subprocess.run([*command, str(script)], capture_output=True, text=True, check=True)
    made: dict[str, str] = json.loads(ran.stdout)
    return made


@pytest.mark.parametrize("language", ["c", "cpython", "micropython"])
def test_signed_fix_is_stored_and_known_again_and_a_changed_one_refused(
    live_service: LiveService,
    language: str,
    request: pytest.FixtureRequest,
    harbor_sign: ModuleType,
    tmp_path: Path,
) -> None:
    tracker, secret = live_service.add_tracker()
    body, now = fix(), int(time.time())
    if language == "c":
        headers = sign_with_c(request.getfixturevalue("run_c"), secret, tracker, now, body)
    elif language == "micropython":
        command = request.getfixturevalue("micropython")
        headers = sign_with_micropython(command, tmp_path / "sign.py", secret, tracker, now, body)
    else:
        headers = harbor_sign.sign_headers(tracker, "live-1", now, body, [secret])

    status, _, text = post(live_service, headers, body)
    assert (status, json.loads(text)["verdict"]) == (201, "stored")

    # The same message gets the first answer again.
    status, _, text = post(live_service, headers, body)
    assert (status, json.loads(text)["verdict"]) == (201, "stored")

    status, received, text = post(live_service, headers, body.replace(*CHANGED))
    assert (status, json.loads(text)["code"]) == (401, "signature_invalid")
    assert "www-authenticate" in received


def test_second_signature_of_another_generation_does_no_harm(live_service: LiveService, run_c: Any) -> None:
    tracker, secret = live_service.add_tracker()
    other = signatures.derive_secret(b"\x07" * 32, tracker, 2)
    body, now = fix(), int(time.time())
    made = run_c(tracker, "live-1", str(now), secret=other, other_secret=secret, body=body)
    headers = dict(line.split(": ", 1) for line in made.stdout.decode().splitlines())
    assert len(headers["webhook-signature"].split()) == 2
    assert post(live_service, headers, body)[0] == 201


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_missing_header_is_told(live_service: LiveService, harbor_sign: ModuleType, missing: str) -> None:
    tracker, secret = live_service.add_tracker()
    body = fix()
    headers = harbor_sign.sign_headers(tracker, "live-1", int(time.time()), body, [secret])
    del headers[missing]
    status, _, text = post(live_service, headers, body)
    assert (status, json.loads(text)["code"]) == (401, "signature_missing")


def test_dead_clock_is_set_from_the_refusal_itself(
    live_service: LiveService, run_c: Any, harbor_sign: ModuleType
) -> None:
    tracker, secret = live_service.add_tracker()
    body = fix()
    headers = harbor_sign.sign_headers(tracker, "live-1", 86, body, [secret])
    status, received, text = post(live_service, headers, body)
    assert (status, json.loads(text)["code"]) == (401, "timestamp_out_of_tolerance")

    in_c = run_c("--date", received["date"])
    assert int(in_c.stdout) == harbor_sign.parse_date(received["date"])
    assert abs(int(in_c.stdout) - time.time()) < 30


def test_send_loop_delivers_a_fix_of_days_ago_from_a_board_without_the_time(
    live_service: LiveService, harbor_sign: ModuleType
) -> None:
    tracker, secret = live_service.add_tracker()
    clock = harbor_sign.Clock()
    clock.offset -= clock.now()
    answers: list[Answer] = []
    slept: list[float] = []

    def recorded_post(headers: dict[str, str], body: bytes) -> Answer:
        answers.append(post(live_service, headers, body))
        return answers[-1]

    done = harbor_sign.deliver(
        fix(minutes_ago=9 * 24 * 60),
        "live-1",
        tracker,
        [secret],
        post=recorded_post,
        clock=clock,
        sleep=slept.append,
    )
    assert done == harbor_sign.ERASE
    assert [status for status, _, _ in answers] == [401, 201]
    assert slept == []


def test_shell_commands_of_the_page_store_a_fix(live_service: LiveService) -> None:
    if shutil.which("openssl") is None or shutil.which("curl") is None:
        pytest.skip("no openssl or no curl on the path")
    page = (FIRMWARE / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert found is not None
    tracker, secret = live_service.add_tracker()
    ran = subprocess.run(
        ["sh", "-eu", "-c", found[1]],
        env={
            "PATH": os.environ["PATH"],
            "NO_PROXY": "*",
            "URL": live_service.base_url,
            "TRACKER_ID": tracker,
            "TRACKER_SECRET": secret,
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert re.match(r"HTTP/1\.[01] 201 ", ran.stdout), ran.stdout
