"""A run: its states, the legal moves between them, its usage and its caps. Stores nothing."""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from domain.agent import AgentKind, Degradation, Limits
from domain.errors import ConflictError, LimitReachedError
from domain.money import to_pico, to_usd
from domain.tiers import Cascade
from domain.tool import ToolSpec


class RunState(StrEnum):
    """Where a run stands. A run that waits is RUNNING with `waiting_on`."""

    CREATED = "CREATED"
    """Accepted and durable; no workflow code has run yet."""
    RUNNING = "RUNNING"
    """Its workflow works or waits."""
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


TERMINAL = frozenset({RunState.DONE, RunState.FAILED, RunState.CANCELLED})
_MOVES = {
    RunState.CREATED: frozenset({RunState.RUNNING}) | TERMINAL,
    RunState.RUNNING: TERMINAL,
}


class RunKind(StrEnum):
    """What a run does."""

    AGENT = "agent"
    TOOL = "tool"
    """One tool call asked for over the API, with the same ledger and policy as an agent's."""


class WaitingOn(StrEnum):
    """What a RUNNING run waits for."""

    SESSION = "session"
    APPROVAL = "approval"
    CLIENT_TOOL = "client_tool"
    CHILD = "child"
    TIMER = "timer"
    BUDGET = "budget"
    MODEL = "model"
    """Its model fails, or its provider takes no more calls for now."""


def check_move(run_id: str, before: RunState, after: RunState) -> None:
    """Refuse an illegal move.

    Raises:
        ConflictError: the run has ended, or the move is not in the table.
    """
    if after not in _MOVES.get(before, frozenset()):
        raise ConflictError(f"run {run_id} is {before} and cannot become {after}")


class RunUsage(BaseModel):
    """What a run used so far. `cost_usd` is None while a call of it has no known price.

    Of calls whose provider never said what they used, the tokens are a guess and the cost is what
    they can have cost at most.
    """

    model_config = ConfigDict(frozen=True)

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: str | None = "0"
    model_calls: int = 0
    """Attempts that reached a provider, failed ones too."""
    tool_calls: int = 0
    """Calls that were run, or answered at once because there is no such tool."""
    turns: int = 0
    """Replies that were committed."""


def usage_of(pico: int, unpriced_calls: int, **counts: int) -> RunUsage:
    """Return the usage a ledger's counters stand for."""
    return RunUsage(cost_usd=None if unpriced_calls else to_usd(pico), **counts)


def assistant_output(
    text: str, stop_reason: str | None, degraded: str | None = None
) -> dict[str, Any]:
    """Return an answer as a run's output.

    `stop_reason` is there when the provider gave one, `degraded` when the answer is a simpler one.
    """
    output: dict[str, Any] = {"role": "assistant", "content": text}
    more = {"stop_reason": stop_reason, "degraded": degraded}
    return output | {name: value for name, value in more.items() if value is not None}


class RunError(BaseModel):
    """Why a run failed: a stable code and a sentence."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str


class ForkedFrom(BaseModel):
    """Which run this one is a fork of, and how many of its turns were kept."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    turn: int


class RunSpec(BaseModel):
    """The agent as it was when the run was accepted; later edits do not reach a run in flight."""

    model_config = ConfigDict(frozen=True)

    kind: RunKind = RunKind.AGENT
    agent_kind: AgentKind = AgentKind.LLM
    agent_name: str = ""
    instructions: str = ""
    models: tuple[str, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    endpoint: str | None = None
    rungs: tuple[int, ...] = ()
    """Places in `models` where a higher tier begins."""
    cascade: Cascade | None = None
    """What a flawed answer is weighed by; None: any flaw goes up."""
    degradation: Degradation = Degradation()
    limits: Limits = Limits()
    context: dict[str, Any] = Field(default_factory=dict)
    tool_policy: dict[str, Any] = Field(default_factory=dict)
    """What counts when the agent is gone; while it is there its policy of now does."""


class Run(BaseModel):
    """A run as its row says. Times are milliseconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    owner: str
    session_id: str | None
    agent_id: str | None
    kind: RunKind
    state: RunState
    waiting_on: WaitingOn | None
    output: dict[str, Any] | None
    error: RunError | None
    usage: RunUsage
    goal_id: str | None = None
    priority: int = 3
    parent_run_id: str | None = None
    root_run_id: str
    depth: int = 0
    created_at: int
    started_at: int | None
    ended_at: int | None
    last_seq: int
    cancel_asked: bool
    metadata: dict[str, Any]
    forked_from: ForkedFrom | None = None
    start_at: int | None = None
    """When its work begins, if that was put off."""
    deadline_at: int | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can happen to this run any more."""
        return self.state in TERMINAL


def check_caps(limits: Limits, usage: RunUsage, elapsed_seconds: float) -> None:
    """Refuse another turn when a cap is reached.

    Raises:
        LimitReachedError: `reason` is the name of the first cap that is reached.
    """
    spent = 0 if usage.cost_usd is None else to_pico(usage.cost_usd)
    reached = (
        ("max_turns", limits.max_turns, usage.turns),
        ("max_tokens", limits.max_tokens, usage.input_tokens + usage.output_tokens),
        ("max_cost_usd", to_pico(limits.max_cost_usd) if limits.max_cost_usd else None, spent),
        ("max_seconds", limits.max_seconds, elapsed_seconds),
    )
    for reason, cap, used in reached:
        if cap is not None and used >= cap:
            shown = limits.max_cost_usd if reason == "max_cost_usd" else cap
            raise LimitReachedError(f"the run reached its cap {reason} of {shown}", reason=reason)
