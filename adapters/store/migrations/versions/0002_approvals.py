"""Approvals, and which tool calls return text of strangers.

There is no way back from a revision: restore the backup that was taken before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "tool_calls",
        sa.Column("untrusted", sa.Boolean, nullable=False, server_default=sa.text("false")),
    )

    op.create_table(
        "approvals",
        sa.Column("approval_id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("tool_call_id", sa.Text, nullable=False, unique=True),
        sa.Column("session_id", sa.Text),
        sa.Column("agent_id", sa.Text),
        sa.Column("tool_name", sa.Text, nullable=False),
        sa.Column("args", sa.Text, nullable=False),
        sa.Column("args_summary", sa.Text, nullable=False),
        sa.Column("args_digest", sa.Text, nullable=False),
        sa.Column("risk", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("asker", sa.Text, nullable=False),
        sa.Column("asks", sa.Text),
        sa.Column("policy_print", sa.Text, nullable=False),
        sa.Column("ruled_at", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("on_timeout", sa.Text, nullable=False),
        sa.Column("expires_in_ms", sa.BigInteger),
        sa.Column("escalate_to", sa.Text, nullable=False, server_default="[]"),
        sa.Column("escalations", sa.Integer, nullable=False, server_default="0"),
        sa.Column("edited_args", sa.Text),
        sa.Column("edited_digest", sa.Text),
        sa.Column("remember", sa.Text, nullable=False, server_default="none"),
        sa.Column("decided_by", sa.Text),
        sa.Column("decided_at", sa.BigInteger),
        sa.Column("reason", sa.Text),
        sa.Column("revision", sa.Integer, nullable=False, server_default="0"),
        sa.Column("woken_at", sa.BigInteger),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
    )
    op.create_index("approvals_by_owner", "approvals", ["owner", "created_at", "approval_id"])
    op.create_index("approvals_by_run", "approvals", ["run_id"])
    pending = sa.text("status = 'pending'")
    op.create_index(
        "approvals_pending",
        "approvals",
        ["owner"],
        sqlite_where=pending,
        postgresql_where=pending,
    )
    remembered = sa.text("remember <> 'none'")
    op.create_index(
        "approvals_remembered",
        "approvals",
        ["owner", "tool_name"],
        sqlite_where=remembered,
        postgresql_where=remembered,
    )
