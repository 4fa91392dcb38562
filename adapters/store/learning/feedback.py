"""What people said of runs, a row each. It has no place in the log of a run that has ended."""

from collections.abc import Sequence

from adapters.store.database.pages import newest_first
from adapters.store.database.tx import Row, Tx
from domain.acceptance import Page
from domain.learning.feedback import Feedback, FeedbackFilter, FeedbackStatus


def put(tx: Tx, said: Feedback, now: int) -> None:
    """Store one piece of feedback."""
    tx.run(
        "INSERT INTO feedback (feedback_id, owner, run_id, agent_id, score, text, improvement,"
        " by, status, created_at) VALUES (:feedback_id, :owner, :run_id, :agent_id, :score, :text,"
        " :improvement, :by, :status, :now)",
        feedback_id=said.feedback_id,
        owner=said.owner,
        run_id=said.run_id,
        agent_id=said.agent_id,
        score=said.score,
        text=said.text,
        improvement=said.improvement,
        by=said.by,
        status=said.status.value,
        now=now,
    )


def list_feedback(
    tx: Tx, owner: str | None, which: FeedbackFilter, page: Page
) -> tuple[Sequence[Feedback], str | None]:
    """Return feedback, newest first, and the cursor of the next page or None.

    Raises:
        InvalidRequestError: the cursor is malformed.
    """
    conditions: dict[str, object] = {
        "owner": owner,
        "run_id": which.run_id,
        "agent_id": which.agent_id,
        "status": which.status,
    }
    rows, cursor = newest_first(tx, "feedback", conditions, page, "feedback_id")
    return [_feedback_from(row) for row in rows], cursor


def _feedback_from(row: Row) -> Feedback:
    return Feedback(
        feedback_id=row["feedback_id"],
        owner=row["owner"],
        run_id=row["run_id"],
        score=row["score"],
        by=row["by"],
        agent_id=row["agent_id"],
        text=row["text"],
        improvement=row["improvement"],
        status=FeedbackStatus(row["status"]),
        created_at=row["created_at"],
    )
