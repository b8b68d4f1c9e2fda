"""API8:2023 Security Misconfiguration: every answer is hardened, whoever wrote it."""

import json
import re
from typing import Any

import pytest
from flask import Flask
from tests.security.calls import Document, call, raw, with_keys
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.live_service import LiveService
from tests.support.operations import operations_of
from tests.support.urls import KEYS, ME, POSITIONS, TRACKERS


class TestApi8SecurityMisconfiguration:
    @staticmethod
    def _demand_hardened(answer: Any, what: str, *, private: bool, is_read: bool = False) -> None:
        headers = answer.headers
        assert headers.get("X-Content-Type-Options") == "nosniff", what
        assert headers.get("Referrer-Policy") == "no-referrer", what
        if private:
            kept = "private, no-cache" if is_read else "no-store"
            assert headers.get("Cache-Control") == kept, what
            assert not is_read or headers["Vary"] == "Authorization, Accept, Accept-Encoding", what
        names = {name.lower() for name in headers.keys()}  # noqa: SIM118 - httpx and werkzeug differ in iteration
        assert not names & {"x-powered-by", "set-cookie", "access-control-allow-origin"}, what
        assert not re.search(r"\d", headers.get("Server", "")), what

    def test_every_answer_is_hardened(self, document: Document, client: CheckedClient, world: World, admin):
        world.tracker()
        for operation in operations_of(document):
            for what, headers in (("anybody", {}), ("the operator", admin)):
                for query in ("", "?no_such_parameter=1"):
                    answer = call(client, operation, headers, url=operation.url + query)
                    where = f"{operation}{query} as {what}: {answer.status_code}"
                    # What is asked about again each time may be kept by whoever read it; nothing else is.
                    is_read = "304" in operation.described["responses"] and answer.status_code == 200
                    self._demand_hardened(answer, where, private=True, is_read=is_read)
        signed = client.post(POSITIONS, **world.tracker().signed(a_fix()))
        assert signed.status_code == 201
        self._demand_hardened(signed, "a stored fix", private=True)

    @pytest.mark.parametrize(
        "url",
        [
            "/",
            "/nowhere",
            "/api",
            "/api/v1/nowhere",
            "/health/nowhere",
            "/docs",
            "/docs/nowhere",
            "/openapi.json",
            "/docs/assets/swagger-ui.css",
            "/docs/assets/nowhere.js",
            "/.well-known/nowhere",
        ],
    )
    def test_every_page_is_hardened(self, client: CheckedClient, url):
        answer = client.get(url)
        self._demand_hardened(answer, url, private=url.startswith(("/api/", "/health")))
        answer.close()

    def test_answers_that_tell_secrets_are_never_kept(self, client: CheckedClient, world: World, admin):
        vessel = world.vessel()
        for url, body in (
            (TRACKERS, {"vessel_id": vessel.id}),
            (f"{TRACKERS}/1/rotate", {}),
            (KEYS, {"name": "x", "scopes": ["vessels:read"]}),
            (f"{KEYS}/1/rotate", {}),
        ):
            answer = client.post(url, json=body, headers=admin)
            assert "secret" in json.loads(answer.text), answer.text
            assert answer.headers["Cache-Control"] == "no-store"

    def test_what_never_reaches_the_application_is_hardened(self, service: LiveService):
        requests = {
            "not HTTP": b"nonsense\r\n\r\n",
            "a URI too long": b"GET /" + b"x" * 50_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
            "a header too long": b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 9_000 + b"\r\n\r\n",
            "many headers": b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: x\r\n" * 200 + b"\r\n",
        }
        for what, request in requests.items():
            status, headers, body = raw(service, request)
            assert status in {400, 414, 431}, what
            assert headers["content-type"] == "application/problem+json", what
            assert b"Traceback" not in body
            assert headers.get("x-content-type-options") == "nosniff", what
            assert not re.search(r"\d", headers.get("server", "")), what

    def test_latin_1_huge_and_many_credentials_on_the_wire_let_nobody_in(self, service: LiveService):
        _, secret = service.world.key()
        bearer = f"Authorization: Bearer {secret}\r\n".encode()
        attempts = {
            "Latin-1": b"Authorization: Bearer hbr_" + bytes(range(0xA0, 0x100)) + b"\r\n",
            "UTF-8": "Authorization: Bearer hbr_ключ\r\n".encode(),
            "control characters": b"Authorization: Bearer hbr_\x01\x7f\r\n",
            "NUL": b"Authorization: Bearer " + secret.encode() + b"\x00\r\n",
            "huge": b"Authorization: Bearer hbr_" + b"0" * 7_000 + b"\r\n",
            "huger": b"Authorization: Bearer hbr_" + b"0" * 70_000 + b"\r\n",
            "two keys": bearer * 2,
            "fifty keys": bearer * 50,
            "a blank before the colon": bearer.replace(b":", b" :", 1),
            "folded": bearer.replace(b" hbr_", b"\r\n hbr_"),
            "signatures": b"webhook-signature: v1,\xff\r\n" * 60,
        }
        for what, headers in attempts.items():
            request = b"GET /api/v1/me HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + headers + b"\r\n"
            status, _, body = raw(service, request)
            assert status in {400, 401, 431}, f"{what}: {status} {body!r}"
        assert service.http.get(ME, headers={"Authorization": f"Bearer {secret}"}).status_code == 200

    def test_the_server_names_no_version(self, service: LiveService):
        answer = service.http.get("/health")
        self._demand_hardened(answer, "/health", private=True)

    def test_no_other_origin_is_let_in_by_default(self, document: Document, client: CheckedClient, admin):
        for operation in with_keys(document):
            answer = call(client, operation, {**admin, "Origin": "https://evil.example"})
            assert not [name for name in answer.headers.keys() if name.startswith("Access-Control-")]  # noqa: SIM118 - Headers iterates pairs

    def test_a_doubled_slash_or_a_foreign_host_leads_nowhere_else(self, client: CheckedClient, admin):
        answer = client.application.test_client().get(
            # The client would read two slashes as the begin of a host.
            environ_overrides={"PATH_INFO": "//api//v1/me"},
            headers=admin | {"Host": "evil.example"},
        )
        assert "Location" not in answer.headers
        assert (answer.status_code, answer.content_type) == (404, "application/problem+json")

    def test_the_application_is_not_in_debug_or_test_mode(self, app: Flask):
        assert not app.debug
        assert not app.testing
        assert not app.config["PROPAGATE_EXCEPTIONS"]
        assert app.static_folder is None
