"""Runs, their events and tool calls, as callers get them."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from api.shapes.base import CodeAndMessage, JsonObject, MessageText, Money, Page, Shape
from domain.run import RunKind, RunState, WaitingOn
from domain.tool import Effect, Resolution, ToolCallStatus


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
