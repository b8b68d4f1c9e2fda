"""The first tables: vessels, trackers, positions and the latest of them, quarantine, API keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("fleet_order", data_type=sa.BigInteger())))
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("requests_per_minute", sa.Integer()),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name=op.f("api_keys_pkey")),
    )
    op.create_index("api_keys_sha256_key", "api_keys", ["sha256"], unique=True)
    op.create_table(
        "latest_positions",
        sa.Column("vessel_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tracker_id", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lat", sa.Double(), nullable=False),
        sa.Column("lon", sa.Double(), nullable=False),
        sa.Column("sog", sa.REAL()),
        sa.Column("cog", sa.REAL()),
        sa.Column("heading", sa.REAL()),
        sa.Column("nav_status", sa.SmallInteger()),
        sa.Column("accuracy_m", sa.REAL()),
        sa.Column("battery_v", sa.REAL()),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("vessel_id", name=op.f("latest_positions_pkey")),
    )
    op.create_table(
        "positions",
        sa.Column("vessel_id", sa.Integer(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tracker_id", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lat", sa.Double(), nullable=False),
        sa.Column("lon", sa.Double(), nullable=False),
        sa.Column("sog", sa.REAL()),
        sa.Column("cog", sa.REAL()),
        sa.Column("heading", sa.REAL()),
        sa.Column("nav_status", sa.SmallInteger()),
        sa.Column("accuracy_m", sa.REAL()),
        sa.Column("battery_v", sa.REAL()),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("vessel_id", "recorded_at", "tracker_id", name=op.f("positions_pkey")),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("vessel_id", sa.Integer(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tracker_id", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("fix", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("quarantine_pkey")),
    )
    op.create_index(
        "quarantine_fix_key", "quarantine", ["vessel_id", "recorded_at", "tracker_id"], unique=True
    )
    op.create_table(
        "vessels",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("imo", sa.Text()),
        sa.Column("mmsi", sa.Text()),
        sa.Column("call_sign", sa.Text()),
        sa.Column("flag", sa.Text()),
        sa.Column("kind", sa.Text()),
        sa.Column("length_m", sa.REAL()),
        sa.Column("beam_m", sa.REAL()),
        sa.Column("draught_m", sa.REAL()),
        sa.Column("retired_at", sa.DateTime(timezone=True)),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("imo ~ '^[0-9]{7}$'", name=op.f("vessels_imo_check")),
        sa.CheckConstraint("mmsi ~ '^[0-9]{9}$'", name=op.f("vessels_mmsi_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("vessels_pkey")),
    )
    op.create_index(
        "vessels_imo_key",
        "vessels",
        ["imo"],
        unique=True,
        postgresql_where=sa.text("retired_at IS NULL"),
    )
    op.create_index(
        "vessels_mmsi_key",
        "vessels",
        ["mmsi"],
        unique=True,
        postgresql_where=sa.text("retired_at IS NULL"),
    )
    op.create_table(
        "trackers",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("vessel_id", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("previous_valid_until", sa.DateTime(timezone=True)),
        sa.Column("disabled_at", sa.DateTime(timezone=True)),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["vessel_id"], ["vessels.id"], name=op.f("trackers_vessel_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("trackers_pkey")),
    )
    op.create_index("trackers_vessel_id_idx", "trackers", ["vessel_id"])

    # Every fix rewrites its vessel's row: room on the page keeps the update off the index.
    op.execute("ALTER TABLE latest_positions SET (fillfactor = 50)")


def downgrade() -> None:
    for table in ("trackers", "vessels", "quarantine", "positions", "latest_positions", "api_keys"):
        op.drop_table(table)
    op.execute("DROP SEQUENCE fleet_order")
