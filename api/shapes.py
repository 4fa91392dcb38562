"""What callers get, for the OpenAPI document. The contract tests hold the answers to it."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from domain.agent import AgentKind
from domain.principal import Scope
from domain.run import RunKind, RunState, WaitingOn
from domain.session import OnBusy
from domain.tool import Effect, Resolution, ToolCallStatus

Money = Annotated[str | None, Field(description="USD, null while unpriced.", examples=["0.0125"])]
JsonObject = dict[str, Any]


class Shape(BaseModel):
    """An answer; nothing else stands in it."""

    model_config = ConfigDict(extra="forbid")


class Page(Shape):
    """What every list ends with."""

    has_more: bool
    next_cursor: str | None


class FieldError(Shape):
    """One wrong field."""

    field: str
    message: str


class ProblemOut(Shape):
    """A failure, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: Annotated[str, Field(description="Stable; the text is for people.")]
    request_id: str
    errors: list[FieldError] | None = None


class CodeAndMessage(Shape):
    """A stable code and a sentence."""

    code: str
    message: str


class SeedErrorOut(Shape):
    """A failure on a seed's path."""

    error: CodeAndMessage


class OpenAiFault(Shape):
    """What went wrong, as OpenAI says it."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAiErrorOut(Shape):
    """A failure on an OpenAI path."""

    error: OpenAiFault


class MessageText(Shape):
    """Who said what."""

    role: str
    content: str


class UsageOut(Shape):
    """What a run used so far."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: Money
    model_calls: int
    tool_calls: int
    turns: int


class RunLinks(Shape):
    """Where to go from a run."""

    events: str
    temporal_ui: str | None


class RunOut(Shape):
    """One piece of work by one agent."""

    run_id: str
    session_id: str | None
    agent_id: str | None
    kind: RunKind
    state: RunState
    waiting_on: WaitingOn | None
    output: MessageText | None
    error: CodeAndMessage | None
    usage: UsageOut
    goal_id: str | None
    priority: int
    parent_run_id: str | None
    root_run_id: str
    depth: int
    created_at: AwareDatetime
    started_at: AwareDatetime | None
    ended_at: AwareDatetime | None
    links: RunLinks
    metadata: JsonObject


class RunList(Page):
    """A page of runs."""

    runs: list[RunOut]


class EventOut(Shape):
    """One entry of a run's log."""

    event_id: str
    run_id: str
    seq: int
    ts: Annotated[int, Field(description="Milliseconds since the epoch.")]
    type: str
    data: JsonObject
    root_run_id: str
    parent_run_id: str | None
    depth: int


class EventList(Page):
    """A page of events; `next_cursor` is the next `after_seq`."""

    events: list[EventOut]


class SessionOut(Shape):
    """A conversation."""

    session_id: str
    agent_id: str | None
    on_busy: OnBusy
    message_count: int
    token_count: int
    active_run_id: str | None
    queued_run_ids: list[str]
    created_at: AwareDatetime
    metadata: JsonObject


class SessionList(Page):
    """A page of sessions."""

    sessions: list[SessionOut]


class ToolCallAsked(Shape):
    """A call that a model asked for; `arguments` as it wrote them."""

    call_id: str
    name: str
    arguments: str


class MessageOut(Shape):
    """One entry of a transcript; `seq` is null while its run waits for the session."""

    message_id: str
    session_id: str
    run_id: str | None
    seq: int | None
    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: list[ToolCallAsked] | None = None
    tool_call_id: str | None = None
    agent_id: str | None = None
    tokens: int
    created_at: AwareDatetime


class MessageList(Page):
    """A page of a transcript."""

    messages: list[MessageOut]


class ClearedOut(Shape):
    """How many messages went."""

    deleted: int


class LimitsOut(Shape):
    """Caps of each run of an agent; null means the default."""

    max_turns: int | None
    max_tool_calls: int | None
    max_tokens: int | None
    max_cost_usd: Money
    max_seconds: float | None


class AgentOut(Shape):
    """Something that can do a run."""

    agent_id: str
    kind: AgentKind
    name: str
    description: str
    instructions: str
    models: list[str]
    tools: list[str]
    endpoint: str | None
    capabilities: list[str]
    limits: LimitsOut
    tool_policy: JsonObject
    status: str
    metadata: JsonObject
    created_at: AwareDatetime
    updated_at: AwareDatetime


class AgentList(Page):
    """A page of agents."""

    agents: list[AgentOut]


class ToolOut(Shape):
    """A function with a JSON Schema."""

    name: str
    description: str
    parameters: JsonObject
    effect: Effect
    timeout_seconds: float
    source: str


class ToolList(Page):
    """The tools."""

    tools: list[ToolOut]


class ToolCallOut(Shape):
    """One invocation of a tool."""

    tool_call_id: str
    run_id: str
    step: str
    tool_name: str
    args: Any
    status: ToolCallStatus
    result: Any
    error: CodeAndMessage | None
    effect: Effect
    idempotency_key: str
    resolution: Resolution | None
    resolved_by: str | None
    created_at: AwareDatetime
    ended_at: AwareDatetime | None


class ToolCallList(Page):
    """A page of tool calls."""

    tool_calls: list[ToolCallOut]


class InvokedOut(Shape):
    """How a tool call went. Exactly one of `result`, `reason`, `error` is there."""

    status: Literal["succeeded", "pending", "failed"]
    tool_call_id: str
    run_id: str
    result: Any = None
    reason: str | None = None
    error: CodeAndMessage | None = None


class PriceOut(Shape):
    """USD per million tokens, null while unknown."""

    input_per_mtok_usd: Money
    output_per_mtok_usd: Money
    cached_input_per_mtok_usd: Money


class ModelOut(Shape):
    """A model in OpenAI's shape, with our fields beside."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    provider: str
    configured: bool
    context_window: int | None
    price: PriceOut


class ModelList(Page):
    """The models, in OpenAI's list shape."""

    object: Literal["list"]
    data: list[ModelOut]


class KeyOut(Shape):
    """An API key; its secret is shown once, when it is made."""

    key_id: str
    name: str
    prefix: str
    owner: str
    scopes: list[Scope]
    created_at: AwareDatetime
    expires_at: AwareDatetime | None
    revoked_at: AwareDatetime | None


class NewKeyOut(KeyOut):
    """A new API key with its secret."""

    key: str


class KeyList(Page):
    """A page of API keys."""

    keys: list[KeyOut]


class CheckOut(Shape):
    """What one check found."""

    ok: bool
    detail: str | None


class HealthOut(Shape):
    """How the product is. It answers 200 as long as the process can."""

    status: Literal["ok", "degraded", "draining"]
    version: str
    uptime_seconds: float
    checks: dict[str, CheckOut]


class ReadyOut(Shape):
    """Whether work can be taken and done."""

    ready: bool
    checks: dict[str, CheckOut]


class AliveOut(Shape):
    """The process answers."""

    status: Literal["ok"]


class VersionOut(Shape):
    """What runs here."""

    name: str
    version: str


class SeedInvokedOut(Shape):
    """A run that was started, as seed B answers."""

    run_id: str
    session_id: str
    agent_id: str | None


class PoolAnswerOut(Shape):
    """How a request to the pool went, as seed C answers."""

    request_id: str
    tool_call_id: str
    tool_name: str
    success: bool
    result: Any
    error: str | None
    duration_ms: int


class SlotOut(Shape):
    """One place of a worker where steps run: seed C calls it an agent of the pool."""

    id: str
    state: str
    current_step: str | None
    processed: int
    succeeded: int
    failed: int
    busy_ms: int
    utilization: float
    started_at: AwareDatetime


class SlotList(Shape):
    """The pool."""

    agents: list[SlotOut]
    count: int


class PoolToolList(Shape):
    """The pool's tools."""

    tools: list[ToolOut]
    count: int


class PoolStatsOut(Shape):
    """Figures of the pool and its requests. Times in milliseconds."""

    total_requests: int
    successful_requests: int
    failed_requests: int
    cancelled_requests: int
    active_requests: int
    queue_capacity: int
    success_rate: float | None
    average_processing_ms: float | None
    p50_processing_ms: float | None
    p95_processing_ms: float | None
    wait_p95_ms: float | None
    total_agents: int
    idle_agents: int
    busy_agents: int
    agent_utilization: float
    agents: list[SlotOut]
