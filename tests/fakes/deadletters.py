"""Dead letters in memory."""

from collections.abc import Sequence

from domain.acceptance import Page
from domain.deadletter import DeadLetter, DeadLetterStatus
from domain.errors import ConflictError, NotFoundError
from domain.run import Run


class FakeLetters:
    """Dead letters in memory."""

    def __init__(self) -> None:
        self.letters: dict[str, DeadLetter] = {}

    def put(self, run: Run) -> DeadLetter:
        """List a run."""
        letter = DeadLetter(
            dead_letter_id=f"dl_{run.run_id.removeprefix('run_')}",
            owner=run.owner,
            run_id=run.run_id,
            session_id=run.session_id,
            agent_id=run.agent_id,
            code="poison_step",
            reason="it kills its worker",
            step_id="tool-1-0",
            input={"role": "user", "content": "what was asked"},
            status=DeadLetterStatus.WAITING,
            redriven_as=None,
            note=None,
            settled_by=None,
            settled_at=None,
            created_at=run.created_at,
        )
        self.letters[letter.dead_letter_id] = letter
        return letter

    async def get_letter(self, owner: str | None, dead_letter_id: str) -> DeadLetter:
        letter = self.letters.get(dead_letter_id)
        if letter is None or owner not in {None, letter.owner}:
            raise NotFoundError(f"there is no dead letter {dead_letter_id}")
        return letter

    async def list_letters(
        self, owner: str | None, status: str | None, page: Page
    ) -> tuple[Sequence[DeadLetter], str | None]:
        found = [
            one
            for one in self.letters.values()
            if owner in {None, one.owner} and status in {None, one.status}
        ]
        return found[: page.limit], None

    async def discard(
        self, owner: str | None, dead_letter_id: str, by: str, note: str | None
    ) -> DeadLetter:
        letter = await self.get_letter(owner, dead_letter_id)
        if letter.status is DeadLetterStatus.REDRIVEN:
            raise ConflictError("it was re-driven")
        changes = {"status": DeadLetterStatus.DISCARDED, "settled_by": by, "note": note}
        self.letters[dead_letter_id] = letter.model_copy(update=changes)
        return self.letters[dead_letter_id]
