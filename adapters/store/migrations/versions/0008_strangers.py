"""Where text of strangers stands in a transcript, and which policy let a client's call out.

There is no way back from a revision: restore the backup that was taken before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_EXTERNAL = 'spec LIKE \'%"agent_kind":"http"%\''
_BACKFILL = (
    "UPDATE tool_calls SET untrusted = true WHERE EXISTS (SELECT 1 FROM runs WHERE"
    " runs.parent_run_id = tool_calls.run_id AND runs.parent_step = tool_calls.step_id"
    f" AND {_EXTERNAL})",
    "UPDATE messages SET untrusted = true WHERE role = 'tool' AND EXISTS (SELECT 1 FROM tool_calls"
    " WHERE tool_calls.run_id = messages.run_id AND tool_calls.untrusted = true"
    " AND tool_calls.provider_call_id = messages.tool_call_id AND tool_calls.status <> 'rejected')",
    "UPDATE messages SET untrusted = true WHERE role = 'assistant'"
    f" AND run_id IN (SELECT run_id FROM runs WHERE {_EXTERNAL})",
    "UPDATE messages SET untrusted = true WHERE role = 'user'"
    " AND run_id IN (SELECT run_id FROM runs WHERE untrusted = true)",
    "UPDATE tool_requests SET agent_id = (SELECT runs.agent_id FROM runs"
    " WHERE runs.run_id = tool_requests.run_id) WHERE status = 'waiting'",
    "UPDATE approvals SET untrusted = true WHERE status = 'pending'"
    " AND why = 'untrusted text is in the turn and the tool is unsafe'",
)
"""What was said before there was a mark for it is still in the transcripts; what waits waits on."""


def upgrade() -> None:
    no = sa.text("false")
    op.add_column("messages", sa.Column("untrusted", sa.Boolean, nullable=False, server_default=no))
    op.add_column(
        "approvals", sa.Column("untrusted", sa.Boolean, nullable=False, server_default=no)
    )
    op.add_column("tool_requests", sa.Column("agent_id", sa.Text))
    op.add_column(
        "tool_requests", sa.Column("policy_print", sa.Text, nullable=False, server_default="")
    )
    for statement in _BACKFILL:
        op.execute(statement)
    marked = sa.text("untrusted = true")
    op.create_index(
        "messages_untrusted",
        "messages",
        ["owner", "session_id"],
        sqlite_where=marked,
        postgresql_where=marked,
    )
