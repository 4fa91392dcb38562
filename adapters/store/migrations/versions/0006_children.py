"""Runs that start runs, and answers that a cancel cut.

There is no way back from a revision: restore the backup that was taken before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    no = sa.text("false")
    op.add_column("runs", sa.Column("parent_step", sa.Text))
    op.add_column("runs", sa.Column("spawned", sa.Integer, nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("untrusted", sa.Boolean, nullable=False, server_default=no))
    op.add_column("messages", sa.Column("partial", sa.Boolean, nullable=False, server_default=no))
    op.create_index("runs_by_root", "runs", ["root_run_id", "depth"])
