"""What it takes to accept a run, and what the caller is told. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from domain.run import Run, RunKind, RunSpec
from domain.session import OnBusy
from domain.tiers import ModelTier


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A caller's promise that two requests are the same one.

    `scope` is the route and session; `fingerprint` is a digest of the body, so that a key used for
    another body is noticed.
    """

    scope: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class ForkOf:
    """Of which run a new one is a fork. `from_turn` None goes on from its last good step.

    `says_more` when the new run brings a message of its own. `by` is the credential that asked.
    """

    run_id: str
    from_turn: int | None
    by: str
    says_more: bool = False
    dead_letter_id: str | None = None

    def saying_more(self, says_more: bool) -> "ForkOf":
        """Return this fork with or without a message of its own."""
        return replace(self, says_more=says_more)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was chosen for a run, for the day when its worth is known.

    `predicted` is the quality that was expected of the tier, `criteria` are those of the agent.
    """

    task_class: str
    tier: ModelTier | None = None
    predicted: float | None = None
    criteria: Mapping[str, float] = field(default_factory=dict)
    standing: Mapping[str, tuple[ModelTier, float | None]] = field(default_factory=dict)
    """By model the tier that its answers are of, and the quality that was expected of it."""


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to accept, complete and checked.

    `max_open_runs` is the admission cap at this moment. For kind `tool`, `tool_call_id` and `args`
    name the one call; `session_id` is then None. A `fork` gets a session of its own.
    `start_at` (its work begins then) and `deadline_at` are in ms.
    """

    run_id: str
    owner: str
    kind: RunKind
    spec: RunSpec
    agent_id: str | None
    session_id: str | None
    message_id: str
    content: str
    max_open_runs: int
    on_busy: OnBusy | None = None
    priority: int = 3
    goal_id: str | None = None
    """What it is for; a child is for what its parent is for."""
    key_id: str | None = None
    """The API key that started it; a child has its parent's."""
    parent_run_id: str | None = None
    parent_step: str | None = None
    """The step of the parent that makes this run its child."""
    metadata: dict[str, Any] | None = None
    route: dict[str, Any] | None = None
    """How its agent was chosen."""
    tier_route: dict[str, Any] | None = None
    """How its models were chosen."""
    chosen: Chosen | None = None
    tool_call_id: str | None = None
    args: str = "{}"
    idempotency: IdempotencyKey | None = None
    fork: ForkOf | None = None
    start_at: int | None = None
    deadline_at: int | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The run on record. `replayed` when an earlier request with the same key made it.

    `stopped` are the runs that were asked to make way for it. `steered_seq` is set when the message
    went to a run that was on its way, which `run` then is: the place of its `user_input` there.
    """

    run: Run
    queued: bool
    replayed: bool
    spec: RunSpec
    stopped: tuple[str, ...] = ()
    steered_seq: int | None = None


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs a list shows; None does not filter."""

    state: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    kind: str | None = None
    forked_from: str | None = None
    parent_run_id: str | None = None
    root_run_id: str | None = None
    goal_id: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Where a list starts and how long it is. `cursor` is what the page before ended with."""

    limit: int = 100
    cursor: str | None = None
