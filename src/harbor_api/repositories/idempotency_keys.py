"""Idempotency keys: which creations have been done already, so that a repeat does not do them again."""

from sqlalchemy import Connection, bindparam, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from harbor_api.tables import idempotency_keys

_MINE = (idempotency_keys.c.api_key_id == bindparam("caller")) & (
    idempotency_keys.c.key == bindparam("presented")
)
_CLAIM = (
    insert(idempotency_keys)
    .on_conflict_do_nothing(index_elements=["api_key_id", "key"])
    .returning(idempotency_keys.c.key)
)
_FIND = select(idempotency_keys.c.fingerprint, idempotency_keys.c.nonce, idempotency_keys.c.subject_id).where(
    _MINE
)
_DONE = update(idempotency_keys).where(_MINE).values(subject_id=bindparam("subject"))
_FORGET = delete(idempotency_keys).where(
    idempotency_keys.c.created_at < func.now() - text("interval '1 day'")
)


class IdempotencyKeys:
    """The keys of the last day, each of one caller."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def claim(
        self, caller: int, key: str, *, fingerprint: bytes, nonce: bytes
    ) -> tuple[bytes, bytes, int] | None:
        """Take a key for the creation under way; None where it is taken now.

        Otherwise the fingerprint, the nonce and the subject of the creation that took it. Another
        transaction that is just about to take it is waited for.
        """
        self._connection.execute(_FORGET)
        claimed = self._connection.execute(
            _CLAIM, {"api_key_id": caller, "key": key, "fingerprint": fingerprint, "nonce": nonce}
        ).one_or_none()
        if claimed is not None:
            return None
        row = self._connection.execute(_FIND, {"caller": caller, "presented": key}).one()
        return row.fingerprint, row.nonce, row.subject_id

    def done(self, caller: int, key: str, subject_id: int) -> None:
        """Note what a claimed key has created."""
        self._connection.execute(_DONE, {"caller": caller, "presented": key, "subject": subject_id})
