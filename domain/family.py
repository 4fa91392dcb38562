"""Runs that start runs: how a child is named, what it may have, how its end reads. Pure.

A child never gets more than its parent has left, and counts against every run above it: the caps
of a run hold for the whole tree below it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from domain.acceptance import NewRun
from domain.agent import AgentId, Limits
from domain.errors import LimitReachedError
from domain.event import encode_json
from domain.money import to_pico, to_usd
from domain.run import Run, RunSpec, RunState
from domain.snapshot import lower
from domain.step import Attempt
from domain.tool import ToolOutcome

MAX_DEPTH = 3
"""Levels below a run that says nothing of it."""
MAX_CHILDREN = 32
"""Children at once of a run that says nothing of it."""
MAX_SPAWNS = 200
"""Descendants, over its whole life, of a run that says nothing of it."""


class SpawnArgs(BaseModel):
    """What a model says when it hands work to another agent."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    agent_id: AgentId
    input: Annotated[str, StringConstraints(pattern=r"\S", max_length=1_000_000)]
    wait: bool = True
    limits: Annotated[Limits, Field(strict=False)] | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """A run on the way from the root to a new child, and what its tree used so far.

    `distance` is how many levels below it the child would stand; 1 for the parent.
    `seconds_left` is None while it has no deadline.
    """

    run_id: str
    limits: Limits
    distance: int
    spawned: int
    spent_pico: int
    spent_tokens: int
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class Spawned:
    """The child on record. `waits` says whether its parent's call waits for its end."""

    run_id: str
    waits: bool
    tool_call_id: str


@dataclass(frozen=True, slots=True)
class Unstarted:
    """A run that was accepted and that no workflow has begun."""

    run: Run
    spec: RunSpec
    queued: bool = False


def child_run_id(parent_run_id: str, step_id: str) -> str:
    """Return the id of the run that a step makes: the same one however often it is repeated."""
    return f"run_{sha256(f'{parent_run_id}:{step_id}'.encode()).hexdigest()[:26]}"


def share_of(line: Sequence[Holder], open_children: int) -> Limits:
    """Return the most that a new child may have; `line` leads from the root to its parent.

    Raises:
        LimitReachedError: it may not be; `reason` names the cap that says so.
    """
    share = line[-1].limits
    cap = MAX_CHILDREN if share.max_children is None else share.max_children
    if open_children >= cap:
        said = f"run {line[-1].run_id} has {open_children} children at work, its cap max_children"
        raise LimitReachedError(said, reason="max_children")
    for holder in line:
        share = lower(share, _left(holder))
    return share


def _left(holder: Holder) -> Limits:
    """Return what one run above leaves for a child."""
    limits = holder.limits
    depth = MAX_DEPTH if limits.max_depth is None else limits.max_depth
    spawns = MAX_SPAWNS if limits.max_spawns is None else limits.max_spawns
    _check(holder, "max_depth", depth, depth - holder.distance + 1)
    _check(holder, "max_spawns", spawns, spawns - holder.spawned)
    left: dict[str, Any] = {
        "max_depth": depth - holder.distance,
        "max_spawns": spawns - holder.spawned - 1,
    }
    if limits.max_tokens is not None:
        left["max_tokens"] = limits.max_tokens - holder.spent_tokens
        _check(holder, "max_tokens", limits.max_tokens, left["max_tokens"])
    if limits.max_cost_usd is not None:
        pico = to_pico(limits.max_cost_usd) - holder.spent_pico
        _check(holder, "max_cost_usd", limits.max_cost_usd, pico)
        left["max_cost_usd"] = to_usd(pico)
    if holder.seconds_left is not None:
        _check(holder, "max_seconds", limits.max_seconds, holder.seconds_left)
        left["max_seconds"] = holder.seconds_left
    return Limits.model_validate(left)


def _check(holder: Holder, name: str, cap: object, left: float) -> None:
    if left <= 0:
        said = f"the cap {name} of {cap} of run {holder.run_id} leaves nothing for another run"
        raise LimitReachedError(said, reason=name)


def outcome_of(run: Run | None, run_id: str, partial: str | None = None) -> ToolOutcome:
    """Return how a child ended, as the model of its parent reads it."""
    if run is None:
        said = f"run {run_id} is gone from the record"
        return ToolOutcome(ok=False, content=said, error_code="child_lost")
    if run.state is RunState.DONE:
        said = (run.output or {}).get("content", "")
        content = {"run_id": run_id, "state": run.state.value, "result": said}
        return ToolOutcome(ok=True, content=encode_json(content))
    if run.state is RunState.CANCELLED:
        kept = f"; what it had said until then: {partial}" if partial else ""
        said = f"run {run_id} was cancelled{kept}"
        return ToolOutcome(ok=False, content=said, error_code="child_cancelled")
    code = run.error.code if run.error else "internal_error"
    message = run.error.message if run.error else ""
    return ToolOutcome(
        ok=False, content=f"run {run_id} failed ({code}): {message}", error_code=code
    )


def detached(run_id: str) -> ToolOutcome:
    """Return what a model reads of a child that nobody waits for."""
    said = {"run_id": run_id, "state": RunState.CREATED.value, "detached": True}
    return ToolOutcome(ok=True, content=encode_json(said))


class FamilyBook(Protocol):
    """Children on record, as the activities of a worker see them."""

    async def spawn(self, who: Attempt, new: NewRun, *, waits: bool) -> Spawned:
        """Make a step's child, or find it: one transaction with what becomes of the step.

        The step then waits for the child's end, or is closed when `waits` is False. The child's
        caps are cut to what its parent, and every run above, has left.

        Raises:
            LimitReachedError: a cap does not allow it; nothing was kept.
            QueueFullError: too many runs are open; nothing was kept.
            StepRefusedError: the attempt is not current, or a run above is being cancelled.
        """
        ...

    async def unstarted(self, run_id: str) -> Unstarted | None:
        """Return a run if it is on record and no workflow has begun it."""
        ...
