"""What a tool is, one call of it, and what may be done with an outcome. Runs nothing."""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from domain.chat import ToolDefinition

SPAWN_TOOL = "spawn_run"
"""The tool by which a run makes child runs; no other may be named so."""


class Effect(StrEnum):
    """What a second execution of the same call would do to the world."""

    NONE = "none"
    """Nothing: reads and computations."""
    IDEMPOTENT = "idempotent"
    """Nothing more than the first, because the tool honours the idempotency key."""
    UNSAFE = "unsafe"
    """Possibly a second side effect: never run again once it may have started."""


class ToolCallStatus(StrEnum):
    """Where a tool call stands."""

    CREATED = "created"
    WAITING_APPROVAL = "waiting_approval"
    WAITING_CHILD = "waiting_child"
    DISPATCHED = "dispatched"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMEOUT = "timeout"
    REJECTED = "rejected"
    OUTCOME_UNKNOWN = "outcome_unknown"


OPEN_STATUSES = frozenset(
    {
        ToolCallStatus.CREATED,
        ToolCallStatus.WAITING_APPROVAL,
        ToolCallStatus.WAITING_CHILD,
        ToolCallStatus.DISPATCHED,
        ToolCallStatus.RUNNING,
    }
)


class Resolution(StrEnum):
    """What a person says of a call whose outcome is unknown."""

    HAPPENED = "happened"
    NOT_HAPPENED = "not_happened"
    GIVE_UP = "give_up"


class Verdict(BaseModel):
    """What was said of an unknown outcome, and by which credential. `result` is what the tool said.

    `result` counts for `happened` only.
    """

    model_config = ConfigDict(frozen=True)

    resolution: Resolution
    by: str
    result: str = ""


class Offline(StrEnum):
    """What becomes of a call whose client is not there."""

    FAIL = "fail"
    """The model reads so at once."""
    WAIT = "wait"
    """The call waits for a client until its timeout."""


class Audience(StrEnum):
    """Who may answer a client's tool."""

    OWNER = "owner"
    """Whoever holds a key of the run's owner: the client that started the run."""
    HOST = "host"
    """One tool host."""
    HOSTS = "hosts"
    """Every tool host that registered the tool."""


class ClientSide(BaseModel):
    """How a client's tool is reached. `result_schema`: what its results have to fit."""

    model_config = ConfigDict(frozen=True)

    audience: Audience
    host_id: str | None = None
    offline: Offline = Offline.WAIT
    result_schema: dict[str, Any] | None = None


class ToolSpec(BaseModel):
    """A registered tool: its schema and how it is run.

    `attempts` counts executions of one call after failures that the tool declares as retryable;
    worker loss does not use them up. `blocking` tools run in a child process that is killed at the
    timeout. What an `untrusted` tool returns was written by strangers. A tool with a `client` runs
    there, not in a worker; its `timeout_seconds` counts from the request.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    description: str
    parameters: dict[str, Any]
    effect: Effect = Effect.NONE
    timeout_seconds: float = 30.0
    attempts: int = 3
    blocking: bool = False
    source: str = "builtin"
    untrusted: bool = False
    client: ClientSide | None = None

    def definition(self) -> ToolDefinition:
        """Return the part of the tool that a model is shown."""
        return ToolDefinition(
            name=self.name, description=self.description, parameters=self.parameters
        )


INVALID_ARGUMENTS = "invalid_arguments"
"""The error of a call that was not begun: its arguments are no JSON, or not as its schema says."""


class ToolOutcome(BaseModel):
    """How an execution ended, as the model will read it. `content` is JSON text or plain text."""

    model_config = ConfigDict(frozen=True)

    ok: bool
    content: str
    error_code: str | None = None


def refused(code: str | None) -> dict[str, bool]:
    """Return what the result of a step adds when its call was not begun; the workflow counts it."""
    return {"invalid": True} if code == INVALID_ARGUMENTS else {}


class ToolInvocation(BaseModel):
    """What a tool is given: parsed arguments and who asks.

    `idempotency_key` is `{run_id}:{tool_call_id}`, stable over every retry and restart.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    tool_call_id: str
    idempotency_key: str
    name: str
    args: dict[str, Any]
    timeout_seconds: float


class ToolCall(BaseModel):
    """One tool call on record. `args` and `result` are JSON text or plain text, as they came."""

    model_config = ConfigDict(frozen=True)

    tool_call_id: str
    owner: str
    run_id: str
    step: str
    tool_name: str
    args: str
    status: ToolCallStatus
    result: str | None
    error: dict[str, str] | None
    effect: Effect
    idempotency_key: str
    resolution: Resolution | None = None
    resolved_by: str | None = None
    created_at: int
    ended_at: int | None
