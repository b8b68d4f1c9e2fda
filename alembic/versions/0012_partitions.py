"""Positions in a partition for each month, without anybody waiting for it.

What there is becomes one wide partition as it stands: no row is written anew. It ends with a month that does
not begin for four weeks yet. The release before this one knows nothing of partitions, and takes a place in a
table for one row: as long as all that it stores is in one of them it can go on, until it is replaced.

It takes three steps, each of its own, and goes on where it was when it was ended in between:

1. A CHECK that all there is was recorded before that month, for new rows only. A moment's lock, tried again
   and again.
2. VALIDATE reads the table once, of 20 million rows for less than nine seconds; everybody reads and writes
   meanwhile.
3. The table gets another name, and a new one with the old name takes it for its first partition. PostgreSQL
   does not look at any row, as the CHECK says it all: a moment's lock again, tried again and again.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import DBAPIError, InvalidRequestError

from harbor_api.domain.errors import Conflict

revision = "0012"
down_revision = "0011"

_CHECK = "positions_recorded_check"
_KEY = "vessel_id, recorded_at, tracker_id"
# Whoever waits for a lock has all others wait behind it: so only so long, and then again.
_LOCK_MS, _ATTEMPTS, _PAUSE_S = 500, 240, 0.5
_BUSY = {"55P03", "40P01"}
# What reads or copies all rows, and all else.
_LONG, _SHORT = "2h", "30s"
# For how long the release before this one may go on.
_FREE_FOR = timedelta(days=28)
_AHEAD = timedelta(days=92)

_FOUND = sa.text(r"""
SELECT CAST(substring(pg_get_constraintdef(oid) FROM '''([^'']*)''') AS timestamptz) AS bound, convalidated
FROM pg_constraint WHERE conrelid = CAST('positions' AS regclass) AND conname = :name
""")
_OWNED = sa.text("""
SELECT format('ALTER TABLE %I OWNER TO %I', CAST(:table AS text), pg_get_userbyid(relowner))
FROM pg_class WHERE oid = CAST('positions' AS regclass) AND pg_get_userbyid(relowner) <> current_user
""")
_GRANTED = sa.text("""
SELECT format('GRANT %s ON %I TO %s%s', acl.privilege_type, CAST(:table AS text),
    CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END,
    CASE WHEN acl.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM pg_class, aclexplode(relacl) AS acl
WHERE pg_class.oid = CAST('positions' AS regclass) AND acl.grantee <> relowner
""")
_IS_PARTITIONED = sa.text("SELECT relkind = 'p' FROM pg_class WHERE oid = CAST('positions' AS regclass)")
# The largest one first.
_PARTITIONS = sa.text("""
SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = CAST('positions' AS regclass) ORDER BY pg_relation_size(inhrelid) DESC, relname
""")


def upgrade() -> None:
    with op.get_context().autocommit_block():
        bind = op.get_bind()
        if not bind.scalar(_IS_PARTITIONED):
            _partition(bind)


def downgrade() -> None:
    """Make one table of all partitions. No row is lost: those beside the largest partition are copied,
    alone."""
    with op.get_context().autocommit_block():
        bind = op.get_bind()
        if not bind.scalar(_IS_PARTITIONED):
            return
        first, *others = bind.scalars(_PARTITIONS)
        _in_one(
            bind,
            "LOCK TABLE positions IN ACCESS EXCLUSIVE MODE",
            f"ALTER TABLE positions DETACH PARTITION {first}",
            *(f"INSERT INTO {first} SELECT * FROM {each}" for each in others),  # noqa: S608 - names of ours
            *_rights(bind, to=first),
            "DROP TABLE positions",
            *_renamed(first, "positions"),
            timeout=_LONG,
        )


def _partition(bind: sa.Connection) -> None:
    is_empty = not bind.scalar(sa.text("SELECT EXISTS (SELECT FROM positions)"))
    end = _month(datetime.now(UTC)) if is_empty else _checked(bind)
    months = [end]
    while months[-1] <= datetime.now(UTC) + _AHEAD:
        months.append(_next(months[-1]))
    wide = f"positions_before_{end:%Y_%m}"
    _in_one(
        bind,
        "LOCK TABLE positions IN ACCESS EXCLUSIVE MODE",
        *_renamed("positions", wide),
        f"CREATE TABLE positions (LIKE {wide} INCLUDING DEFAULTS) PARTITION BY RANGE (recorded_at)",
        f"ALTER TABLE positions ADD CONSTRAINT positions_pkey PRIMARY KEY ({_KEY})",
        "CREATE INDEX positions_seq_idx ON positions (seq)",
        f"ALTER TABLE positions ATTACH PARTITION {wide} FOR VALUES FROM (MINVALUE) TO ('{end}')",
        f"ALTER TABLE {wide} DROP CONSTRAINT IF EXISTS {_CHECK}",
        *(
            f"CREATE TABLE positions_{since:%Y_%m} PARTITION OF positions "
            f"FOR VALUES FROM ('{since}') TO ('{until}')"
            for since, until in pairwise(months)
        ),
        *_rights(bind, to="positions"),
    )


def _checked(bind: sa.Connection) -> datetime:
    """Have a CHECK bound all that there is, and return by which time; one that was left behind is gone on
    with."""
    found = bind.execute(_FOUND, {"name": _CHECK}).first()
    if found is None:
        # No fix of a vessel is later than its latest. Once one of the future could be released; up to that no
        # month would have a partition.
        newest = bind.scalar(sa.text("SELECT max(recorded_at) FROM latest_positions"))
        free = datetime.now(UTC) + _FREE_FOR
        if newest is not None and newest > free:
            raise Conflict(
                f"There are positions of {newest:%Y-%m}, which cannot be: take them out of history first, "
                "with harbor-api quarantine withdraw"
            )
        end = _next(_month(free))
        _in_one(
            bind, f"ALTER TABLE positions ADD CONSTRAINT {_CHECK} CHECK (recorded_at < '{end}') NOT VALID"
        )
    else:
        end = found.bound.astimezone(UTC)
    if found is None or not found.convalidated:
        _in_one(bind, f"ALTER TABLE positions VALIDATE CONSTRAINT {_CHECK}", timeout=_LONG)
    return end


def _in_one(bind: sa.Connection, *several: str, timeout: str = _SHORT) -> None:
    """Run statements in one transaction, again where somebody holds a lock that they need."""
    for attempt in range(1, _ATTEMPTS + 1):
        bind.exec_driver_sql("BEGIN")
        try:
            bind.exec_driver_sql(f"SET LOCAL lock_timeout = {_LOCK_MS}")
            bind.exec_driver_sql(f"SET LOCAL statement_timeout = '{timeout}'")
            for each in several:
                bind.exec_driver_sql(each)
        except BaseException as error:
            # Where the connection is lost PostgreSQL has done so.
            with suppress(DBAPIError, InvalidRequestError):
                bind.exec_driver_sql("ROLLBACK")
            if getattr(getattr(error, "orig", None), "sqlstate", None) not in _BUSY or attempt == _ATTEMPTS:
                raise
            time.sleep(_PAUSE_S)
        else:
            bind.exec_driver_sql("COMMIT")
            return


def _renamed(table: str, name: str) -> Sequence[str]:
    return (
        f"ALTER TABLE {table} RENAME TO {name}",
        f"ALTER TABLE {name} RENAME CONSTRAINT {table}_pkey TO {name}_pkey",
        f"ALTER INDEX {table}_seq_idx RENAME TO {name}_seq_idx",
    )


def _rights(bind: sa.Connection, *, to: str) -> list[str]:
    """Return what gives a table the owner and the grants of the one that is called positions now."""
    return [*bind.scalars(_OWNED, {"table": to}), *bind.scalars(_GRANTED, {"table": to})]


def _month(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _next(month: datetime) -> datetime:
    return _month(month + timedelta(days=31))
