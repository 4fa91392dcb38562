"""Values as callers see them: plain dictionaries, written without a second validation."""

from collections.abc import Sequence
from typing import Any

from pydantic_core import from_json

from domain.agent import Agent
from domain.agenthealth import AgentHealth
from domain.approval import Approval
from domain.chat import ModelInfo
from domain.deadletter import DeadLetter
from domain.event import as_json
from domain.principal import ApiKey
from domain.run import Run
from domain.schedule import Firing, to_iso
from domain.scheduling import Shown
from domain.session import Message, Session
from domain.spending import ModelHealth
from domain.stats import WorkerSlot
from domain.tool import ToolCall, ToolSpec

View = dict[str, Any]


def iso(ms: int | None) -> str | None:
    """Return a time as ISO-8601 in UTC with milliseconds, `2026-11-20T10:00:00.000Z`."""
    return None if ms is None else to_iso(ms)


def run_view(run: Run, temporal_ui: str | None) -> View:
    """Return a run."""
    usage = run.usage
    return {
        "run_id": run.run_id,
        "session_id": run.session_id,
        "agent_id": run.agent_id,
        "kind": run.kind.value,
        "state": run.state.value,
        "waiting_on": run.waiting_on.value if run.waiting_on else None,
        "output": run.output,
        "error": {"code": run.error.code, "message": run.error.message} if run.error else None,
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cached_tokens": usage.cached_tokens,
            "cost_usd": usage.cost_usd,
            "model_calls": usage.model_calls,
            "tool_calls": usage.tool_calls,
            "turns": usage.turns,
        },
        "goal_id": run.goal_id,
        "priority": run.priority,
        "parent_run_id": run.parent_run_id,
        "root_run_id": run.root_run_id,
        "depth": run.depth,
        "created_at": iso(run.created_at),
        "started_at": iso(run.started_at),
        "ended_at": iso(run.ended_at),
        "links": {"events": f"/v1/runs/{run.run_id}/events", "temporal_ui": temporal_ui},
        "metadata": run.metadata,
        "forked_from": run.forked_from.model_dump() if run.forked_from else None,
        "start_at": iso(run.start_at),
        "deadline": iso(run.deadline_at),
    }


def session_view(session: Session) -> View:
    """Return a session."""
    return {
        "session_id": session.session_id,
        "agent_id": session.agent_id,
        "on_busy": session.on_busy.value,
        "message_count": session.message_count,
        "token_count": session.token_count,
        "active_run_id": session.active_run_id,
        "queued_run_ids": list(session.queued_run_ids),
        "created_at": iso(session.created_at),
        "metadata": session.metadata,
    }


def message_view(message: Message) -> View:
    """Return a message."""
    view: View = {
        "message_id": message.message_id,
        "session_id": message.session_id,
        "run_id": message.run_id,
        "seq": message.seq,
        "role": message.role,
        "content": message.content,
        "agent_id": message.agent_id,
        "tokens": message.tokens,
        "created_at": iso(message.created_at),
    }
    if message.tool_calls:
        view["tool_calls"] = [call.model_dump() for call in message.tool_calls]
    if message.partial:
        view["partial"] = True
    if message.tool_call_id is not None:
        view["tool_call_id"] = message.tool_call_id
    return view


def health_view(health: AgentHealth | None) -> View | None:
    """Return how an agent is; nothing for one that runs here."""
    if health is None:
        return None
    record = health.record
    return {
        "status": health.status.value,
        "circuit": health.circuit.value,
        "last_seen": iso(record.seen_at),
        "checked_at": iso(record.checked_at),
        "error": record.error,
        "version": record.version,
        "capabilities": list(record.capabilities),
    }


def card_view(agent: Agent, tools: Sequence[ToolSpec], health: AgentHealth | None) -> View:
    """Return what somebody who looks for an agent wants to know of one."""
    return {
        "agent_id": agent.agent_id,
        "kind": agent.kind.value,
        "name": agent.name,
        "description": agent.description,
        "capabilities": list(agent.capabilities),
        "tools": [{"name": tool.name, "description": tool.description} for tool in tools],
        "limits": agent.limits.model_dump(),
        "status": agent.status,
        "health": health_view(health),
        "links": {"invoke": f"/v1/agents/{agent.agent_id}:invoke", "runs": "/v1/runs"},
    }


def agent_view(agent: Agent, health: AgentHealth | None) -> View:
    """Return an agent."""
    return {
        "agent_id": agent.agent_id,
        "kind": agent.kind.value,
        "name": agent.name,
        "description": agent.description,
        "instructions": agent.instructions,
        "models": list(agent.models),
        "tools": list(agent.tools),
        "endpoint": agent.endpoint,
        "capabilities": list(agent.capabilities),
        "limits": agent.limits.model_dump(),
        "degradation": agent.degradation.model_dump(mode="json"),
        "escalate": agent.escalate,
        "tool_policy": agent.tool_policy,
        "status": agent.status,
        "health": health_view(health),
        "metadata": agent.metadata,
        "created_at": iso(agent.created_at),
        "updated_at": iso(agent.updated_at),
    }


def tool_view(spec: ToolSpec) -> View:
    """Return a tool."""
    return {
        "name": spec.name,
        "description": spec.description,
        "parameters": spec.parameters,
        "effect": spec.effect.value,
        "timeout_seconds": spec.timeout_seconds,
        "source": spec.source,
    }


def tool_call_view(call: ToolCall) -> View:
    """Return a tool call, its arguments and result as data where they are JSON."""
    return {
        "tool_call_id": call.tool_call_id,
        "run_id": call.run_id,
        "step": call.step,
        "tool_name": call.tool_name,
        "args": data_of(call.args),
        "status": call.status.value,
        "result": data_of(call.result),
        "error": call.error,
        "effect": call.effect.value,
        "idempotency_key": call.idempotency_key,
        "resolution": call.resolution.value if call.resolution else None,
        "resolved_by": call.resolved_by,
        "created_at": iso(call.created_at),
        "ended_at": iso(call.ended_at),
    }


def approval_view(approval: Approval) -> View:
    """Return an approval, its arguments as data."""
    edited = approval.edited_args
    return {
        "approval_id": approval.approval_id,
        "run_id": approval.run_id,
        "session_id": approval.session_id,
        "agent_id": approval.agent_id,
        "kind": approval.kind,
        "budget_id": approval.budget_id,
        "tool_call_id": approval.tool_call_id if approval.kind == "tool" else None,
        "tool_name": approval.tool_name,
        "args": as_json(approval.args),
        "args_summary": approval.args_summary,
        "args_digest": approval.args_digest,
        "risk": approval.risk.value,
        "why": approval.why,
        "asker": approval.asker,
        "asks": approval.asks,
        "on_timeout": approval.on_timeout.value,
        "status": approval.status.value,
        "edited_args": None if edited is None else as_json(edited),
        "edited_digest": approval.edited_digest,
        "remember": approval.remember.value,
        "decided_by": approval.decided_by,
        "decided_at": iso(approval.decided_at),
        "reason": approval.reason,
        "requested_at": iso(approval.created_at),
        "expires_at": iso(approval.expires_at),
        "may_remember": approval.kind == "tool" and not approval.untrusted,
    }


def dead_letter_view(letter: DeadLetter) -> View:
    """Return a dead letter."""
    return {
        "dead_letter_id": letter.dead_letter_id,
        "run_id": letter.run_id,
        "session_id": letter.session_id,
        "agent_id": letter.agent_id,
        "code": letter.code,
        "reason": letter.reason,
        "step": letter.step_id,
        "input": letter.input,
        "status": letter.status.value,
        "redriven_as": letter.redriven_as,
        "note": letter.note,
        "settled_by": letter.settled_by,
        "settled_at": iso(letter.settled_at),
        "created_at": iso(letter.created_at),
    }


def firing_view(firing: Firing) -> View:
    """Return one time of a schedule."""
    error = None
    if firing.error_code is not None:
        error = {"code": firing.error_code, "message": firing.error_message or ""}
    return {
        "firing_id": firing.firing_id,
        "scheduled_at": iso(firing.scheduled_at),
        "fired_at": iso(firing.created_at),
        "run_id": firing.run_id,
        "state": firing.state.value if firing.state else None,
        "error": error,
    }


def schedule_view(shown: Shown) -> View:
    """Return a schedule with what has come of it and what will."""
    schedule, upcoming = shown.schedule, shown.upcoming
    return {
        "schedule_id": schedule.schedule_id,
        "run": as_json(schedule.run),
        "spec": schedule.spec.model_dump(mode="json"),
        "policy": schedule.policy.model_dump(mode="json"),
        "paused": schedule.paused,
        "note": schedule.note,
        "applied": schedule.is_applied,
        "next_runs": None if upcoming is None else [iso(ms) for ms in upcoming],
        "recent_runs": [firing_view(firing) for firing in shown.recent],
        "created_at": iso(schedule.created_at),
        "updated_at": iso(schedule.updated_at),
    }


def data_of(text: str | None) -> Any:  # noqa: ANN401 -- plain JSON data of any shape
    """Return the data a text holds, or the text itself where it is not JSON."""
    if text is None:
        return None
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        return text


def model_view(info: ModelInfo, health: ModelHealth | None = None) -> View:
    """Return a model in OpenAI's shape with our fields beside."""
    return {
        "id": info.model,
        "object": "model",
        "created": 0,
        "owned_by": info.provider,
        "provider": info.provider,
        "configured": info.configured,
        "context_window": info.context_window,
        "price": {
            "input_per_mtok_usd": info.input_per_mtok_usd,
            "output_per_mtok_usd": info.output_per_mtok_usd,
            "cached_input_per_mtok_usd": info.cached_input_per_mtok_usd,
            "source": info.price_source,
        },
        "health": model_health_view(health or ModelHealth(info.model)),
        "chain": None,
        "description": None,
    }


def model_health_view(health: ModelHealth) -> View:
    """Return how a model does."""
    return {
        "state": health.state,
        "circuit": health.circuit,
        "failures": health.failures,
        "error_class": health.error_class,
        "error": health.error_message,
        "open_until": iso(health.open_until),
        "blocked_until": iso(health.blocked_until),
        "last_ok_at": iso(health.last_ok_at),
        "last_failed_at": iso(health.last_failed_at),
    }


def key_view(key: ApiKey) -> View:
    """Return a key, which never shows its secret."""
    return {
        "key_id": key.key_id,
        "name": key.name,
        "prefix": key.prefix,
        "owner": key.owner,
        "scopes": [scope.value for scope in key.scopes],
        "created_at": iso(key.created_at),
        "expires_at": iso(key.expires_at),
        "revoked_at": iso(key.revoked_at),
        "agent_id": key.agent_id,
    }


def slot_view(slot: WorkerSlot, now_ms: int) -> View:
    """Return a worker slot as seed C shows an agent of its pool."""
    alive_ms = max(1, now_ms - slot.started_at)
    return {
        "id": slot.agent_id,
        "state": slot.state,
        "current_step": slot.current_step,
        "processed": slot.processed,
        "succeeded": slot.succeeded,
        "failed": slot.failed,
        "busy_ms": slot.busy_ms,
        "utilization": round(min(1.0, slot.busy_ms / alive_ms), 4),
        "started_at": iso(slot.started_at),
    }
