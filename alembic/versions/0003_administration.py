"""Who may see what, who did what: grants and rotation of keys, assignments of trackers, the audit trail."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("owner", sa.Text(), server_default="", nullable=False))
    op.add_column("api_keys", sa.Column("all_vessels", sa.Boolean(), server_default="true", nullable=False))
    op.add_column("api_keys", sa.Column("delay_s", sa.Integer(), server_default="0", nullable=False))
    op.add_column("api_keys", sa.Column("coordinate_decimals", sa.SmallInteger()))
    op.add_column("api_keys", sa.Column("previous_sha256", sa.LargeBinary()))
    op.add_column("api_keys", sa.Column("previous_valid_until", _TIME))
    op.add_column("api_keys", sa.Column("version", sa.Integer(), server_default="1", nullable=False))
    op.create_index("api_keys_previous_sha256_key", "api_keys", ["previous_sha256"], unique=True)
    op.create_table(
        "grants",
        sa.Column("api_key_id", sa.Integer(), nullable=False),
        sa.Column("vessel_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name=op.f("grants_api_key_id_fkey")),
        sa.ForeignKeyConstraint(["vessel_id"], ["vessels.id"], name=op.f("grants_vessel_id_fkey")),
        sa.PrimaryKeyConstraint("api_key_id", "vessel_id", name=op.f("grants_pkey")),
    )

    op.add_column("trackers", sa.Column("version", sa.Integer(), server_default="1", nullable=False))
    op.create_table(
        "assignments",
        sa.Column("tracker_id", sa.Integer(), nullable=False),
        sa.Column("starts_at", _TIME, nullable=False),
        sa.Column("vessel_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["tracker_id"], ["trackers.id"], name=op.f("assignments_tracker_id_fkey")),
        sa.ForeignKeyConstraint(["vessel_id"], ["vessels.id"], name=op.f("assignments_vessel_id_fkey")),
        sa.PrimaryKeyConstraint("tracker_id", "starts_at", name=op.f("assignments_pkey")),
    )
    op.execute(
        "INSERT INTO assignments (tracker_id, starts_at, vessel_id) "
        "SELECT id, '0001-01-01 00:00:00+00', vessel_id FROM trackers"
    )
    op.drop_index("trackers_vessel_id_idx", table_name="trackers")
    op.drop_column("trackers", "vessel_id")
    op.create_index("assignments_vessel_id_idx", "assignments", ["vessel_id"])

    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("api_key_id", sa.Integer()),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB()),
        sa.Column("after", postgresql.JSONB()),
        sa.Column("request_id", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_pkey")),
    )
    op.create_index("audit_subject_idx", "audit", ["subject", "id"])

    op.create_table(
        "idempotency_keys",
        sa.Column("api_key_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("subject_id", sa.Integer()),
        sa.Column("created_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["api_key_id"], ["api_keys.id"], name=op.f("idempotency_keys_api_key_id_fkey")
        ),
        sa.PrimaryKeyConstraint("api_key_id", "key", name=op.f("idempotency_keys_pkey")),
    )
    op.create_index("idempotency_keys_created_at_idx", "idempotency_keys", ["created_at"])


def downgrade() -> None:
    op.drop_table("idempotency_keys")
    op.drop_table("audit")
    op.add_column("trackers", sa.Column("vessel_id", sa.Integer()))
    op.execute(
        "UPDATE trackers SET vessel_id = (SELECT vessel_id FROM assignments WHERE tracker_id = trackers.id "
        "ORDER BY starts_at DESC LIMIT 1)"
    )
    op.alter_column("trackers", "vessel_id", nullable=False)
    op.create_foreign_key(op.f("trackers_vessel_id_fkey"), "trackers", "vessels", ["vessel_id"], ["id"])
    op.create_index("trackers_vessel_id_idx", "trackers", ["vessel_id"])
    op.drop_table("assignments")
    op.drop_column("trackers", "version")
    op.drop_table("grants")
    op.drop_index("api_keys_previous_sha256_key", table_name="api_keys")
    for column in (
        "version",
        "previous_valid_until",
        "previous_sha256",
        "coordinate_decimals",
        "delay_s",
        "all_vessels",
        "owner",
    ):
        op.drop_column("api_keys", column)
