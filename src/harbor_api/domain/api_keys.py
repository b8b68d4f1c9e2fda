"""API keys: what one may do and see, and the form of its secret."""

import hashlib
import hmac
import secrets
import zlib
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import TypeVar

from harbor_api.domain.errors import ExceedsKey, ScopeMissing
from harbor_api.domain.values import Rule, Span, Text

NAME = Text(100)
OWNER = Text(200, may_be_empty=True)
DELAY_S = Span(0, 31_536_000)
DECIMALS = Span(0, 6)
HISTORY_DAYS = Span(1, 36_500)
LIMIT = Span(1, 1_000_000)
# What each member of a key's terms obeys.
RULES: dict[str, Rule] = {
    "name": NAME,
    "owner": OWNER,
    "delay_s": DELAY_S,
    "coordinate_decimals": DECIMALS,
    "history_days": HISTORY_DAYS,
    "requests_per_minute": LIMIT,
}
PREFIX = "hbr_"
SCOPES = {
    "vessels:read": "Read the vessels, where they are and where they were.",
    "vessels:write": "Register, change, retire and restore vessels, and say how long their positions "
    "are kept.",
    "trackers:read": "List the trackers.",
    "trackers:write": "Register, reassign, disable and rotate trackers.",
    "keys:read": "List the API keys.",
    "keys:write": "Issue, change, rotate and revoke API keys that have no more than it has itself.",
    "quarantine:read": "List the fixes in quarantine.",
    "quarantine:write": "Release and reject fixes in quarantine, and withdraw stored ones.",
    "audit:read": "Read who changed what, and how long positions of vessels are kept.",
}
# What a key may carry that sees only some vessels, or sees them late, coarsely or not far back.
PARTNER_SCOPES = frozenset({"vessels:read"})
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_DIGITS = 30
_CHECK_DIGITS = 6
_SHOWN_DIGITS = 6
_ENTROPY_BYTES = 32

Least = TypeVar("Least", int, datetime)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTerms:
    """What a key may do and see.

    ``vessel_ids`` is None for all vessels. Positions are shown ``delay_s`` seconds late and with
    ``coordinate_decimals`` decimals, None for all there are; those recorded more than ``history_days`` days
    of 24 hours ago are not, None for all that are kept. One that is ``independent`` does not end with the key
    that issued it.
    """

    name: str
    owner: str = ""
    scopes: frozenset[str] = field(default_factory=frozenset)
    vessel_ids: frozenset[int] | None = None
    delay_s: int = 0
    coordinate_decimals: int | None = None
    history_days: int | None = None
    requests_per_minute: int | None = None
    expires_at: datetime | None = None
    independent: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An issued API key without its secret; ``prefix`` is the part that may be shown.

    It ends with the key ``parent_id`` and never has more; None where it is independent.
    """

    id: int
    prefix: str
    terms: KeyTerms
    created_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    previous_valid_until: datetime | None = None
    version: int = 1
    parent_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A key as each request meets it: without its vessels, which may be thousands.

    ``version`` is another one where these have changed.
    """

    id: int
    name: str
    scopes: frozenset[str]
    all_vessels: bool
    delay_s: int
    coordinate_decimals: int | None
    history_days: int | None = None
    requests_per_minute: int | None
    last_used_at: datetime | None = None
    version: int = 1


def caller_of(key: ApiKey) -> Caller:
    """Return a key as its requests meet it."""
    terms = key.terms
    return Caller(
        id=key.id,
        name=terms.name,
        scopes=terms.scopes,
        all_vessels=terms.vessel_ids is None,
        delay_s=terms.delay_s,
        coordinate_decimals=terms.coordinate_decimals,
        history_days=terms.history_days,
        requests_per_minute=terms.requests_per_minute,
        last_used_at=key.last_used_at,
        version=key.version,
    )


def holds(key: ApiKey, now: datetime) -> bool:
    """Return whether a key is taken at a moment."""
    return key.revoked_at is None and (key.terms.expires_at is None or key.terms.expires_at > now)


def generate(entropy: bytes | None = None) -> str:
    """Return a new key: ``hbr_``, 30 base62 digits (178 bits) and their CRC-32 as 6 more.

    The same 32 bytes of entropy give the same key; without any, a new one is drawn.
    """
    number = int.from_bytes(entropy or secrets.token_bytes(_ENTROPY_BYTES))
    body = ""
    for _ in range(_RANDOM_DIGITS):
        number, digit = divmod(number, len(_BASE62))
        body += _BASE62[digit]
    return PREFIX + body + _checksum(body)


def entropy_for(master_key: bytes, nonce: bytes) -> bytes:
    """Return 32 bytes that only who has the master key can derive from a nonce.

    A repeated request for a key must tell the same secret again, which is stored nowhere.
    """
    return hmac.digest(master_key, b"harbor/api-key/v1" + nonce, hashlib.sha256)


def is_well_formed(key: str) -> bool:
    """Return whether text can be a key at all: a mistyped one is told without asking the database."""
    digits = key.removeprefix(PREFIX)
    return (
        key.startswith(PREFIX)
        and len(digits) == _RANDOM_DIGITS + _CHECK_DIGITS
        and set(digits) <= set(_BASE62)
        and digits[_RANDOM_DIGITS:] == _checksum(digits[:_RANDOM_DIGITS])
    )


def shown(secret: str) -> str:
    """Return the part of a key that may be shown, to tell keys apart."""
    return secret[: len(PREFIX) + _SHOWN_DIGITS]


def digest(secret: str) -> bytes:
    """Return what is stored of a key: its SHA-256."""
    return hashlib.sha256(secret.encode()).digest()


def demand_scope(caller: Caller, scope: str) -> None:
    """Raise ScopeMissing unless the key carries the scope."""
    if scope not in caller.scopes:
        raise ScopeMissing(f"This key does not carry the scope {scope}")


def narrowed(terms: KeyTerms, most: KeyTerms, *, usual_limit: int) -> KeyTerms:
    """Return what is left of terms where they may give no more than others do.

    A key without a limit of its own has the usual one, in requests a minute.
    """
    limited = (terms.requests_per_minute or usual_limit) <= (most.requests_per_minute or usual_limit)
    return replace(
        terms,
        scopes=terms.scopes & most.scopes,
        vessel_ids=_both(terms.vessel_ids, most.vessel_ids),
        delay_s=max(terms.delay_s, most.delay_s),
        coordinate_decimals=_least(terms.coordinate_decimals, most.coordinate_decimals),
        history_days=_least(terms.history_days, most.history_days),
        requests_per_minute=terms.requests_per_minute if limited else most.requests_per_minute,
        expires_at=_least(terms.expires_at, most.expires_at),
    )


def exceeded(terms: KeyTerms, most: KeyTerms, *, usual_limit: int) -> tuple[str, ...]:
    """Return the names of the members in which terms give more than others do."""
    left = narrowed(terms, most, usual_limit=usual_limit)
    return tuple(each.name for each in fields(terms) if getattr(left, each.name) != getattr(terms, each.name))


def demand_power(held: KeyTerms, terms: KeyTerms, *, usual_limit: int) -> None:
    """Raise ScopeMissing or ExceedsKey where a key would give, or take over, more than it has itself."""
    beyond = exceeded(terms, held, usual_limit=usual_limit)
    if "scopes" in beyond:
        missing = ", ".join(sorted(terms.scopes - held.scopes))
        raise ScopeMissing(f"This key does not carry {missing}, and so cannot give it or take it over")
    if beyond:
        raise ExceedsKey(f"That is more than this key has itself: {', '.join(beyond)}")


def is_administrator(key: ApiKey) -> bool:
    """Return whether a key stands for the operator: it stands alone, may do everything and never ends."""
    everything = KeyTerms(name=key.terms.name, scopes=frozenset(SCOPES))
    return key.terms.independent and not exceeded(everything, key.terms, usual_limit=0)


def _both(one: frozenset[int] | None, other: frozenset[int] | None) -> frozenset[int] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _least(one: Least | None, other: Least | None) -> Least | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(_CHECK_DIGITS):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits
