"""Requests for a tool host: handed out as soon as there are any, or announced as they come."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from pydantic_core import to_json

from api.client_tools import request_view
from api.services import Services
from domain.clients import Claim, ClientBook, Dispatch, ToolRequest
from domain.errors import ConflictError

_BEATS = 3
"""How often a host that stays on the line is noted as there within one lease."""


async def poll(
    desk: Services, who: Claim, most: int, seconds: float, is_gone: Callable[[], Awaitable[bool]]
) -> list[Dispatch]:
    """Take up to `most` requests; wait for the first of them.

    Raises:
        NotFoundError, ForbiddenError: no such host, or another credential's.
    """
    book, look = desk.dispatching.book, desk.config.stream.requests_seconds
    now = asyncio.get_running_loop().time
    until, pulse = now() + seconds, _Pulse(book, who)
    while True:
        await pulse.beat()
        # What is handed to somebody who is gone is lost until its lease ends.
        taken = [] if await is_gone() else await _take(book, who, most)
        left = until - now()
        if taken or left <= 0 or await is_gone() or desk.keeper.stopping.is_set():
            return taken
        await _pause(desk, min(look, left))


async def _pause(desk: Services, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await desk.keeper.stopping.wait()
    except TimeoutError:
        return


async def _take(book: ClientBook, who: Claim, most: int) -> list[Dispatch]:
    taken: list[Dispatch] = []
    for request in await book.waiting(who):
        if len(taken) == most:
            break
        try:
            taken.append(await book.claim(who, request.tool_call_id))
        except ConflictError:
            continue  # somebody was faster, or nothing is needed any more
    return taken


class _Pulse:
    """Notes a host as there while it stays on the line."""

    def __init__(self, book: ClientBook, who: Claim) -> None:
        self._book = book
        self._who = who
        self._due = 0.0

    async def beat(self) -> None:
        """Note it if that is due."""
        now = asyncio.get_running_loop().time()
        if now >= self._due:
            said = await self._book.beat(self._who, ())
            self._due = now + said.host.lease_ms / 1000 / _BEATS


async def announced(
    book: ClientBook, who: Claim, look_seconds: float
) -> AsyncGenerator[bytes, None]:
    """Yield each request that the host could take, once for each time that it is to be had."""
    shown: set[tuple[str, int]] = set()
    pulse = _Pulse(book, who)
    while True:
        await pulse.beat()
        waiting = {(one.tool_call_id, one.dispatch): one for one in await book.waiting(who)}
        for key in [key for key in waiting if key not in shown]:
            yield _frame(waiting[key])
        shown = set(waiting)
        await asyncio.sleep(look_seconds)


def _frame(request: ToolRequest) -> bytes:
    return b"event: tool_request\ndata: " + to_json(request_view(request)) + b"\n\n"
