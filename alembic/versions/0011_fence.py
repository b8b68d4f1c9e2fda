"""The fence of the committed order: which server it is of, and which of its numbers were never to be seen.

A server that takes over without the last commits, or one that a backup was restored to, would give numbers
anew that somebody has read up to. Whoever takes one looks first whether the order is the one that is known.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

# Another cluster, one that was promoted or restored to a point in time, another database and a sequence that
# was made anew. The timeline is the one that is written to: that of the last checkpoint lags behind.
_ORIGIN = """
CREATE FUNCTION order_origin() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT concat_ws(' ', system_identifier, left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
        (SELECT oid FROM pg_database WHERE datname = current_database()), 'fleet_order'::regclass::oid)
    FROM pg_control_system()
$$
"""
# What whoever takes a number calls who finds another one than is known (``TAKE_ORDER`` in tables.py).
_MOVED = """
CREATE FUNCTION order_moved() RETURNS integer LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RAISE EXCEPTION 'the committed order is not the one that is known' USING ERRCODE = 'HB001';
END
$$
"""


def upgrade() -> None:
    op.create_table(
        "order_fences",
        sa.Column("resumed", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("survived", sa.BigInteger(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("resumed", name="order_fences_pkey"),
    )
    op.execute(_ORIGIN)
    op.execute(_MOVED)
    op.execute("INSERT INTO order_fences (resumed, survived, origin) VALUES (0, 0, order_origin())")


def downgrade() -> None:
    op.execute("DROP FUNCTION order_moved()")
    op.execute("DROP FUNCTION order_origin()")
    op.drop_table("order_fences")
