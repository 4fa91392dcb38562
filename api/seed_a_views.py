"""What seed A's paths answer, in its shapes: money and times as its program wrote them.

Source: https://github.com/clawinfra/evoclaw docs/api/rest-api.md
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from api.ports import LogLine
from api.views import View, iso
from domain.agent import Agent
from domain.agenthealth import AgentHealth, Health
from domain.chat import ModelInfo
from domain.costs import CostLine
from domain.money import to_usd
from domain.session import Message, Session
from domain.stats import AgentFigures

_NOTHING = AgentFigures()
_FREE = CostLine(None)


def dollars(line: CostLine) -> float:
    """Return what is known to have been spent, as a JSON number."""
    return float(Decimal(to_usd(line.priced_pico)))


def metrics_view(did: AgentFigures, cost: CostLine) -> View:
    """Return what an agent did and what that cost."""
    done, failed = did.by_state.get("DONE", 0), did.by_state.get("FAILED", 0)
    return {
        "total_actions": did.total,
        "successful_actions": done,
        "failed_actions": failed,
        "avg_response_ms": round(did.average_ms or 0.0, 1),
        "tokens_used": cost.input_tokens + cost.output_tokens,
        "cost_usd": dollars(cost),
        "custom": {},
    }


def status_of(agent: Agent, did: AgentFigures | None, health: AgentHealth | None) -> str:
    """Say how an agent is: `idle`, `running` or `error`."""
    is_away = health is not None and health.status is Health.UNHEALTHY
    if is_away or agent.status != "active":
        return "error"
    return "running" if did is not None and did.open else "idle"


def seed_agent_view(
    agent: Agent, did: AgentFigures | None, cost: CostLine | None, health: AgentHealth | None
) -> View:
    """Return an agent. `health` is that of a service; None for an agent that runs here."""
    figures = did or _NOTHING
    last = figures.last_active or agent.updated_at
    return {
        "id": agent.agent_id,
        "def": {
            "id": agent.agent_id,
            "name": agent.name,
            "type": str(agent.metadata.get("type", "orchestrator")),
            "model": agent.models[0] if agent.models else "",
            "systemPrompt": agent.instructions,
            "skills": list(agent.tools),
            "config": agent.metadata,
            "container": {"enabled": False},
        },
        "status": status_of(agent, did, health),
        "started_at": iso(agent.created_at),
        "last_active": iso(last),
        "last_heartbeat": iso((health.record.seen_at if health else None) or last),
        "message_count": figures.total,
        "error_count": figures.by_state.get("FAILED", 0),
        "metrics": metrics_view(figures, cost or _FREE),
    }


def memory_view(agent_id: str, session: Session | None, messages: Sequence[Message]) -> View:
    """Return what an agent remembers of a conversation."""
    return {
        "agent_id": agent_id,
        "message_count": session.message_count if session else 0,
        "total_tokens": session.token_count if session else 0,
        "messages": [{"role": one.role, "content": one.content} for one in messages],
    }


def seed_model_view(info: ModelInfo) -> View:
    """Return a model; a price that is not known is null."""
    name = info.model.partition("/")[2]
    return {
        "ID": info.model,
        "Provider": info.provider,
        "Config": {
            "id": name,
            "name": name,
            "contextWindow": info.context_window,
            "costInput": _number(info.input_per_mtok_usd),
            "costOutput": _number(info.output_per_mtok_usd),
            "capabilities": [],
        },
    }


def _number(usd: str | None) -> float | None:
    return None if usd is None else float(usd)


def seed_costs_view(lines: Sequence[CostLine]) -> View:
    """Return what each model cost; `LastRequestTime` is in seconds since the epoch."""
    return {
        line.key or "": {
            "TotalRequests": line.calls,
            "TotalTokensIn": line.input_tokens,
            "TotalTokensOut": line.output_tokens,
            "TotalCostUSD": dollars(line),
            "LastRequestTime": (line.last_at or 0) // 1000,
        }
        for line in lines
    }


def totals_view(figures: Mapping[str, AgentFigures], total: CostLine) -> View:
    """Return the figures that only the dashboard has."""
    states: dict[str, int] = {}
    for one in figures.values():
        for state, count in one.by_state.items():
            states[state] = states.get(state, 0) + count
    done, failed = states.get("DONE", 0), states.get("FAILED", 0)
    return {
        "total_requests": total.calls,
        "total_tokens_in": total.input_tokens,
        "total_tokens_out": total.output_tokens,
        "total_messages": sum(states.values()),
        "total_errors": failed,
        "total_actions": done + failed,
        "success_rate": round(done / (done + failed), 4) if done + failed else 0.0,
    }


def log_view(line: LogLine) -> View:
    """Return a line of the log."""
    return {
        "time": clock_of(line.at_ms),
        "level": line.level,
        "component": line.component,
        "message": line.message,
    }


def clock_of(ms: int) -> str:
    """Return the time of day in UTC, `HH:MM:SS`."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%H:%M:%S")
