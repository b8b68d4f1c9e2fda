"""API keys: stored as hashes, with what each may do and see."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Row,
    bindparam,
    delete,
    func,
    insert,
    literal,
    literal_column,
    select,
    true,
    update,
)

from harbor_api.domain.api_keys import ApiKey, Caller, KeyTerms
from harbor_api.domain.errors import Conflict, KeyExpired, KeyRevoked, NotFound
from harbor_api.postgres import statements
from harbor_api.postgres.statements import Statement
from harbor_api.postgres.tables import API_KEYS_LOCK, api_keys, grants, vessels

_LIMITS = ("delay_s", "coordinate_decimals", "history_days", "requests_per_minute")
_PLAIN = ("name", "owner", *_LIMITS, "expires_at")
_SHOWN = ("id", "name", "all_vessels", *_LIMITS, "version")

# What every request with a key needs, for many at once.
_PRESENTED = f"""
SELECT sha256, previous_sha256, previous_valid_until, revoked_at, expires_at, scopes,
    last_used_at, {", ".join(_SHOWN)}
FROM api_keys
WHERE sha256 = ANY (%(hashes)s::bytea[]) OR previous_sha256 = ANY (%(hashes)s::bytea[])
""".encode()  # noqa: S608 - only names of columns are put in, none from a caller
# A key that somebody changes just now is passed over: many wait for this statement, and its use is noted by
# the next request with it. So it waits for nobody, and cannot deadlock.
_USED = b"""
UPDATE api_keys SET last_used_at = now() WHERE id = ANY (ARRAY (
    SELECT id FROM api_keys WHERE id = ANY (%(key_ids)s::integer[]) FOR NO KEY UPDATE SKIP LOCKED))
"""
_granted = (
    select(func.coalesce(func.array_agg(grants.c.vessel_id), []))
    .where(grants.c.api_key_id == api_keys.c.id)
    .scalar_subquery()
)
_keys = select(api_keys, _granted.label("vessel_ids"))
_GET = _keys.where(api_keys.c.id == bindparam("key_id"))
_LOCK = select(func.pg_advisory_xact_lock(literal(API_KEYS_LOCK, BigInteger)))
_issued = (
    select(api_keys.c.id).where(api_keys.c.parent_id == bindparam("key_id")).cte("issued", recursive=True)
)
# Without its OFFSET all keys would be read to find those of a few.
_below = (
    select(api_keys.c.id)
    .where(api_keys.c.parent_id == _issued.c.id)
    .offset(literal_column("0"))
    .lateral("below")
)
_issued = _issued.union_all(select(_below.c.id).select_from(_issued.join(_below, true())))
_DESCENDANTS = _keys.where(
    api_keys.c.id == func.any(func.array(select(_issued.c.id).scalar_subquery()))
).order_by(api_keys.c.id)
_PAGE = (
    _keys.where(api_keys.c.id > bindparam("after", type_=BigInteger))
    .order_by(api_keys.c.id)
    .limit(bindparam("limit"))
)
_ADD = insert(api_keys).returning(api_keys.c.id)
_CHANGE = update(api_keys).where(api_keys.c.id == bindparam("key_id")).values(version=api_keys.c.version + 1)
_ROTATE = _CHANGE.values(
    previous_sha256=api_keys.c.sha256,
    sha256=bindparam("hash"),
    prefix=bindparam("new_prefix"),
    previous_valid_until=bindparam("valid_until"),
)
_REVOKE = _CHANGE.values(revoked_at=func.coalesce(api_keys.c.revoked_at, func.now()))
_UNGRANT = delete(grants).where(grants.c.api_key_id == bindparam("key_id"))
_GRANT = (
    insert(grants)
    .from_select(
        ["api_key_id", "vessel_id"],
        select(bindparam("key_id"), vessels.c.id).where(
            vessels.c.id == func.any(bindparam("vessel_ids", expanding=False))
        ),
    )
    .returning(grants.c.vessel_id)
)


class ApiKeys:
    """The issued API keys, revoked and expired ones included."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def present(
        self, hashes: Collection[bytes], *, now: datetime
    ) -> Mapping[bytes, tuple[Caller, KeyRevoked | None]]:
        """Return who presents keys with these hashes, and why one does not hold, if it is known at all."""
        found: dict[bytes, tuple[Caller, KeyRevoked | None]] = {}
        wanted = Statement(_PRESENTED, {"hashes": list(hashes)})
        for row in statements.rows(self._connection, wanted):
            sha256, previous, previous_ends_at, revoked_at, ends_at, scopes, used_at, *shown = row
            caller = Caller(
                scopes=frozenset(scopes), last_used_at=used_at, **dict(zip(_SHOWN, shown, strict=True))
            )
            fault = None if revoked_at is None else KeyRevoked()
            if fault is None and ends_at is not None and ends_at <= now:
                fault = KeyExpired()
            found[sha256] = caller, fault
            if previous is not None:
                has_ended = previous_ends_at is None or previous_ends_at <= now
                found[previous] = caller, fault or (KeyRevoked() if has_ended else None)
        return found

    def note_use(self, key_ids: Collection[int]) -> None:
        """Note that keys are used now."""
        statements.run(self._connection, Statement(_USED, {"key_ids": list(key_ids)}))

    def get(self, key_id: int) -> ApiKey:
        """Return a key; NotFound where it was never issued."""
        row = self._connection.execute(_GET, {"key_id": key_id}).one_or_none()
        if row is None:
            raise NotFound(f"There is no API key {key_id}")
        return _api_key(row)

    def lock(self, key_id: int) -> ApiKey:
        """Return a key; nobody else changes any before this transaction ends. NotFound as with ``get``."""
        self._connection.execute(_LOCK)
        return self.get(key_id)

    def descendants(self, key_id: int) -> list[ApiKey]:
        """Return the keys that a key has issued, and those that they have, in the order of their issue."""
        return [_api_key(row) for row in self._connection.execute(_DESCENDANTS, {"key_id": key_id})]

    def search(self, *, after: int = 0, limit: int | None = None) -> list[ApiKey]:
        """Return keys in the order in which they were issued, those above ``after``."""
        return [_api_key(row) for row in self._connection.execute(_PAGE, {"after": after, "limit": limit})]

    def add(self, terms: KeyTerms, *, prefix: str, sha256: bytes, parent_id: int | None = None) -> ApiKey:
        """Store a key, and which one issued it; Conflict where it grants a vessel that there is not."""
        key_id = self._connection.execute(
            _ADD, {**_columns(terms), "prefix": prefix, "sha256": sha256, "parent_id": parent_id}
        ).scalar_one()
        self._grant(key_id, terms)
        return self.get(key_id)

    def replace(self, key_id: int, terms: KeyTerms) -> ApiKey:
        """Change what a key that is locked may do and see; Conflict as with ``add``."""
        columns = _columns(terms) | ({"parent_id": None} if terms.independent else {})
        self._connection.execute(_CHANGE.values(**columns), {"key_id": key_id})
        self._connection.execute(_UNGRANT, {"key_id": key_id})
        self._grant(key_id, terms)
        return self.get(key_id)

    def rotate(self, key_id: int, *, prefix: str, sha256: bytes, previous_valid_until: datetime) -> ApiKey:
        """Give a key that is locked a new secret; the one it had holds up to a moment."""
        self._connection.execute(
            _ROTATE,
            {"key_id": key_id, "hash": sha256, "new_prefix": prefix, "valid_until": previous_valid_until},
        )
        return self.get(key_id)

    def revoke(self, key_id: int) -> ApiKey:
        """Revoke a key from now on; one that is revoked stays as it is. NotFound if it never was."""
        self._connection.execute(_REVOKE, {"key_id": key_id})
        return self.get(key_id)

    def _grant(self, key_id: int, terms: KeyTerms) -> None:
        if not terms.vessel_ids:
            return
        wanted = sorted(terms.vessel_ids)
        granted = self._connection.execute(_GRANT, {"key_id": key_id, "vessel_ids": wanted}).all()
        if len(granted) < len(wanted):
            raise Conflict("A vessel that is to be granted does not exist")


def _columns(terms: KeyTerms) -> dict[str, Any]:
    return {
        **{name: getattr(terms, name) for name in _PLAIN},
        "scopes": sorted(terms.scopes),
        "all_vessels": terms.vessel_ids is None,
    }


def _api_key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        prefix=row.prefix,
        terms=KeyTerms(
            **{name: getattr(row, name) for name in _PLAIN},
            scopes=frozenset(row.scopes),
            vessel_ids=None if row.all_vessels else frozenset(row.vessel_ids),
            independent=row.parent_id is None,
        ),
        created_at=row.created_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
        previous_valid_until=row.previous_valid_until,
        version=row.version,
        parent_id=row.parent_id,
    )
