"""Named consumers: where in the committed order each stands, and what it follows."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from harbor_api.domain.consumers import Consumer
from harbor_api.postgres import statements
from harbor_api.postgres.statements import Statement

_COLUMNS = "api_key_id, name, number, filters, created_at, seen_at"
_MINE = "api_key_id = %(key_id)s AND name = %(name)s"
_FIND = f"SELECT {_COLUMNS} FROM feeds WHERE {_MINE}".encode()  # noqa: S608 - constants of ours are put in
_LOCK = _FIND + b" FOR UPDATE"
_OF_KEY = f"SELECT {_COLUMNS} FROM feeds WHERE api_key_id = %(key_id)s ORDER BY name".encode()  # noqa: S608 - as above
_PAGE = f"""
SELECT {_COLUMNS} FROM feeds WHERE (api_key_id, name) > (%(after_key)s, %(after_name)s)
ORDER BY api_key_id, name LIMIT %(limit)s
""".encode()  # noqa: S608 - as above
_LOCK_KEY = b"SELECT FROM api_keys WHERE id = %(key_id)s FOR NO KEY UPDATE"
_ADD = f"""
INSERT INTO feeds (api_key_id, name, number, filters)
VALUES (%(key_id)s, %(name)s, %(number)s, %(filters)s::jsonb) RETURNING {_COLUMNS}
""".encode()  # noqa: S608 - as above
_MOVE = f"""
UPDATE feeds SET number = %(number)s, filters = %(filters)s::jsonb, seen_at = now() WHERE {_MINE}
RETURNING {_COLUMNS}
""".encode()  # noqa: S608 - as above
# What somebody moves just now is seen anyhow: nobody waits here.
_SEEN = f"""
UPDATE feeds SET seen_at = now() WHERE ctid = ANY (ARRAY (
    SELECT ctid FROM feeds WHERE {_MINE} AND (seen_at IS NULL OR seen_at < now() - interval '1 min')
    FOR UPDATE SKIP LOCKED))
""".encode()  # noqa: S608 - as above
_REMOVE = f"DELETE FROM feeds WHERE {_MINE} RETURNING {_COLUMNS}".encode()  # noqa: S608 - as above
_REMOVE_ALL = b"DELETE FROM feeds WHERE api_key_id = %(key_id)s"


class Consumers:
    """The consumers of all keys; each is found by its key and its name."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, key_id: int, name: str) -> Consumer | None:
        """Return a consumer, None where there is none."""
        return self._one(_FIND, key_id=key_id, name=name)

    def lock(self, key_id: int, name: str) -> Consumer | None:
        """Return as ``find`` does; nobody else moves or removes it before this transaction ends."""
        return self._one(_LOCK, key_id=key_id, name=name)

    def of_key(self, key_id: int) -> list[Consumer]:
        """Return all consumers of a key, in the order of their names."""
        return self._all(_OF_KEY, key_id=key_id)

    def search(self, *, after: tuple[int, str] = (0, ""), limit: int) -> list[Consumer]:
        """Return consumers of all keys in the order of key and name, those behind ``after``."""
        return self._all(_PAGE, after_key=after[0], after_name=after[1], limit=limit)

    def lock_key(self, key_id: int) -> None:
        """Let nobody else add a consumer of a key before this transaction ends."""
        statements.rows(self._connection, Statement(_LOCK_KEY, {"key_id": key_id}))

    def add(self, key_id: int, name: str, *, number: int, filters: Mapping[str, Any]) -> Consumer:
        """Keep a consumer that there is not, of a key that is locked."""
        [added] = self._all(_ADD, key_id=key_id, name=name, number=number, filters=json.dumps(filters))
        return added

    def move(self, key_id: int, name: str, *, number: int, filters: Mapping[str, Any]) -> Consumer:
        """Let a consumer that is locked stand elsewhere, and follow something."""
        [moved] = self._all(_MOVE, key_id=key_id, name=name, number=number, filters=json.dumps(filters))
        return moved

    def note_seen(self, key_id: int, name: str) -> None:
        """Note that a consumer is read now, unless that was noted a minute ago."""
        statements.run(self._connection, Statement(_SEEN, {"key_id": key_id, "name": name}))

    def remove(self, key_id: int, name: str) -> Consumer | None:
        """Keep a consumer no longer, and return what it was; None where there is none."""
        return self._one(_REMOVE, key_id=key_id, name=name)

    def remove_all(self, key_id: int) -> None:
        """Keep no consumer of a key any longer."""
        statements.run(self._connection, Statement(_REMOVE_ALL, {"key_id": key_id}))

    def _one(self, text: bytes, **values: Any) -> Consumer | None:
        found = self._all(text, **values)
        return found[0] if found else None

    def _all(self, text: bytes, **values: Any) -> list[Consumer]:
        rows = statements.rows(self._connection, Statement(text, values))
        return [
            Consumer(
                api_key_id=key_id,
                name=name,
                number=number,
                filters=filters,
                created_at=created_at,
                seen_at=seen_at,
            )
            for key_id, name, number, filters, created_at, seen_at in rows
        ]
