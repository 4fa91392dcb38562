"""The tables of what happens by itself: schedules, their firings, and the event push.

A part of `tables.py`, which is where tables are looked for.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, Table, Text, text

_ALIVE = text("deleted = false")
_GOING = text("ended_at IS NULL")
_UNDONE = text("done = false")


def add_to(metadata: MetaData) -> None:
    """Add the tables of this module."""
    Table(
        "schedules",
        metadata,
        Column("uid", Text, primary_key=True),
        Column("owner", Text, nullable=False),
        Column("schedule_id", Text, nullable=False),
        Column("run", Text, nullable=False),
        Column("ask", Text, nullable=False),
        Column("spec", Text, nullable=False),
        Column("policy", Text, nullable=False),
        Column("paused", Boolean, nullable=False),
        Column("note", Text, nullable=False, server_default=""),
        Column("revision", BigInteger, nullable=False, server_default="1"),
        Column("applied_revision", BigInteger, nullable=False, server_default="0"),
        Column("deleted", Boolean, nullable=False, server_default=text("false")),
        Column("created_by", Text, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("updated_at", BigInteger, nullable=False),
        Index(
            "schedules_by_id",
            "owner",
            "schedule_id",
            unique=True,
            sqlite_where=_ALIVE,
            postgresql_where=_ALIVE,
        ),
        Index("schedules_by_owner", "owner", "created_at", "schedule_id"),
    )

    Table(
        "firings",
        metadata,
        Column("firing_id", Text, primary_key=True),
        Column("uid", Text, nullable=False),
        Column("owner", Text, nullable=False),
        Column("schedule_id", Text, nullable=False),
        Column("scheduled_at", BigInteger, nullable=False),
        Column("run_id", Text),
        Column("error_code", Text),
        Column("error_message", Text),
        Column("created_at", BigInteger, nullable=False),
        Column("ended_at", BigInteger),
        Index("firings_by_schedule", "uid", "created_at", "firing_id"),
        Index("firings_going", "run_id", sqlite_where=_GOING, postgresql_where=_GOING),
    )

    Table(
        "pushes",
        metadata,
        Column("run_id", Text, primary_key=True),
        Column("session_id", Text),
        Column("created_at", BigInteger, nullable=False),
        Column("pushed_seq", BigInteger, nullable=False),
        Column("done", Boolean, nullable=False),
        Column("failures", Integer, nullable=False),
        Column("next_at", BigInteger, nullable=False),
        Column("error", Text),
        Index("pushes_open", "next_at", sqlite_where=_UNDONE, postgresql_where=_UNDONE),
    )
