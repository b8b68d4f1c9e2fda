"""Idempotency keys: which creations have been done already, so that a repeat does not do them again."""

from datetime import timedelta

from sqlalchemy import Connection, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from harbor_api.postgres.tables import idempotency_keys

# For so long a repeat finds what was done.
KEPT_FOR = timedelta(days=1)

_too_old = func.now() - KEPT_FOR
_mine = (idempotency_keys.c.api_key_id == bindparam("caller")) & (
    idempotency_keys.c.key == bindparam("presented")
)
_new = insert(idempotency_keys)
# A key of more than a day ago is as good as new, whether it was pruned by now or not.
_CLAIM = _new.on_conflict_do_update(
    index_elements=["api_key_id", "key"],
    set_={
        "fingerprint": _new.excluded.fingerprint,
        "nonce": _new.excluded.nonce,
        "answer": None,
        "created_at": func.now(),
    },
    where=idempotency_keys.c.created_at < _too_old,
).returning(idempotency_keys.c.key)
_FIND = select(idempotency_keys.c.fingerprint, idempotency_keys.c.nonce, idempotency_keys.c.answer).where(
    _mine
)
_DONE = update(idempotency_keys).where(_mine).values(answer=bindparam("given"))
# Those that somebody else prunes or claims just now are passed over, so that nobody waits here.
_PRUNE = text("""
DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM idempotency_keys WHERE created_at < now() - :kept_for
    ORDER BY created_at LIMIT :most
    FOR UPDATE SKIP LOCKED))
""")


class IdempotencyKeys:
    """The keys of the last day, and older ones until they are pruned; each of one caller."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def claim(
        self, caller: int, key: str, *, fingerprint: bytes, nonce: bytes
    ) -> tuple[bytes, bytes, bytes | None] | None:
        """Take a key for the creation under way; None where it is taken now.

        Otherwise the fingerprint, the nonce and the answer of the creation that took it within a day.
        Another transaction that is just about to take it is waited for.
        """
        claimed = self._connection.execute(
            _CLAIM, {"api_key_id": caller, "key": key, "fingerprint": fingerprint, "nonce": nonce}
        ).one_or_none()
        if claimed is not None:
            return None
        row = self._connection.execute(_FIND, {"caller": caller, "presented": key}).one()
        return row.fingerprint, row.nonce, row.answer

    def done(self, caller: int, key: str, answer: bytes) -> None:
        """Note what was answered to the creation that a claimed key is for."""
        self._connection.execute(_DONE, {"caller": caller, "presented": key, "given": answer})

    def prune(self, *, most: int) -> int:
        """Delete keys that are kept no longer, the oldest ones first, and return how many there were."""
        return self._connection.execute(_PRUNE, {"kept_for": KEPT_FOR, "most": most}).rowcount
