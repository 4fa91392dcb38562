"""The tables, once, for SQLite and PostgreSQL. Times are milliseconds, money is picodollars.

JSON is kept as text: it is written once and sent as it stands. Every table that a caller can reach
by id has an `owner`, and every such query filters on it.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from adapters.store.schema import clock, learning, money, waiting

metadata = MetaData()

_FORKS = text("forked_from IS NOT NULL")
_OPEN_RUNS = text("state IN ('CREATED', 'RUNNING')")
_ENDED = text("ended_at IS NOT NULL")
_UNTRUSTED = text("untrusted = true")
_HAS_GOAL = text("goal_id IS NOT NULL")

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("session_id", Text),
    Column("agent_id", Text),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("waiting_on", Text),
    Column("spec", Text, nullable=False),
    Column("input", Text, nullable=False),
    Column("output", Text),
    Column("error", Text),
    Column("input_tokens", BigInteger, nullable=False, server_default="0"),
    Column("output_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cached_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cost_pico", BigInteger, nullable=False, server_default="0"),
    Column("unpriced_calls", Integer, nullable=False, server_default="0"),
    Column("model_calls", Integer, nullable=False, server_default="0"),
    Column("tool_calls", Integer, nullable=False, server_default="0"),
    Column("turns", Integer, nullable=False, server_default="0"),
    Column("goal_id", Text),
    Column("priority", Integer, nullable=False, server_default="3"),
    Column("parent_run_id", Text),
    Column("root_run_id", Text, nullable=False),
    Column("depth", Integer, nullable=False, server_default="0"),
    Column("metadata", Text, nullable=False, server_default="{}"),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("last_seq", BigInteger, nullable=False, server_default="0"),
    Column("queue_seq", BigInteger),
    Column("cancel_asked_at", BigInteger),
    Column("cancel_reason", Text),
    Column("dispatched_at", BigInteger),
    Column("woken_at", BigInteger),
    Column("steers", Integer, nullable=False, server_default="0"),
    Column("steers_seen", Integer, nullable=False, server_default="0"),
    Column("forked_from", Text),
    Column("forked_turn", Integer),
    Column("start_at", BigInteger),
    Column("begun_at", BigInteger),
    Column("deadline_at", BigInteger),
    Column("parent_step", Text),
    Column("spawned", Integer, nullable=False, server_default="0"),
    Column("untrusted", Boolean, nullable=False, server_default=text("false")),
    Column("key_id", Text),
    Column("reserved_pico", BigInteger, nullable=False, server_default="0"),
    Column("reserved_tokens", BigInteger, nullable=False, server_default="0"),
    Index("runs_by_owner", "owner", "created_at", "run_id"),
    Index("runs_open", "state", sqlite_where=_OPEN_RUNS, postgresql_where=_OPEN_RUNS),
    Index(
        "runs_by_end", "ended_at", "owner", "state", sqlite_where=_ENDED, postgresql_where=_ENDED
    ),
    Index("runs_by_session", "owner", "session_id", "queue_seq"),
    Index("runs_by_parent", "parent_run_id"),
    Index("runs_by_fork", "forked_from", sqlite_where=_FORKS, postgresql_where=_FORKS),
    Index("runs_by_root", "root_run_id", "depth"),
    Index("runs_by_creation", "created_at", "run_id"),
    Index("runs_by_goal", "goal_id", "state", sqlite_where=_HAS_GOAL, postgresql_where=_HAS_GOAL),
)

run_executions = Table(
    "run_executions",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("temporal_run_id", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    PrimaryKeyConstraint("run_id", "temporal_run_id"),
)

events = Table(
    "events",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("event_key", Text, nullable=False),
    Column("ts", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("envelope", Text, nullable=False),
    PrimaryKeyConstraint("run_id", "seq"),
    UniqueConstraint("run_id", "event_key"),
    sqlite_with_rowid=False,
)

steps = Table(
    "steps",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("step_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("temporal_run_id", Text, nullable=False),
    Column("scheduled_at_us", BigInteger, nullable=False),
    Column("task_token", LargeBinary, nullable=False),
    Column("worker_id", Text, nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("abandoned", Integer, nullable=False, server_default="0"),
    Column("streamed_chars", BigInteger, nullable=False, server_default="0"),
    Column("furthest_chars", BigInteger, nullable=False, server_default="0"),
    Column("has_deltas", Boolean, nullable=False, server_default=text("false")),
    Column("model", Text),
    Column("input_rate", BigInteger),
    Column("output_rate", BigInteger),
    Column("input_estimate", BigInteger, nullable=False, server_default="0"),
    Column("opened_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger),
    Column("result", Text),
    Column("output_estimate", BigInteger, nullable=False, server_default="0"),
    Column("granted", Text),
    PrimaryKeyConstraint("run_id", "step_id"),
)
Index(
    "steps_open",
    steps.c.worker_id,
    sqlite_where=text("state = 'open'"),
    postgresql_where=text("state = 'open'"),
)

tool_calls = Table(
    "tool_calls",
    metadata,
    Column("tool_call_id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("step_id", Text, nullable=False),
    Column("tool_name", Text, nullable=False),
    Column("args", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("effect", Text, nullable=False),
    Column("provider_call_id", Text, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("result", Text),
    Column("error", Text),
    Column("resolution", Text),
    Column("resolved_by", Text),
    Column("unknown_count", Integer, nullable=False, server_default="0"),
    Column("woken_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("untrusted", Boolean, nullable=False, server_default=text("false")),
    UniqueConstraint("run_id", "step_id"),
    Index("tool_calls_by_status", "status"),
    Index("tool_calls_by_owner", "owner", "created_at", "tool_call_id"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("owner", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    Column("agent_id", Text),
    Column("on_busy", Text, nullable=False),
    Column("active_run_id", Text),
    Column("message_count", BigInteger, nullable=False, server_default="0"),
    Column("token_count", BigInteger, nullable=False, server_default="0"),
    Column("last_message_seq", BigInteger, nullable=False, server_default="0"),
    Column("last_queue_seq", BigInteger, nullable=False, server_default="0"),
    Column("metadata", Text, nullable=False, server_default="{}"),
    Column("created_at", BigInteger, nullable=False),
    Column("tier", Text),
    Column("tier_at", BigInteger),
    PrimaryKeyConstraint("owner", "session_id"),
    Index("sessions_by_owner", "owner", "created_at", "session_id"),
)

messages = Table(
    "messages",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    Column("run_id", Text),
    Column("seq", BigInteger),
    Column("role", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("tool_calls", Text),
    Column("tool_call_id", Text),
    Column("agent_id", Text),
    Column("tokens", BigInteger, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("arrival", BigInteger),
    Column("partial", Boolean, nullable=False, server_default=text("false")),
    Column("untrusted", Boolean, nullable=False, server_default=text("false")),
    Index("messages_in_order", "owner", "session_id", "seq"),
    Index("messages_by_run", "run_id"),
    Index(
        "messages_untrusted",
        "owner",
        "session_id",
        sqlite_where=_UNTRUSTED,
        postgresql_where=_UNTRUSTED,
    ),
)

agents = Table(
    "agents",
    metadata,
    Column("owner", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("owner", "agent_id"),
)

usage = Table(
    "usage",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("step_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("owner", Text, nullable=False),
    Column("agent_id", Text),
    Column("session_id", Text),
    Column("model", Text, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("cost_pico", BigInteger),
    Column("estimated", Boolean, nullable=False),
    Column("latency_ms", BigInteger, nullable=False),
    Column("error_code", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("root_run_id", Text),
    Column("goal_id", Text),
    Column("key_id", Text),
    PrimaryKeyConstraint("run_id", "step_id", "attempt"),
    Index("usage_by_owner", "owner", "created_at"),
    Index("usage_by_root", "root_run_id"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("hash", Text, nullable=False, unique=True),
    Column("scopes", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("agent_id", Text),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("owner", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("owner", "scope", "key"),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("process", Text, nullable=False),
    Column("until", BigInteger, nullable=False),
)

waiting.add_to(metadata)
clock.add_to(metadata)
money.add_to(metadata)
learning.add_to(metadata)
