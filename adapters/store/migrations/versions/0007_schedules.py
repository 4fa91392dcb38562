"""Schedules and their firings; how far the event push is.

There is no way back from a revision: restore the backup that was taken before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "schedules",
        sa.Column("uid", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("schedule_id", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("ask", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("note", sa.Text, nullable=False, server_default=""),
        sa.Column("revision", sa.BigInteger, nullable=False, server_default="1"),
        sa.Column("applied_revision", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("deleted", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
    alive = sa.text("deleted = false")
    op.create_index(
        "schedules_by_id",
        "schedules",
        ["owner", "schedule_id"],
        unique=True,
        sqlite_where=alive,
        postgresql_where=alive,
    )
    op.create_index("schedules_by_owner", "schedules", ["owner", "created_at", "schedule_id"])

    op.create_table(
        "firings",
        sa.Column("firing_id", sa.Text, primary_key=True),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("schedule_id", sa.Text, nullable=False),
        sa.Column("scheduled_at", sa.BigInteger, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.Column("error_code", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
    )
    op.create_index("firings_by_schedule", "firings", ["uid", "created_at", "firing_id"])
    going = sa.text("ended_at IS NULL")
    op.create_index(
        "firings_going", "firings", ["run_id"], sqlite_where=going, postgresql_where=going
    )

    op.create_index("runs_by_creation", "runs", ["created_at", "run_id"])
    op.create_table(
        "pushes",
        sa.Column("run_id", sa.Text, primary_key=True),
        sa.Column("session_id", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("pushed_seq", sa.BigInteger, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("next_at", sa.BigInteger, nullable=False),
        sa.Column("error", sa.Text),
    )
    open_ = sa.text("done = false")
    op.create_index(
        "pushes_open", "pushes", ["next_at"], sqlite_where=open_, postgresql_where=open_
    )
