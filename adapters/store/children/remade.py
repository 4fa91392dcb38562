"""Calls that a retry or fork makes again, and that had a child before: it must not begin anew.

A copied call keeps its key, so whoever has the same key along the line of forks is the same call.
"""

from dataclasses import replace

from adapters.store.database.tx import Row, Tx
from domain.acceptance import ForkOf, NewRun
from domain.run import RunSpec

_EARLIER = (
    "WITH RECURSIVE earlier(run_id, forked_from) AS ("
    " SELECT run_id, forked_from FROM runs WHERE run_id = :run UNION ALL"
    " SELECT r.run_id, r.forked_from FROM runs r JOIN earlier e ON r.run_id = e.forked_from)"
    " SELECT c.* FROM earlier e JOIN tool_calls t ON t.run_id = e.run_id"
    " JOIN runs c ON c.parent_run_id = t.run_id AND c.parent_step = t.step_id"
    " WHERE t.idempotency_key = :key ORDER BY c.created_at DESC, c.run_id DESC LIMIT 1"
)


def earlier_child(tx: Tx, run_id: str, call: Row) -> Row | None:
    """Return the last run that was made for a call, by `run_id` or a run that it goes on from."""
    return tx.one(_EARLIER, run=run_id, key=call["idempotency_key"])


def retry_of(earlier: Row, new: NewRun) -> NewRun:
    """Return a child that goes on from an earlier one, with the snapshot that one began with."""
    spec = RunSpec.model_validate_json(earlier["spec"])
    return replace(
        new,
        agent_id=earlier["agent_id"],
        spec=spec.model_copy(update={"limits": new.spec.limits}),
        fork=ForkOf(earlier["run_id"], from_turn=None, by=f"run {new.parent_run_id}"),
    )
