"""Runs, their events and tool calls, as callers get them."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from api.shapes.pieces import CodeAndMessage, JsonObject, MessageText, Money, Page, Shape, example
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


class ForkedFromOut(Shape):
    """Which run this one goes on from, and how many of its turns were kept."""

    run_id: str
    turn: int


class RunOut(Shape):
    """One piece of work by one agent."""

    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "run_id": "run_01k9",
                "session_id": "sess_01k9",
                "agent_id": "assistant",
                "kind": "agent",
                "state": "DONE",
                "waiting_on": None,
                "output": {"role": "assistant", "content": "6 * 7 = 42", "stop_reason": "stop"},
                "error": None,
                "usage": {
                    "input_tokens": 412,
                    "output_tokens": 23,
                    "cached_tokens": 0,
                    "cost_usd": "0.0015",
                    "model_calls": 2,
                    "tool_calls": 1,
                    "turns": 2,
                },
                "goal_id": None,
                "priority": 3,
                "parent_run_id": None,
                "root_run_id": "run_01k9",
                "depth": 0,
                "created_at": "2026-11-20T10:00:00.000Z",
                "started_at": "2026-11-20T10:00:00.004Z",
                "ended_at": "2026-11-20T10:00:01.250Z",
                "links": {"events": "/v1/runs/run_01k9/events", "temporal_ui": None},
                "metadata": {},
                "forked_from": None,
                "start_at": None,
                "deadline": None,
            }
        )
    )

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
    forked_from: ForkedFromOut | None
    start_at: Annotated[
        AwareDatetime | None, Field(description="When its work begins, if that was put off.")
    ]
    deadline: AwareDatetime | None


class RunList(Page):
    """A page of runs."""

    runs: list[RunOut]


class EventOut(Shape):
    """One entry of a run's log."""

    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "event_id": "evt_01k9_4",
                "run_id": "run_01k9",
                "seq": 4,
                "ts": 1795168800123,
                "type": "agent_stream_delta",
                "data": {"text": "6 * 7", "step": "llm-1-1", "attempt": 1},
                "root_run_id": "run_01k9",
                "parent_run_id": None,
                "depth": 0,
            }
        )
    )

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

    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "status": "succeeded",
                "tool_call_id": "tc_01k9",
                "run_id": "run_02k9",
                "result": {"result": 42},
            }
        )
    )

    status: Literal["succeeded", "pending", "failed"]
    tool_call_id: str
    run_id: str
    result: Any = None
    reason: str | None = None
    error: CodeAndMessage | None = None
