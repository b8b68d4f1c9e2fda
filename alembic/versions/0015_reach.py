"""How far back a key sees, in days.

No row is rewritten: null is as far as positions are kept, as before, and the release before goes on issuing
keys without it. It does not obey it either: give a key a reach only once no host has that release any more.
Going back forgets what was said, and such a key sees all again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("history_days", sa.Integer()))


def downgrade() -> None:
    op.drop_column("api_keys", "history_days")
