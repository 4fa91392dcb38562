"""Rows to values: the one place that knows which column holds what."""

import json

from adapters.store.database.tx import Row
from domain.chat import ChatMessage, ToolCallRequest
from domain.run import (
    ForkedFrom,
    Run,
    RunError,
    RunKind,
    RunState,
    RunUsage,
    WaitingOn,
    usage_of,
)
from domain.session import Message


def usage_from(row: Row) -> RunUsage:
    """Return what a row of `runs` used so far."""
    return usage_of(
        row["cost_pico"],
        row["unpriced_calls"],
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cached_tokens=row["cached_tokens"],
        model_calls=row["model_calls"],
        tool_calls=row["tool_calls"],
        turns=row["turns"],
    )


def run_from(row: Row) -> Run:
    """Return a row of `runs` as a value."""
    return Run(
        run_id=row["run_id"],
        owner=row["owner"],
        session_id=row["session_id"],
        agent_id=row["agent_id"],
        kind=RunKind(row["kind"]),
        state=RunState(row["state"]),
        waiting_on=WaitingOn(row["waiting_on"]) if row["waiting_on"] else None,
        output=json.loads(row["output"]) if row["output"] else None,
        error=RunError.model_validate_json(row["error"]) if row["error"] else None,
        usage=usage_from(row),
        goal_id=row["goal_id"],
        priority=row["priority"],
        parent_run_id=row["parent_run_id"],
        root_run_id=row["root_run_id"],
        depth=row["depth"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        last_seq=row["last_seq"],
        cancel_asked=row["cancel_asked_at"] is not None,
        metadata=json.loads(row["metadata"]),
        forked_from=_forked_from(row),
        start_at=row["start_at"],
        deadline_at=row["deadline_at"],
    )


def _forked_from(row: Row) -> ForkedFrom | None:
    if row["forked_from"] is None:
        return None
    return ForkedFrom(run_id=row["forked_from"], turn=row["forked_turn"])


def _tool_calls(text: str | None) -> tuple[ToolCallRequest, ...]:
    return tuple(ToolCallRequest.model_validate(call) for call in json.loads(text or "[]"))


def message_from(row: Row) -> Message:
    """Return a row of `messages` as a value."""
    return Message(
        message_id=row["message_id"],
        session_id=row["session_id"],
        run_id=row["run_id"],
        seq=row["seq"],
        role=row["role"],
        content=row["content"],
        tool_calls=_tool_calls(row["tool_calls"]),
        tool_call_id=row["tool_call_id"],
        agent_id=row["agent_id"],
        tokens=row["tokens"],
        created_at=row["created_at"],
        partial=bool(row["partial"]),
    )


def chat_message_from(row: Row) -> ChatMessage:
    """Return a row of `messages` as a model is shown it."""
    cut = "\n[cut short: the run was cancelled]" if row["partial"] else ""
    return ChatMessage(
        role=row["role"],
        content=row["content"] + cut,
        tool_calls=_tool_calls(row["tool_calls"]),
        tool_call_id=row["tool_call_id"],
    )
