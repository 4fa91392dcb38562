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

    Without `spawn` the caller waits for them. `about` is the kind of what they are about.
    """

    def __init__(self, spawn: Spawn | None = None, about: str = "run") -> None:
        self._spawn = spawn
        self._about = about

    async def __call__(self, which: str, what: str, call: Coroutine[Any, Any, None]) -> None:
        """Make a call about the run, or what else it is, of an id; `what` names it in the log."""
        work = _tell(f"{self._about}_id", which, f"{what} a {self._about}", call)
        if self._spawn is None:
            await work
        else:
            self._spawn(work)


async def _tell(field: str, which: str, what: str, call: Coroutine[Any, Any, None]) -> None:
    try:
        await call
    except OrchestratorError as error:
        _LOG.warning(
            "the engine could not be told to %s; the reconciler will: %s",
            what,
            error.message,
            extra={field: which},
        )
