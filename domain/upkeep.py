"""What keeps runs going: leases of workers, and what a pass over open runs has to mend."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from domain.run import Run, RunState

STUCK_KEY = "stuck_runs"
"""Under which the store notes the runs whose workflow task keeps failing."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A claim that runs out by itself. `process` names the process: `host:boot:pid:started`."""

    name: str
    holder: str
    process: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class HeldStep:
    """A step that the engine may still wait for, and the token that fails exactly that attempt."""

    run_id: str
    step_id: str
    token: bytes


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that has not ended, with what a pass over it needs to know."""

    run: Run
    queued: bool
    """It was not given its session when it was accepted."""
    holds_session: bool
    was_woken: bool
    """Its workflow has seen that it holds the session."""
    resolved_unseen: bool
    """A person resolved or decided a call of it that its workflow has not looked at again."""


class Mend(StrEnum):
    """What an open run needs."""

    NOTHING = "nothing"
    START = "start"
    CANCEL = "cancel"
    WAKE = "wake"
    CLOSE = "close"


def what_to_mend(found: OpenRun, engine: str, *, restarts_missing: bool = False) -> Mend:
    """Decide what an open run needs.

    Args:
        found: the run.
        engine: what the engine says of it: `missing`, `open` or `closed`.
        restarts_missing: whether a run that began is started again when the engine lost it.
    """
    if engine == "missing":
        may_start = restarts_missing or found.run.state == RunState.CREATED
        return Mend.START if may_start else Mend.CLOSE
    if engine == "closed":
        return Mend.CLOSE
    if found.run.cancel_asked:
        return Mend.CANCEL
    waits_in_vain = found.queued and found.holds_session and not found.was_woken
    if found.resolved_unseen or waits_in_vain:
        return Mend.WAKE
    return Mend.NOTHING


def is_quiet(found: OpenRun) -> bool:
    """Whether a run waits for somebody and is owed nothing, as far as the store can tell."""
    return found.run.waiting_on is not None and what_to_mend(found, "open") is Mend.NOTHING


def stuck_note(run_ids: Iterable[str]) -> str:
    """Return the text that the store keeps of stuck runs."""
    return json.dumps(sorted(run_ids))


def stuck_runs(note: str | None) -> tuple[str, ...]:
    """Return the runs that a note names; none while there is no note."""
    return tuple(json.loads(note)) if note else ()
