"""Events as people read them: one line each, streamed text on one line as it grows."""

import json
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, TextIO

from bootstrap.terminal import harmless, paint

_SHORT = 160
_WIDTH = 22
"""Columns of the type's name, so that what follows stands in line."""
_STYLE = {
    "run_done": "green",
    "run_failed": "red",
    "run_cancelled": "red",
    "run_dead_lettered": "red",
    "agent_stream_reset": "yellow",
    "run_waiting": "yellow",
    "outcome_unknown": "yellow",
    "approval_required": "yellow",
    "approval_expired": "yellow",
    "model_fallback": "yellow",
    "budget_warning": "yellow",
    "budget_exhausted": "yellow",
    "agent_spawned": "cyan",
    "tool_call_created": "cyan",
    "tool_result": "cyan",
}

Data = dict[str, Any]


def _plain(value: object) -> str:
    """Return text as it is, and anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def usage_text(usage: Data) -> str:
    """Return what a run used: tokens and money."""
    cost = usage.get("cost_usd")
    price = "unpriced" if cost is None else f"${cost}"
    return f"{usage.get('input_tokens', 0)} tokens in, {usage.get('output_tokens', 0)} out, {price}"


def _call_done(data: Data) -> str:
    error = data.get("error")
    if error:
        guess = data["total_tokens"] if data["estimated"] else 0
        billed = f", about {guess} tokens by estimate" if guess else ""
        return f"{data['model']} failed: {error.get('code')}{billed}"
    tokens = f"{data['prompt_tokens']} tokens in, {data['completion_tokens']} out"
    return f"{data['model']}: {tokens}, {data['latency_ms']} ms"


def _tool_result(data: Data) -> str:
    error = data.get("error")
    return f"{error.get('code')}: {error.get('message')}" if error else _plain(data.get("result"))


def _decided(data: Data) -> str:
    """Return from where it goes up, or the agent or tier that was chosen."""
    below = data.get("escalated_from")
    chosen = data.get("agent_id") or data.get("tier")
    return f"above {below}" if below else str(chosen or "the usual models")


_SUMMARY: dict[str, Callable[[Data], str]] = {
    "run_started": lambda data: str(data.get("agent_id") or data.get("kind")),
    "user_input": lambda data: str(data["content"]),
    "agent_invoke_started": lambda data: str(data["agent_id"]),
    "agent_state": lambda data: f"{data['state']} {data['detail']}",
    "agent_invoke_done": lambda data: str(data["step"]),
    "agent_stream_reset": lambda data: (
        f"attempt {data['attempt']} begins, what came before is void"
    ),
    "agent_stream_delta": lambda data: str(data["text"]),
    "llm_call_started": lambda data: f"{data['model']}, attempt {data['attempt']}",
    "llm_call_done": _call_done,
    "tool_call_created": lambda data: f"{data['tool_name']}({_plain(data['args'])})",
    "policy_decision": lambda data: f"{data['tool_name']}: {data['decision']}, {data['reason']}",
    "approval_required": lambda data: f"{data['approval_id']}: {data['args_summary']}",
    "approval_decision": lambda data: (
        f"{data['approval_id'] or data['tool_call_id']}: {data['decision']} by {data['decided_by']}"
    ),
    "approval_expired": lambda data: f"{data['approval_id']}: {data['outcome']}, {data['reason']}",
    "tool_dispatched": lambda data: str(data["tool_call_id"]),
    "tool_request": lambda data: (
        f"{data['tool_call_id']}: {data['tool_name']}({_plain(data['args'])}), asks"
        f" {data['host_id'] or 'a client'}"
    ),
    "tool_result": _tool_result,
    "outcome_unknown": lambda data: f"{data['tool_call_id']}: {data['reason']}",
    "model_fallback": lambda data: f"{data['from']} -> {data['to']}: {data['reason']}",
    "route_decided": lambda data: f"{_decided(data)}: {data['reason']}",
    "budget_warning": lambda data: (
        f"{data['percent']} % of {data['limit_usd']} USD for {data['scope']} {data['scope_id']}"
    ),
    "budget_exhausted": lambda data: (
        f"{data['needed_usd']} USD of {data['limit_usd']} for {data['scope']} {data['scope_id']}:"
        f" {data['action']}"
    ),
    "agent_spawned": lambda data: (
        f"{data['child_run_id']} of {data['agent_id']}{', detached' if data['detached'] else ''}"
    ),
    "run_waiting": lambda data: f"{data['waiting_on']}: {data['reason']}",
    "run_resumed": lambda data: str(data["waiting_on"]),
    "run_forked": lambda data: f"from turn {data['turn']} of {data['run_id']}",
    "run_done": lambda data: usage_text(data["usage"]),
    "run_failed": lambda data: f"{data['code']}: {data['message']}",
    "run_cancelled": lambda data: str(data.get("reason") or ""),
    "run_dead_lettered": lambda data: f"{data['step']}: {data['code']}",
}


def summary(event: Data) -> str:
    """Return what an event says, in a few words; of a type we do not know, its data."""
    data = event["data"]
    known = _SUMMARY.get(event["type"])
    try:
        said = known(data) if known else json.dumps(data, ensure_ascii=False)
    except (KeyError, AttributeError, TypeError):
        said = json.dumps(data, ensure_ascii=False)
    return said


class EventPrinter:
    """Prints events as they arrive. Pieces of one answer stand on one line."""

    def __init__(self, stream: TextIO | None = None, indent: str = "") -> None:
        self._stream = stream or sys.stdout
        self._indent = indent
        self._open: str | None = None
        """The attempt whose text the unfinished line holds."""

    def show(self, event: Data) -> None:
        """Print one event."""
        if event["type"] == "agent_stream_delta":
            self._show_delta(event)
        else:
            self.finish()
            said = _one_line(summary(event))
            short = said if len(said) <= _SHORT else said[:_SHORT] + "..."
            self._write(f"{self._head(event)}{short}".rstrip() + "\n")

    def finish(self) -> None:
        """End an unfinished line."""
        if self._open is not None:
            self._write("\n")
        self._open = None

    def _show_delta(self, event: Data) -> None:
        data = event["data"]
        attempt = f"{data.get('step')}/{data.get('attempt')}"
        if self._open != attempt:
            self.finish()
            self._write(self._head(event))
            self._open = attempt
        self._write(_one_line(str(data["text"])))

    def _head(self, event: Data) -> str:
        at = datetime.fromtimestamp(event["ts"] / 1000).astimezone()
        clock = paint(at.strftime("%H:%M:%S.%f")[:12], "dim", self._stream)
        kind = f"{event['type']:{_WIDTH}}"
        style = _STYLE.get(event["type"], "bold")
        return f"{self._indent}{clock} {event['seq']:>4}  {paint(kind, style, self._stream)}"

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _one_line(text: str) -> str:
    return harmless(text.replace("\r\n", "\n").replace("\n", " \u21b5 "))
