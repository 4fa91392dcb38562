"""One event loop for one test after the other, so that connections can stay open between them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor


class LastingLoop(asyncio.SelectorEventLoop):
    """A loop that a test's runner closes as any other, and that the next test finds open.

    What the end of a loop means for a test stays: its tasks are cancelled, its generators and
    threads are ended by the runner, its timers never fire. Only calls that were due already, and
    those of other threads that outlive the test, are made in the next one.
    """

    _scheduled: list[asyncio.TimerHandle]
    _default_executor: ThreadPoolExecutor | None
    _executor_shutdown_called: bool
    _asyncgens_shutdown_called: bool

    def reopened(self) -> "LastingLoop":
        """Return the loop, for a test to begin."""
        self._asyncgens_shutdown_called = self._executor_shutdown_called = False
        self._default_executor = None
        self.set_exception_handler(None)
        self.set_task_factory(None)
        return self

    def close(self) -> None:
        for timer in self._scheduled.copy():
            timer.cancel()

    def end(self) -> None:
        """Close it for good."""
        super().close()
