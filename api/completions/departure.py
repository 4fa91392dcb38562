"""Work that is given up when its caller goes away. Plain ASGI."""

import asyncio
from types import TracebackType

from starlette.types import Receive


class CallerGoneError(Exception):
    """Whoever asked has closed the connection: nobody reads an answer."""


class WhileThere:
    """`async with WhileThere(receive):` cancels what is inside once the caller is gone.

    The request's body has to be read by then.

    Raises:
        CallerGoneError: at the end of the block, in place of that cancellation.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._task: asyncio.Task[object] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._before = 0
        self._is_gone = False

    async def __aenter__(self) -> None:
        """Begin to watch."""
        self._task = asyncio.current_task()
        assert self._task is not None
        self._before = self._task.cancelling()
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop watching."""
        assert self._task is not None
        assert self._watcher is not None
        self._watcher.cancel()
        if not self._is_gone:
            return
        is_ours_alone = self._task.uncancel() <= self._before
        if is_ours_alone and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise CallerGoneError from error

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._is_gone = True
        assert self._task is not None
        self._task.cancel()
