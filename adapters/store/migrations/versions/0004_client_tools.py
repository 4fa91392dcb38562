"""Tool hosts, and what clients are asked to run.

There is no way back from a revision: restore the backup that was taken before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tool_hosts",
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("host_id", sa.Text, nullable=False),
        sa.Column("keeper", sa.Text, nullable=False),
        sa.Column("tools", sa.Text, nullable=False),
        sa.Column("lease_ms", sa.BigInteger, nullable=False),
        sa.Column("alive_until", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("owner", "host_id"),
    )
    op.create_table(
        "tool_requests",
        sa.Column("tool_call_id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("step_id", sa.Text, nullable=False),
        sa.Column("tool_name", sa.Text, nullable=False),
        sa.Column("audience", sa.Text, nullable=False),
        sa.Column("host_id", sa.Text),
        sa.Column("offline", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("asked", sa.Integer, nullable=False),
        sa.Column("timeout_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("dispatch", sa.Integer, nullable=False, server_default="0"),
        sa.Column("holder", sa.Text),
        sa.Column("holder_host", sa.Text),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("claim_key", sa.Text),
        sa.Column("token_hash", sa.Text),
        sa.Column("old_hashes", sa.Text, nullable=False, server_default="[]"),
        sa.Column("result_digest", sa.Text),
        sa.Column("answered_by", sa.Text),
        sa.Column("news_at", sa.BigInteger),
        sa.Column("woken_at", sa.BigInteger),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("tool_requests_by_run", "tool_requests", ["run_id"])
    unanswered = sa.text("status IN ('waiting', 'taken')")
    op.create_index(
        "tool_requests_open",
        "tool_requests",
        ["owner"],
        sqlite_where=unanswered,
        postgresql_where=unanswered,
    )
