"""What somebody did who cannot get a signature right: pure.

What the form of a header shows is told to anybody, as it says nothing that was not sent. What the secret is
needed for is told to trackers under test only.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator, Sequence
from typing import Any

from harbor_api.domain.signatures import (
    MAX_SIGNATURES,
    SECRET_PREFIX,
    SignedMessage,
    secret_key,
    signed_bytes,
)

_MOST_SHOWN_BYTES = 4096
_MISFIT = "No signature fits the headers and the body as they arrived"
# The form of what was sent, and what is wrong with it; the first that fits.
_FORMS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(form, re.ASCII), hint)
    for form, hint in (
        (r"v1,[A-Za-z0-9+/]{43}=(,.*)?", "several signatures are separated by one space"),
        (r"sha256=.*", "it begins with v1 and a comma, not with sha256="),
        (r"(v1,)?[0-9A-Fa-f]{64}", "it is in hexadecimal and must be in base64"),
        (r"v1=.*", "a comma separates v1 and the signature"),
        (r"V1,.*", "the version is v1, in lower case"),
        (r"[A-Za-z0-9+/_-]{43}=?", "it begins with v1 and a comma"),
        (r"v1,\"?whsec_.*|whsec_.*", "this is a secret: send what is signed with it, and ask for a new one"),
        (
            r"v1,[A-Za-z0-9_-]{43}=?",
            "the base64 is of the kind for URLs, or lacks its =",
        ),
        (r"v1,[A-Za-z0-9+/]{43}", "the base64 lacks its ="),
        (r"v1,[A-Za-z0-9+/_=-]{0,43}", "it is cut off: the base64 of 32 bytes has 44 characters"),
        (r"v1,[A-Za-z0-9+/_=-]{45,}", "it is too long: the base64 of 32 bytes has 44 characters"),
        (r"v1,.*", "what follows v1 and the comma must be base64"),
        (r"v[0-9]+a?,.*", "only version v1 is taken"),
    )
)


def of_message_id(sent: str) -> str:
    """Return what is wrong with a ``webhook-id``."""
    rule = "webhook-id must be <tracker id>-<1 to 64 of A-Z a-z 0-9 _ ->"
    if not sent:
        return f"{rule}; there is none"
    if re.fullmatch(r"trk_[0-9]{4,10}-?", sent, re.ASCII):
        return f"{rule}; this is the tracker's id alone"
    if not sent.startswith("trk_"):
        return f"{rule}; this does not begin with a tracker's id such as trk_0001"
    return rule


def of_timestamp(sent: str) -> str:
    """Return what is wrong with a ``webhook-timestamp``."""
    rule = "webhook-timestamp must be the unix time of this attempt in seconds"
    if re.fullmatch(r"[0-9]{13}", sent, re.ASCII):
        return f"{rule}; this is in milliseconds"
    if re.fullmatch(r"[0-9]+\.[0-9]*", sent, re.ASCII):
        return f"{rule}, without a fraction"
    if re.match(r"[0-9]{4}-[0-9]{2}", sent, re.ASCII):
        return f"{rule}; this is a date"
    return rule


def of_signature(sent: str) -> str:
    """Return what is wrong with a ``webhook-signature`` that fits nothing, as far as its form tells."""
    candidates = sent.split(" ")
    if len(candidates) > MAX_SIGNATURES:
        return f"webhook-signature must hold at most {MAX_SIGNATURES} signatures, separated by one space"
    if any(re.fullmatch(r"v1,[A-Za-z0-9+/]{43}=", each, re.ASCII) for each in candidates):
        return _MISFIT
    for each in candidates:
        for form, hint in _FORMS:
            if each and form.fullmatch(each):
                return f"{_MISFIT}. Of webhook-signature: {hint}"
    return f"{_MISFIT}. webhook-signature is v1, a comma and the base64 of 32 bytes"


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
