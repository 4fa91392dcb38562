"""What a fork keeps of a run: decided under the run's lock, before anything is written."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.store.children.remade import earlier_child
from adapters.store.database.tx import Row, Tx
from adapters.store.runs.reads import get_run
from adapters.store.steps.fence import lock_session_and_run
from domain.acceptance import ForkOf
from domain.errors import ForkRefusedError, OutcomeUnknownError
from domain.run import TERMINAL, RunKind, RunState
from domain.step import StepState, step_place
from domain.tool import Resolution, ToolCallStatus


@dataclass(frozen=True, slots=True)
class Kept:
    """What a new run takes over: `turn` turns of `run`, by their steps and calls.

    `again` are the calls of the last turn that never came to an end: the new run makes them, under
    the keys they had. `is_answered` when the last kept reply was the run's answer.
    """

    run: Row
    turn: int
    replies: Sequence[Row] = ()
    calls: Sequence[Row] = ()
    again: Sequence[Row] = ()
    is_steered: bool = False
    """Somebody said something after the last kept reply; the run was still to see it."""
    closed: dict[str, Row] = field(default_factory=dict)
    """The closed steps of `calls`; one that a client ran, or that was not run, has none."""
    is_answered: bool = False


def choose(tx: Tx, fork: ForkOf, owner: str) -> Kept:
    """Lock the run to fork and return what is kept of it.

    Raises:
        NotFoundError: no such run for this owner.
        ForkRefusedError: not there, or not yet; says what can be done instead.
        OutcomeUnknownError: a kept call's outcome is unknown.
    """
    get_run(tx, owner, fork.run_id)
    run = lock_session_and_run(tx, fork.run_id)
    _check_kind(run, fork)
    steps = tx.all("SELECT * FROM steps WHERE run_id = :id AND state = 'closed'", id=run["run_id"])
    replies = sorted(
        (step for step in steps if not step["step_id"].startswith("tool-")),
        key=lambda step: step_place(step["step_id"]),
    )
    turn = _last_good(replies) if fork.from_turn is None else fork.from_turn
    if turn > len(replies):
        has = f"it has {len(replies)} so far; take a number up to that"
        raise ForkRefusedError(f"run {run['run_id']} has no turn {turn}: {has}")
    return _gather(tx, run, fork, replies[:turn], {step["step_id"]: step for step in steps})


def _check_kind(run: Row, fork: ForkOf) -> None:
    run_id = run["run_id"]
    if fork.from_turn is not None:
        if run["kind"] == RunKind.TOOL:
            raise ForkRefusedError(f"run {run_id} is one tool call and has no turns; retry it")
        return
    if run["state"] not in TERMINAL:
        raise ForkRefusedError(f"run {run_id} goes on; cancel it first, or fork it")
    if run["state"] == RunState.DONE:
        raise ForkRefusedError(f"run {run_id} is DONE: nothing failed; fork it instead")


def _last_good(replies: Sequence[Row]) -> int:
    """Return how many turns a retry keeps: those after which the run had got further.

    A reply that was cut short, or that asked only for tools which do not exist, is asked for anew.
    """
    for count in range(len(replies), 0, -1):
        result = _result(replies[count - 1])
        if result.get("cut_by") is None and not (result.get("refused") and not result.get("calls")):
            return count
    return 0


def _result(step: Row) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(step["result"])
    return found


def _gather(tx: Tx, run: Row, fork: ForkOf, replies: Sequence[Row], closed: dict[str, Row]) -> Kept:
    turn = len(replies)
    rows = tx.all("SELECT * FROM tool_calls WHERE run_id = :id", id=run["run_id"])
    is_tool = run["kind"] == RunKind.TOOL
    mine = [row for row in rows if is_tool or step_place(row["step_id"])[0] <= turn]
    mine.sort(key=lambda row: step_place(row["step_id"]))
    again = [row for row in mine if not _has_ended(run, row, closed)]
    if again and run["state"] not in TERMINAL:
        raise ForkRefusedError(
            f"turn {turn} of run {run['run_id']} is not finished: tool call"
            f" {again[0]['tool_call_id']} is {again[0]['status']}; fork from turn {turn - 1}"
        )
    if fork.says_more:
        # Who says more has read how they ended: cut with the run.
        again = []
    for call in again:
        _check_child(tx, call)
    is_steered = bool(replies) and _is_steered(tx, run, turn)
    is_answered = bool(replies) and not again and not is_steered and is_answer(replies[-1])
    if is_answered and fork.from_turn is not None and not fork.says_more:
        raise ForkRefusedError(
            f"turn {turn} ends run {run['run_id']}: nothing is left to do after it; send an input,"
            " or fork from an earlier turn"
        )
    return Kept(run, turn, replies, mine, again, is_steered, closed, is_answered)


def _check_child(tx: Tx, call: Row) -> None:
    """Refuse to make a call again whose child could not be retried, or not yet.

    Raises:
        ForkRefusedError: the child, or one below it, is still ending.
        OutcomeUnknownError: nobody knows what a call of it did.
    """
    child = earlier_child(tx, call["run_id"], call)
    if child is None or child["state"] == RunState.DONE:
        return
    if child["state"] not in TERMINAL:
        raise ForkRefusedError(
            f"run {child['run_id']}, which tool call {call['tool_call_id']} made, is still ending;"
            " try again in a moment"
        )
    steps = tx.all(
        "SELECT * FROM steps WHERE run_id = :id AND state = 'closed'", id=child["run_id"]
    )
    closed = {step["step_id"]: step for step in steps}
    for each in tx.all("SELECT * FROM tool_calls WHERE run_id = :id", id=child["run_id"]):
        if not _has_ended(child, each, closed):
            _check_child(tx, each)


def _has_ended(run: Row, call: Row, closed: dict[str, Row]) -> bool:
    """Whether a call came to an end of its own, not only to that of its run.

    Raises:
        OutcomeUnknownError: nobody knows.
    """
    if call["status"] == ToolCallStatus.OUTCOME_UNKNOWN:
        raise OutcomeUnknownError(
            f"nobody knows whether tool call {call['tool_call_id']} happened; say so with POST"
            f" /v1/tool_calls/{call['tool_call_id']}/resolve first"
        )
    step = closed.get(call["step_id"])
    if step is not None and step["state"] == StepState.CLOSED:
        return True
    return call["ended_at"] is not None and (_was_answered(call) or _ended_before(run, call))


def _was_answered(call: Row) -> bool:
    """Whether a call without a step of its own has an answer that no run's end gives."""
    answers = (ToolCallStatus.REJECTED, ToolCallStatus.SUCCEEDED, ToolCallStatus.TIMEOUT)
    verdicts = (Resolution.HAPPENED, Resolution.GIVE_UP)
    return call["status"] in answers or call["resolution"] in verdicts


def _ended_before(run: Row, call: Row) -> bool:
    """Whether a call failed while its run went on: a client said so, or nobody was there.

    What is cut ends in the same transaction as its run; what a person says later, later.
    """
    return run["ended_at"] is None or bool(call["ended_at"] < run["ended_at"])


def _is_steered(tx: Tx, run: Row, turn: int) -> bool:
    """Whether a person spoke to the run between its `turn`-th reply and the next one."""
    said = tx.all(
        "SELECT role FROM messages WHERE owner = :owner AND session_id = :session_id"
        " AND run_id = :run AND seq IS NOT NULL AND role <> 'tool' ORDER BY seq",
        owner=run["owner"],
        session_id=run["session_id"],
        run=run["run_id"],
    )
    replies = 0
    for message in said:
        if message["role"] == "user" and replies == turn:
            return True
        replies += message["role"] == "assistant"
    return False


def is_answer(reply: Row) -> bool:
    """Whether a reply asks for nothing more."""
    result = _result(reply)
    return not result.get("calls") and not result.get("refused")
