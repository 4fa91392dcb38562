"""What somebody said of a call that waits, and its run has not looked at yet.

The one list of it: the reconciler asks whether a run has any, a run asks which calls it is about.
"""

from adapters.store.database.tx import Tx

_KINDS = (
    "SELECT t.step_id FROM tool_calls t WHERE t.run_id = {run} AND t.resolution IS NOT NULL"
    " AND t.woken_at IS NULL",
    "SELECT t.step_id FROM approvals a JOIN tool_calls t ON t.tool_call_id = a.tool_call_id"
    " WHERE a.run_id = {run} AND a.status <> 'pending' AND a.woken_at IS NULL",
    "SELECT t.step_id FROM runs c JOIN tool_calls t ON t.run_id = c.parent_run_id"
    " AND t.step_id = c.parent_step WHERE c.parent_run_id = {run}"
    " AND t.status = 'waiting_child' AND c.ended_at IS NOT NULL",
    "SELECT t.step_id FROM tool_requests q JOIN tool_calls t ON t.tool_call_id = q.tool_call_id"
    " WHERE q.run_id = {run} AND q.news_at IS NOT NULL AND q.woken_at IS NULL",
    "SELECT a.tool_call_id AS step_id FROM approvals a WHERE a.run_id = {run} AND a.kind = 'budget'"
    " AND a.status <> 'pending' AND a.woken_at IS NULL",
    "SELECT a.tool_call_id AS step_id FROM approvals a LEFT JOIN budgets b"
    " ON b.budget_id = a.budget_id WHERE a.run_id = {run} AND a.kind = 'budget'"
    " AND a.status = 'pending' AND (b.updated_at IS NULL OR b.updated_at > a.ruled_at)",
)
"""Resolved, decided, its child ended, its client answered; its budget was decided, or changed."""

ANY_OF_R = " OR ".join(f"EXISTS ({kind.format(run='r.run_id')})" for kind in _KINDS)
"""A condition: the run of the row `r` has news."""
_STEPS = " UNION ".join(kind.format(run=":run") for kind in _KINDS)


def steps_with_news(tx: Tx, run_id: str) -> list[str]:
    """Return the steps whose call is to be looked at again."""
    return sorted(row["step_id"] for row in tx.all(_STEPS, run=run_id))
