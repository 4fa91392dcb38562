"""Dead letters: runs that a step kept failing for, until a person has looked at them."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from domain.acceptance import Page
from domain.errors import AgentUnavailableError, InternalError, ModelError

DEAD_LETTER_CODES = frozenset(
    {
        *("poison_step", InternalError.code, AgentUnavailableError.code, ModelError.code),
        *(error.code for error in ModelError.__subclasses__()),
    }
)
"""Ends of a run whose step was tried again and again: it killed its workers, failed in a way that
nobody foresaw, or its providers, or its agent, used up all the attempts they have."""


class DeadLetterStatus(StrEnum):
    """What became of it."""

    WAITING = "waiting"
    REDRIVEN = "redriven"
    """A new run was made of it."""
    DISCARDED = "discarded"


class DeadLetter(BaseModel):
    """A run that was given up on. Times are milliseconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    dead_letter_id: str
    owner: str
    run_id: str
    session_id: str | None
    agent_id: str | None
    code: str
    reason: str
    step_id: str
    input: dict[str, Any]
    """What was asked, as the run has it."""
    status: DeadLetterStatus
    redriven_as: str | None
    note: str | None
    settled_by: str | None
    settled_at: int | None
    created_at: int


class DeadLetterBook(Protocol):
    """Dead letters on record. `owner` None means any owner; another's is not found."""

    async def get_letter(self, owner: str | None, dead_letter_id: str) -> DeadLetter:
        """Return one dead letter.

        Raises:
            NotFoundError: no such dead letter for this owner.
        """
        ...

    async def list_letters(
        self, owner: str | None, status: str | None, page: Page
    ) -> tuple[Sequence[DeadLetter], str | None]:
        """Return dead letters, newest first, and the cursor of the next page or None."""
        ...

    async def discard(
        self, owner: str | None, dead_letter_id: str, by: str, note: str | None
    ) -> DeadLetter:
        """Put on record that nothing will be done about it; again by anybody changes nothing.

        Raises:
            NotFoundError: no such dead letter for this owner.
            ConflictError: it was re-driven.
        """
        ...
