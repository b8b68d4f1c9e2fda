"""A tiny real HTTP service for the clients' tests: it checks signatures as the real one does."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from harbor_api.domain import signatures

MASTER_KEY = bytes(range(32))
SINGLE, BATCH = "/api/v1/positions", "/api/v1/positions/batch"


def secret_of(tracker_id: str) -> str:
    return signatures.derive_secret(MASTER_KEY, tracker_id, 1)


@dataclass
class Answer:
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    # Closes the connection without an answer, as a failing network does.
    hang_up: bool = False
    delay_s: float = 0.0


@dataclass
class Attempt:
    message_id: str
    tracker_id: str
    timestamp: int
    fix: dict[str, Any]
    verified: bool
    at: float


class Service:
    """Stores fixes by tracker and time; ``script`` answers come first, one an attempt."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.batches: list[int] = []
        self.largest_batch = 1_000
        self.script: list[Answer] = []
        self.judge: Callable[[Attempt], Answer | None] = lambda attempt: None
        self.base_url = ""
        self._stored: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def answer(self, path: str, headers: Any, raw: bytes) -> Answer:
        message_id = headers["webhook-id"]
        timestamp = headers["webhook-timestamp"]
        tracker_id = message_id.partition("-")[0]
        verified = signatures.verify(
            secret_of(tracker_id), message_id, timestamp, raw, headers["webhook-signature"]
        )
        body = json.loads(raw)
        is_batch = path == BATCH
        fixes = body["fixes"] if is_batch else [body]
        attempts = [
            Attempt(message_id, tracker_id, int(timestamp), fix, verified, time.monotonic()) for fix in fixes
        ]
        with self._lock:
            self.attempts += attempts
            if is_batch:
                self.batches.append(len(fixes))
            if self.script:
                return self.script.pop(0)
            if not verified:
                return problem(401, "signature_invalid")
            if is_batch and not 0 < len(fixes) <= self.largest_batch:
                return problem(422 if not fixes else 413, "refused")
            answers = [self._judge(attempt) for attempt in attempts]
        if not is_batch:
            return answers[0]
        failed = next((each for each in answers if each.hang_up or each.status >= 500), None)
        return failed or Answer(200, {"verdicts": [_in_batch(answer) for answer in answers]})

    def _judge(self, attempt: Attempt) -> Answer:
        judged = self.judge(attempt)
        if judged is not None:
            return judged
        key = (attempt.tracker_id, attempt.fix["recorded_at"])
        if key in self._stored:
            return Answer(200, {"verdict": "duplicate", "latest": False})
        self._stored.add(key)
        return Answer(201, {"verdict": "stored", "latest": True})


def _in_batch(answer: Answer) -> dict[str, Any]:
    if answer.status < 300:
        return dict(answer.body)
    return {"verdict": "invalid", "latest": False, **answer.body}


def problem(status: int, code: str, **headers: str) -> Answer:
    return Answer(status, {"type": "about:blank", "status": status, "code": code}, dict(headers))


@contextmanager
def running(port: int = 0) -> Iterator[Service]:
    """Run a service on a free port of the loopback interface until the block ends."""
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body are two writes, which Nagle's algorithm would hold apart by 40 ms.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            answer = service.answer(self.path, self.headers, raw)
            time.sleep(answer.delay_s)
            if answer.hang_up or self.path not in {SINGLE, BATCH}:
                self.close_connection = True
                return
            body = (
                answer.body
                if isinstance(answer.body, bytes)
                else json.dumps(answer.body if answer.body is not None else {}).encode()
            )
            self.send_response_only(answer.status)
            for name, value in {"content-type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Keep the tests' output for the tests."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        # The default queue of five refuses a fleet that arrives at once.
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that left is part of several tests."""

    server = Server(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    service.base_url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
