"""Whose call tries a model whose circuit is half open, and what an opened call was granted.

There is no way back from a revision: restore the backup that was taken before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("model_health", sa.Column("probe_by", sa.Text))
    op.add_column("steps", sa.Column("granted", sa.Text))
