"""What a firmware writer did who cannot get a signature right: pure, and only for trackers under test."""

import base64
import hashlib
import hmac
from collections.abc import Iterator, Sequence
from typing import Any

from harbor_api.domain.signatures import SECRET_PREFIX, SignedMessage, secret_key, signed_bytes

_MOST_SHOWN_BYTES = 4096


def expected(message: SignedMessage, secrets: Sequence[str]) -> dict[str, Any]:
    """Return the bytes that a signature had to cover, and the mistake where it is a usual one.

    All of it is what the caller sent: neither the secret nor the right signature is in it.
    """
    covered = signed_bytes(message.id, message.timestamp, message.body)
    return {
        "base64": base64.b64encode(covered[:_MOST_SHOWN_BYTES]).decode(),
        "length": len(covered),
        "sha256": hashlib.sha256(covered).hexdigest(),
        "hint": next(_mistakes(message, covered, secrets), None),
    }


def _mistakes(message: SignedMessage, covered: bytes, secrets: Sequence[str]) -> Iterator[str]:
    """Yield what makes one of the signatures that were sent, beginning with single mistakes."""
    sent = {each.partition(",")[2] or each for each in message.signature.split(" ")}
    trials = [
        (what, encode(hmac.digest(key, content, hashlib.sha256)))
        for secret in secrets
        for what_key, key in _keys(secret)
        for what_content, content in _contents(message, covered)
        for what_encoding, encode in _ENCODINGS
        if (what := [each for each in (what_key, what_content, what_encoding) if each])
    ]
    yield from _malformed(message, covered, secrets)
    yield from (" ".join(what) for what, signature in sorted(trials, key=_mistaken) if signature in sent)


def _mistaken(trial: tuple[list[str], str]) -> int:
    return len(trial[0])


def _keys(secret: str) -> Iterator[tuple[str, bytes]]:
    yield "", secret_key(secret)
    yield "The secret's text was the key; decode what follows whsec_ from base64 first.", secret.encode()
    yield (
        "The base64 text was the key; decode it first.",
        secret.removeprefix(SECRET_PREFIX).encode(),
    )


def _contents(message: SignedMessage, covered: bytes) -> Iterator[tuple[str, bytes]]:
    yield "", covered
    yield "Only the body was signed; sign id, timestamp and body with dots between.", message.body
    yield "The id was not signed.", f"{message.timestamp}.".encode() + message.body
    yield "The timestamp was not signed.", f"{message.id}.".encode() + message.body
    yield "The body was not signed.", signed_bytes(message.id, message.timestamp, b"")
    yield "A line end was signed that was not sent.", covered + b"\n"
    if covered.endswith(b"\n"):
        yield "A line end was sent that was not signed.", covered.rstrip(b"\r\n")
    yield "The dots between the parts are missing.", (message.id + message.timestamp).encode() + message.body


_ENCODINGS = (
    ("", lambda digest: base64.b64encode(digest).decode()),
    ("The signature is in hexadecimal; it must be in base64.", lambda digest: digest.hex()),
    (
        "The base64 is of the kind for URLs; use + and /.",
        lambda digest: base64.urlsafe_b64encode(digest).decode(),
    ),
    ("The base64 lacks its =.", lambda digest: base64.b64encode(digest).decode().rstrip("=")),
)


def _malformed(message: SignedMessage, covered: bytes, secrets: Sequence[str]) -> Iterator[str]:
    right = {
        base64.b64encode(hmac.digest(secret_key(secret), covered, hashlib.sha256)).decode()
        for secret in secrets
    }
    if any(signature in message.signature for signature in right):
        yield "The signature is right, but must stand after v1 and a comma, several apart by one space."
