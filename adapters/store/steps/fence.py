"""Who may write: locks the run, and knows which execution and which attempt are current."""

from adapters.store.database.tx import Row, Tx
from domain.errors import NotFoundError, StepRefusedError
from domain.run import TERMINAL
from domain.step import StepState


def lock_run(tx: Tx, run_id: str) -> Row:
    """Return the run's row, locked until the transaction ends.

    Raises:
        NotFoundError: there is no such run.
    """
    row = tx.one(f"SELECT * FROM runs WHERE run_id = :id{tx.lock}", id=run_id)
    if row is None:
        raise NotFoundError(f"there is no run {run_id}")
    return row


def lock_session_and_run(tx: Tx, run_id: str) -> Row:
    """Return the run's row, locked after its session: for whoever adds to the transcript.

    Sessions are locked before runs, everywhere, so that no two transactions wait for each other.

    Raises:
        NotFoundError: there is no such run.
    """
    if tx.lock:
        tx.one(
            "SELECT s.session_id FROM sessions AS s JOIN runs AS r ON r.owner = s.owner"
            f" AND r.session_id = s.session_id WHERE r.run_id = :id{tx.lock} OF s",
            id=run_id,
        )
    return lock_run(tx, run_id)


def read_step(tx: Tx, run_id: str, step_id: str) -> Row | None:
    """Return a step's row, or None when it was never opened."""
    return tx.one(
        "SELECT * FROM steps WHERE run_id = :run AND step_id = :step", run=run_id, step=step_id
    )


def check_open(run: Row) -> None:
    """Refuse work for a run that has ended or is being cancelled.

    Raises:
        StepRefusedError: `run_terminal` or `cancel_asked`.
    """
    run_id = run["run_id"]
    if run["state"] in TERMINAL:
        raise StepRefusedError(f"run {run_id} is {run['state']}", reason="run_terminal")
    if run["cancel_asked_at"] is not None:
        raise StepRefusedError(f"run {run_id} is being cancelled", reason="cancel_asked")


def note_execution(tx: Tx, run_id: str, temporal_run_id: str) -> None:
    """Note this Temporal run, and refuse it when a later one of the same run has been seen.

    Raises:
        StepRefusedError: `superseded`.
    """
    rows = tx.all(
        "SELECT temporal_run_id FROM run_executions WHERE run_id = :id ORDER BY ordinal", id=run_id
    )
    known = [row["temporal_run_id"] for row in rows]
    if temporal_run_id not in known:
        tx.run(
            "INSERT INTO run_executions (run_id, temporal_run_id, ordinal)"
            " VALUES (:id, :temporal, :ordinal) ON CONFLICT DO NOTHING",
            id=run_id,
            temporal=temporal_run_id,
            ordinal=len(known) + 1,
        )
    elif known[-1] != temporal_run_id:
        raise StepRefusedError(
            f"a later execution of run {run_id} took over from {temporal_run_id}",
            reason="superseded",
        )


def check_attempt(tx: Tx, run: Row, step_id: str, attempt: int) -> Row:
    """Return the step's row if `attempt` may still write to it.

    Raises:
        StepRefusedError: the run has ended, or another attempt owns the step.
    """
    run_id = run["run_id"]
    if run["state"] in TERMINAL:
        raise StepRefusedError(f"run {run_id} is {run['state']}", reason="run_terminal")
    step = read_step(tx, run_id, step_id)
    if step is None or step["attempt"] != attempt or step["state"] != StepState.OPEN:
        raise StepRefusedError(
            f"attempt {attempt} of step {step_id} in run {run_id} is not the current one",
            reason="superseded",
        )
    return step
