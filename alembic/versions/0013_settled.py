"""Which stretch of time is settled, so that whoever reads by number need not ask each of its partitions.

The stretch is empty at first: ``harbor-api maintain`` makes it longer, month by month, and gives each
partition in it a trigger. So it holds whatever stores a late fix there, the release before this one too.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

# All that a group of fixes draws is drawn before the first of them is stored: the first one says it for all.
# Whoever may store a fix need have no right to the row.
_NOTE = """
CREATE FUNCTION note_late_fix() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    UPDATE order_settled SET number = (SELECT last_value FROM fleet_order) WHERE number < NEW.seq;
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    op.create_table(
        "order_settled",
        sa.Column("id", sa.SmallInteger(), server_default="1", autoincrement=False, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="order_settled_pkey"),
        sa.CheckConstraint("id = 1", name=op.f("order_settled_id_check")),
    )
    op.execute("INSERT INTO order_settled (since, until, number) VALUES ('-infinity', '-infinity', 0)")
    op.execute(_NOTE)


def downgrade() -> None:
    # With the triggers.
    op.execute("DROP FUNCTION note_late_fix() CASCADE")
    op.drop_table("order_settled")
