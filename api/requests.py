"""What callers send. Unknown fields are refused, and no value is coerced to another type."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from api.late import LateModel
from api.moments import YEAR_SECONDS, Instant, Moment, Time
from api.printable import misleads
from api.schemas import HostId, checkable_schema, each_once, no_parameters, object_schema
from domain.agent import RESERVED_IDS, AgentId
from domain.approval import REASON_CHARS
from domain.policy import ToolPolicy
from domain.principal import Scope
from domain.session import SessionId


def _plain_name(text: str) -> str:
    if misleads(text):
        said = "it holds control characters, or marks that turn the direction of text"
        raise PydanticCustomError("name", said)
    return text


def _free_id(agent_id: str) -> str:
    if agent_id in RESERVED_IDS:
        raise PydanticCustomError("reserved", "this id is reserved; take another one")
    return agent_id


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain_name)]
NewAgentId = Annotated[AgentId, AfterValidator(_free_id)]
Text = Annotated[str, Field(max_length=1_000_000)]
JsonObject = dict[str, Any]
Tools = Annotated[list[Name], Field(max_length=200), AfterValidator(each_once)]
GoalKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}$")]
Money = Annotated[str, Field(pattern=r"^\d{1,9}(\.\d{1,12})?$", examples=["0.50"])]


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "it holds nothing but white space")
    return text


Said = Annotated[
    str,
    Field(min_length=1, max_length=1_000_000, json_schema_extra={"pattern": r"\S"}),
    AfterValidator(_not_blank),
]
"""What a person says: any text but white space alone."""
_SAID: TypeAdapter[str] = TypeAdapter(Said)


def left_out() -> Any:  # noqa: ANN401 -- fits every field
    """Return what stands for a field that was not sent; a null that was sent is refused."""
    return None


class Body(LateModel):
    """A strict request body."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _shown(**example: object) -> ConfigDict:
    shown: Any = example  # pydantic takes dicts of its own alias alone
    return ConfigDict(json_schema_extra={"examples": [shown]})


class LimitsBody(Body):
    """Caps of a run; each ends it with its own reason. A start can only lower its agent's."""

    max_turns: Annotated[int, Field(ge=1, le=10_000)] | None = None
    max_tool_calls: Annotated[int, Field(ge=0, le=100_000)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=10**12)] | None = None
    max_cost_usd: Money | None = None
    max_seconds: Annotated[float, Field(gt=0, le=31_536_000)] | None = None
    max_depth: Annotated[int, Field(ge=0, le=10)] | None = None
    max_children: Annotated[int, Field(ge=0, le=1000)] | None = None
    max_spawns: Annotated[int, Field(ge=0, le=10_000)] | None = None


class InputMessage(Body):
    """What a person says."""

    role: Literal["user"]
    content: Said


def _said_or_message(value: object, _any: ValidatorFunctionWrapHandler) -> str | InputMessage:
    """Choose by what was sent, so that a mistake is named once and by its place in the body."""
    if isinstance(value, str):
        return _SAID.validate_python(value)
    if isinstance(value, (dict, InputMessage)):
        return InputMessage.model_validate(value)
    raise PydanticCustomError("input_kind", "send a text, or an object with role and content")


Input = Annotated[Said | InputMessage, WrapValidator(_said_or_message)]


class ClientToolBody(Body):
    """A tool that a client runs."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: Annotated[str, Field(min_length=1, max_length=10_000)]
    parameters: Annotated[
        JsonObject, AfterValidator(object_schema), Field(description="JSON Schema of an object.")
    ] = Field(default_factory=no_parameters)
    effect: Annotated[
        Literal["none", "idempotent", "unsafe"],
        Field(description="What a second execution of the same call would do to the world."),
    ] = "unsafe"
    timeout_seconds: Annotated[float, Field(gt=0, le=31_536_000)] = 60.0
    offline: Annotated[
        Literal["fail", "wait"] | None,
        Field(description="While no client is there: fail at once (hosts) or wait (a start)."),
    ] = None
    result_schema: Annotated[
        Annotated[JsonObject, AfterValidator(checkable_schema)] | None,
        Field(description="JSON Schema that results have to fit."),
    ] = None
    untrusted: Annotated[bool, Field(description="What it returns may hold text of strangers.")] = (
        True
    )


class RequiresBody(Body):
    """What the agent of a run has to have, whether it is named or chosen."""

    tools: Annotated[
        list[Name],
        Field(max_length=100, description="Tools that it has to hold, besides `client_tools`."),
    ] = Field(default_factory=list)


class StartRunBody(Body):
    """A run to start."""

    input: Input
    agent_id: AgentId | None = None
    session_id: SessionId | None = None
    on_busy: Annotated[
        Literal["enqueue", "reject", "interrupt", "steer"] | None,
        Field(description="What to do while a run holds the session; default: the session's own."),
    ] = None
    context: JsonObject = Field(default_factory=dict)
    limits: LimitsBody | None = None
    goal_id: Annotated[
        GoalKey | None, Field(description="What it is for; its children are for the same.")
    ] = None
    priority: Annotated[int, Field(ge=1, le=5, description="1 comes first, 5 last.")] = 3
    start_delay: Annotated[
        float | None,
        Field(ge=0, le=YEAR_SECONDS, description="Seconds until its work begins."),
    ] = None
    start_at: Annotated[Time | None, Field(description="When its work begins.")] = None
    deadline: Annotated[
        Moment | None,
        Field(description="It fails `deadline_exceeded` if not done: a time, or seconds from now."),
    ] = None
    metadata: JsonObject = Field(default_factory=dict)
    client_tools: Annotated[
        list[ClientToolBody],
        Field(max_length=100, description="Tools of this run that a client of yours runs."),
    ] = Field(default_factory=list)
    tool_host_id: Annotated[
        HostId | None,
        Field(description="The tool host that runs `client_tools`; null: whoever claims them."),
    ] = None
    requires: Annotated[
        RequiresBody | None,
        Field(description="What its agent has to have, else 422; only such agents are chosen."),
    ] = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"input": "What is 6 * 7?", "agent_id": "assistant"}]}
    )


class CancelBody(Body):
    """Why a run is to stop."""

    reason: Annotated[str, Field(max_length=1000)] | None = None
    model_config = _shown(reason="asked by mistake")


class SessionBody(Body):
    """A session to make."""

    session_id: SessionId | None = None
    agent_id: AgentId | None = None
    on_busy: Literal["enqueue", "reject", "interrupt", "steer"] = "enqueue"
    metadata: JsonObject = Field(default_factory=dict)
    model_config = _shown(session_id="support-17", agent_id="assistant", on_busy="enqueue")


class SessionChanges(Body):
    """What to change of a session; a field that is left out stays."""

    agent_id: AgentId | None = None
    on_busy: Literal["enqueue", "reject", "interrupt", "steer"] = Field(default_factory=left_out)
    metadata: JsonObject = Field(default_factory=left_out)
    model_config = _shown(on_busy="reject")


class DegradationBody(Body):
    """What an agent says when none of its models can: each level simpler than the one before."""

    models: Annotated[
        list[Name],
        Field(max_length=20, description="Asked without tools, when the chain has failed."),
    ] = Field(default_factory=list)
    keywords: Annotated[
        dict[Name, Text],
        Field(max_length=200, description="Answers by a word or phrase of the request."),
    ] = Field(default_factory=dict)
    static: Annotated[
        Annotated[str, Field(min_length=1, max_length=20_000)] | None,
        Field(description="The answer when nothing else can be said."),
    ] = None


class AgentFields(Body):
    """What an agent is made of."""

    description: Annotated[str, Field(max_length=10_000)] = ""
    instructions: Text = ""
    models: Annotated[list[Name], Field(max_length=20)] = Field(default_factory=list)
    tools: Tools = Field(default_factory=list)
    endpoint: Annotated[str, Field(max_length=2000)] | None = None
    capabilities: Annotated[list[Name], Field(max_length=100)] = Field(default_factory=list)
    limits: LimitsBody = Field(default_factory=LimitsBody)
    degradation: DegradationBody = Field(default_factory=DegradationBody)
    escalate: Annotated[
        bool,
        Field(description="A weak answer of a lower tier goes to a model of a higher one."),
    ] = False
    tool_policy: Annotated[
        ToolPolicy, Field(description="Which tool calls run at once, are asked for, or may not be.")
    ] = ToolPolicy()
    metadata: JsonObject = Field(default_factory=dict)


class AgentBody(AgentFields):
    """An agent to register."""

    agent_id: NewAgentId
    kind: Literal["llm", "http"] = "llm"
    name: Name

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "agent_id": "tutor",
                    "name": "Tutor",
                    "description": "explains mathematics",
                    "instructions": "Explain step by step.",
                    "models": ["offline/assistant"],
                    "tools": ["calculator"],
                }
            ]
        }
    )


class AgentChanges(Body):
    """What to change of an agent; a field that is left out stays."""

    name: Name = Field(default_factory=left_out)
    description: Annotated[str, Field(max_length=10_000)] = Field(default_factory=left_out)
    instructions: Text = Field(default_factory=left_out)
    models: Annotated[list[Name], Field(max_length=20)] = Field(default_factory=left_out)
    tools: Tools = Field(default_factory=left_out)
    endpoint: Annotated[str, Field(max_length=2000)] | None = None
    capabilities: Annotated[list[Name], Field(max_length=100)] = Field(default_factory=left_out)
    limits: LimitsBody = Field(default_factory=left_out)
    degradation: DegradationBody = Field(default_factory=left_out)
    escalate: bool = Field(default_factory=left_out)
    tool_policy: ToolPolicy = Field(default_factory=left_out)
    metadata: JsonObject = Field(default_factory=left_out)
    model_config = _shown(instructions="Answer in one sentence.", tools=["calculator"])


class InvokeToolBody(Body):
    """One tool call to make. With `run_id` it becomes a child of that run."""

    args: JsonObject = Field(default_factory=dict)
    run_id: Annotated[str, Field(pattern=r"^run_[A-Za-z0-9_-]{1,100}$")] | None = None
    idempotency_key: Annotated[str, Field(pattern=r"^[\x20-\x7e]{1,255}$")] | None = None
    timeout_ms: Annotated[int, Field(ge=1, le=3_600_000)] | None = None
    model_config = _shown(args={"expression": "6 * 7"}, timeout_ms=5000)


class ResolveBody(Body):
    """What is known of a tool call whose outcome was unknown."""

    outcome: Literal["happened", "not_happened", "give_up"]
    result: Annotated[Any, Field(description="What the tool said; for `happened`.")] = None
    model_config = _shown(outcome="happened", result={"receipt": "r-17"})


class DecideBody(Body):
    """An answer to an approval. `decided_by` is taken for seed B's sake, and means nothing."""

    decision: Literal["approve", "reject", "approved", "rejected", "APPROVED", "REJECTED"]
    reason: (
        Annotated[str, Field(max_length=REASON_CHARS, description="The model reads it.")] | None
    ) = None
    edited_args: Annotated[
        JsonObject | None,
        Field(
            description="Run it with these arguments instead. They have to fit the tool (else 422),"
            " and the policy must not block them (else 409)."
        ),
    ] = None
    args_digest: Annotated[
        str | None,
        Field(pattern=r"^[0-9a-f]{64}$", description="Decide only if this is what is asked about."),
    ] = None
    remember: Annotated[
        Literal["none", "session", "agent"],
        Field(
            description="Ask no more for this tool, until the agent's policy changes. Refused (422)"
            " where `may_remember` is false."
        ),
    ] = "none"
    decided_by: Annotated[str | None, Field(max_length=200, description="Ignored.")] = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"decision": "approve", "reason": "agreed by phone"}]}
    )


class KeyBody(Body):
    """An API key to make. Only the operator's own key may name another owner."""

    name: Name
    scopes: Annotated[list[Annotated[Scope, Field(strict=False)]], Field(min_length=1)]
    owner: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,99}$")] | None = None
    expires_at: Annotated[Instant, Field(strict=False)] | None = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "ci", "scopes": ["read", "invoke"]}]}
    )


class SeedInvokeBody(Body):
    """Seed B's way to start a run."""

    session_id: SessionId
    agent_id: AgentId
    input_message: InputMessage
    request_id: Annotated[str, Field(pattern=r"^[\x20-\x7e]{1,255}$")] | None = None
    context: JsonObject = Field(default_factory=dict)

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "session_id": "sess_001",
                    "agent_id": "demo_agent",
                    "input_message": {"role": "user", "content": "Hello, how are you?"},
                }
            ]
        }
    )


class PoolRequestBody(Body):
    """Seed C's way to use a tool."""

    tool_name: Name
    params: JsonObject = Field(default_factory=dict)

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"tool_name": "calculator", "params": {"operation": "add", "a": 2, "b": 3}}
            ]
        }
    )
