"""API keys: how they are made, recognised and judged."""

import hashlib
import secrets
import zlib
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING

from harbor_api.entities import ApiKey
from harbor_api.errors import KeyInvalid, KeyRevoked, ScopeMissing

if TYPE_CHECKING:
    from harbor_api.database import UnitOfWork

PREFIX = "hbr_"
SCOPES = {"vessels:read": "Read the vessels and their latest positions."}
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_DIGITS = 30
_CHECK_DIGITS = 6
_SHOWN_DIGITS = 6


def generate() -> str:
    """Return a new key: ``hbr_``, 30 random base62 digits (178 bits) and their CRC-32 as 6 more."""
    body = "".join(secrets.choice(_BASE62) for _ in range(_RANDOM_DIGITS))
    return PREFIX + body + _checksum(body)


def is_well_formed(key: str) -> bool:
    """Tell whether text can be a key at all: a mistyped one is told without asking the database."""
    digits = key.removeprefix(PREFIX)
    return (
        key.startswith(PREFIX)
        and len(digits) == _RANDOM_DIGITS + _CHECK_DIGITS
        and set(digits) <= set(_BASE62)
        and digits[_RANDOM_DIGITS:] == _checksum(digits[:_RANDOM_DIGITS])
    )


def issue(
    unit_of_work: "UnitOfWork",
    *,
    name: str,
    scopes: Collection[str],
    requests_per_minute: int | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Issue a key and return it with its secret, which is told this once: only its hash is stored.

    256 bits of SHA-256 without a salt are enough, because a key is random, not chosen by a person.
    """
    secret = generate()
    key = unit_of_work.api_keys.add(
        name=name,
        prefix=secret[: len(PREFIX) + _SHOWN_DIGITS],
        sha256=hashlib.sha256(secret.encode()).digest(),
        scopes=scopes,
        requests_per_minute=requests_per_minute,
        expires_at=expires_at,
    )
    return key, secret


def recognise(unit_of_work: "UnitOfWork", secret: str, *, now: datetime) -> ApiKey:
    """Return the key that was presented; KeyInvalid or KeyRevoked where it does not hold."""
    if not is_well_formed(secret):
        raise KeyInvalid
    key = unit_of_work.api_keys.find(hashlib.sha256(secret.encode()).digest())
    if key is None:
        raise KeyInvalid
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        raise KeyRevoked
    return key


def holds(unit_of_work: "UnitOfWork", secret: str, *, now: datetime) -> bool:
    """Tell whether a key would be let in now."""
    try:
        recognise(unit_of_work, secret, now=now)
    except (KeyInvalid, KeyRevoked):
        return False
    return True


def demand_scope(key: ApiKey, scope: str) -> None:
    """Raise ScopeMissing unless the key carries the scope."""
    if scope not in key.scopes:
        raise ScopeMissing(f"This key does not carry the scope {scope}")


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(_CHECK_DIGITS):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits
