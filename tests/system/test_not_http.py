"""What never reaches the application, because it is no HTTP or too much of it, is told why all the same."""

import http.client
import json
import socket

import pytest
from tests.support.live_service import LiveService
from tests.support.operations import Operation, operations_of
from tests.support.signed_posts import head_of
from tests.support.urls import POSITIONS


@pytest.fixture(scope="module")
def service(module_service: LiveService) -> LiveService:
    return module_service


def _say(service: LiveService, request: bytes) -> tuple[http.client.HTTPResponse, bytes]:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer, answer.read()


GET = b"GET /health HTTP/1.1\r\nHost: harbor\r\n"


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"NONSENSE\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/9.9\r\nHost: harbor\r\n\r\n", 400, "bad_request"),
        (b"get / HTTP/1.1\r\nHost: harbor\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHo st: harbor\r\n\r\n", 400, "bad_request"),
        (GET + b"Bad\x00Name: 1\r\n\r\n", 400, "bad_request"),
        (GET + b"Folded: 1\r\n 2\r\n\r\n", 400, "bad_request"),
        (GET + b"Content-Length: many\r\n\r\n", 400, "bad_request"),
        (GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "bad_request"),
        (GET + b"Transfer-Encoding: sideways\r\n\r\n", 400, "bad_request"),
        (b"GET /" + b"x" * 5_000 + b" HTTP/1.1\r\nHost: harbor\r\n\r\n", 414, "uri_too_long"),
        (GET + b"Large: " + b"x" * 9_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (GET + b"".join(b"H%d: 1\r\n" % n for n in range(120)) + b"\r\n", 431, "headers_too_large"),
        (GET + b"Huge: " + b"x" * 400_000 + b"\r\n\r\n", 431, "headers_too_large"),
    ],
)
def test_what_is_not_http_gets_a_problem(service: LiveService, request_, status, code):
    answer, body = _say(service, request_)
    problem = json.loads(body)
    assert (answer.status, problem["status"], problem["code"]) == (status, status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Request-Id"] == problem["request_id"]
    assert answer.headers["Date"]
    assert answer.headers["Connection"] == "close"
    assert "xxxx" not in problem["detail"]
    assert problem["request_id"] in service.log()


def test_a_body_whose_chunks_are_broken_is_refused(service: LiveService):
    tracker = service.world.tracker()
    headers = tracker.signed(b"{}")["headers"]
    start = head_of(POSITIONS, {"Transfer-Encoding": "chunked", **headers})
    for chunks in (b"zz\r\n{}\r\n", b"2\r\n{}xx", b"-1\r\n", b"\r\n"):
        answer, body = _say(service, start + chunks)
        assert (answer.status, json.loads(body)["code"]) == (400, "bad_request"), chunks


def test_every_operation_refuses_what_is_too_long_as_its_document_says(service: LiveService):
    document = service.http.get("/openapi.json").json()
    for operation in operations_of(document):
        assert _statuses(service, operation) == [414, 431], str(operation)


def _statuses(service: LiveService, operation: Operation) -> list[int]:
    start = f"{operation.method} {operation.url}".encode()
    found = []
    for request in (
        start + b"?" + b"x" * 5_000 + b" HTTP/1.1\r\nHost: harbor\r\n\r\n",
        start + b" HTTP/1.1\r\nHost: harbor\r\nLarge: " + b"x" * 9_000 + b"\r\n\r\n",
    ):
        answer, body = _say(service, request)
        service.check(operation.method, operation.url, answer.status, dict(answer.headers), body)
        found.append(answer.status)
    return found
