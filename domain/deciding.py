"""Deciding: an answer goes on record, then its run is woken. Knows ports only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from domain.acceptance import IdempotencyKey, Page
from domain.approval import Answer, Approval
from domain.handover import HandOver, Spawn
from domain.ports import RunGateway


@dataclass(frozen=True, slots=True)
class ApprovalFilter:
    """Which questions a list shows; None does not filter."""

    status: str | None = None
    run_id: str | None = None


class ApprovalBook(Protocol):
    """Approvals on record. `owner` None means any owner; a row of another is not found."""

    async def get_approval(self, owner: str | None, approval_id: str) -> Approval:
        """Return one approval.

        Raises:
            NotFoundError: no such approval for this owner.
        """
        ...

    async def list_approvals(
        self, owner: str | None, which: ApprovalFilter, page: Page
    ) -> tuple[Sequence[Approval], str | None]:
        """Return approvals, newest first, and the cursor of the next page or None."""
        ...

    async def pending(self, owner: str | None) -> Mapping[str, int]:
        """Return the revision of every pending approval by its id, oldest first."""
        ...

    async def recent(self, owner: str | None, within_ms: int) -> Mapping[str, int]:
        """Return the revision of every approval that was asked for in the last `within_ms`."""
        ...

    async def decide(self, owner: str | None, approval_id: str, said: Answer) -> Approval:
        """Put an answer on record, the first one only, and return the approval.

        Raises:
            NotFoundError: no such approval for this owner.
            ApprovalDecidedError: it was decided before; says by whom.
            ApprovalExpiredError: its time is over.
            RunTerminalError: its run has ended or is being cancelled.
            ConflictError: the answer is about other arguments than those asked about, or the
                policy blocks what would run.
            InvalidRequestError: the edited arguments do not fit the tool, or nothing can be
                remembered because untrusted text is in the turn.
        """
        ...

    async def decide_once(
        self, owner: str, approval_id: str, said: Answer, key: IdempotencyKey
    ) -> tuple[Approval, bool]:
        """Decide; or return the approval that this very request decided before, and True.

        A refused answer leaves the key unused.

        Raises:
            IdempotencyKeyConflictError: the key was used for another answer.
            and as `decide`.
        """
        ...

    async def waiting_on(self, budget_id: str) -> Sequence[str]:
        """Return the runs that wait until a person says something about a budget."""
        ...

    async def outdated(self) -> Sequence[str]:
        """Return the pending approvals that their agent's policy of now has not ruled on."""
        ...

    async def revisit(self, approval_id: str) -> Approval | None:
        """Rule again on a pending approval; return it when that settled the question."""
        ...


class Deciding:
    """The one way in for answers, whoever brings them.

    `spawn` wakes the run behind the answer; without it the caller waits.
    """

    def __init__(self, book: ApprovalBook, gateway: RunGateway, spawn: Spawn | None = None) -> None:
        self.book = book
        self._gateway = gateway
        self._hand_over = HandOver(spawn)

    async def decide(self, owner: str | None, approval_id: str, said: Answer) -> Approval:
        """Put an answer on record and wake the run.

        Raises:
            as `ApprovalBook.decide`; nothing changed then.
        """
        approval = await self.book.decide(owner, approval_id, said)
        await self._follow(approval, said)
        return approval

    async def decide_once(
        self, owner: str, approval_id: str, said: Answer, key: IdempotencyKey
    ) -> tuple[Approval, bool]:
        """Decide as `decide` does; a repeat with the same key is told so and wakes nobody.

        Raises:
            as `ApprovalBook.decide_once`; nothing changed then.
        """
        approval, replayed = await self.book.decide_once(owner, approval_id, said, key)
        if not replayed:
            await self._follow(approval, said)
        return approval, replayed

    async def _follow(self, approval: Approval, said: Answer) -> None:
        """Wake everybody for whom an answer that counts changed something."""
        await self._wake(approval.run_id)
        if said.approved and approval.budget_id is not None:
            # What was raised may cover the calls of others too.
            await self._wake(*await self.book.waiting_on(approval.budget_id))
        if said.approved and said.remember != "none":
            await self.revisit()

    async def revisit(self) -> int:
        """Rule again where a policy was changed or an approval remembered; return how many fell."""
        settled = 0
        for approval_id in await self.book.outdated():
            approval = await self.book.revisit(approval_id)
            if approval is not None:
                settled += 1
                await self._wake(approval.run_id)
        return settled

    async def _wake(self, *run_ids: str) -> None:
        for run_id in run_ids:
            await self._hand_over(run_id, "wake", self._gateway.wake(run_id))
