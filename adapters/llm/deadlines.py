"""How long a reply may keep its reader waiting."""

import asyncio
from types import TracebackType

from adapters.llm.patience import Patience
from domain.errors import ModelTimeoutError


class Deadlines:
    """Bounds every wait for one reply: `with deadlines:` around the wait, `stop()` at the end.

    One timer looks after all waits: a timeout for each chunk would cost more than to read it.
    A wait that is too long ends with `ModelTimeoutError`.
    """

    def __init__(self, provider: str, patience: Patience) -> None:
        self._provider = provider
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        start = self._loop.time()
        self._last = start + patience.total_seconds
        self._next = min(start + patience.first_seconds, self._last)
        self._has_progress = False
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Task[object] | None = None
        self._cancels_before = 0
        self._has_expired = False

    def progress(self) -> None:
        """Note a meaningful event: the wait for the next one begins now."""
        self._has_progress = True
        self._next = min(self._loop.time() + self._patience.idle_seconds, self._last)

    def wait_for_the_end(self) -> None:
        """Expect no progress before the end: only the whole is bounded."""
        self._next = self._last

    def stop(self) -> None:
        """Forget the timer: nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()

    def __enter__(self) -> None:
        """Begin to wait."""
        task = asyncio.current_task()
        self._waiter = task
        self._cancels_before = task.cancelling() if task is not None else 0
        if self._timer is None or self._next < self._timer.when():
            self.stop()
            self._timer = self._loop.call_at(self._next, self._look)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the wait; the cancellation by which a deadline ended it becomes an error."""
        task, self._waiter = self._waiter, None
        if not self._has_expired or task is None:
            return
        self._has_expired = False
        is_ours_alone = task.uncancel() <= self._cancels_before
        if is_ours_alone and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise self._error() from error

    def _look(self) -> None:
        self._timer = None
        if self._waiter is None:
            return  # The next wait sets the timer again.
        if self._loop.time() < self._next:
            self._timer = self._loop.call_at(self._next, self._look)
        else:
            self._has_expired = True
            self._waiter.cancel()

    def _error(self) -> ModelTimeoutError:
        if self._loop.time() >= self._last:
            seconds, wait = self._patience.total_seconds, "did not end its reply"
        elif self._has_progress:
            seconds, wait = self._patience.idle_seconds, "sent nothing more"
        else:
            seconds, wait = self._patience.first_seconds, "sent nothing"
        return ModelTimeoutError(f"{self._provider} {wait} within {seconds:g} seconds")
