"""Approvals in memory."""

from collections.abc import Sequence
from typing import Any

from domain.acceptance import IdempotencyKey, Page
from domain.approval import (
    BY_POLICY,
    Answer,
    Approval,
    ApprovalStatus,
    Remember,
    Risk,
    digest_of_call,
    summary_of,
)
from domain.deciding import ApprovalFilter
from domain.errors import (
    ApprovalDecidedError,
    ApprovalExpiredError,
    ConflictError,
    IdempotencyKeyConflictError,
    InvalidRequestError,
    NotFoundError,
)
from domain.policy import OnTimeout
from domain.refusal import FirstAnswer
from domain.tool import ToolCall
from tests.fakes.clock import FakeClock
from tests.fakes.listing import paged, sees


class FakeApprovals:
    """Approvals in memory."""

    def __init__(self, clock: FakeClock) -> None:
        self.rows: dict[str, Approval] = {}
        self.old: list[str] = []
        self.keys: dict[tuple[str, str], str] = {}
        self._clock = clock

    def ask(self, call: ToolCall, approval_id: str = "ap_01k9", **fields: Any) -> Approval:
        """Put a question about a call."""
        values: dict[str, Any] = {
            "session_id": None,
            "agent_id": "assistant",
            "args_summary": summary_of(call.tool_name, call.args),
            "args_digest": digest_of_call(call.tool_name, call.args, call.tool_call_id),
            "risk": Risk.HIGH,
            "why": "the default is ask",
            "asker": "agent assistant",
            "asks": None,
            "on_timeout": OnTimeout.REJECT,
            "status": ApprovalStatus.PENDING,
            "expires_at": None,
        }
        shared = ("owner", "run_id", "tool_call_id", "tool_name", "args", "created_at")
        values |= {name: getattr(call, name) for name in shared} | fields
        self.rows[approval_id] = Approval(approval_id=approval_id, **values)
        return self.rows[approval_id]

    async def get_approval(self, owner: str | None, approval_id: str) -> Approval:
        found = self.rows.get(approval_id)
        if found is None or not sees(owner, found.owner):
            raise NotFoundError(f"there is no approval {approval_id}")
        return found

    async def list_approvals(
        self, owner: str | None, which: ApprovalFilter, page: Page
    ) -> tuple[Sequence[Approval], str | None]:
        found = [
            one
            for one in reversed(self.rows.values())
            if sees(owner, one.owner)
            and which.status in {None, one.status}
            and which.run_id in {None, one.run_id}
        ]
        return paged(found, page)

    async def pending(self, owner: str | None) -> dict[str, int]:
        return {
            one.approval_id: one.revision
            for one in self.rows.values()
            if sees(owner, one.owner) and one.status is ApprovalStatus.PENDING
        }

    async def recent(self, owner: str | None, within_ms: int) -> dict[str, int]:
        since = self._clock.now_ms() - within_ms
        return {
            one.approval_id: one.revision
            for one in self.rows.values()
            if sees(owner, one.owner) and one.created_at >= since
        }

    async def decide(self, owner: str | None, approval_id: str, said: Answer) -> Approval:
        found = await self.get_approval(owner, approval_id)
        if found.status is ApprovalStatus.EXPIRED:
            raise ApprovalExpiredError(f"approval {approval_id} has expired")
        if found.status is not ApprovalStatus.PENDING:
            first = FirstAnswer(found.status, found.decided_by, found.decided_at)
            raise ApprovalDecidedError(approval_id, first)
        if not said.approved and (said.edited_args or said.remember is not Remember.NONE):
            raise InvalidRequestError("edited_args and remember go with an approval only")
        if said.args_digest not in {None, found.args_digest}:
            raise ConflictError("it is about other arguments")
        changes = {
            "status": ApprovalStatus.APPROVED if said.approved else ApprovalStatus.REJECTED,
            "decided_by": said.by,
            "decided_at": self._clock.now_ms(),
            "reason": said.reason,
            "edited_args": said.edited_args,
            "remember": said.remember,
            "revision": found.revision + 1,
        }
        self.rows[approval_id] = found.model_copy(update=changes)
        return self.rows[approval_id]

    async def decide_once(
        self, owner: str, approval_id: str, said: Answer, key: IdempotencyKey
    ) -> tuple[Approval, bool]:
        known = self.keys.get((key.scope, key.key))
        if known not in {None, key.fingerprint}:
            raise IdempotencyKeyConflictError(f"{key.key} was used with another body")
        if known is not None:
            return await self.get_approval(owner, approval_id), True
        decided = await self.decide(owner, approval_id, said)
        self.keys[key.scope, key.key] = key.fingerprint
        return decided, False

    async def waiting_on(self, budget_id: str) -> Sequence[str]:
        return [
            one.run_id
            for one in self.rows.values()
            if one.budget_id == budget_id and one.status is ApprovalStatus.PENDING
        ]

    async def outdated(self) -> Sequence[str]:
        return self.old

    async def revisit(self, approval_id: str) -> Approval | None:
        self.old.remove(approval_id)
        return await self.decide(None, approval_id, Answer(approved=True, by=BY_POLICY))
