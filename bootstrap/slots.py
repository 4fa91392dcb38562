"""The slots of the worker in this process, for the API beside it."""

from collections.abc import Sequence

from activities.live import LiveAttempts
from domain.stats import WorkerSlot


class LivePool:
    """The slots of the worker in this process."""

    def __init__(self, live: LiveAttempts) -> None:
        self._live = live

    async def slots(self) -> Sequence[WorkerSlot]:
        """Return every slot."""
        return self._live.slots()
