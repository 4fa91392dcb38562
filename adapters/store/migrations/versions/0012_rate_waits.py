"""Calls that wait for a provider's rate, in the order in which they asked.

There is no way back from a revision: restore the backup that was taken before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rate_waits",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("waiter", sa.Text, nullable=False),
        sa.Column("need_milli", sa.BigInteger, nullable=False),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", "waiter"),
    )
