"""The tables of what was learned of agents and choices, and of agents that others run.

A part of `tables.py`, which is where tables are looked for.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)


def add_to(metadata: MetaData) -> None:
    """Add the tables of this module."""
    Table(
        "feedback",
        metadata,
        Column("feedback_id", Text, primary_key=True),
        Column("owner", Text, nullable=False),
        Column("run_id", Text, nullable=False),
        Column("agent_id", Text),
        Column("score", Float, nullable=False),
        Column("text", Text),
        Column("improvement", Text),
        Column("by", Text, nullable=False),
        Column("status", Text, nullable=False, server_default="pending"),
        Column("created_at", BigInteger, nullable=False),
        Index("feedback_by_owner", "owner", "created_at", "feedback_id"),
        Index("feedback_by_run", "run_id"),
    )
    Table(
        "route_outcomes",
        metadata,
        Column("run_id", Text, primary_key=True),
        Column("owner", Text, nullable=False),
        Column("agent_id", Text),
        Column("task_class", Text),
        Column("tier", Text),
        Column("features", Text, nullable=False, server_default="{}"),
        Column("utility", Float),
        Column("labelled", Boolean, nullable=False, server_default=text("false")),
        Column("created_at", BigInteger, nullable=False),
        Column("updated_at", BigInteger, nullable=False),
        Index("route_outcomes_by_agent", "owner", "agent_id", "created_at"),
    )
    Table(
        "learned",
        metadata,
        Column("owner", Text, nullable=False),
        Column("name", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("revision", BigInteger, nullable=False, server_default="1"),
        Column("updated_at", BigInteger, nullable=False),
        PrimaryKeyConstraint("owner", "name"),
    )
    Table(
        "agent_pins",
        metadata,
        Column("owner", Text, primary_key=True),
        Column("agent_id", Text, nullable=False),
        Column("pinned_by", Text, nullable=False),
        Column("pinned_at", BigInteger, nullable=False),
    )
    Table(
        "agent_health",
        metadata,
        Column("owner", Text, nullable=False),
        Column("agent_id", Text, nullable=False),
        Column("status", Text, nullable=False),
        Column("failures", Integer, nullable=False, server_default="0"),
        Column("open_until", BigInteger),
        Column("probe_until", BigInteger),
        Column("seen_at", BigInteger),
        Column("checked_at", BigInteger),
        Column("error", Text),
        Column("version", Text),
        Column("capabilities", Text, nullable=False, server_default="[]"),
        Column("updated_at", BigInteger, nullable=False),
        PrimaryKeyConstraint("owner", "agent_id"),
    )
