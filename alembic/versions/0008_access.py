"""Keys end with the key that issued them, and a repeated creation gets the answer that the first one got."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    # Keys of before stand alone: who issued them is in the audit trail only, and may be gone by now.
    op.add_column("api_keys", sa.Column("parent_id", sa.Integer, sa.ForeignKey("api_keys.id")))
    op.create_index(
        "api_keys_parent_id_idx",
        "api_keys",
        ["parent_id"],
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    # What was answered before this is not known; those keys are refused for the rest of their day.
    op.add_column("idempotency_keys", sa.Column("answer", sa.LargeBinary))
    op.drop_column("idempotency_keys", "subject_id")


def downgrade() -> None:
    # A repeat would find nothing to show.
    op.execute("DELETE FROM idempotency_keys")
    op.add_column("idempotency_keys", sa.Column("subject_id", sa.Integer))
    op.drop_column("idempotency_keys", "answer")
    op.drop_index("api_keys_parent_id_idx", table_name="api_keys")
    op.drop_column("api_keys", "parent_id")
