"""Quarantine that operators decide on, numbers of fixes that have arrived, and a vessel's own speed."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("quarantine", sa.Column("raw", postgresql.JSONB()))
    op.add_column("quarantine", sa.Column("state", sa.Text(), server_default="held", nullable=False))
    op.add_column("quarantine", sa.Column("decided_at", _TIME))
    op.create_check_constraint(
        op.f("quarantine_state_check"), "quarantine", "state IN ('held', 'released', 'rejected')"
    )
    op.create_index("quarantine_received_at_idx", "quarantine", ["received_at"])
    op.add_column("vessels", sa.Column("max_speed_kn", sa.REAL()))
    op.create_table(
        "arrived_numbers",
        sa.Column("tracker_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("numbers", postgresql.INT8MULTIRANGE(), nullable=False),
        sa.PrimaryKeyConstraint("tracker_id", name=op.f("arrived_numbers_pkey")),
    )


def downgrade() -> None:
    op.drop_table("arrived_numbers")
    op.drop_column("vessels", "max_speed_kn")
    op.drop_index("quarantine_received_at_idx", table_name="quarantine")
    for column in ("decided_at", "state", "raw"):
        op.drop_column("quarantine", column)
