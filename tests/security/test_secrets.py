"""Secrets stay secret, wherever the service writes something: beside the Top 10."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
from tests.security.calls import raw
from tests.security.stored import tables
from tests.support.factories import MASTER_KEY, SigningTracker, a_fix
from tests.support.live_service import LiveService
from tests.support.signed_posts import send
from tests.support.urls import AUDIT, CHECK, KEYS, ME, POSITIONS, TRACKERS, VESSELS

from harbor_api.domain import signatures
from harbor_api.domain.api_keys import SCOPES
from harbor_api.settings import Settings


class TestSecretsStaySecret:
    """Everything is done to a service that logs all it can, and then the secrets are looked for."""

    MASTER = base64.b64encode(MASTER_KEY).decode()

    def _use_everything(self, service: LiveService) -> "Used":
        """Call what makes and takes secrets, rightly and wrongly."""
        http = service.http
        own = service.world.key(*SCOPES, requests_per_minute=1_000_000)[1]
        operator = {"Authorization": f"Bearer {own}"}
        vessel = http.post(VESSELS, json={"name": "Quokka"}, headers=operator).json()
        tracker = http.post(TRACKERS, json={"vessel_id": vessel["id"], "test": True}, headers=operator).json()
        terms = {"name": "partner", "scopes": ["vessels:read"]}
        once = operator | {"Idempotency-Key": "one"}
        key = http.post(KEYS, json=terms, headers=once).json()
        assert http.post(KEYS, json=terms, headers=once).json()["secret"] == key["secret"]
        next_key = http.post(f"{KEYS}/{key['id']}/rotate", json={}, headers=operator).json()["secret"]
        for secret in (key["secret"], next_key):
            assert http.get(VESSELS, headers={"Authorization": f"Bearer {secret}"}).status_code == 200
        before = self._signing(service, tracker["number"], tracker["secret"])
        assert _sent(service, POSITIONS, before.signed(a_fix())).status_code == 201
        url = f"{TRACKERS}/{tracker['number']}/rotate"
        next_secret = http.post(url, json={}, headers=operator).json()["secret"]
        after = self._signing(service, tracker["number"], next_secret)
        assert _sent(service, POSITIONS, after.signed({"lat": "x"})).status_code == 422
        secrets = {
            "operator's key": own,
            "partner's key": key["secret"],
            "partner's next key": next_key,
            "tracker's secret": tracker["secret"],
            "tracker's next secret": next_secret,
        }
        return Used(secrets, operator, after)

    @staticmethod
    def _signing(service: LiveService, number: int, secret: str) -> SigningTracker:
        with service.world.database.autocommit() as unit_of_work:
            return SigningTracker(unit_of_work.trackers.get(number), secret)

    @classmethod
    def _demand_absent(cls, secrets: Mapping[str, str], text: str, where: str) -> None:
        # A trace holds texts as Python shows them, in JSON once more.
        plain = re.sub(r"\\+", r"\\", text)
        keys = {
            "master key": cls.MASTER,
            "master key, hexadecimal": MASTER_KEY.hex(),
            "master key, as Python shows it": r"\x00\x01\x02\x03\x04",
        }
        for what, secret in {**secrets, **keys}.items():
            # What may be shown of a key are its first ten characters.
            telling = secret[10:30] if secret.startswith(("hbr_", "whsec_")) else secret
            for form in (telling, telling.encode().hex()):
                # Not by "in": the report of a failure would print all of it.
                found = plain.find(form)
                assert found < 0, f"{where} holds the {what}: ...{plain[max(0, found - 200) : found]}"

    def test_in_the_log_the_audit_trail_the_document_and_the_database(self, service: LiveService):
        used = self._use_everything(service)
        for url in (AUDIT, KEYS, TRACKERS, ME, VESSELS, "/openapi.json"):
            self._demand_absent(used.secrets, service.http.get(url, headers=used.operator).text, url)
        for table, rows in tables(service.world).items():
            self._demand_absent(used.secrets, "\n".join(rows), f"the table {table}")
        self._demand_absent(used.secrets, service.log(), "the log")

    def test_in_what_a_tracker_under_test_is_told(self, service: LiveService):
        used = self._use_everything(service)
        tracker = used.signing.tracker
        wrong = SigningTracker(tracker, signatures.derive_secret(bytes(32), tracker.id, 1))
        signed = wrong.signed(a_fix(), url=CHECK)
        answer = _sent(service, CHECK, signed)
        assert "expected" in answer.json()
        self._demand_absent(used.secrets, answer.text, "the explanation")
        headers = signed["headers"]
        message = (headers["webhook-id"], int(headers["webhook-timestamp"]), signed["data"])
        right = signatures.sign(used.signing.secret, *message)
        assert right.removeprefix("v1,") not in answer.text

    def test_in_the_log_of_a_failure(self, service: LiveService):
        """The database breaks as nobody foresaw: a table is gone, under the feet of any request."""
        used = self._use_everything(service)
        http, signing = service.http, used.signing
        answers = []
        with psycopg.connect(service.environ["HARBOR_DATABASE_URL"], autocommit=True) as connection:
            for table in ("api_keys", "trackers", "idempotency_keys", "audit", "positions"):
                connection.execute(f"ALTER TABLE {table} RENAME TO gone")
                once = {**used.operator, "Idempotency-Key": table}
                terms = {"name": "x", "scopes": ["keys:read"]}
                answers += [
                    http.get(ME, headers=used.operator),
                    http.post(KEYS, json=terms, headers=once),
                    http.post(f"{TRACKERS}/{signing.tracker.number}/rotate", json={}, headers=once),
                    *(_sent(service, url, signing.signed(a_fix(60), url=url)) for url in (POSITIONS, CHECK)),
                ]
                connection.execute(f"ALTER TABLE gone RENAME TO {table}")

        assert sum(each.status_code == 500 for each in answers) >= 5, [each.status_code for each in answers]
        for answer in answers:
            if answer.status_code >= 500:
                self._demand_absent(used.secrets, answer.text, "the answer")
                assert "Traceback" not in answer.text
                assert "gone" not in answer.text
        assert "unexpected_exception" in service.log()
        self._demand_absent(used.secrets, service.log(), "the log")

    def test_in_the_log_of_what_is_not_http(self, service: LiveService):
        used = self._use_everything(service)
        bearer = f"Authorization: {used.operator['Authorization']}\r\n"
        for headers in (
            bearer.replace(":", " :", 1),
            bearer.replace("Bearer ", "Bearer\r\n "),
            bearer.replace("\r\n", "\x00\r\n"),
            bearer.replace(":", ""),
            bearer + "Content-Length: x\r\n",
        ):
            status, _, body = raw(service, f"GET {ME} HTTP/1.1\r\nHost: h\r\n{headers}\r\n".encode())
            assert status == 400, headers
            self._demand_absent(used.secrets, body.decode(), "the answer")
        self._demand_absent(used.secrets, service.log(), "the log")

    def test_in_the_settings_as_they_are_shown(self):
        settings = Settings(
            database_url="postgresql://harbor:s3cret-word@db/harbor",
            redis_url="redis://:s3cret-word@cache/0",
            tracker_master_key=MASTER_KEY,
        )
        assert "s3cret-word" not in repr(settings)
        self._demand_absent({}, repr(settings), "repr(Settings)")


@dataclass(frozen=True)
class Used:
    """What the use of everything has left: its secrets, who may do all, and a tracker under test."""

    secrets: Mapping[str, str]
    operator: Mapping[str, str]
    signing: SigningTracker


def _sent(service: LiveService, url: str, signed: Mapping[str, Any]) -> httpx.Response:
    return send(service.http, signed, url)
