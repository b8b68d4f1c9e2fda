"""What is kept of a vessel for longer or shorter than the setting says, and legal holds.

A table of its own: no row of ``vessels`` is touched, and the release before does not miss it. It is empty, so
that all is kept as before. Going back forgets what was said: lift holds, or do not go back while one lasts.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

_HOLD = "(hold_reason IS NULL) = (held_by IS NULL) AND (hold_reason IS NULL) = (held_since IS NULL)"


def upgrade() -> None:
    op.create_table(
        "vessel_keeping",
        sa.Column("vessel_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("keep_positions_days", sa.Integer()),
        sa.Column("hold_reason", sa.Text()),
        sa.Column("held_by", sa.Text()),
        sa.Column("held_since", sa.DateTime(timezone=True)),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("vessel_id", name="vessel_keeping_pkey"),
        sa.ForeignKeyConstraint(["vessel_id"], ["vessels.id"], name="vessel_keeping_vessel_id_fkey"),
        sa.CheckConstraint(_HOLD, name=op.f("vessel_keeping_hold_check")),
    )
    op.create_index(
        "vessel_keeping_held_idx",
        "vessel_keeping",
        ["vessel_id"],
        postgresql_where=sa.text("hold_reason IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("vessel_keeping")
