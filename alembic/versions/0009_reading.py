"""What reading in the committed order needs: an index on its numbers, and when a fix was released.

Building the index of ``positions`` keeps trackers waiting (they are told to come again): about a second for a
million rows. Who has very many builds it beforehand, with nobody waiting, and it is taken as it is:

    CREATE INDEX CONCURRENTLY positions_seq_idx ON positions (seq)
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    # Without a default it is a line in the catalogue, however many rows there are.
    op.add_column("positions", sa.Column("released_at", sa.DateTime(timezone=True)))
    op.execute("SET LOCAL statement_timeout = '30min'")
    # What was released has a number far behind its reception: without this, a key with a delay that looks for
    # what is due by numbers could be led too far by it.
    op.execute("""
        UPDATE positions AS p SET released_at = q.decided_at FROM quarantine AS q
        WHERE q.state = 'released' AND p.vessel_id = q.vessel_id AND p.recorded_at = q.recorded_at
            AND p.tracker_id = q.tracker_id
    """)
    op.execute("CREATE INDEX IF NOT EXISTS positions_seq_idx ON positions (seq)")
    op.execute("SET LOCAL statement_timeout = '5s'")
    op.create_index("vessels_seq_idx", "vessels", ["seq"])


def downgrade() -> None:
    op.drop_index("vessels_seq_idx", table_name="vessels")
    op.drop_index("positions_seq_idx", table_name="positions")
    op.drop_column("positions", "released_at")
