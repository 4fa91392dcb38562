"""The tables of models and money: goals, budgets, what is held of them, prices, model health.

A part of `tables.py`, which is where tables are looked for. Money is picodollars.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)


def add_to(metadata: MetaData) -> None:
    """Add the tables of this module."""
    Table(
        "goals",
        metadata,
        Column("goal_id", Text, primary_key=True),
        Column("owner", Text, nullable=False),
        Column("title", Text, nullable=False),
        Column("description", Text, nullable=False, server_default=""),
        Column("state", Text, nullable=False),
        Column("priority", Text, nullable=False),
        Column("success_criteria", Text, nullable=False, server_default="[]"),
        Column("max_agents", Integer),
        Column("max_concurrent", Integer),
        Column("parent_goal_id", Text),
        Column("progress", Text, nullable=False, server_default="{}"),
        Column("metadata", Text, nullable=False, server_default="{}"),
        Column("created_at", BigInteger, nullable=False),
        Column("updated_at", BigInteger, nullable=False),
        Column("ended_at", BigInteger),
        Index("goals_by_owner", "owner", "created_at", "goal_id"),
    )
    Table(
        "budgets",
        metadata,
        Column("budget_id", Text, primary_key=True),
        Column("owner", Text, nullable=False),
        Column("scope", Text, nullable=False),
        Column("scope_id", Text, nullable=False),
        Column("limit_pico", BigInteger, nullable=False),
        Column("period", Text, nullable=False),
        Column("on_exhausted", Text, nullable=False),
        Column("reserved_pico", BigInteger, nullable=False, server_default="0"),
        Column("spent_pico", BigInteger, nullable=False, server_default="0"),
        Column("day", Integer, nullable=False, server_default="0"),
        Column("warned", Integer, nullable=False, server_default="0"),
        Column("created_at", BigInteger, nullable=False),
        Column("updated_at", BigInteger, nullable=False),
        Index("budgets_by_owner", "owner", "created_at", "budget_id"),
        Index("budgets_by_scope", "scope", "scope_id"),
    )
    Table(
        "holds",
        metadata,
        Column("hold_id", Text, primary_key=True),
        Column("owner", Text, nullable=False),
        Column("run_id", Text),
        Column("step_id", Text),
        Column("attempt", Integer, nullable=False, server_default="1"),
        Column("root_run_id", Text),
        Column("agent_id", Text),
        Column("session_id", Text),
        Column("goal_id", Text),
        Column("key_id", Text),
        Column("model", Text, nullable=False),
        Column("pico", BigInteger),
        Column("input_tokens", BigInteger, nullable=False),
        Column("output_tokens", BigInteger, nullable=False),
        Column("budget_ids", Text, nullable=False),
        Column("opened_at", BigInteger, nullable=False),
        Column("expires_at", BigInteger, nullable=False),
        Index("holds_by_run", "run_id"),
        Index("holds_by_end", "expires_at"),
    )
    Table(
        "prices",
        metadata,
        Column("model", Text, primary_key=True),
        Column("input_usd", Text, nullable=False),
        Column("output_usd", Text, nullable=False),
        Column("cached_input_usd", Text, nullable=False),
        Column("set_by", Text, nullable=False),
        Column("updated_at", BigInteger, nullable=False),
    )
    Table(
        "model_health",
        metadata,
        Column("model", Text, primary_key=True),
        Column("failures", Integer, nullable=False, server_default="0"),
        Column("open_until", BigInteger),
        Column("blocked_until", BigInteger),
        Column("probe_until", BigInteger),
        Column("error_class", Text),
        Column("error_message", Text),
        Column("last_ok_at", BigInteger),
        Column("last_failed_at", BigInteger),
        Column("updated_at", BigInteger, nullable=False),
        Column("probe_by", Text),
    )
    Table(
        "rate_buckets",
        metadata,
        Column("name", Text, primary_key=True),
        Column("level_milli", BigInteger, nullable=False),
        Column("updated_at", BigInteger, nullable=False),
    )
    Table(
        "rate_waits",
        metadata,
        Column("name", Text, nullable=False),
        Column("waiter", Text, nullable=False),
        Column("need_milli", BigInteger, nullable=False),
        Column("asked_at", BigInteger, nullable=False),
        Column("until", BigInteger, nullable=False),
        PrimaryKeyConstraint("name", "waiter"),
    )
