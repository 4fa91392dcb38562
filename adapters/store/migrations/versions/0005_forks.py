"""Forks, start times and deadlines of runs, and the list of dead letters.

There is no way back from a revision: restore the backup that was taken before.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_LOST = (
    "SELECT r.run_id, r.owner, r.session_id, r.agent_id, r.input, r.error, r.ended_at, e.envelope"
    " FROM events e JOIN runs r ON r.run_id = e.run_id WHERE e.type = 'run_dead_lettered'"
)


def upgrade() -> None:
    op.add_column("runs", sa.Column("forked_from", sa.Text))
    op.add_column("runs", sa.Column("forked_turn", sa.Integer))
    op.add_column("runs", sa.Column("start_at", sa.BigInteger))
    op.add_column("runs", sa.Column("begun_at", sa.BigInteger))
    op.add_column("runs", sa.Column("deadline_at", sa.BigInteger))
    forks = sa.text("forked_from IS NOT NULL")
    op.create_index(
        "runs_by_fork", "runs", ["forked_from"], sqlite_where=forks, postgresql_where=forks
    )

    letters = op.create_table(
        "dead_letters",
        sa.Column("dead_letter_id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False, unique=True),
        sa.Column("session_id", sa.Text),
        sa.Column("agent_id", sa.Text),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("step_id", sa.Text, nullable=False),
        sa.Column("input", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("redriven_as", sa.Text),
        sa.Column("note", sa.Text),
        sa.Column("settled_by", sa.Text),
        sa.Column("settled_at", sa.BigInteger),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index(
        "dead_letters_by_owner", "dead_letters", ["owner", "created_at", "dead_letter_id"]
    )
    # Runs that ended this way before there was a list.
    for lost in op.get_bind().execute(sa.text(_LOST)).mappings().all():
        op.execute(letters.insert().values(**_letter_of(dict(lost))))


def _letter_of(lost: dict[str, object]) -> dict[str, object]:
    said = json.loads(str(lost["envelope"]))["data"]
    error = json.loads(str(lost["error"])) if lost["error"] else {}
    run_id = str(lost["run_id"])
    kept = {name: lost[name] for name in ("owner", "run_id", "session_id", "agent_id", "input")}
    return kept | {
        "dead_letter_id": f"dl_{run_id.removeprefix('run_')}",
        "code": said["code"] or "internal_error",
        "reason": error.get("message", ""),
        "step_id": said["step"],
        "status": "waiting",
        "created_at": lost["ended_at"],
    }
