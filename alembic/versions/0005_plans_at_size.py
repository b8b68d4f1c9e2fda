"""Indexes for what was read through all of the quarantine: its pages by each filter, and its jumps."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # Nothing is held meanwhile: trackers whose fixes would be are told to come again. A few million rows take
    # some seconds each time; who has many more prunes first.
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.create_index(
        "quarantine_jumps_idx",
        "quarantine",
        ["vessel_id", "recorded_at", "tracker_id"],
        postgresql_where=sa.text("reason = 'impossible_jump' AND state = 'held'"),
    )
    op.create_index("quarantine_vessel_idx", "quarantine", ["vessel_id", "reason", "state", "id"])
    op.create_index("quarantine_reason_idx", "quarantine", ["reason", "state", "id"])
    op.execute("SET LOCAL statement_timeout = '5s'")


def downgrade() -> None:
    op.drop_index("quarantine_reason_idx", table_name="quarantine")
    op.drop_index("quarantine_vessel_idx", table_name="quarantine")
    op.drop_index("quarantine_jumps_idx", table_name="quarantine")
