"""Questions that wait, as they come and go: for whoever answers them. Looks at the store."""

import asyncio
from collections.abc import AsyncGenerator

from pydantic_core import to_json

from api.views import approval_view
from domain.approval import Approval, ApprovalStatus
from domain.deciding import ApprovalBook
from domain.event import EventType

_EVENT = {
    ApprovalStatus.PENDING: EventType.APPROVAL_REQUIRED,
    ApprovalStatus.APPROVED: EventType.APPROVAL_DECISION,
    ApprovalStatus.REJECTED: EventType.APPROVAL_DECISION,
    ApprovalStatus.EXPIRED: EventType.APPROVAL_EXPIRED,
}


async def pending_frames(
    book: ApprovalBook, owner: str, look_seconds: float, run_id: str | None = None
) -> AsyncGenerator[bytes, None]:
    """Yield each question that waits, again when it is passed on, and once when it is settled.

    Of one run alone if `run_id` says so.

    A new stream begins with all that wait, so nothing has to be resumed.
    """
    shown: dict[str, int] = {}
    while True:
        waiting = await book.pending(owner)
        for approval_id in [*shown.keys() - waiting.keys(), *waiting]:
            if shown.get(approval_id) == waiting.get(approval_id):
                continue
            approval = await book.get_approval(owner, approval_id)
            shown[approval_id] = approval.revision
            if approval.status is not ApprovalStatus.PENDING:
                del shown[approval_id]
            if run_id in (None, approval.run_id):
                yield _frame(approval)
        await asyncio.sleep(look_seconds)


def _frame(approval: Approval) -> bytes:
    name = _EVENT[approval.status].value.encode()
    return b"event: " + name + b"\ndata: " + to_json(approval_view(approval)) + b"\n\n"
