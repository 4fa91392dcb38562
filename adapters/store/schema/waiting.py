"""The tables of what waits for somebody: approvals, tools that clients run, dead letters.

A part of `tables.py`, which is where tables are looked for.
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
    text,
)

_PENDING = text("status = 'pending'")
_REMEMBERED = text("remember <> 'none'")
_UNANSWERED = text("status IN ('waiting', 'taken')")


def add_to(metadata: MetaData) -> None:
    """Add the tables of this module."""
    Table(
        "approvals",
        metadata,
        Column("approval_id", Text, primary_key=True),
        Column("owner", Text, nullable=False),
        Column("run_id", Text, nullable=False),
        Column("tool_call_id", Text, nullable=False, unique=True),
        Column("session_id", Text),
        Column("agent_id", Text),
        Column("tool_name", Text, nullable=False),
        Column("args", Text, nullable=False),
        Column("args_summary", Text, nullable=False),
        Column("args_digest", Text, nullable=False),
        Column("risk", Text, nullable=False),
        Column("why", Text, nullable=False),
        Column("asker", Text, nullable=False),
        Column("asks", Text),
        Column("policy_print", Text, nullable=False),
        Column("ruled_at", BigInteger, nullable=False),
        Column("status", Text, nullable=False),
        Column("on_timeout", Text, nullable=False),
        Column("expires_in_ms", BigInteger),
        Column("escalate_to", Text, nullable=False, server_default="[]"),
        Column("escalations", Integer, nullable=False, server_default="0"),
        Column("edited_args", Text),
        Column("edited_digest", Text),
        Column("remember", Text, nullable=False, server_default="none"),
        Column("decided_by", Text),
        Column("decided_at", BigInteger),
        Column("reason", Text),
        Column("revision", Integer, nullable=False, server_default="0"),
        Column("woken_at", BigInteger),
        Column("created_at", BigInteger, nullable=False),
        Column("expires_at", BigInteger),
        Index("approvals_by_owner", "owner", "created_at", "approval_id"),
        Index("approvals_by_run", "run_id"),
        Index("approvals_pending", "owner", sqlite_where=_PENDING, postgresql_where=_PENDING),
        Index(
            "approvals_remembered",
            "owner",
            "tool_name",
            sqlite_where=_REMEMBERED,
            postgresql_where=_REMEMBERED,
        ),
    )
    Table(
        "tool_hosts",
        metadata,
        Column("owner", Text, nullable=False),
        Column("host_id", Text, nullable=False),
        Column("keeper", Text, nullable=False),
        Column("tools", Text, nullable=False),
        Column("lease_ms", BigInteger, nullable=False),
        Column("alive_until", BigInteger, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("updated_at", BigInteger, nullable=False),
        PrimaryKeyConstraint("owner", "host_id"),
    )
    Table(
        "tool_requests",
        metadata,
        Column("tool_call_id", Text, primary_key=True),
        Column("owner", Text, nullable=False),
        Column("run_id", Text, nullable=False),
        Column("step_id", Text, nullable=False),
        Column("tool_name", Text, nullable=False),
        Column("audience", Text, nullable=False),
        Column("host_id", Text),
        Column("offline", Text, nullable=False),
        Column("status", Text, nullable=False),
        Column("asked", Integer, nullable=False),
        Column("timeout_ms", BigInteger, nullable=False),
        Column("expires_at", BigInteger, nullable=False),
        Column("dispatch", Integer, nullable=False, server_default="0"),
        Column("holder", Text),
        Column("holder_host", Text),
        Column("lease_until", BigInteger),
        Column("claim_key", Text),
        Column("token_hash", Text),
        Column("old_hashes", Text, nullable=False, server_default="[]"),
        Column("result_digest", Text),
        Column("answered_by", Text),
        Column("news_at", BigInteger),
        Column("woken_at", BigInteger),
        Column("created_at", BigInteger, nullable=False),
        Index("tool_requests_by_run", "run_id"),
        Index(
            "tool_requests_open", "owner", sqlite_where=_UNANSWERED, postgresql_where=_UNANSWERED
        ),
    )
    Table(
        "dead_letters",
        metadata,
        Column("dead_letter_id", Text, primary_key=True),
        Column("owner", Text, nullable=False),
        Column("run_id", Text, nullable=False, unique=True),
        Column("session_id", Text),
        Column("agent_id", Text),
        Column("code", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("step_id", Text, nullable=False),
        Column("input", Text, nullable=False),
        Column("status", Text, nullable=False),
        Column("redriven_as", Text),
        Column("note", Text),
        Column("settled_by", Text),
        Column("settled_at", BigInteger),
        Column("created_at", BigInteger, nullable=False),
        Index("dead_letters_by_owner", "owner", "created_at", "dead_letter_id"),
    )
