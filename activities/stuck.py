"""Runs whose workflow task keeps failing: told in the log once each, and noted in the store.

Nothing here mends them: their code has to be mended. Knows neither the engine nor HTTP.
"""

import logging
from collections.abc import Mapping

from domain.records import UpkeepBook
from domain.upkeep import STUCK_KEY, stuck_note

_log = logging.getLogger(__name__)


class StuckRuns:
    """What the passes of one reconciler found."""

    def __init__(self, book: UpkeepBook) -> None:
        self._book = book
        self.known: set[str] = set()
        """Those of the last report, each told once."""

    async def report(self, looks: Mapping[str, str]) -> None:
        """Take what a pass saw of open runs: by run, the attempt of a task that keeps failing.

        One read of the store while nothing changes.
        """
        stuck = {run_id: attempt for run_id, attempt in looks.items() if attempt}
        for run_id in stuck.keys() - self.known:
            _log.error(
                "run %s is stuck: attempt %s of its workflow task fails; fix the worker and deploy"
                " it, or cancel the run",
                run_id,
                stuck[run_id],
                extra={"run_id": run_id, "attempt": int(stuck[run_id])},
            )
        self.known = set(stuck)
        await self._note(stuck_note(stuck))

    async def _note(self, note: str) -> None:
        noted = await self._book.meta(STUCK_KEY)
        if noted == note or (noted is None and note == stuck_note(())):
            return
        if noted is None:
            await self._book.meta(STUCK_KEY, note)
        else:
            await self._book.set_meta(STUCK_KEY, note)
