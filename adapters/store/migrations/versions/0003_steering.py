"""Messages that steer a run on its way, and the order in which messages came to a held session.

There is no way back from a revision: restore the backup that was taken before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("messages", sa.Column("arrival", sa.BigInteger))
    for name in ("steers", "steers_seen"):
        op.add_column("runs", sa.Column(name, sa.Integer, nullable=False, server_default="0"))
