"""What people say of runs, as it is asked, kept and listed."""

from dataclasses import dataclass
from enum import StrEnum


class FeedbackStatus(StrEnum):
    """What became of a piece of feedback."""

    PENDING = "pending"
    """It asks for an improvement that nobody has looked at yet."""
    LEARNED = "learned"
    """What it says is in what choices go by."""
    KEPT = "kept"
    """It is on record and taught nothing: its author rated this run before, or it has no agent."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """One piece of feedback. `score` is -1 (bad) to 1 (good); `by` is the credential behind it."""

    feedback_id: str
    owner: str
    run_id: str
    score: float
    by: str
    agent_id: str | None = None
    text: str | None = None
    improvement: str | None = None
    """What should be done otherwise from now on."""
    status: FeedbackStatus = FeedbackStatus.PENDING
    created_at: int = 0


@dataclass(frozen=True, slots=True)
class FeedbackFilter:
    """Which feedback a list shows; None does not filter."""

    run_id: str | None = None
    agent_id: str | None = None
    status: str | None = None
