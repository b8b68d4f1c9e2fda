"""What was stored can be taken back, and who decided; indexes for decisions on many at once."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_OPEN = sa.text("state = 'held'")


def upgrade() -> None:
    # As with 0005: nothing is held meanwhile, and a few million rows take some seconds for each index.
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.create_table(
        "withdrawals",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("vessel_id", sa.Integer(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tracker_id", sa.Integer(), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("withdrawals_pkey")),
    )
    op.add_column("quarantine", sa.Column("decided_by", sa.Text()))
    op.add_column("quarantine", sa.Column("note", sa.Text()))
    # So far only operators have decided, and the trail tells which.
    op.execute(
        "UPDATE quarantine SET decided_by = coalesce((SELECT actor FROM audit "
        "WHERE subject = 'quarantine/' || quarantine.id ORDER BY id DESC LIMIT 1), 'operator') "
        "WHERE state <> 'held'"
    )
    op.drop_constraint(op.f("quarantine_state_check"), "quarantine", type_="check")
    op.create_check_constraint(
        op.f("quarantine_state_check"), "quarantine", "state IN ('held', 'released', 'rejected', 'withdrawn')"
    )
    op.drop_index("quarantine_received_at_idx", table_name="quarantine")
    op.create_index("quarantine_kept_since_idx", "quarantine", [sa.text("greatest(received_at, decided_at)")])
    op.drop_index("quarantine_jumps_idx", table_name="quarantine")
    op.create_index(
        "quarantine_jumps_idx",
        "quarantine",
        ["vessel_id", "recorded_at", "tracker_id"],
        postgresql_where=sa.text("reason IN ('impossible_jump', 'outvoted') AND state = 'held'"),
    )
    for name, *first in (
        ("quarantine_open_reason_idx",),
        ("quarantine_open_vessel_idx", "vessel_id"),
        ("quarantine_open_tracker_idx", "tracker_id", "vessel_id"),
    ):
        op.create_index(name, "quarantine", [*first, "reason", "recorded_at", "id"], postgresql_where=_OPEN)
    op.execute("SET LOCAL statement_timeout = '5s'")


def downgrade() -> None:
    for name in ("tracker", "vessel", "reason"):
        op.drop_index(f"quarantine_open_{name}_idx", table_name="quarantine")
    op.drop_index("quarantine_jumps_idx", table_name="quarantine")
    # What was taken back stays off the map.
    op.execute("UPDATE quarantine SET state = 'rejected' WHERE state = 'withdrawn'")
    op.create_index(
        "quarantine_jumps_idx",
        "quarantine",
        ["vessel_id", "recorded_at", "tracker_id"],
        postgresql_where=sa.text("reason = 'impossible_jump' AND state = 'held'"),
    )
    op.drop_index("quarantine_kept_since_idx", table_name="quarantine")
    op.create_index("quarantine_received_at_idx", "quarantine", ["received_at"])
    op.drop_constraint(op.f("quarantine_state_check"), "quarantine", type_="check")
    op.create_check_constraint(
        op.f("quarantine_state_check"), "quarantine", "state IN ('held', 'released', 'rejected')"
    )
    op.drop_column("quarantine", "note")
    op.drop_column("quarantine", "decided_by")
    op.drop_table("withdrawals")
