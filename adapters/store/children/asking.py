"""A child that is asked for over the API: by an agent inside the run that it works on, or by hand.

No tool call stands for it: whoever asked reads how it goes. It has what its parent has left, counts
against every run above, and ends with a parent that is cancelled or fails.
"""

from collections.abc import Sequence
from dataclasses import replace

from adapters.store.approvals import taint
from adapters.store.children.family import lock_line
from adapters.store.children.spawning import make_child
from adapters.store.database.tx import Row, Tx
from adapters.store.log.appender import append
from adapters.store.runs import accept
from domain.acceptance import Accepted, NewRun
from domain.errors import NotFoundError, RunTerminalError
from domain.event import EventDraft, EventType
from domain.run import TERMINAL

BY_HAND = "ask"
"""The step of a parent that has none open: a person asked."""


def ask(tx: Tx, new: NewRun, now: int) -> Accepted:
    """Make a child of `new.parent_run_id`, or return the one that the same key made before.

    Raises:
        NotFoundError, RunTerminalError: the parent run is not there, or has ended.
        LimitReachedError, QueueFullError: it may not be made.
        IdempotencyKeyConflictError: the key was used with another body.
    """
    parent_id = new.parent_run_id or ""
    known = tx.one("SELECT owner FROM runs WHERE run_id = :id", id=parent_id)
    if known is None or known["owner"] != new.owner:
        raise NotFoundError(f"there is no run {parent_id}")
    line = lock_line(tx, parent_id)
    earlier = accept.known(tx, new)
    if earlier is not None:
        return earlier
    run = line[-1]
    _require_open(line)
    accepted, limits = make_child(tx, line, replace(new, parent_step=_step_of(tx, run)), now)
    taint.mark_asked(tx, run, new.run_id)
    data = {
        "child_run_id": new.run_id,
        "agent_id": new.agent_id,
        "tool_call_id": None,
        "detached": False,
        "limits": limits.model_dump(exclude_none=True),
    }
    draft = EventDraft(type=EventType.AGENT_SPAWNED, key=f"{new.run_id}:asked", data=data)
    last = append(tx, run, [draft], now, run["last_seq"])
    tx.run("UPDATE runs SET last_seq = :last WHERE run_id = :id", last=last, id=parent_id)
    return accepted


def _require_open(line: Sequence[Row]) -> None:
    run = line[-1]
    if run["state"] in TERMINAL:
        raise RunTerminalError(f"run {run['run_id']} is {run['state']}; it can ask nobody any more")
    for row in line:
        if row["cancel_asked_at"] is not None:
            raise RunTerminalError(f"run {row['run_id']} is being cancelled; it can ask nobody")


def _step_of(tx: Tx, run: Row) -> str:
    """Return the step that asks: the one that is open."""
    found = tx.one(
        "SELECT step_id FROM steps WHERE run_id = :id AND state = 'open' ORDER BY step_id LIMIT 1",
        id=run["run_id"],
    )
    return found["step_id"] if found else BY_HAND
