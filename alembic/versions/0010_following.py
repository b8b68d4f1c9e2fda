"""What following needs: which fixes came late, up to where followers are told no more, and named consumers.

All of it is at once, however many rows there are. Of fixes that are stored already it is not known whether
they came late, and so they are not called that.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("positions", sa.Column("late", sa.Boolean()))
    op.create_table(
        "feed_floor",
        sa.Column("id", sa.SmallInteger(), server_default=sa.text("1"), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="feed_floor_pkey"),
        sa.CheckConstraint("id = 1", name=op.f("feed_floor_id_check")),
    )
    op.create_table(
        "feeds",
        sa.Column("api_key_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("filters", JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("api_key_id", "name", name="feeds_pkey"),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name="feeds_api_key_id_fkey"),
    )


def downgrade() -> None:
    op.drop_table("feeds")
    op.drop_table("feed_floor")
    op.drop_column("positions", "late")
