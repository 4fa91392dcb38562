"""Steps: the logical calls of a run, and the fence that makes each happen once.

A step is known by run id and step id; the step id is also the Temporal activity id. Each execution
of it is an attempt with a number that the store mints.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from domain.bounds import NOTHING_BOUND, CallBound, PriceOverride
from domain.chat import ChatMessage, TokenUsage, ToolCallRequest
from domain.event import EventDraft
from domain.run import RunSpec, RunState, RunUsage
from domain.tool import ToolOutcome

TOLD_MS = 2000
"""A longer wait for a model is told to whoever watches; shorter ones are a matter of course."""
WRITTEN = "degraded/"
"""Begins the names of answers for which no provider is asked."""
KEPT = f"{WRITTEN}kept"
"""In place of a model: the answer that was too weak counts after all."""


class StepState(StrEnum):
    """Where a step stands."""

    OPEN = "open"
    """An attempt runs, or its worker died."""
    IDLE = "idle"
    """The last attempt ended without an outcome and another may come."""
    CLOSED = "closed"
    """Its result is stored; further executions return it."""
    UNKNOWN = "unknown"
    """An unsafe tool that may have acted: a person decides."""


@dataclass(frozen=True, slots=True)
class Execution:
    """Who opens a step: one attempt of one activity of one Temporal run.

    `scheduled_at_us` is Temporal's `current_attempt_scheduled_time` in microseconds. `token` is the
    task token, with which this very attempt can be failed from outside.
    """

    run_id: str
    step_id: str
    temporal_run_id: str
    scheduled_at_us: int
    token: bytes
    worker_id: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """The name under which everything of one execution of a step is written."""

    run_id: str
    step_id: str
    number: int


@dataclass(frozen=True, slots=True)
class CallPlan:
    """The model call that a step is about to make.

    Rates are picodollars per token, None while unpriced: they price an attempt that dies. The
    fallback fields say, for the first attempt of a later model of the chain, which model failed and
    why, and which step's streamed text is now void.
    """

    model: str
    input_rate: int | None = None
    output_rate: int | None = None
    max_output: int = 4096
    """The longest reply that would be asked for, were there no caps."""
    has_next: bool = False
    """Whether another model stands behind this one."""
    fallback_from: str | None = None
    fallback_reason: str | None = None
    fallback_step: str | None = None
    escalated_from: str | None = None
    """The step whose answer was too weak."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The step is ours: attempt number, and what the work needs.

    `messages` is None when the transcript is long: it is then read apart.
    """

    attempt: int
    spec: RunSpec
    owner: str
    session_id: str | None
    agent_id: str | None
    usage: RunUsage
    messages: tuple[ChatMessage, ...] | None
    content: str
    """The text of the run's input."""
    args: str = "{}"
    tool_call_id: str | None = None
    idempotency_key: str = ""
    """Of the tool call; in a fork that of the original."""
    failures: int = 0
    bound: CallBound = NOTHING_BOUND
    """What a model call can use at most: what is held for it, and its `max_tokens`."""
    cut_by: str | None = None
    """Which cap made `bound.output_tokens` lower than usual, if one did."""
    price: PriceOverride | None = None
    """What somebody set as the model's price, if anybody did."""
    rejected: tuple[str, str] | None = None
    """The answer of a lower tier and why it does not count, where this model is to do better."""


@dataclass(frozen=True, slots=True)
class AlreadyClosed:
    """The step has a stored result."""

    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """An unsafe tool was opened before and never closed; it is not run again."""

    tool_call_id: str


@dataclass(frozen=True, slots=True)
class AwaitingApproval:
    """A person is asked first; nothing was opened. `expires_in_ms` is None for ever."""

    tool_call_id: str
    approval_id: str
    expires_in_ms: int | None


@dataclass(frozen=True, slots=True)
class AwaitingChild:
    """The call made a run and waits for its end; nothing was opened."""

    tool_call_id: str


@dataclass(frozen=True, slots=True)
class AwaitingClient:
    """A client was asked to run the call, and has so long; nothing was opened."""

    tool_call_id: str
    expires_in_ms: int


@dataclass(frozen=True, slots=True)
class AwaitingBudget:
    """A person is asked to raise a budget first; nothing was opened."""

    approval_id: str
    budget_id: str
    expires_in_ms: int | None = None
    """When to look again although nobody said anything: a budget by day begins anew."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """The call may not be made, or not now; nothing was opened.

    `code` is `budget_exhausted` or `budget_degraded` (no budget covers it), `budget_busy` (a budget
    or a cap will if calls under way use less than is held for them), `circuit_open` (the model
    keeps failing) or `model_rate_limited`; `wait_ms` says when to ask again, if that is known.
    """

    code: str
    message: str
    wait_ms: int | None = None
    until: int | None = None
    """When the reason ends, as far as is known now, in ms: whoever waits may look before."""


@dataclass(frozen=True, slots=True)
class Older:
    """A newer attempt was scheduled already; ask Temporal which one it wants."""

    attempt: int


Opening = (
    Opened
    | AlreadyClosed
    | OutcomeUnknown
    | AwaitingApproval
    | AwaitingChild
    | AwaitingClient
    | AwaitingBudget
    | Withheld
    | Older
)


@dataclass(frozen=True, slots=True)
class Beginning:
    """Whether a run's work may begin: `held`, `queued`, `ended`; or `early`, for how long yet."""

    state: str
    early_ms: int | None = None


@dataclass(frozen=True, slots=True)
class CallBill:
    """What one attempt of a model call used. `cost_pico` is None while unpriced."""

    model: str
    usage: TokenUsage
    cost_pico: int | None
    estimated: bool
    latency_ms: int
    error: dict[str, str] | None = None
    retry_after_ms: int | None = None
    """How long the provider told us to stay away."""
    stop_reason: str | None = None
    """Why the provider stopped: `stop`, `length`, `tool_calls`, `content_filter`."""

    @property
    def tokens(self) -> int:
        """Return all tokens, of the request and of the reply."""
        return self.usage.input_tokens + self.usage.output_tokens


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to add to the transcript when a step closes."""

    message_id: str
    role: str
    content: str
    tool_calls: tuple[ToolCallRequest, ...] = ()
    tool_call_id: str | None = None
    tokens: int = 0
    arrival: int | None = None
    """Its place among what came while its session was held; None for what has a place at once."""


@dataclass(frozen=True, slots=True)
class NewToolCall:
    """A tool call to create when a step closes. `step_id` will run it."""

    tool_call_id: str
    step_id: str
    name: str
    args: str
    effect: str
    provider_call_id: str
    kind: str = "server"
    """Where it runs: `server` or `client`."""


@dataclass(frozen=True, slots=True)
class Closing:
    """Everything that one step's end writes, in one transaction.

    `last_delta` is the text that was not streamed yet, `delta_index` its place in the attempt; with
    `replaces_stream` it is the whole text, and what was streamed is void.
    `refused` holds calls that are answered at once, because no such tool may be called.
    """

    result: dict[str, Any]
    events: tuple[EventDraft, ...] = ()
    messages: tuple[NewMessage, ...] = ()
    tool_calls: tuple[NewToolCall, ...] = ()
    refused: tuple[tuple[NewToolCall, ToolOutcome], ...] = ()
    last_delta: str = ""
    delta_index: int = 0
    replaces_stream: bool = False
    bill: CallBill | None = None
    is_turn: bool = False
    final_text: str | None = None
    degraded: str | None = None
    """How a simpler answer is labelled."""


@dataclass(frozen=True, slots=True)
class Finish:
    """A terminal move to make: which state, and why."""

    state: RunState
    code: str | None = None
    message: str = ""
    dead_letter_step: str | None = None
    turn: int = 0
    """The last turn that was done."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The state on record, and whose turn it is now in the session."""

    state: RunState
    code: str | None = None
    message: str = ""
    woken_run_id: str | None = None
    changed: bool = False
    parent_run_id: str | None = None
    """The run that waits for this one's end."""
    stops_below: bool = False
    """Whether runs below this one were asked to stop and have not ended."""
    firing_id: str | None = None
    """The firing of a schedule that waits for this end."""


def milliseconds(wait: int | None) -> timedelta | None:
    """Return a wait as errors carry it."""
    return None if wait is None else timedelta(milliseconds=wait)


def llm_step(turn: int, index: int) -> str:
    """Return the step id of the `index`-th model of the chain in `turn`, both from 1."""
    return f"llm-{turn}-{index}"


def invoke_step(turn: int) -> str:
    """Return the step id of a call to an external agent."""
    return f"invoke-{turn}"


def tool_step(turn: int, index: int) -> str:
    """Return the step id of the `index`-th tool call of `turn`, from 1 and 0."""
    return f"tool-{turn}-{index}"


def step_place(step_id: str) -> tuple[int, ...]:
    """Return a step's turn and index, to sort by: `tool-1-10` comes after `tool-1-9`."""
    return tuple(int(part) for part in step_id.split("-")[1:])
