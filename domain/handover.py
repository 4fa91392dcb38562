"""Telling the engine what the store already holds: behind the answer, and never in its way."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from domain.errors import OrchestratorError

_LOG = logging.getLogger(__name__)

Spawn = Callable[[Coroutine[Any, Any, None]], None]
"""Runs something after the caller was answered, and keeps it until it ended."""


class HandOver:
    """Calls to the engine that may fail: the reconciler repeats them.

    Without `spawn` the caller waits for them.
    """

    def __init__(self, spawn: Spawn | None = None) -> None:
        self._spawn = spawn

    async def __call__(self, run_id: str, what: str, call: Coroutine[Any, Any, None]) -> None:
        """Make a call about a run; `what` names it in the log."""
        work = _tell(run_id, what, call)
        if self._spawn is None:
            await work
        else:
            self._spawn(work)


async def _tell(run_id: str, what: str, call: Coroutine[Any, Any, None]) -> None:
    try:
        await call
    except OrchestratorError as error:
        _LOG.warning(
            "the engine could not be told to %s a run; the reconciler will: %s",
            what,
            error.message,
            extra={"run_id": run_id},
        )
