"""What crosses the engine: orders to activities and their short answers. Ids, never transcripts.

Everything here is stored in Temporal histories for as long as they are kept: a field may be added
with a default, never renamed or removed.
"""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from domain.agent import AgentKind, Limits
from domain.errors import InvalidRequestError
from domain.run import Run, RunKind, RunSpec, RunUsage
from domain.tool import Effect

_DECISION = 'a decision is {"approval_id": "ap_...", "decision": "approve" or "reject"}'
ASKING_SECONDS = 30.0
"""To ask for a tool that a client runs."""


class _Payload(BaseModel):
    model_config = ConfigDict(frozen=True)


class Timing(_Payload):
    """How long a run's steps may take, in seconds; from settings, fixed when the run starts."""

    heartbeat_seconds: float = 10.0
    attempt_seconds: float = 300.0
    """One attempt of a model call or an external agent."""
    retry_seconds: float = 1.0
    """Before the second attempt; doubles after that."""
    finalize_seconds: float = 10.0


class ToolOrder(_Payload):
    """What the workflow has to know of a tool to schedule a call of it."""

    name: str
    effect: Effect = Effect.NONE
    timeout_seconds: float = 30.0


class Progress(_Payload):
    """What a run carries over when it continues as a new execution."""

    turn: int = 0
    tool_calls: int = 0
    repairs: int = 0
    """Replies in a row of which nothing could run: no such tool, or arguments that do not fit."""
    started_at_ms: int | None = None
    usage: RunUsage = RunUsage()


class RunOrder(_Payload):
    """The input of a run's workflow: a snapshot, without any text of the conversation."""

    run_id: str
    kind: RunKind = RunKind.AGENT
    agent_kind: AgentKind = AgentKind.LLM
    agent_id: str = ""
    session_id: str = ""
    models: tuple[str, ...] = ()
    rungs: tuple[int, ...] = ()
    """Places in `models` where a higher tier begins."""
    degraded_from: int | None = None
    """The place in `models` behind the chain, where the simpler answers begin."""
    tools: tuple[ToolOrder, ...] = ()
    limits: Limits = Limits()
    timing: Timing = Timing()
    queued: bool = False
    """Whether the run has to wait for its session first."""
    start_at_ms: int | None = None
    """When its work begins; None: at once."""
    deadline_ms: int | None = None
    progress: Progress = Progress()


class ChatOrder(_Payload):
    """One model call: the `index`-th model of the chain in `turn`."""

    run_id: str
    step_id: str
    model: str
    has_next: bool = False
    """Whether another model stands behind this one, so that a long wait is not worth it."""
    retry_seconds: float = 1.0
    seconds_left: float | None = None
    fallback_from: str | None = None
    fallback_reason: str | None = None
    fallback_step: str | None = None
    escalates: bool = False
    """Whether a higher tier stands behind this model, so that a weak answer need not count."""
    escalated_from: str | None = None
    """The step whose answer was too weak."""
    degraded: bool = False
    """Whether this is one of the simpler answers behind the chain."""


class CallTicket(_Payload):
    """A tool call that a reply asks for."""

    step_id: str
    tool: str


class ChatReply(_Payload):
    """How a model call ended. `usage` is the run's total after it."""

    calls: tuple[CallTicket, ...] = ()
    refused: int = 0
    """Calls that were answered at once, because the run has no such tool."""
    usage: RunUsage = RunUsage()
    goes_on: bool = False
    """In a fork: somebody said more after this reply, so it is not the end."""
    cut_by: str | None = None
    """What cut the answer short: `max_tokens`, `max_cost_usd`, or `budget_exhausted`."""
    waits_for: str | None = None
    """What has to be before the call is made: the budget that a person is asked to raise."""
    waits_on: str = "budget"
    """Or `timer`: it is only put off."""
    expires_in_seconds: float | None = None
    """When to look again, if nobody raises it."""
    weak: str | None = None
    """Why the answer does not count, where a higher tier is asked next."""


class InvokeOrder(_Payload):
    """One call to an external agent."""

    run_id: str
    step_id: str
    agent_id: str = ""
    retry_seconds: float = 1.0


class ToolCallOrder(_Payload):
    """One execution of a tool call."""

    run_id: str
    step_id: str
    timeout_seconds: float
    retry_seconds: float = 1.0


class ChildOrder(_Payload):
    """A run to start as a child. `summary` is what the Temporal UI shows of it."""

    run: RunOrder
    summary: str
    goal_id: str | None = None


class ToolReply(_Payload):
    """How a tool call ended: `succeeded`, `failed`, `timeout`, `rejected`.

    Or what it waits for: a person with `outcome_unknown`, `waiting_approval`, a run with
    `waiting_child`, a client that runs it with `waiting_client`.
    """

    status: str
    tool_call_id: str | None = None
    expires_in_seconds: float | None = None
    """When to look again, if nobody decided or answered."""
    child: ChildOrder | None = None
    """The run that this call made, while no workflow has begun it."""
    invalid: bool = False
    """Whether nothing was begun because the arguments are no JSON, or not as the schema says."""


class DecisionOrder(_Payload):
    """An answer that somebody sent to the workflow itself, by signal or update.

    Fields that it does not know are kept, so that the answer can be refused in words.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    approval_id: str
    decision: str
    """`approve` or `reject`."""
    reason: str | None = None
    edited_args: dict[str, Any] | None = None
    args_digest: str | None = None

    @field_validator("edited_args")
    @classmethod
    def _is_json(cls, args: dict[str, Any] | None) -> dict[str, Any] | None:
        json.dumps(args, allow_nan=False)
        return args


def decision_of(given: object) -> DecisionOrder:
    """Return the answer that any JSON stands for.

    Raises:
        InvalidRequestError: it is none; says what is wrong with which field.
    """
    if not isinstance(given, dict):
        raise InvalidRequestError(f"{_DECISION}; this is no JSON object")
    try:
        return DecisionOrder.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidRequestError(f"{_DECISION}; {place}: {first['msg']}"[:1000]) from error


class DecisionReply(_Payload):
    """What became of it: whether it counts, and the state of the question in a sentence."""

    accepted: bool
    said: str


def order_of(run: Run, spec: RunSpec, *, queued: bool, timing: Timing | None = None) -> RunOrder:
    """Return the input of a run's workflow."""
    return RunOrder(
        run_id=run.run_id,
        kind=run.kind,
        agent_kind=spec.agent_kind,
        agent_id=run.agent_id or "",
        session_id=run.session_id or "",
        models=(*spec.models, *spec.degradation.models_behind()),
        rungs=spec.rungs,
        degraded_from=len(spec.models) if spec.degradation.models_behind() else None,
        tools=tuple(
            ToolOrder(
                name=tool.name,
                effect=tool.effect,
                # A client's tool is only asked for here; the request keeps its own time.
                timeout_seconds=ASKING_SECONDS if tool.client else tool.timeout_seconds,
            )
            for tool in spec.tools
        ),
        limits=spec.limits,
        timing=timing or Timing(),
        queued=queued,
        start_at_ms=run.start_at,
        deadline_ms=run.deadline_at,
    )


def summary_of_run(run: Run, spec: RunSpec) -> str:
    """Return what the Temporal UI shows of a run."""
    what = spec.tools[0].name if run.kind is RunKind.TOOL else run.agent_id
    return f"{run.kind} {what}"[:200]


class FinishOrder(_Payload):
    """A terminal move for the store to make. `state` is a terminal `RunState`.

    `engine_asked` says that the engine was asked to cancel the workflow, which it has to be before
    it can close one as cancelled.
    """

    run_id: str
    state: str
    code: str | None = None
    message: str = ""
    dead_letter_step: str | None = None
    engine_asked: bool = False
    turn: int = 0


class RunResult(_Payload):
    """The state on record, with which the workflow ends."""

    state: str
    code: str | None = None
    message: str = ""


class BeginReply(_Payload):
    """Whether a run's work may begin; `seconds_left` while it is too early."""

    state: str
    seconds_left: float | None = None


class TurnOrder(_Payload):
    """Ask the store about a run: whether it may work now, what is new of its calls."""

    run_id: str


class FireOrder(_Payload):
    """The input of a firing's workflow: whose time has come. `revision` tells versions apart."""

    uid: str
    revision: int = 0


class FireRequest(_Payload):
    """Ask for the run of a firing. `scheduled_at` is the time that has come, in ms."""

    uid: str
    firing_id: str
    scheduled_at: int


class StartTicket(_Payload):
    """Everything a workflow needs to start a run's workflow as a child."""

    workflow_id: str
    order: RunOrder
    summary: str
    attributes: dict[str, str]
    priority: int
    fairness_key: str


class FireReply(_Payload):
    """What to start for a firing; without a ticket there is nothing to start, and why."""

    ticket: StartTicket | None = None
    run_id: str | None = None
    code: str | None = None
    message: str = ""
    state: str = ""
    """`refused`, `gone`, or that of the run."""


class FiringEnd(_Payload):
    """How a firing's run stands. `state` is a `RunState`."""

    state: str
    is_over: bool
    code: str | None = None
    message: str = ""
