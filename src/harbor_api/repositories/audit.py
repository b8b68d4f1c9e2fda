"""The audit trail: who changed what, written in the transaction of the change itself."""

from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, bindparam, func, insert, select, text, tuple_

from harbor_api.domain.audit import Actor, AuditEntry
from harbor_api.postgres.tables import AUDIT_ORDER_LOCK, audit

_TAKE_ORDER = select(func.pg_advisory_xact_lock(AUDIT_ORDER_LOCK))
_ADD = insert(audit)
_limit: BindParameter[int] = bindparam("limit")
_after: BindParameter[int] = bindparam("after")
_subject: BindParameter[str] = bindparam("subject")
_beyond, _within = tuple_(audit.c.subject, audit.c.id), tuple_(_subject, _after)
# By whether the newest come first, and whether only one subject's do. One subject's are a stretch of the
# index that is in order of subject and id, and are asked for as that: a plan that was made when there were
# few may otherwise look for them among all.
_STATEMENTS = {
    (False, False): select(audit).where(audit.c.id > _after).order_by(audit.c.id).limit(_limit),
    (True, False): select(audit).where(audit.c.id < _after).order_by(audit.c.id.desc()).limit(_limit),
    (False, True): select(audit)
    .where(_beyond > _within, audit.c.subject <= _subject)
    .order_by(audit.c.subject, audit.c.id)
    .limit(_limit),
    (True, True): select(audit)
    .where(_beyond < _within, audit.c.subject >= _subject)
    .order_by(audit.c.subject.desc(), audit.c.id.desc())
    .limit(_limit),
}


# They are numbered in order of time: those that may be old are at the beginning.
_PRUNE = text("""
DELETE FROM audit WHERE id = ANY (ARRAY(
    SELECT id FROM (
        SELECT id, at FROM audit WHERE subject <> ALL (ARRAY (
            SELECT 'vessels/' || vessel_id FROM vessel_keeping WHERE hold_reason IS NOT NULL
        ))
        ORDER BY id LIMIT :most
    ) AS first WHERE at < :before))
""")


class Audit:
    """All administrative changes. Entries are added, read and kept for as long as is set, never changed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(
        self,
        actor: Actor,
        action: str,
        subject: str,
        *,
        before: dict[str, Any] | None,
        after: dict[str, Any] | None,
    ) -> None:
        """Add an entry. It is numbered in the order of the commits, as readers follow the numbers."""
        self._connection.execute(_TAKE_ORDER)
        self._connection.execute(
            _ADD,
            {
                "actor": actor.name,
                "api_key_id": actor.api_key_id,
                "request_id": actor.request_id,
                "action": action,
                "subject": subject,
                "before": before,
                "after": after,
            },
        )

    def search(
        self, *, after: int | None, limit: int, newest_first: bool, subject: str | None = None
    ) -> list[AuditEntry]:
        """Return entries beyond one in an order, None from its beginning."""
        start = (2**63 - 1 if newest_first else 0) if after is None else after
        values = {"after": start, "limit": limit, **({"subject": subject} if subject else {})}
        rows = self._connection.execute(_STATEMENTS[newest_first, subject is not None], values)
        return [_entry(row) for row in rows]

    def prune(self, before: datetime, *, most: int) -> int:
        """Delete entries of before a moment, the oldest of them first, and return how many those were.

        What was done to vessels under a legal hold stays.
        """
        return self._connection.execute(_PRUNE, {"before": before, "most": most}).rowcount


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        at=row.at,
        actor=Actor(name=row.actor, api_key_id=row.api_key_id, request_id=row.request_id),
        action=row.action,
        subject=row.subject,
        before=row.before,
        after=row.after,
    )
