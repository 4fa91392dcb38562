"""Pushing the event log to a receiver: how far each run is, and when to try again. Values only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from domain.event import StoredEvent

INGRESS = "ingress"
"""The lease of the one worker that pushes."""
FIRST_PAUSE_MS = 500
LONGEST_PAUSE_MS = 60_000
LATE_MS = 60_000
"""An event that waits longer than this makes the product degraded."""


class NotTakenError(Exception):
    """The receiver did not take an event: it is away, too slow, or refused."""

    def __init__(self, message: str, wait_ms: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.wait_ms = wait_ms
        """How long it asked to be left alone."""


class Receiver(Protocol):
    """Where events are pushed to."""

    async def send(self, session_id: str, event: StoredEvent) -> None:
        """Deliver one event.

        Raises:
            NotTakenError: it has to be sent again.
        """
        ...


@dataclass(frozen=True, slots=True)
class Behind:
    """A run with events that the receiver has not taken. `pushed_seq` is the last that it has."""

    run_id: str
    session_id: str
    pushed_seq: int
    failures: int
    """In a row, of the event after `pushed_seq`."""


@dataclass(frozen=True, slots=True)
class PushLag:
    """How far the receiver is behind. Times in ms."""

    events: int
    runs: int
    failing: int
    """Runs whose next event was refused or not answered at least once."""
    oldest_ms: int
    """The age of the event that waits longest; 0 while none waits."""
    error: str | None
    """What the receiver said last to the run that fails longest."""


class PushBook(Protocol):
    """The cursor of each run, kept in the store."""

    async def discover(self) -> None:
        """Take note of runs that were accepted since the last look."""
        ...

    async def due(self, limit: int) -> Sequence[Behind]:
        """Return runs with something to push now, those that wait longest first."""
        ...

    async def advance(self, run_id: str, event: StoredEvent) -> bool:
        """Note that the receiver has an event; False when somebody else noted another."""
        ...

    async def fail(self, run: Behind, pause_ms: int, error: str) -> None:
        """Note that the next event of a run was not taken, and when to try again."""
        ...

    async def lag(self) -> PushLag:
        """Return how far the receiver is behind."""
        ...


def pause_ms(failures: int, jitter: float, asked_ms: int | None = None) -> int:
    """Return how long to wait after the `failures`-th failure in a row.

    Args:
        failures: from 1.
        jitter: 0 to 1; takes up to a fifth off, so that runs do not come back all at once.
        asked_ms: what the receiver asked for; at most the longest pause.
    """
    if asked_ms is not None:
        return min(max(asked_ms, FIRST_PAUSE_MS), LONGEST_PAUSE_MS)
    grown = FIRST_PAUSE_MS * 2 ** min(failures - 1, 16)
    return int(min(grown, LONGEST_PAUSE_MS) * (1 - 0.2 * jitter))


def complaint(lag: PushLag) -> str | None:
    """Return a sentence when the receiver is too far behind, else None."""
    if lag.oldest_ms < LATE_MS:
        return None
    why = f"; it said: {lag.error}" if lag.error else ""
    return (
        f"INGRESS_URL is {lag.oldest_ms // 1000} s behind with {lag.events} events of {lag.runs}"
        f" runs{why}"
    )
