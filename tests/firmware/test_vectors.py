"""The published vectors: made as documented, decided alike by the service and by a library."""

import base64
import json
import re
import runpy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks.webhooks
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from harbor_api.domain import authentication, signatures
from harbor_api.domain.errors import HarborError
from harbor_api.domain.trackers import Assignment, Tracker, tracker_number

MAKER = runpy.run_path(str(Path(__file__).with_name("make_vectors.py")))
DOCUMENT = json.loads(MAKER["VECTORS_FILE"].read_text(encoding="utf-8"))
VECTORS = DOCUMENT["vectors"]

SIGNED = [vector for vector in VECTORS if vector["signer_makes"]]


def each(vectors: list[dict[str, Any]]) -> pytest.MarkDecorator:
    """Run a test once for each of the vectors, under its name."""
    return pytest.mark.parametrize("vector", vectors, ids=lambda vector: vector["name"])


def text_only(vectors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the bodies that are not UTF-8: the standardwebhooks package takes no others."""
    return [vector for vector in vectors if "body_text" in vector or "body_repeat" in vector]


def body_of(vector: dict[str, Any]) -> bytes:
    if "body_repeat" in vector:
        return str(vector["body_repeat"]["text"]).encode() * int(vector["body_repeat"]["times"])
    return base64.b64decode(vector["body_base64"], validate=True)


def test_committed_file_is_what_the_script_makes() -> None:
    committed = MAKER["VECTORS_FILE"].read_text(encoding="utf-8")
    assert committed == MAKER["render"](), "run python tests/firmware/make_vectors.py"


def test_file_documents_every_field_and_no_other() -> None:
    used = {field for vector in VECTORS for field in vector}
    assert used == set(DOCUMENT["fields"])


def test_names_are_unique_and_codes_are_the_services() -> None:
    assert len({vector["name"] for vector in VECTORS}) == len(VECTORS)
    for vector in VECTORS:
        assert re.fullmatch(r"[a-zA-Z0-9_]+", vector["name"])
        assert vector["accept"] == ("code" not in vector)
        if "code" in vector:
            assert HarborError.by_code[vector["code"]].status == 401


def test_contract_vector_is_the_one_that_the_contract_prints() -> None:
    [vector] = [vector for vector in VECTORS if vector["name"] == "contract"]
    assert vector["secret"] == "whsec_yynsKqKylylnXnYx5PWDFxlcKhhqqSi2VHVZajb40n4="
    assert vector["webhook_signature"] == "v1,V2EK6f2+AANHoO2RU4CoqhLxAItRUIUoJqkTjEFKOfc="


def test_derivation_gives_the_keys_of_rfc_5869() -> None:
    key = MAKER["hkdf_sha256"](b"\x0b" * 22, bytes(range(13)), bytes.fromhex("f0f1f2f3f4f5f6f7f8f9"), 42)
    assert key.hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )


@each(VECTORS)
def test_vector_is_consistent(vector: dict[str, Any]) -> None:
    body = body_of(vector)
    assert len(body) == vector["body_bytes"]
    if "body_text" in vector:
        assert vector["body_text"].encode() == body
    if "signed_bytes" in vector:
        prefix = f"{vector['webhook_id']}.{vector['webhook_timestamp']}."
        assert len(prefix) + len(body) == vector["signed_bytes"]


@each(VECTORS)
def test_service_derives_the_secrets(vector: dict[str, Any]) -> None:
    master = bytes.fromhex(vector["master_key"])
    for prefix in ("", "other_"):
        if prefix + "secret" in vector:
            secret = signatures.derive_secret(master, vector["tracker_id"], vector[prefix + "generation"])
            assert secret == vector[prefix + "secret"]


@each(SIGNED)
def test_service_makes_the_signature(vector: dict[str, Any]) -> None:
    made = [
        signatures.sign(secret, vector["webhook_id"], int(vector["webhook_timestamp"]), body_of(vector))
        for secret in (vector["secret"], vector.get("other_secret"))
        if secret is not None
    ]
    assert " ".join(made) == vector["webhook_signature"]


class OnlyTrackers:
    """Knows the trackers of one vector and nothing else."""

    def __init__(self, generations: dict[str, list[int]], now: datetime) -> None:
        self.known = {tracker_number(each): held for each, held in generations.items()}
        self.now = now

    def find(self, tracker_id: str) -> Tracker | None:
        number = tracker_number(tracker_id)
        held = self.known.get(number)
        if number is None or held is None:
            return None
        return Tracker(
            number=number,
            assignments=(Assignment(vessel_id=1, starts_at=self.now),),
            label="",
            generation=held[0],
            previous_valid_until=self.now + timedelta(hours=1) if len(held) > 1 else None,
        )


@each(VECTORS)
def test_service_decides_as_the_vector_says(vector: dict[str, Any]) -> None:
    now = datetime.fromtimestamp(vector["server_time"], UTC)
    code = None
    try:
        message = authentication.read_headers(
            id=vector["webhook_id"] or "",
            timestamp=vector["webhook_timestamp"] or "",
            signature=vector["webhook_signature"] or "",
            body=body_of(vector),
            now=now,
        )
        authentication.demand_fresh(message)
        authentication.authenticate(
            OnlyTrackers(vector["server_generations"], now).find(message.tracker_id),
            message,
            secrets=signatures.Secrets(bytes.fromhex(vector.get("server_master_key", vector["master_key"]))),
        )
    except HarborError as error:
        code = error.code
    assert code == vector.get("code")


@pytest.fixture
def library_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set the time that the standardwebhooks package goes by."""

    def set_time(unix_seconds: int) -> None:
        class Stopped(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> "Stopped":
                return cls.fromtimestamp(unix_seconds, tz)

        monkeypatch.setattr(standardwebhooks.webhooks, "datetime", Stopped)

    return set_time


@each(text_only(VECTORS))
def test_library_decides_as_the_vector_says(
    vector: dict[str, Any], library_clock: Callable[[int], None]
) -> None:
    library_clock(vector["server_time"])
    master = bytes.fromhex(vector.get("server_master_key", vector["master_key"]))
    headers = {
        name: value
        for name, value in (
            ("webhook-id", vector["webhook_id"]),
            ("webhook-timestamp", vector["webhook_timestamp"]),
            ("webhook-signature", vector["webhook_signature"]),
        )
        if value is not None
    }
    claimed = (vector["webhook_id"] or "").partition("-")[0]
    accepted = False
    for generation in vector["server_generations"].get(claimed, []):
        webhook = Webhook(signatures.derive_secret(master, claimed, generation))
        try:
            webhook.verify(body_of(vector), headers, json_parse=False)
            accepted = True
        except (WebhookVerificationError, ValueError):
            # A malformed header makes the package raise ValueError, as int() or b64decode() do.
            continue
    assert accepted == (vector["accept"] or vector.get("harbor_only", False))


@each(text_only(SIGNED))
def test_library_makes_the_signature(vector: dict[str, Any]) -> None:
    at = datetime.fromtimestamp(int(vector["webhook_timestamp"]), UTC)
    made = [
        Webhook(secret).sign(vector["webhook_id"], at, body_of(vector).decode())
        for secret in (vector["secret"], vector.get("other_secret"))
        if secret is not None
    ]
    assert " ".join(made) == vector["webhook_signature"]
