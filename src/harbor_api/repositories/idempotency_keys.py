"""Idempotency keys: which creations have been done already, so that a repeat does not do them again."""

from sqlalchemy import Connection, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from harbor_api.postgres.tables import idempotency_keys

# So many of those that nobody needs any more go with each claim: more than one, so that they become fewer.
_MOST_FORGOTTEN = 32

_a_day_ago = func.now() - text("interval '1 day'")
_mine = (idempotency_keys.c.api_key_id == bindparam("caller")) & (
    idempotency_keys.c.key == bindparam("presented")
)
_new = insert(idempotency_keys)
# A key of more than a day ago is as good as new, whether it was forgotten by now or not.
_CLAIM = _new.on_conflict_do_update(
    index_elements=["api_key_id", "key"],
    set_={
        "fingerprint": _new.excluded.fingerprint,
        "nonce": _new.excluded.nonce,
        "subject_id": None,
        "created_at": func.now(),
    },
    where=idempotency_keys.c.created_at < _a_day_ago,
).returning(idempotency_keys.c.key)
_FIND = select(idempotency_keys.c.fingerprint, idempotency_keys.c.nonce, idempotency_keys.c.subject_id).where(
    _mine
)
_DONE = update(idempotency_keys).where(_mine).values(subject_id=bindparam("subject"))
# Those that somebody else forgets or claims just now are passed over, so that nobody waits here.
_FORGET = text("""
DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM idempotency_keys WHERE created_at < now() - interval '1 day'
    ORDER BY created_at LIMIT :most
    FOR UPDATE SKIP LOCKED))
""")


class IdempotencyKeys:
    """The keys of the last day, each of one caller."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def claim(
        self, caller: int, key: str, *, fingerprint: bytes, nonce: bytes
    ) -> tuple[bytes, bytes, int] | None:
        """Take a key for the creation under way; None where it is taken now.

        Otherwise the fingerprint, the nonce and the subject of the creation that took it within a day.
        Another transaction that is just about to take it is waited for.
        """
        claimed = self._connection.execute(
            _CLAIM, {"api_key_id": caller, "key": key, "fingerprint": fingerprint, "nonce": nonce}
        ).one_or_none()
        if claimed is not None:
            # Not before: who holds what is forgotten must not wait for a key that another holds.
            self._connection.execute(_FORGET, {"most": _MOST_FORGOTTEN})
            return None
        row = self._connection.execute(_FIND, {"caller": caller, "presented": key}).one()
        return row.fingerprint, row.nonce, row.subject_id

    def done(self, caller: int, key: str, subject_id: int) -> None:
        """Note what a claimed key has created."""
        self._connection.execute(_DONE, {"caller": caller, "presented": key, "subject": subject_id})
