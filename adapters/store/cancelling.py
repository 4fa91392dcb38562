"""Asking a run to stop: a fact on its row, which every later opening of a step respects."""

from adapters.store.reads import get_run
from adapters.store.tx import Tx
from domain.run import Run


def ask_cancel(tx: Tx, owner: str | None, run_id: str, reason: str | None, now: int) -> Run:
    """Record that a run is to stop, the first reason counts; one that has ended is left alone.

    Raises:
        NotFoundError: no such run for this owner.
    """
    run = get_run(tx, owner, run_id, lock=True)
    if run.is_terminal or run.cancel_asked:
        return run
    tx.run(
        "UPDATE runs SET cancel_asked_at = :now, cancel_reason = :reason WHERE run_id = :id",
        now=now,
        reason=reason,
        id=run_id,
    )
    return run.model_copy(update={"cancel_asked": True})
