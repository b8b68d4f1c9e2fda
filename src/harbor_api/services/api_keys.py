"""API keys: how they are made, recognised and judged."""

from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass, fields, replace
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
    demand_power,
    digest,
    exceeded,
    generate,
    is_administrator,
    is_well_formed,
    narrowed,
    shown,
)
from harbor_api.domain.audit import Actor
from harbor_api.domain.changes import Edit, demand, demand_rotatable
from harbor_api.domain.errors import Conflict, ExceedsKey, KeyInvalid, KeyRevoked, ScopeMissing
from harbor_api.services.audit import Trail

_USE_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Grantor:
    """The key that asks for something to be done with keys; at the command line there is none.

    ``usual_limit`` is what a key without a limit of its own may ask a minute.
    """

    key_id: int
    usual_limit: int


def issue(
    unit_of_work: UnitOfWork,
    terms: KeyTerms,
    *,
    actor: Actor,
    grantor: Grantor | None = None,
    entropy: bytes | None = None,
) -> tuple[ApiKey, str]:
    """Issue a key and return it with its secret, which is told this once: only its hash is stored.

    256 bits of SHA-256 without a salt are enough, because a key is random, not chosen by a person.
    Conflict where the terms contradict each other or grant a vessel that there is not, ScopeMissing or
    ExceedsKey where the grantor would give what it does not have.
    """
    _check(terms)
    parent_id = None
    if grantor is not None:
        giver = _giver(unit_of_work, grantor)
        demand_power(giver.terms, terms, usual_limit=grantor.usual_limit)
        if terms.independent:
            _demand_administrator(giver)
        else:
            parent_id = giver.id
    secret = generate(entropy)
    key = unit_of_work.api_keys.add(terms, prefix=shown(secret), sha256=digest(secret), parent_id=parent_id)
    _trail.note(unit_of_work, actor, "created", key)
    return key, secret


def change(
    unit_of_work: UnitOfWork,
    key_id: int,
    edit: Edit[KeyTerms],
    *,
    versions: Container[int] | None,
    actor: Actor,
    grantor: Grantor,
) -> ApiKey:
    """Change a key's terms, and let those that it has issued have no more than is left to it.

    Errors as with ``issue``, and PreconditionFailed.
    """
    before = unit_of_work.api_keys.lock(key_id)
    demand(before.version, versions)
    terms = edit.of(before.terms)
    _check(terms)
    giver = _demand_power_over(unit_of_work, grantor, before)
    demand_power(giver.terms, terms, usual_limit=grantor.usual_limit)
    if terms == before.terms:
        return before
    _demand_place(unit_of_work, giver, before, terms, usual_limit=grantor.usual_limit)
    after = _replace(unit_of_work, before, terms, actor=actor)
    left = {after.id: after.terms}
    # In order of their numbers, so that whoever has issued one comes before it.
    for key in unit_of_work.api_keys.descendants(key_id):
        most = left[key.parent_id or 0]
        left[key.id] = narrowed(key.terms, most, usual_limit=grantor.usual_limit)
        if left[key.id] != key.terms and key.revoked_at is None:
            _replace(unit_of_work, key, left[key.id], actor=actor)
    return after


def rotate(
    unit_of_work: UnitOfWork,
    key_id: int,
    *,
    grace: timedelta,
    now: datetime,
    actor: Actor,
    grantor: Grantor | None = None,
    entropy: bytes | None = None,
) -> tuple[ApiKey, str]:
    """Give a key a new secret; the one it has holds for the grace time.

    Conflict for a key that is revoked, and while the grace time of an earlier rotation lasts; ScopeMissing
    and ExceedsKey where the grantor would learn the secret of a key that may do more than itself.
    """
    before = unit_of_work.api_keys.lock(key_id)
    if grantor is not None:
        _demand_power_over(unit_of_work, grantor, before)
    if before.revoked_at is not None:
        raise Conflict("The key is revoked")
    demand_rotatable(before.previous_valid_until, grace=grace, now=now)
    secret = generate(entropy)
    after = unit_of_work.api_keys.rotate(
        key_id, prefix=shown(secret), sha256=digest(secret), previous_valid_until=now + grace
    )
    _trail.note(unit_of_work, actor, "rotated", after, before=before)
    return after, secret


def revoke(
    unit_of_work: UnitOfWork,
    key_id: int,
    *,
    actor: Actor,
    grantor: Grantor | None = None,
    keep_issued: bool = False,
) -> ApiKey:
    """Revoke a key with all its secrets, for good, and with it those that it has issued.

    With ``keep_issued`` those stand alone from now on. One that is revoked stays as it is.
    """
    before = unit_of_work.api_keys.lock(key_id)
    if grantor is not None:
        _demand_power_over(unit_of_work, grantor, before)
    if before.revoked_at is not None:
        return before
    after = _revoke(unit_of_work, before, actor=actor)
    for key in unit_of_work.api_keys.descendants(key_id):
        if key.revoked_at is not None:
            continue
        if not keep_issued:
            _revoke(unit_of_work, key, actor=actor)
        elif key.parent_id == key_id:
            _replace(unit_of_work, key, replace(key.terms, independent=True), actor=actor)
    return after


def recognise(
    unit_of_work: UnitOfWork, hashes: Sequence[bytes], *, now: datetime
) -> list[Caller | KeyInvalid | KeyRevoked]:
    """Return who presents keys with these hashes, in order; what to raise where one does not hold."""
    found = unit_of_work.api_keys.present(frozenset(hashes), now=now)
    recognised = [_holder(found.get(each)) for each in hashes]
    due = {each.id for each in recognised if isinstance(each, Caller) and _is_use_due(each, now)}
    if due:
        unit_of_work.api_keys.note_use(due)
    return recognised


def holds(unit_of_work: UnitOfWork, secret: str, *, now: datetime) -> bool:
    """Return whether a key would be let in now."""
    if not is_well_formed(secret):
        return False
    [found] = recognise(unit_of_work, [digest(secret)], now=now)
    return isinstance(found, Caller)


def _holder(found: tuple[Caller, KeyRevoked | None] | None) -> Caller | KeyInvalid | KeyRevoked:
    if found is None:
        return KeyInvalid()
    caller, fault = found
    return fault or caller


def _is_use_due(caller: Caller, now: datetime) -> bool:
    return caller.last_used_at is None or now - caller.last_used_at > _USE_NOTED_EVERY


def _check(terms: KeyTerms) -> None:
    values.demand(RULES, asdict(terms), told="The key's terms are not valid")
    bounds = (terms.vessel_ids, terms.coordinate_decimals, terms.history_days)
    limited = terms.delay_s or any(each is not None for each in bounds)
    if limited and not terms.scopes <= PARTNER_SCOPES:
        raise Conflict(
            "Only reading can be limited to vessels or days, delayed or made coarse: "
            f"{', '.join(sorted(terms.scopes - PARTNER_SCOPES))} cannot"
        )


def _giver(unit_of_work: UnitOfWork, grantor: Grantor) -> ApiKey:
    """Return the key that asks, as it is now that nobody else changes keys; ScopeMissing if revoked."""
    giver = unit_of_work.api_keys.lock(grantor.key_id)
    if giver.revoked_at is not None:
        raise ScopeMissing("This key has been revoked meanwhile")
    return giver


def _demand_power_over(unit_of_work: UnitOfWork, grantor: Grantor, key: ApiKey) -> ApiKey:
    """Return the key that asks; ScopeMissing or ExceedsKey where it has no power over another."""
    giver = _giver(unit_of_work, grantor)
    demand_power(giver.terms, key.terms, usual_limit=grantor.usual_limit)
    # It would outlive its own end by what it learns or changes there.
    if any(each.id == giver.id for each in unit_of_work.api_keys.descendants(key.id)):
        raise ExceedsKey("This key comes from that one, and has no power over it")
    return giver


def _demand_place(
    unit_of_work: UnitOfWork, giver: ApiKey, before: ApiKey, terms: KeyTerms, *, usual_limit: int
) -> None:
    """Demand that a changed key has no more than the one that issued it, or is let go by an administrator."""
    if before.parent_id is None:
        if not terms.independent:
            raise Conflict("A key that is independent stays so; issue another one")
    elif terms.independent:
        _demand_administrator(giver)
    elif beyond := exceeded(
        terms, unit_of_work.api_keys.get(before.parent_id).terms, usual_limit=usual_limit
    ):
        raise Conflict(
            f"The key would have more than the one that issued it, {before.parent_id}: {', '.join(beyond)}; "
            "make it independent"
        )


def _demand_administrator(giver: ApiKey) -> None:
    if not is_administrator(giver):
        raise ExceedsKey(
            "Only a key that is independent, carries all scopes and never ends may issue independent ones"
        )


def _replace(unit_of_work: UnitOfWork, before: ApiKey, terms: KeyTerms, *, actor: Actor) -> ApiKey:
    after = unit_of_work.api_keys.replace(before.id, terms)
    _trail.note(unit_of_work, actor, "changed", after, before=before)
    return after


def _revoke(unit_of_work: UnitOfWork, before: ApiKey, *, actor: Actor) -> ApiKey:
    after = unit_of_work.api_keys.revoke(before.id)
    # Nobody ever reads them again.
    unit_of_work.consumers.remove_all(before.id)
    _trail.note(unit_of_work, actor, "revoked", after, before=before)
    return after


def _subject(key: ApiKey) -> str:
    return f"api-keys/{key.id}"


def _state(key: ApiKey) -> dict[str, Any]:
    terms = {each.name: getattr(key.terms, each.name) for each in fields(key.terms)}
    return {
        **terms,
        "prefix": key.prefix,
        "parent_id": key.parent_id,
        "previous_valid_until": key.previous_valid_until,
        "revoked_at": key.revoked_at,
    }


_trail = Trail("api_key", _subject, _state)
