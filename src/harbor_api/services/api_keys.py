"""API keys: how they are made, recognised and judged."""

from collections.abc import Collection
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any

from harbor_api.database import UnitOfWork
from harbor_api.domain import values
from harbor_api.domain.api_keys import (
    PARTNER_SCOPES,
    RULES,
    ApiKey,
    Caller,
    KeyTerms,
    digest,
    generate,
    is_well_formed,
    shown,
)
from harbor_api.domain.audit import Actor
from harbor_api.domain.changes import Edit, demand, demand_rotatable
from harbor_api.domain.errors import Conflict, KeyInvalid, KeyRevoked, ScopeMissing
from harbor_api.services.audit import Trail

_USE_NOTED_EVERY = timedelta(minutes=1)


def issue(
    unit_of_work: UnitOfWork,
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
    key = unit_of_work.api_keys.add(terms, prefix=shown(secret), sha256=digest(secret))
    _trail.note(unit_of_work, actor, "created", key)
    return key, secret


def change(
    unit_of_work: UnitOfWork,
    key_id: int,
    edit: Edit[KeyTerms],
    *,
    versions: Collection[int] | None,
    actor: Actor,
    grantor: Caller | None = None,
) -> ApiKey:
    """Change a key's terms; errors as with ``issue``, and PreconditionFailed."""
    before = unit_of_work.api_keys.lock(key_id)
    demand(before.version, versions)
    terms = edit.of(before.terms)
    _check(terms)
    _demand_power(grantor, before.terms)
    _demand_power(grantor, terms)
    if terms == before.terms:
        return before
    after = unit_of_work.api_keys.replace(key_id, terms)
    _trail.note(unit_of_work, actor, "changed", after, before=before)
    return after


def rotate(
    unit_of_work: UnitOfWork,
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
        key_id, prefix=shown(secret), sha256=digest(secret), previous_valid_until=now + grace
    )
    _trail.note(unit_of_work, actor, "rotated", after, before=before)
    return after, secret


def revoke(unit_of_work: UnitOfWork, key_id: int, *, actor: Actor, grantor: Caller | None = None) -> ApiKey:
    """Revoke a key with all its secrets, for good; one that is revoked stays as it is."""
    before = unit_of_work.api_keys.lock(key_id)
    _demand_power(grantor, before.terms)
    if before.revoked_at is not None:
        return before
    after = unit_of_work.api_keys.revoke(key_id)
    _trail.note(unit_of_work, actor, "revoked", after, before=before)
    return after


def recognise(unit_of_work: UnitOfWork, secret: str, *, now: datetime) -> Caller:
    """Return who presents a key; KeyInvalid or KeyRevoked where it does not hold."""
    if not is_well_formed(secret):
        raise KeyInvalid
    found = unit_of_work.api_keys.present(digest(secret), now=now)
    if found is None:
        raise KeyInvalid
    caller, holds = found
    if not holds:
        raise KeyRevoked
    if caller.last_used_at is None or now - caller.last_used_at > _USE_NOTED_EVERY:
        unit_of_work.api_keys.note_use(caller.id)
    return caller


def holds(unit_of_work: UnitOfWork, secret: str, *, now: datetime) -> bool:
    """Return whether a key would be let in now."""
    try:
        recognise(unit_of_work, secret, now=now)
    except (KeyInvalid, KeyRevoked):
        return False
    return True


def _check(terms: KeyTerms) -> None:
    values.demand(RULES, asdict(terms), told="The key cannot be issued like this")
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


_trail = Trail("api_key", _subject, _state)
