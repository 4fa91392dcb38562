"""Which open runs a pass asks the engine about, one by one. Knows ports only.

A question costs both sides about a millisecond, and thousands of runs may wait for people. A run
that waits, is owed nothing and stands in the engine's own list of what is open is fine; what the
list cannot tell is that its workflow task keeps failing, so a share of them is asked about in turn.
"""

import logging
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from domain.errors import EngineUnavailableError
from domain.upkeep import OpenRun, is_quiet

_log = logging.getLogger(__name__)

SHARE = 50
"""Quiet runs that one pass asks about: a thousand have their turn in twenty passes."""


class EngineList(Protocol):
    """What the engine shows of many runs at once."""

    async def list_open(self) -> AbstractSet[str]:
        """Return the runs whose workflow is shown as open. The list may lag by a second or so.

        Raises:
            EngineUnavailableError: the engine does not answer, or is not the store's own.
        """
        ...


class Looks:
    """The choice of each pass. Keeps whose turn it is."""

    def __init__(self, engine: EngineList) -> None:
        self._engine = engine
        self._last = ""

    async def choose(self, runs: Sequence[OpenRun], stuck: AbstractSet[str]) -> Sequence[OpenRun]:
        """Return those to be asked about, in the order given; the stuck ones always are."""
        quiet = {found.run.run_id for found in runs if is_quiet(found)}
        if len(quiet) <= SHARE:
            return runs
        spared = quiet & await self._listed() - stuck
        spared -= self._in_turn(sorted(spared))
        return [found for found in runs if found.run.run_id not in spared]

    async def _listed(self) -> AbstractSet[str]:
        try:
            return await self._engine.list_open()
        except EngineUnavailableError as error:
            _log.warning("the engine's list of open runs is not to be had: %s", error)
            return frozenset()

    def _in_turn(self, run_ids: Sequence[str]) -> AbstractSet[str]:
        """Return the next share after the last one's end, round and round."""
        after = [run_id for run_id in run_ids if run_id > self._last]
        share = [*after, *run_ids][:SHARE]
        self._last = share[-1] if share else ""
        return set(share)
