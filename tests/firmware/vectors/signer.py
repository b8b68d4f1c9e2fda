"""A signer of requests.

Derivation and signing are written out here from RFC 5869 and the Standard Webhooks text and share
no code with the service, so that a mistake in one shows as a difference to the other.
"""

import base64
import hashlib
import hmac

MASTER = bytes(range(32))
OTHER_MASTER = b"\xff" * 32
NOW = 1767323045  # 2026-01-02T03:04:05Z
FIX = (
    b'{"recorded_at":"2026-01-02T03:04:05Z","lat":59.9,"lon":10.7,"sog":8.4,'
    b'"cog":181.2,"heading":180,"nav_status":0}'
)


def hkdf_sha256(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """Return HKDF-SHA256 as RFC 5869 has it: extract, then expand to ``length`` bytes."""
    pseudorandom_key = hmac.new(salt, key, hashlib.sha256).digest()
    output = block = b""
    counter = 1
    while len(output) < length:
        block = hmac.new(pseudorandom_key, block + info + bytes([counter]), hashlib.sha256).digest()
        output += block
        counter += 1
    return output[:length]


def tracker_key(master: bytes, tracker_id: str, generation: int) -> bytes:
    """Return the 32 bytes that a tracker signs with."""
    info = f"{tracker_id}:{generation}".encode()
    return hkdf_sha256(master, b"harbor/tracker-hmac/v1", info, 32)


def whsec(key: bytes) -> str:
    """Return a key in the form in which a tracker gets it."""
    return "whsec_" + base64.b64encode(key).decode()


def mac(key: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
    """Return the 32 bytes of the signature."""
    message = message_id.encode() + b"." + timestamp.encode() + b"." + body
    return hmac.new(key, message, hashlib.sha256).digest()


def v1(signature: bytes) -> str:
    """Return a signature as the header carries it."""
    return "v1," + base64.b64encode(signature).decode()


class Request:
    """One request in the making: right in every respect until a vector overrides a part."""

    def __init__(
        self,
        body: bytes = FIX,
        *,
        suffix: str = "1-42",
        tracker: str = "trk_0001",
        generation: int = 1,
        other: int | None = None,
        master: bytes = MASTER,
        timestamp: int = NOW,
    ) -> None:
        self.body = body
        self.tracker = tracker
        self.generation = generation
        self.other = other
        self.master = master
        self.id = f"{tracker}-{suffix}"
        self.timestamp = str(timestamp)

    def key(self, generation: int | None = None) -> bytes:
        return tracker_key(self.master, self.tracker, generation or self.generation)

    def signature(self, generation: int | None = None) -> str:
        return v1(mac(self.key(generation), self.id, self.timestamp, self.body))

    def header(self) -> str:
        return " ".join(self.signature(each) for each in (self.generation, self.other) if each is not None)
