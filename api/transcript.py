"""A transcript read from its end, as seed B's clients do."""

from collections.abc import Sequence

from domain.acceptance import Page
from domain.records import Directory
from domain.session import Message

_PAGE = 1000


async def page_before(
    directory: Directory, owner: str, place: tuple[str, str], limit: int
) -> tuple[Sequence[Message], str | None]:
    """Return up to `limit` messages just before a place, in order, and the place before them.

    `place` is a session and a `seq`, a message id, or a cursor that this function returned.

    Raises:
        NotFoundError: no such session for this owner.
    """
    session_id, before = place
    if not (before.isdigit() or before.startswith("msg_")):
        page = Page(limit, before)
        found, following = await directory.list_messages(owner, session_id, page, newest_first=True)
        return found[::-1], following
    earlier = await _all_before(directory, owner, place, limit + 1)
    shown = earlier[:limit]
    return shown[::-1], str(shown[-1].seq) if len(earlier) > limit else None


async def _all_before(
    directory: Directory, owner: str, place: tuple[str, str], most: int
) -> list[Message]:
    session_id, before = place
    found: list[Message] = []
    cursor: str | None = None
    passed = False
    while len(found) < most:
        page, cursor = await directory.list_messages(
            owner, session_id, Page(_PAGE, cursor), newest_first=True
        )
        for message in page:
            if before.isdigit():
                passed = message.seq is not None and message.seq < int(before)
            if passed:
                found.append(message)
            passed = passed or message.message_id == before
        if cursor is None:
            break
    return found[:most]
