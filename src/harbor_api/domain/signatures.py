"""Standard Webhooks v1 signatures, as trackers make them and the service checks them.

The construction is https://www.standardwebhooks.com (v1, symmetric): the signed bytes are
``id + "." + timestamp + "." + body`` and the signature is ``v1,`` followed by the base64 of their
HMAC-SHA256. Pure functions: no clock, no I/O.
"""

import base64
import binascii
import hashlib
import hmac
from datetime import datetime
from functools import cache
from typing import NamedTuple

SECRET_PREFIX = "whsec_"  # noqa: S105 - it marks secrets and is none
SIGNATURE_VERSION = "v1"
MAX_SIGNATURES = 4
_HKDF_SALT = b"harbor/tracker-hmac/v1"
_CHECK_INFO = b"harbor/master-key-check/v1"
_CHECK_BYTES = 16


class SignedMessage(NamedTuple):
    """A request that claims to come from a tracker, its headers well formed but not yet believed."""

    tracker_id: str
    id: str
    timestamp: str
    signature: str
    body: bytes
    received_at: datetime


def derive_secret(master_key: bytes, tracker_id: str, generation: int) -> str:
    """Return the ``whsec_`` secret of one generation of a tracker's key.

    HKDF-SHA256 (RFC 5869) with the input key ``master_key``, the salt ``harbor/tracker-hmac/v1`` and
    the info ``<tracker id>:<generation>``, 32 bytes out. Nothing secret has to lie in the database:
    who has the master key can derive every tracker's secret again.
    """
    # One block of HKDF-Expand is 32 bytes, which is all that is asked for.
    info = f"{tracker_id}:{generation}".encode()
    key = hmac.digest(_pseudorandom_key(master_key), info + b"\x01", hashlib.sha256)
    return SECRET_PREFIX + base64.b64encode(key).decode()


def check_value(master_key: bytes) -> bytes:
    """Return 16 bytes by which a master key is known again: HKDF-SHA256 as above, with an info of its own.

    They may lie in the database: neither the key nor any tracker's secret can be reckoned from them, as no
    tracker's info begins like theirs.
    """
    key = hmac.digest(_pseudorandom_key(master_key), _CHECK_INFO + b"\x01", hashlib.sha256)
    return key[:_CHECK_BYTES]


class Secrets:
    """The secrets of trackers under one master key, of which those are remembered that have signed.

    Only the work is spared: what is derived is the same each time, so nothing that is remembered can be out
    of date. Whoever refuses a signature does the spared work after all (``spend``), so that the time it takes
    does not tell who has signed before.
    """

    def __init__(self, master_key: bytes, *, most: int = 20_000) -> None:
        """Derive from a master key, and remember at most so many."""
        self._master_key = master_key
        self._most = most
        self._remembered: dict[tuple[str, int], str] = {}

    def of(self, tracker_id: str, generation: int) -> str:
        """Return the secret that ``derive_secret`` does."""
        remembered = self._remembered.get((tracker_id, generation))
        return derive_secret(self._master_key, tracker_id, generation) if remembered is None else remembered

    def spend(self, tracker_id: str, generation: int) -> None:
        """Do the work that ``of`` was spared, if it was."""
        if (tracker_id, generation) in self._remembered:
            derive_secret(self._master_key, tracker_id, generation)

    def remember(self, tracker_id: str, generation: int, secret: str) -> None:
        """Remember the secret of a tracker that has signed."""
        if len(self._remembered) >= self._most and (tracker_id, generation) not in self._remembered:
            self._remembered.clear()
        self._remembered[tracker_id, generation] = secret


@cache
def _pseudorandom_key(master_key: bytes) -> bytes:
    """Return what HKDF-Extract makes of the master key: the same for all trackers."""
    return hmac.digest(_HKDF_SALT, master_key, hashlib.sha256)


def secret_key(secret: str) -> bytes:
    """Return the HMAC key that a ``whsec_`` secret stands for; ValueError if it is not one."""
    encoded = secret.removeprefix(SECRET_PREFIX)
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError("a tracker secret is whsec_ followed by base64") from error


def signed_bytes(message_id: str, timestamp: str, body: bytes) -> bytes:
    """Return the bytes that a signature covers; ``timestamp`` is the header as it was sent."""
    return f"{message_id}.{timestamp}.".encode() + body


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the ``webhook-signature`` header for a body sent at ``timestamp`` (unix seconds)."""
    signature = hmac.digest(
        secret_key(secret), signed_bytes(message_id, str(timestamp), body), hashlib.sha256
    )
    return f"{SIGNATURE_VERSION},{base64.b64encode(signature).decode()}"


def verify(secret: str, message_id: str, timestamp: str, body: bytes, header: str) -> bool:
    """Return whether any ``v1`` signature of the header was made with ``secret``.

    The comparison takes the same time wherever the signatures differ. A header with more than
    ``MAX_SIGNATURES`` signatures is refused whole, so that it cannot be used to buy guesses.
    """
    candidates = header.split(" ")
    if len(candidates) > MAX_SIGNATURES:
        return False
    expected = base64.b64encode(
        hmac.digest(secret_key(secret), signed_bytes(message_id, timestamp, body), hashlib.sha256)
    )
    matches = False
    for candidate in candidates:
        version, _, signature = candidate.partition(",")
        if version == SIGNATURE_VERSION:
            matches |= hmac.compare_digest(signature.encode(), expected)
    return matches
