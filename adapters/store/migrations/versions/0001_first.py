"""The first schema: runs, their events and steps, sessions, agents, the ledger and the leases.

There is no way back from a revision: restore the backup that was taken before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "meta",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )

    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("session_id", sa.Text),
        sa.Column("agent_id", sa.Text),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("waiting_on", sa.Text),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("input", sa.Text, nullable=False),
        sa.Column("output", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("input_tokens", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("output_tokens", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("cost_pico", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("unpriced_calls", sa.Integer, nullable=False, server_default="0"),
        sa.Column("model_calls", sa.Integer, nullable=False, server_default="0"),
        sa.Column("tool_calls", sa.Integer, nullable=False, server_default="0"),
        sa.Column("turns", sa.Integer, nullable=False, server_default="0"),
        sa.Column("goal_id", sa.Text),
        sa.Column("priority", sa.Integer, nullable=False, server_default="3"),
        sa.Column("parent_run_id", sa.Text),
        sa.Column("root_run_id", sa.Text, nullable=False),
        sa.Column("depth", sa.Integer, nullable=False, server_default="0"),
        sa.Column("metadata", sa.Text, nullable=False, server_default="{}"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("last_seq", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("queue_seq", sa.BigInteger),
        sa.Column("cancel_asked_at", sa.BigInteger),
        sa.Column("cancel_reason", sa.Text),
        sa.Column("dispatched_at", sa.BigInteger),
        sa.Column("woken_at", sa.BigInteger),
    )
    op.create_index("runs_by_owner", "runs", ["owner", "created_at", "run_id"])
    open_runs = sa.text("state IN ('CREATED', 'RUNNING')")
    op.create_index(
        "runs_open", "runs", ["state"], sqlite_where=open_runs, postgresql_where=open_runs
    )
    ended = sa.text("ended_at IS NOT NULL")
    op.create_index(
        "runs_by_end",
        "runs",
        ["ended_at", "owner", "state"],
        sqlite_where=ended,
        postgresql_where=ended,
    )
    op.create_index("runs_by_session", "runs", ["owner", "session_id", "queue_seq"])
    op.create_index("runs_by_parent", "runs", ["parent_run_id"])

    op.create_table(
        "run_executions",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("temporal_run_id", sa.Text, nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "temporal_run_id"),
    )

    op.create_table(
        "events",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("event_key", sa.Text, nullable=False),
        sa.Column("ts", sa.BigInteger, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("envelope", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "seq"),
        sa.UniqueConstraint("run_id", "event_key"),
        sqlite_with_rowid=False,
    )

    op.create_table(
        "steps",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("step_id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("temporal_run_id", sa.Text, nullable=False),
        sa.Column("scheduled_at_us", sa.BigInteger, nullable=False),
        sa.Column("task_token", sa.LargeBinary, nullable=False),
        sa.Column("worker_id", sa.Text, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("abandoned", sa.Integer, nullable=False, server_default="0"),
        sa.Column("streamed_chars", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("furthest_chars", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("has_deltas", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("model", sa.Text),
        sa.Column("input_rate", sa.BigInteger),
        sa.Column("output_rate", sa.BigInteger),
        sa.Column("input_estimate", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("opened_at", sa.BigInteger, nullable=False),
        sa.Column("closed_at", sa.BigInteger),
        sa.Column("result", sa.Text),
        sa.PrimaryKeyConstraint("run_id", "step_id"),
    )
    open_steps = sa.text("state = 'open'")
    op.create_index(
        "steps_open", "steps", ["worker_id"], sqlite_where=open_steps, postgresql_where=open_steps
    )

    op.create_table(
        "tool_calls",
        sa.Column("tool_call_id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("step_id", sa.Text, nullable=False),
        sa.Column("tool_name", sa.Text, nullable=False),
        sa.Column("args", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("effect", sa.Text, nullable=False),
        sa.Column("provider_call_id", sa.Text, nullable=False),
        sa.Column("idempotency_key", sa.Text, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("resolution", sa.Text),
        sa.Column("resolved_by", sa.Text),
        sa.Column("unknown_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("woken_at", sa.BigInteger),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.UniqueConstraint("run_id", "step_id"),
    )
    op.create_index("tool_calls_by_status", "tool_calls", ["status"])
    op.create_index("tool_calls_by_owner", "tool_calls", ["owner", "created_at", "tool_call_id"])

    op.create_table(
        "sessions",
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text),
        sa.Column("on_busy", sa.Text, nullable=False),
        sa.Column("active_run_id", sa.Text),
        sa.Column("message_count", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("token_count", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("last_message_seq", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("last_queue_seq", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("metadata", sa.Text, nullable=False, server_default="{}"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("owner", "session_id"),
    )
    op.create_index("sessions_by_owner", "sessions", ["owner", "created_at", "session_id"])

    op.create_table(
        "messages",
        sa.Column("message_id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.Column("seq", sa.BigInteger),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("tool_calls", sa.Text),
        sa.Column("tool_call_id", sa.Text),
        sa.Column("agent_id", sa.Text),
        sa.Column("tokens", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("messages_in_order", "messages", ["owner", "session_id", "seq"])
    op.create_index("messages_by_run", "messages", ["run_id"])

    op.create_table(
        "agents",
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("owner", "agent_id"),
    )

    op.create_table(
        "usage",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("step_id", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text),
        sa.Column("session_id", sa.Text),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost_pico", sa.BigInteger),
        sa.Column("estimated", sa.Boolean, nullable=False),
        sa.Column("latency_ms", sa.BigInteger, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "step_id", "attempt"),
    )
    op.create_index("usage_by_owner", "usage", ["owner", "created_at"])

    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False, unique=True),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
    )

    op.create_table(
        "idempotency",
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("owner", "scope", "key"),
    )

    op.create_table(
        "leases",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("process", sa.Text, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
