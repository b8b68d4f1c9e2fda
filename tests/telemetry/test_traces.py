"""Traces and reports of errors: sent where they are asked for, and nothing of what is secret with them."""

import gzip
import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import brotli
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.support import sql
from tests.support.factories import a_fix
from tests.support.live_service import LiveService
from tests.support.signed_posts import send
from tests.support.urls import VESSELS

from harbor_api.database import Database
from harbor_api.telemetry import traces

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
_PATIENCE_S = 60
_DECODED = {None: bytes, "gzip": gzip.decompress, "br": brotli.decompress}


@contextmanager
def _collector() -> Iterator[tuple[str, "queue.Queue[bytes]"]]:
    """Yield the address of what takes all that is sent to it, and where that is found."""
    received: queue.Queue[bytes] = queue.Queue()

    class Takes(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.put(_DECODED[self.headers["Content-Encoding"]](body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Takes) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}", received
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("traceparent", "found"),
    [
        (TRACEPARENT, TRACE),
        (f"01-{TRACE}-00f067aa0ba902b7-00-more", TRACE),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (TRACEPARENT.upper(), None),
        (f"{TRACEPARENT}\n", None),
        ("", None),
    ],
)
def test_a_trace_is_known_by_a_header_that_is_well_formed(traceparent: str, found: str | None):
    assert traces.given(traceparent) == found


def test_a_trace_that_a_caller_names_is_in_problems_and_in_the_log(live_service: LiveService):
    answer = live_service.http.get(f"{VESSELS}/1", headers={"traceparent": TRACEPARENT})
    assert answer.json()["trace_id"] == TRACE
    assert "trace_id" not in live_service.http.get(f"{VESSELS}/1").json()
    [line] = [json.loads(line) for line in live_service.log().splitlines() if TRACE in line]
    assert (line["event"], line["trace_id"]) == ("request", TRACE)


def test_requests_and_what_postgresql_is_asked_are_spans(new_database, tmp_path: Path):
    with _collector() as (address, received):
        settings = {"traces_url": f"http://{address}/v1/traces", "traces_percent": 100}
        with LiveService(new_database(), log=tmp_path / "log", **settings) as service:
            tracker = service.world.tracker()
            bearer = service.world.bearer()
            signed = tracker.signed(a_fix())
            assert send(service.http, signed).status_code == 201
            service.http.get(f"{VESSELS}/1", headers=bearer | {"traceparent": TRACEPARENT})
            assert service.stop() == 0
        # What is left is sent when the service ends.
        spans = [
            span
            for each in _all(received)
            for resource in ExportTraceServiceRequest.FromString(each).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
    by_name = {span.name: span for span in spans if span.kind == span.SPAN_KIND_SERVER}
    read = by_name[f"GET {VESSELS}/<identifier:vessel_id>"]
    assert read.trace_id.hex() == TRACE
    assert read.parent_span_id.hex() == "00f067aa0ba902b7"
    told = {each.key: each.value for each in read.attributes}
    assert (told["http.response.status_code"].int_value, told["http.request.method"].string_value) == (
        200,
        "GET",
    )
    stored = by_name["POST /api/v1/positions"]
    within = [span for span in spans if span.parent_span_id == stored.span_id]
    assert {span.name for span in within} == {"postgresql"}
    sent = b"".join(span.SerializeToString() for span in spans)
    assert bearer["Authorization"].split()[1].encode() not in sent
    assert tracker.secret.encode() not in sent


def test_a_collector_that_is_away_is_no_harm(new_database, tmp_path: Path):
    settings = {"traces_url": "http://127.0.0.1:1/v1/traces", "traces_percent": 100}
    with LiveService(new_database(), log=tmp_path / "log", **settings) as service:
        bearer = service.world.bearer()
        for _ in range(20):
            assert service.http.get(VESSELS, headers=bearer).status_code == 200


def test_a_failure_is_reported_without_what_was_sent(new_database, tmp_path: Path):
    url = new_database()
    with (
        _collector() as (address, received),
        LiveService(url, log=tmp_path / "log", sentry_dsn=f"http://public@{address}/1") as service,
    ):
        bearer = service.world.bearer()
        database = Database(url, pool_size=1)
        sql.run(database, "ALTER TABLE vessels RENAME COLUMN name TO title")
        database.dispose()
        answer = service.http.get(f"{VESSELS}/1", headers=bearer | {"X-Request-Id": "mine"})
        assert answer.status_code == 500
        event = json.loads(received.get(timeout=_PATIENCE_S).splitlines()[2])
    assert event["tags"]["request_id"] == "mine"
    assert event["tags"]["route"] == f"{VESSELS}/<identifier:vessel_id>"
    assert event["exception"]["values"]
    assert not {"request", "user"} & event.keys()
    assert bearer["Authorization"].split()[1] not in json.dumps(event)
    frames = [frame for each in event["exception"]["values"] for frame in each["stacktrace"]["frames"]]
    assert not [frame for frame in frames if "vars" in frame]


def _all(received: "queue.Queue[bytes]") -> Iterator[bytes]:
    while not received.empty():
        yield received.get()
