"""Asking a run to stop, with all below it: a fact on each row, which every later step respects."""

from adapters.store.children.family import mark_stopped
from adapters.store.database.tx import Tx
from adapters.store.runs.reads import get_run
from domain.run import Run


def ask_cancel(tx: Tx, owner: str | None, run_id: str, reason: str | None, now: int) -> Run:
    """Record that a run and all below it are to stop; the first reason counts.

    What has ended is left alone, also above runs that go on.

    Raises:
        NotFoundError: no such run for this owner.
    """
    run = get_run(tx, owner, run_id, lock=True)
    mark_stopped(tx, run_id, reason or f"run {run_id} was cancelled", now)
    if run.is_terminal or run.cancel_asked:
        return run
    tx.run(
        "UPDATE runs SET cancel_asked_at = :now, cancel_reason = :reason WHERE run_id = :id",
        now=now,
        reason=reason,
        id=run_id,
    )
    return run.model_copy(update={"cancel_asked": True})
