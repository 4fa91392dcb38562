"""Models, money and other people's agents: goals, budgets, holds, prices, health, learning.

There is no way back from a revision: restore the backup that was taken before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _widen()
    _add_money()
    _add_learning()


def _widen() -> None:
    op.add_column("runs", sa.Column("key_id", sa.Text))
    op.add_column(
        "runs", sa.Column("reserved_pico", sa.BigInteger, nullable=False, server_default="0")
    )
    op.add_column(
        "runs", sa.Column("reserved_tokens", sa.BigInteger, nullable=False, server_default="0")
    )
    op.add_column(
        "steps", sa.Column("output_estimate", sa.BigInteger, nullable=False, server_default="0")
    )
    op.add_column("sessions", sa.Column("tier", sa.Text))
    op.add_column("sessions", sa.Column("tier_at", sa.BigInteger))
    op.add_column("usage", sa.Column("root_run_id", sa.Text))
    op.add_column("usage", sa.Column("goal_id", sa.Text))
    op.add_column("usage", sa.Column("key_id", sa.Text))
    op.add_column("api_keys", sa.Column("agent_id", sa.Text))
    op.add_column("approvals", sa.Column("kind", sa.Text, nullable=False, server_default="tool"))
    op.add_column("approvals", sa.Column("budget_id", sa.Text))
    op.execute(
        "UPDATE usage SET root_run_id = (SELECT runs.root_run_id FROM runs"
        " WHERE runs.run_id = usage.run_id), goal_id = (SELECT runs.goal_id FROM runs"
        " WHERE runs.run_id = usage.run_id)"
    )
    op.create_index("usage_by_root", "usage", ["root_run_id"])
    has_goal = sa.text("goal_id IS NOT NULL")
    op.create_index(
        "runs_by_goal",
        "runs",
        ["goal_id", "state"],
        sqlite_where=has_goal,
        postgresql_where=has_goal,
    )


def _add_money() -> None:
    op.create_table(
        "goals",
        sa.Column("goal_id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False, server_default=""),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("priority", sa.Text, nullable=False),
        sa.Column("success_criteria", sa.Text, nullable=False, server_default="[]"),
        sa.Column("max_agents", sa.Integer),
        sa.Column("max_concurrent", sa.Integer),
        sa.Column("parent_goal_id", sa.Text),
        sa.Column("progress", sa.Text, nullable=False, server_default="{}"),
        sa.Column("metadata", sa.Text, nullable=False, server_default="{}"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
    )
    op.create_index("goals_by_owner", "goals", ["owner", "created_at", "goal_id"])
    op.create_table(
        "budgets",
        sa.Column("budget_id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("scope_id", sa.Text, nullable=False),
        sa.Column("limit_pico", sa.BigInteger, nullable=False),
        sa.Column("period", sa.Text, nullable=False),
        sa.Column("on_exhausted", sa.Text, nullable=False),
        sa.Column("reserved_pico", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("spent_pico", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("day", sa.Integer, nullable=False, server_default="0"),
        sa.Column("warned", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
    op.create_index("budgets_by_owner", "budgets", ["owner", "created_at", "budget_id"])
    op.create_index("budgets_by_scope", "budgets", ["scope", "scope_id"])
    op.create_table(
        "holds",
        sa.Column("hold_id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.Column("step_id", sa.Text),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="1"),
        sa.Column("root_run_id", sa.Text),
        sa.Column("agent_id", sa.Text),
        sa.Column("session_id", sa.Text),
        sa.Column("goal_id", sa.Text),
        sa.Column("key_id", sa.Text),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("pico", sa.BigInteger),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("budget_ids", sa.Text, nullable=False),
        sa.Column("opened_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("holds_by_run", "holds", ["run_id"])
    op.create_index("holds_by_end", "holds", ["expires_at"])
    op.create_table(
        "prices",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("input_usd", sa.Text, nullable=False),
        sa.Column("output_usd", sa.Text, nullable=False),
        sa.Column("cached_input_usd", sa.Text, nullable=False),
        sa.Column("set_by", sa.Text, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "model_health",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("open_until", sa.BigInteger),
        sa.Column("blocked_until", sa.BigInteger),
        sa.Column("probe_until", sa.BigInteger),
        sa.Column("error_class", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("last_ok_at", sa.BigInteger),
        sa.Column("last_failed_at", sa.BigInteger),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "rate_buckets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("level_milli", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )


def _add_learning() -> None:
    op.create_table(
        "feedback",
        sa.Column("feedback_id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text),
        sa.Column("score", sa.Float, nullable=False),
        sa.Column("text", sa.Text),
        sa.Column("improvement", sa.Text),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="pending"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("feedback_by_owner", "feedback", ["owner", "created_at", "feedback_id"])
    op.create_index("feedback_by_run", "feedback", ["run_id"])
    op.create_table(
        "route_outcomes",
        sa.Column("run_id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text),
        sa.Column("task_class", sa.Text),
        sa.Column("tier", sa.Text),
        sa.Column("features", sa.Text, nullable=False, server_default="{}"),
        sa.Column("utility", sa.Float),
        sa.Column("labelled", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
    op.create_index(
        "route_outcomes_by_agent", "route_outcomes", ["owner", "agent_id", "created_at"]
    )
    op.create_table(
        "learned",
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False, server_default="1"),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("owner", "name"),
    )
    op.create_table(
        "agent_health",
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("open_until", sa.BigInteger),
        sa.Column("probe_until", sa.BigInteger),
        sa.Column("seen_at", sa.BigInteger),
        sa.Column("checked_at", sa.BigInteger),
        sa.Column("error", sa.Text),
        sa.Column("version", sa.Text),
        sa.Column("capabilities", sa.Text, nullable=False, server_default="[]"),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("owner", "agent_id"),
    )
