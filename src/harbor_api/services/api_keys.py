"""API keys: how they are made, recognised and judged."""

import hashlib
import hmac
import secrets
import zlib
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from harbor_api.domain.entities import Actor, ApiKey, Caller, KeyTerms
from harbor_api.domain.errors import Conflict, Fault, KeyInvalid, KeyRevoked, ScopeMissing, ValidationFailed
from harbor_api.domain.identifiers import is_name
from harbor_api.services import audit
from harbor_api.services.rotation import demand_rotatable
from harbor_api.services.versions import demand

if TYPE_CHECKING:
    from harbor_api.database import UnitOfWork

PREFIX = "hbr_"
SCOPES = {
    "vessels:read": "Read the vessels and their latest positions.",
    "vessels:write": "Register, change, retire and restore vessels.",
    "trackers:read": "List the trackers.",
    "trackers:write": "Register, reassign, disable and rotate trackers.",
    "keys:read": "List the API keys.",
    "keys:write": "Issue, change, rotate and revoke API keys, up to its own scopes.",
    "quarantine:read": "List the fixes in quarantine.",
    "quarantine:write": "Release and reject fixes in quarantine.",
    "audit:read": "Read who changed what.",
}
# What a key may carry that sees only some vessels, or sees them late or coarsely.
PARTNER_SCOPES = frozenset({"vessels:read"})
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_DIGITS = 30
_CHECK_DIGITS = 6
_SHOWN_DIGITS = 6
_ENTROPY_BYTES = 32
_USE_NOTED_EVERY = timedelta(minutes=1)


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
    terms: KeyTerms,
    *,
    actor: Actor,
    grantor: Caller | None = None,
    entropy: bytes | None = None,
) -> tuple[ApiKey, str]:
    """Issue a key and return it with its secret, which is told this once: only its hash is stored.

    256 bits of SHA-256 without a salt are enough, because a key is random, not chosen by a person.
    Conflict where the terms contradict each other or grant a vessel that there is not, ScopeMissing
    where the grantor would give what it does not have.
    """
    _check(terms)
    _demand_power(grantor, terms)
    secret = generate(entropy)
    key = unit_of_work.api_keys.add(terms, prefix=shown(secret), sha256=_hash(secret))
    audit.note(unit_of_work, actor, "api_key.created", _subject(key), after=_state(key))
    return key, secret


def change(
    unit_of_work: "UnitOfWork",
    key_id: int,
    members: Mapping[str, Any],
    *,
    versions: Collection[int] | None,
    actor: Actor,
    grantor: Caller | None = None,
) -> ApiKey:
    """Change a key's terms; errors as with ``issue``, and PreconditionFailed."""
    before = unit_of_work.api_keys.lock(key_id)
    demand(before.version, versions)
    terms = replace(before.terms, **members)
    _check(terms)
    _demand_power(grantor, before.terms)
    _demand_power(grantor, terms)
    if terms == before.terms:
        return before
    after = unit_of_work.api_keys.replace(key_id, terms)
    audit.note(
        unit_of_work, actor, "api_key.changed", _subject(after), before=_state(before), after=_state(after)
    )
    return after


def rotate(
    unit_of_work: "UnitOfWork",
    key_id: int,
    *,
    grace: timedelta,
    now: datetime,
    actor: Actor,
    grantor: Caller | None = None,
    entropy: bytes | None = None,
) -> tuple[ApiKey, str]:
    """Give a key a new secret; the one it has holds for the grace time.

    Conflict for a key that is revoked, and while the grace time of an earlier rotation lasts.
    """
    before = unit_of_work.api_keys.lock(key_id)
    if before.revoked_at is not None:
        raise Conflict("The key is revoked")
    _demand_power(grantor, before.terms)
    demand_rotatable(before.previous_valid_until, grace=grace, now=now)
    secret = generate(entropy)
    after = unit_of_work.api_keys.rotate(
        key_id, prefix=shown(secret), sha256=_hash(secret), previous_valid_until=now + grace
    )
    audit.note(
        unit_of_work, actor, "api_key.rotated", _subject(after), before=_state(before), after=_state(after)
    )
    return after, secret


def revoke(unit_of_work: "UnitOfWork", key_id: int, *, actor: Actor, grantor: Caller | None = None) -> ApiKey:
    """Revoke a key with all its secrets, for good; one that is revoked stays as it is."""
    before = unit_of_work.api_keys.lock(key_id)
    _demand_power(grantor, before.terms)
    if before.revoked_at is not None:
        return before
    after = unit_of_work.api_keys.revoke(key_id)
    audit.note(
        unit_of_work, actor, "api_key.revoked", _subject(after), before=_state(before), after=_state(after)
    )
    return after


def recognise(unit_of_work: "UnitOfWork", secret: str, *, now: datetime) -> Caller:
    """Return who presents a key; KeyInvalid or KeyRevoked where it does not hold."""
    if not is_well_formed(secret):
        raise KeyInvalid
    found = unit_of_work.api_keys.present(_hash(secret), now=now)
    if found is None:
        raise KeyInvalid
    caller, holds = found
    if not holds:
        raise KeyRevoked
    if caller.last_used_at is None or now - caller.last_used_at > _USE_NOTED_EVERY:
        unit_of_work.api_keys.note_use(caller.id)
    return caller


def holds(unit_of_work: "UnitOfWork", secret: str, *, now: datetime) -> bool:
    """Tell whether a key would be let in now."""
    try:
        recognise(unit_of_work, secret, now=now)
    except (KeyInvalid, KeyRevoked):
        return False
    return True


def demand_scope(caller: Caller, scope: str) -> None:
    """Raise ScopeMissing unless the key carries the scope."""
    if scope not in caller.scopes:
        raise ScopeMissing(f"This key does not carry the scope {scope}")


def shown(secret: str) -> str:
    """Return the part of a key that may be shown, to tell keys apart."""
    return secret[: len(PREFIX) + _SHOWN_DIGITS]


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _check(terms: KeyTerms) -> None:
    if not is_name(terms.name):
        fault = Fault("Must not be empty, nor hold control characters.", pointer="#/name")
        raise ValidationFailed("The key needs a name", faults=[fault])
    limited = terms.vessel_ids is not None or terms.delay_s or terms.coordinate_decimals is not None
    if limited and not terms.scopes <= PARTNER_SCOPES:
        raise Conflict(
            "Only reading can be limited to vessels, delayed or made coarse: "
            f"{', '.join(sorted(terms.scopes - PARTNER_SCOPES))} cannot"
        )


def _demand_power(grantor: Caller | None, terms: KeyTerms) -> None:
    """Raise ScopeMissing where a key would give, or take over, scopes that it does not have itself."""
    if grantor is not None and not terms.scopes <= grantor.scopes:
        missing = ", ".join(sorted(terms.scopes - grantor.scopes))
        raise ScopeMissing(f"This key does not carry {missing}, and so cannot give it or take it over")


def _subject(key: ApiKey) -> str:
    return f"api-keys/{key.id}"


def _state(key: ApiKey) -> dict[str, Any]:
    terms = {each.name: getattr(key.terms, each.name) for each in fields(key.terms)}
    return {
        **terms,
        "prefix": key.prefix,
        "previous_valid_until": key.previous_valid_until,
        "revoked_at": key.revoked_at,
    }


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(_CHECK_DIGITS):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits
