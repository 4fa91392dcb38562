"""A step that makes a run: the child's row, the parent's wait and their events are one transaction.

The child's id follows from the step, so whoever repeats the step finds the same child. Its end is
read from its row when the step is opened again. A call that a retry or fork makes again had a child
before: one that was done is its answer, of any other the new child is a retry.
"""

from collections.abc import Sequence
from dataclasses import replace

from adapters.store.approvals import taint, toolcalls, waits
from adapters.store.children.family import holder_of, lock_line
from adapters.store.children.remade import earlier_child, retry_of
from adapters.store.database.rows import run_from
from adapters.store.database.tx import Row, Tx
from adapters.store.log.appender import append
from adapters.store.runs import accept
from adapters.store.runs.partial import partial_on_record
from adapters.store.steps.fence import check_attempt, check_open
from domain import family
from domain.acceptance import Accepted, NewRun
from domain.agent import Limits
from domain.errors import StepRefusedError
from domain.event import EventDraft, EventType, encode_json
from domain.family import Spawned
from domain.run import TERMINAL, RunState
from domain.snapshot import lower
from domain.step import AlreadyClosed, Attempt, AwaitingChild
from domain.tool import ToolCallStatus, ToolOutcome


def spawn(tx: Tx, who: Attempt, new: NewRun, now: int, *, waits_for_it: bool) -> Spawned:
    """Make the child of a step, and park or close the step.

    Raises:
        LimitReachedError, QueueFullError, InvalidRequestError: it may not be made.
        ForkRefusedError, OutcomeUnknownError: the child that was there before cannot be retried.
        StepRefusedError: the attempt is not current, or a run above is being cancelled.
    """
    line = lock_line(tx, who.run_id)
    run = line[-1]
    check_open(run)
    check_attempt(tx, run, who.step_id, who.number)
    if any(row["cancel_asked_at"] is not None for row in line):
        said = f"a run above {who.run_id} is being cancelled"
        raise StepRefusedError(said, reason="cancel_asked")
    call = toolcalls.call_of_step(tx, who.run_id, who.step_id)
    drafts = []
    if tx.one("SELECT run_id FROM runs WHERE run_id = :id", id=new.run_id) is None:
        earlier = earlier_child(tx, who.run_id, call)
        if earlier is not None and earlier["state"] == RunState.DONE:
            call = taint.mark_child_call(tx, call, earlier)
            _close(tx, run, call, _outcome(tx, earlier, earlier["run_id"]), [], now)
            return Spawned(earlier["run_id"], False, call["tool_call_id"])
        if earlier is not None:
            new = retry_of(earlier, new)
        drafts = [_make(tx, line, call, new, now, waits_for_it=waits_for_it)]
    if waits_for_it:
        _park(tx, run, call, drafts, new.run_id, now)
    else:
        _close(tx, run, call, family.detached(new.run_id), drafts, now)
    return Spawned(new.run_id, waits_for_it, call["tool_call_id"])


def _make(
    tx: Tx, line: Sequence[Row], call: Row, new: NewRun, now: int, *, waits_for_it: bool
) -> EventDraft:
    run = line[-1]
    _, limits = make_child(tx, line, new, now)
    taint.mark_child(tx, run, call, new.run_id)
    data = {
        "child_run_id": new.run_id,
        "agent_id": new.agent_id,
        "tool_call_id": call["tool_call_id"],
        "detached": not waits_for_it,
        "limits": limits.model_dump(exclude_none=True),
    }
    key = f"{call['tool_call_id']}:spawned"
    return EventDraft(type=EventType.AGENT_SPAWNED, key=key, data=data)


def make_child(tx: Tx, line: Sequence[Row], new: NewRun, now: int) -> tuple[Accepted, Limits]:
    """Accept a child of the last run of `line`, cut to what all of them have left; return its caps.

    Raises:
        LimitReachedError, QueueFullError, InvalidRequestError: it may not be made.
    """
    run = line[-1]
    depth = run["depth"] + 1
    share = family.share_of([holder_of(tx, row, depth, now) for row in line], _at_work(tx, run))
    limits = lower(new.spec.limits, share)
    new = replace(
        new,
        spec=new.spec.model_copy(update={"limits": limits}),
        priority=run["priority"],
        goal_id=run["goal_id"],
        # A cap of seconds begins with the child's work, and that may be late.
        deadline_at=run["deadline_at"],
    )
    accepted = accept.accept(tx, new, now)
    for row in line:
        tx.run("UPDATE runs SET spawned = spawned + 1 WHERE run_id = :id", id=row["run_id"])
    return accepted, limits


def _at_work(tx: Tx, run: Row) -> int:
    row = tx.one(
        "SELECT count(*) AS n FROM runs WHERE parent_run_id = :id AND parent_step IS NOT NULL"
        " AND state IN ('CREATED', 'RUNNING')",
        id=run["run_id"],
    )
    return int(row["n"]) if row else 0


def _park(tx: Tx, run: Row, call: Row, drafts: list[EventDraft], child: str, now: int) -> None:
    """Let the step rest until the child has ended; nothing is held meanwhile."""
    tx.run(
        "UPDATE steps SET state = 'idle' WHERE run_id = :run AND step_id = :step",
        run=run["run_id"],
        step=call["step_id"],
    )
    tx.run(
        "UPDATE tool_calls SET status = 'waiting_child' WHERE tool_call_id = :id",
        id=call["tool_call_id"],
    )
    why = (f"{call['tool_call_id']}:wait", f"run {child} works on it")
    waits.begin(tx, run, drafts, why, now, on="child")


def _close(
    tx: Tx, run: Row, call: Row, outcome: ToolOutcome, drafts: list[EventDraft], now: int
) -> ToolCallStatus:
    """Close the step for good, with what the model reads of its child."""
    status = ToolCallStatus.SUCCEEDED if outcome.ok else ToolCallStatus.FAILED
    tx.run(
        "UPDATE steps SET state = 'closed', closed_at = :now, result = :result"
        " WHERE run_id = :run AND step_id = :step",
        now=now,
        result=encode_json({"status": status.value, "content": outcome.content}),
        run=run["run_id"],
        step=call["step_id"],
    )
    drafts = [*drafts, *toolcalls.settle(tx, run, call, status, outcome, now)]
    if call["status"] == ToolCallStatus.WAITING_CHILD:
        drafts += waits.end(tx, run, f"{call['tool_call_id']}:resumed")
    last = append(tx, run, drafts, now, run["last_seq"])
    tx.run("UPDATE runs SET last_seq = :last WHERE run_id = :id", last=last, id=run["run_id"])
    return status


def look(tx: Tx, run: Row, step_id: str, now: int) -> AlreadyClosed | AwaitingChild | None:
    """Say how a call stands that made a run: still waiting, or closed now with the run's end.

    None for any other call. The caller has locked session and run.
    """
    call = toolcalls.call_of_step(tx, run["run_id"], step_id)
    if call["status"] != ToolCallStatus.WAITING_CHILD:
        return None
    child_id = family.child_run_id(run["run_id"], step_id)
    child = tx.one("SELECT * FROM runs WHERE run_id = :id", id=child_id)
    if child is not None and child["state"] not in TERMINAL:
        return AwaitingChild(call["tool_call_id"])
    if child is not None:
        call = taint.mark_child_call(tx, call, child)
    outcome = _outcome(tx, child, child_id)
    status = _close(tx, run, call, outcome, [], now)
    return AlreadyClosed({"status": status.value, "content": outcome.content})


def _outcome(tx: Tx, child: Row | None, child_id: str) -> ToolOutcome:
    """Return what the model reads of a child that has ended."""
    partial = partial_on_record(tx, child_id) if child is not None else None
    return family.outcome_of(run_from(child) if child else None, child_id, partial)
