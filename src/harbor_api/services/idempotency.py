"""Creations that may be sent again without being done again (the IETF's Idempotency-Key header field)."""

import secrets
from dataclasses import dataclass

from harbor_api.database import UnitOfWork
from harbor_api.domain.errors import Conflict, IdempotencyKeyReused

_NONCE_BYTES = 32


@dataclass(frozen=True, slots=True)
class Once:
    """What a caller asks to be done once: ``key`` is None where it may be done again."""

    caller: int
    key: str | None
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """The creation under way, or, with ``answer``, the one that was done before."""

    unit_of_work: UnitOfWork
    once: Once
    nonce: bytes
    answer: bytes | None

    def done(self, answer: bytes) -> None:
        """Note what is answered, so that a repeat gets it too. Nothing secret may be in it."""
        if self.once.key is not None:
            self.unit_of_work.idempotency_keys.done(self.once.caller, self.once.key, answer)


def claim(unit_of_work: UnitOfWork, once: Once) -> Claim:
    """Begin a creation in this transaction, or find the one that a repeat is of.

    IdempotencyKeyReused where the key came with another request before, Conflict where what was answered
    then is not known.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    if once.key is None:
        return Claim(unit_of_work, once, nonce, None)
    earlier = unit_of_work.idempotency_keys.claim(
        once.caller, once.key, fingerprint=once.fingerprint, nonce=nonce
    )
    if earlier is None:
        return Claim(unit_of_work, once, nonce, None)
    fingerprint, nonce, answer = earlier
    if fingerprint != once.fingerprint:
        raise IdempotencyKeyReused
    if answer is None:
        # The release before this one did not keep it.
        raise Conflict("It has been done already; what was answered then is not known any more")
    return Claim(unit_of_work, once, nonce, answer)
