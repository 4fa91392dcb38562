"""Questions that wait, as they come and go: for whoever answers them. Looks at the store."""

import asyncio
from collections.abc import AsyncGenerator

from pydantic_core import to_json

from api.views import approval_view
from domain.approval import Approval, ApprovalStatus
from domain.deciding import ApprovalBook
from domain.event import EventType

_SLACK_MS = 10_000
"""How long a question may take from its time to its commit, and how far clocks may differ."""
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

    Of one run alone if `run_id` says so. One that came and was settled between two looks is told
    as it ended.

    A new stream begins with all that wait, so nothing has to be resumed.
    """
    news = _News(book, owner)
    while True:
        for approval_id in await news.look():
            approval = await book.get_approval(owner, approval_id)
            news.note(approval)
            if run_id in (None, approval.run_id):
                yield _frame(approval)
        await asyncio.sleep(look_seconds)


class _News:
    """What a follower was told of, and what has changed since."""

    def __init__(self, book: ApprovalBook, owner: str) -> None:
        self._book = book
        self._owner = owner
        self._told: dict[str, int] | None = None
        """The revisions of what waits and of what was asked lately; None before the first look."""
        self._open: set[str] = set()
        self._looked = 0.0

    async def look(self) -> list[str]:
        """Return the approvals to be told of, those that are gone from the list first."""
        now = asyncio.get_running_loop().time()
        elapsed = 0.0 if self._told is None else now - self._looked
        self._looked = now
        waiting = await self._book.pending(self._owner)
        recent = await self._book.recent(self._owner, int(elapsed * 1000) + _SLACK_MS)
        if self._told is None:  # what was settled before the stream began is no news
            self._told = {one: at for one, at in recent.items() if one not in waiting}
        latest = {**waiting, **recent}
        keep = self._open | latest.keys()
        self._told = told = {one: at for one, at in self._told.items() if one in keep}
        gone = sorted(self._open - latest.keys())
        return gone + [one for one, at in latest.items() if told.get(one) != at]

    def note(self, approval: Approval) -> None:
        """Note that the follower is told of an approval as it is."""
        assert self._told is not None
        self._told[approval.approval_id] = approval.revision
        if approval.status is ApprovalStatus.PENDING:
            self._open.add(approval.approval_id)
        else:
            self._open.discard(approval.approval_id)


def _frame(approval: Approval) -> bytes:
    name = _EVENT[approval.status].value.encode()
    return b"event: " + name + b"\ndata: " + to_json(approval_view(approval)) + b"\n\n"
