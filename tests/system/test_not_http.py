"""What never reaches the application, because it is no HTTP or too much of it, is told why all the same."""

import http.client
import json
import socket
from urllib.parse import urlencode

import pytest
from tests.support.live_service import LiveService
from tests.support.operations import Operation, operations_of
from tests.support.signed_posts import head_of
from tests.support.urls import POSITIONS, VESSELS


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
POST = b"POST /api/v1/positions HTTP/1.1\r\nHost: harbor\r\n"
NO_HOST = b"GET /health HTTP/1.1\r\n"


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
        (NO_HOST + b"\r\n", 400, "bad_request"),
        (NO_HOST + b"Host:\r\n\r\n", 400, "bad_request"),
        (NO_HOST + b"Host: two words\r\n\r\n", 400, "bad_request"),
        (NO_HOST + b"Host: user@harbor\r\n\r\n", 400, "bad_request"),
        (NO_HOST + b"Host: harbor/x\r\n\r\n", 400, "bad_request"),
        (NO_HOST + b"Host: harbor:http\r\n\r\n", 400, "bad_request"),
        (NO_HOST + b"Host: [::1\r\n\r\n", 400, "bad_request"),
        (GET + b"Host: harbor\r\n\r\n", 400, "bad_request"),
        (b"GET /health HTTP/1.0\r\nHost: two words\r\n\r\n", 400, "bad_request"),
        (b"GET /health\r\n\r\n", 400, "bad_request"),
        (b"GET health HTTP/1.1\r\nHost: harbor\r\n\r\n", 400, "bad_request"),
        (b"GET http://[::1/health HTTP/1.1\r\nHost: harbor\r\n\r\n", 400, "bad_request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_request"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + GET + b"\r\n", 400, "bad_request"),
        (b"GET /health HTTP/1.1\nHost: harbor\n\n", 400, "bad_request"),
        (GET + b"Name: 1\r2\r\n\r\n", 400, "bad_request"),
        (GET + b"Name: 1\x002\r\n\r\n", 400, "bad_request"),
        (POST + b"Content-Length: +2\r\n\r\n{}", 400, "bad_request"),
        (POST + b"Content-Length: -2\r\n\r\n{}", 400, "bad_request"),
        (POST + b"Content-Length: 1 1\r\n\r\n{}", 400, "bad_request"),
        (POST + b"Content-Length: 2, 2\r\n\r\n{}", 400, "bad_request"),
        (POST + b"Content-Length: 0x2\r\n\r\n{}", 400, "bad_request"),
        (POST + b"Content-Length: \xb2\r\n\r\n{}", 400, "bad_request"),
        (POST + b"Content-Length:\r\n\r\n{}", 400, "bad_request"),
        (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400, "bad_request"),
        (POST + b"Content-Length : 2\r\n\r\n{}", 400, "bad_request"),
        (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "bad_request"),
        (POST + b"Transfer-Encoding: identity\r\n\r\n", 400, "bad_request"),
        (POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n", 400, "bad_request"),
        (POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n", 400, "bad_request"),
        (POST + b"Expect: a miracle\r\nContent-Length: 2\r\n\r\n{}", 400, "bad_request"),
        (b"GET /" + b"x" * 50_000 + b" HTTP/1.1\r\nHost: harbor\r\n\r\n", 414, "uri_too_long"),
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
        assert answer.headers["Content-Type"] == "application/problem+json", chunks
        assert answer.headers["Connection"] == "close", chunks


def test_a_body_of_no_known_length_is_refused_and_not_read_as_a_request(service: LiveService):
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(POST + b"\r\n" + GET + b"\r\n")
        received = b""
        while data := connection.recv(65_536):
            received += data
    assert received.startswith(b"HTTP/1.1 411 ")
    assert b"length_required" in received
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in received


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /health/live HTTP/1.0\r\n\r\n", 200),
        (b"GET http://evil.example/health/live HTTP/1.1\r\nHost: harbor\r\n\r\n", 200),
        (b"GET http://evil.example HTTP/1.1\r\nHost: harbor\r\n\r\n", 200),
        (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: harbor\r\n\r\n", 404),
        (b"OPTIONS * HTTP/1.1\r\nHost: harbor\r\n\r\n", 404),
        (b"GET //evil.example/%2e%2e HTTP/1.1\r\nHost: harbor\r\n\r\n", 404),
        (b"GET /nothing/health/live HTTP/1.1\r\nHost: harbor\r\nSCRIPT_NAME: /nothing\r\n\r\n", 404),
        (b"GET /health/live HTTP/1.1\r\nHost: harbor\r\nPATH_INFO: /nothing\r\n\r\n", 200),
        (b"GET /health/live HTTP/1.1\r\nHost: [::1]:80\r\nX-Forwarded-Proto: ftp\r\n\r\n", 200),
    ],
)
def test_nothing_that_a_caller_says_of_where_it_is_is_believed(service: LiveService, request_, status):
    answer, body = _say(service, request_)
    assert answer.status == status
    assert "Location" not in answer.headers
    assert b"//evil.example" not in body


def test_the_longest_lists_of_vessels_reach_the_application(service: LiveService):
    vessel = service.world.vessel(imo="9074729", mmsi="257123450")
    lists = {
        "vessel_id": [str(vessel.id), *(f"{2**31 - 1000 + number}" for number in range(999))],
        "imo": ["9074729", *(f"{number:07}" for number in range(999))],
        "mmsi": ["257123450", *(f"{number:09}" for number in range(999))],
    }
    # As most clients write it: each comma takes three bytes.
    query = urlencode({name: ",".join(values) for name, values in lists.items()})
    answer = service.http.get(f"{VESSELS}?{query}", headers=service.world.bearer())
    assert answer.status_code == 200, answer.text
    assert [each["id"] for each in answer.json()["features"]] == [vessel.id]


def test_every_operation_refuses_what_is_too_long_as_its_document_says(service: LiveService):
    document = service.http.get("/openapi.json").json()
    for operation in operations_of(document):
        assert _statuses(service, operation) == [414, 431], str(operation)


def _statuses(service: LiveService, operation: Operation) -> list[int]:
    start = f"{operation.method} {operation.url}".encode()
    found = []
    for request in (
        start + b"?" + b"x" * 50_000 + b" HTTP/1.1\r\nHost: harbor\r\n\r\n",
        start + b" HTTP/1.1\r\nHost: harbor\r\nLarge: " + b"x" * 9_000 + b"\r\n\r\n",
    ):
        answer, body = _say(service, request)
        service.check(operation.method, operation.url, answer.status, dict(answer.headers), body)
        found.append(answer.status)
    return found
