"""Each operation answers each error that any operation can answer, as its own document says."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from tests.conftest import NewDatabase
from tests.support.checked_client import CheckedClient
from tests.support.factories import SigningTracker, World
from tests.support.operations import Operation, operations_of

from harbor_api.app import create_app
from harbor_api.domain.errors import RequestTimeout
from harbor_api.web import rate_limits, runtime

Document = dict[str, Any]


class _Stalled(io.RawIOBase):
    """A body that is given up, as the server's connections give up what does not come."""

    def readable(self) -> bool:
        return True

    def readinto(self, _: Any) -> int:
        raise RequestTimeout


class Caller:
    """Calls any operation as somebody who may."""

    def __init__(self, client: CheckedClient, world: World, document: Document) -> None:
        self._client = client
        self._tracker: SigningTracker = world.tracker()
        scopes = {
            scope
            for operation in operations_of(document)
            for required in operation.security
            for scope in required.get("api_key", ())
        }
        self._bearer = world.bearer(*scopes)
        self._impatient = world.bearer(*scopes, requests_per_minute=1)

    def call(
        self,
        operation: Operation,
        *,
        query: str = "",
        body: bytes = b"{}",
        media_type: str = "application/json",
        impatient: bool = False,
        stalls: bool = False,
        environ: Mapping[str, Any] | None = None,
    ) -> int:
        sent: dict[str, Any] = {}
        if "requestBody" in operation.described:
            sent = {"data": body, "content_type": media_type}
        if stalls:
            environ = {"wsgi.input": _Stalled()}
        if environ is not None:
            sent["environ_overrides"] = environ
        schemes = set().union(*operation.security)
        headers = {}
        if "api_key" in schemes:
            headers = self._impatient if impatient else self._bearer
        elif schemes:
            headers = self._tracker.signed(sent.get("data", b""), url=operation.url)["headers"]
        headers = {name: value for name, value in headers.items() if name != "content-type"}
        answer = self._client.open(
            operation.url + query, method=operation.method, headers={**operation.headers, **headers}, **sent
        )
        return int(answer.status_code)


@pytest.fixture
def caller(client: CheckedClient, world: World, document: Document) -> Caller:
    return Caller(client, world, document)


def _with(document: Document, status: int) -> list[Operation]:
    found = [each for each in operations_of(document) if str(status) in each.described["responses"]]
    assert found
    return found


def test_400_for_an_unknown_parameter(document: Document, caller: Caller):
    for operation in _with(document, 400):
        assert caller.call(operation, query="?no_such_parameter=1") == 400, str(operation)


@pytest.mark.parametrize(
    ("status", "body", "media_type"),
    [
        (400, b"{", "application/json"),
        (413, b"[" + b" " * 600_000 + b"]", "application/json"),
        (415, b"{}", "text/plain"),
        (422, b"[]", "application/json"),
    ],
)
def test_4xx_for_a_bad_body(document: Document, caller: Caller, status, body, media_type):
    for operation in _with(document, status):
        if "requestBody" in operation.described:
            assert caller.call(operation, body=body, media_type=media_type) == status, str(operation)


def test_408_for_a_body_that_does_not_come(document: Document, caller: Caller):
    for operation in _with(document, 408):
        assert caller.call(operation, stalls=True) == 408, str(operation)


def test_411_for_a_body_whose_end_is_not_told(document: Document, caller: Caller):
    for operation in _with(document, 411):
        assert caller.call(operation, environ={"CONTENT_LENGTH": ""}) == 411, str(operation)


def test_429_for_a_caller_who_asks_too_often(document: Document, app: Flask, caller: Caller, monkeypatch):
    settings = replace(runtime.of(app).settings, tracker_requests_per_minute=1)
    monkeypatch.setitem(app.extensions, runtime.NAME, replace(runtime.of(app), settings=settings))
    monkeypatch.setattr(rate_limits, "PUBLIC_PER_MINUTE", 1)
    for operation in _with(document, 429):
        assert 429 in {caller.call(operation, impatient=True) for _ in range(2)}, str(operation)


@pytest.fixture
def broken(new_database: NewDatabase, app: Flask) -> Iterator[Flask]:
    """Return an application in which every request goes wrong as nobody foresaw."""

    def fail() -> None:
        raise ZeroDivisionError("a secret that is nobody's business")

    application = create_app(replace(runtime.of(app).settings, database_url=new_database()))
    application.before_request(fail)
    yield application
    runtime.of(application).database.dispose()


@pytest.mark.heavy
def test_500_tells_nothing_but_the_request_id(document: Document, broken: Flask):
    client = CheckedClient(broken)
    for operation in _with(document, 500):
        answer = client.open(operation.url, method=operation.method)
        assert answer.status_code == 500, str(operation)
        assert answer.json["request_id"] == answer.headers["X-Request-Id"]
        assert "secret" not in answer.text
        assert "ZeroDivisionError" not in answer.text


def test_503_where_the_database_does_not_answer(document: Document, app: Flask, world: World):
    settings = replace(runtime.of(app).settings, database_url="postgresql://127.0.0.1:9/none")
    caller = Caller(CheckedClient(create_app(settings)), world, document)
    for operation in _with(document, 503):
        assert caller.call(operation) == 503, str(operation)
