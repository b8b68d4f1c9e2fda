"""API keys: only their SHA-256 is stored."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from harbor_api.entities import ApiKey
from harbor_api.errors import NotFound
from harbor_api.tables import api_keys

_BY_HASH = select(api_keys).where(api_keys.c.sha256 == bindparam("sha256"))
_ALL = select(api_keys).order_by(api_keys.c.id)
_ADD = insert(api_keys).returning(api_keys)
_REVOKE = (
    update(api_keys)
    .where(api_keys.c.id == bindparam("key_id"))
    .values(revoked_at=func.coalesce(api_keys.c.revoked_at, func.now()))
    .returning(api_keys)
)


class ApiKeys:
    """The issued API keys, revoked and expired ones included."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, sha256: bytes) -> ApiKey | None:
        """Return the key with this hash, whatever its state."""
        row = self._connection.execute(_BY_HASH, {"sha256": sha256}).one_or_none()
        return _api_key(row) if row else None

    def search(self) -> list[ApiKey]:
        """Return all keys in the order in which they were issued."""
        return [_api_key(row) for row in self._connection.execute(_ALL)]

    def add(
        self,
        *,
        name: str,
        prefix: str,
        sha256: bytes,
        scopes: Collection[str],
        requests_per_minute: int | None = None,
        expires_at: datetime | None = None,
    ) -> ApiKey:
        """Store an issued key."""
        row = self._connection.execute(
            _ADD,
            {
                "name": name,
                "prefix": prefix,
                "sha256": sha256,
                "scopes": sorted(scopes),
                "requests_per_minute": requests_per_minute,
                "expires_at": expires_at,
            },
        ).one()
        return _api_key(row)

    def revoke(self, key_id: int) -> ApiKey:
        """Revoke a key from now on; one that is revoked stays as it is. NotFound if it never was."""
        row = self._connection.execute(_REVOKE, {"key_id": key_id}).one_or_none()
        if row is None:
            raise NotFound(f"There is no API key {key_id}")
        return _api_key(row)


def _api_key(row: Row[tuple[object, ...]]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        scopes=frozenset(row.scopes),
        requests_per_minute=row.requests_per_minute,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
