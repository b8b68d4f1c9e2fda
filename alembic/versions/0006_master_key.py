"""A value by which the master key is known again, so that a wrong one is noticed before it gives a secret."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "master_key",
        sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False, server_default=sa.text("1")),
        sa.Column("check_value", sa.LargeBinary, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint("id = 1", name="master_key_id_check"),
    )


def downgrade() -> None:
    op.drop_table("master_key")
