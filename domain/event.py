"""The event log's vocabulary: the types, the envelope, and how both look on the wire.

One list of types with the shape of their `data`; `docs/reference/events.md` is generated from it.
"""

import json
import math
import re
from collections.abc import Iterable
from enum import StrEnum
from itertools import accumulate
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json


class EventType(StrEnum):
    """The name of an event. Stored for ever: renaming one is a migration."""

    RUN_STARTED = "run_started"
    RUN_FORKED = "run_forked"
    USER_INPUT = "user_input"
    AGENT_INVOKE_STARTED = "agent_invoke_started"
    AGENT_STREAM_DELTA = "agent_stream_delta"
    AGENT_STREAM_RESET = "agent_stream_reset"
    AGENT_STATE = "agent_state"
    AGENT_INVOKE_DONE = "agent_invoke_done"
    RUN_WAITING = "run_waiting"
    RUN_RESUMED = "run_resumed"
    RUN_DONE = "run_done"
    RUN_FAILED = "run_failed"
    RUN_CANCELLED = "run_cancelled"
    RUN_DEAD_LETTERED = "run_dead_lettered"
    LLM_CALL_STARTED = "llm_call_started"
    LLM_CALL_DONE = "llm_call_done"
    MODEL_FALLBACK = "model_fallback"
    ROUTE_DECIDED = "route_decided"
    TOOL_CALL_CREATED = "tool_call_created"
    POLICY_DECISION = "policy_decision"
    APPROVAL_REQUIRED = "approval_required"
    APPROVAL_DECISION = "approval_decision"
    APPROVAL_EXPIRED = "approval_expired"
    TOOL_DISPATCHED = "tool_dispatched"
    TOOL_REQUEST = "tool_request"
    TOOL_RESULT = "tool_result"
    OUTCOME_UNKNOWN = "outcome_unknown"
    AGENT_SPAWNED = "agent_spawned"
    BUDGET_WARNING = "budget_warning"
    BUDGET_EXHAUSTED = "budget_exhausted"


TERMINAL_EVENTS = frozenset({EventType.RUN_DONE, EventType.RUN_FAILED, EventType.RUN_CANCELLED})

DATA_OF: dict[EventType, dict[str, str]] = {
    EventType.RUN_STARTED: {"agent_id": "the agent", "kind": "agent or tool"},
    EventType.RUN_FORKED: {
        "run_id": "the run that this one goes on from",
        "turn": "how many of its turns were kept",
        "kept_calls": "tool calls that are not made again",
        "session_id": "the session it was in",
        "output": "the answer, if a kept turn holds it and nothing more was said; else null",
    },
    EventType.USER_INPUT: {
        "role": "user",
        "content": "what was asked",
        "message_id": "its id",
        "steers": "true when it came while the run was on its way, else left out",
    },
    EventType.AGENT_INVOKE_STARTED: {"agent_id": "the agent"},
    EventType.AGENT_STREAM_DELTA: {
        "text": "the next piece of the answer",
        "step": "the step it belongs to",
        "attempt": "the attempt it belongs to; only the committed attempt counts",
    },
    EventType.AGENT_STREAM_RESET: {
        "step": "the step that begins again",
        "attempt": "the attempt that begins; drop the text of earlier ones",
    },
    EventType.AGENT_STATE: {"state": "as the agent says", "detail": "more", "step": "the step"},
    EventType.AGENT_INVOKE_DONE: {
        "agent_id": "the agent",
        "step": "the committed step",
        "degraded": "simple, keyword, static or kept for a simpler answer, else left out",
    },
    EventType.RUN_WAITING: {
        "waiting_on": "what for",
        "reason": "a sentence",
        "model": "which, where it is waited for; the next two too, else left out",
        "code": "circuit_open or model_rate_limited",
        "until": "in ms, as known when the wait began: it may end sooner, or go on",
    },
    EventType.RUN_RESUMED: {"waiting_on": "what it had waited for"},
    EventType.RUN_DONE: {
        "final_message": "the run's output: {role, content}, and stop_reason if the provider said",
        "stop_reason": "length when the provider's own limit cut the answer, else mostly stop",
        "usage": "the run's usage",
    },
    EventType.RUN_FAILED: {"code": "stable", "message": "a sentence", "usage": "the run's usage"},
    EventType.RUN_CANCELLED: {
        "reason": "why, if said",
        "partial": "text of the open attempt, if any",
        "usage": "the run's usage",
    },
    EventType.RUN_DEAD_LETTERED: {"code": "why", "step": "the step that kept failing"},
    EventType.LLM_CALL_STARTED: {"step": "the step", "attempt": "its attempt", "model": "which"},
    EventType.LLM_CALL_DONE: {
        "step": "the step",
        "attempt": "its attempt",
        "model": "which",
        "prompt_tokens": "input tokens, cached ones too",
        "completion_tokens": "output tokens",
        "total_tokens": "both",
        "cached_tokens": "part of the input",
        "cost_usd": "decimal string, null while unpriced",
        "estimated": "true when the provider never reported usage: the cost is then what it was at"
        " most, the tokens are a guess",
        "latency_ms": "from opening to the end",
        "stop_reason": "stop, length, tool_calls or content_filter; null when it never ended",
        "error": "null or {code, message}",
    },
    EventType.MODEL_FALLBACK: {"from": "model that failed", "to": "next model", "reason": "code"},
    EventType.ROUTE_DECIDED: {
        "kind": "agent, tier, or escalation: whether a higher tier is asked after a flawed answer",
        "agent_id": "chosen; of kind agent",
        "tier": "chosen; of kind tier, null where none is configured; of an escalation where to, or"
        " where it stays, left out where models are named",
        "escalated_from": "the model whose answer was too weak; left out where the answer counts",
        "step": "of an escalation: the call whose answer was looked at",
        "reason": "a sentence",
        "scores": "what it was decided by, per agent or tier; of an escalation wrong (how likely it"
        " is), gain and price, none where any flaw goes up",
        "criteria": "per agent its criteria, each 0 to 1; the next two are of kind agent too",
        "weights": "what each criterion counts for",
        "excluded": "per agent why it could not do it; left out if there is none",
        "qualities": "per tier what is expected of it; the next three are of kind tier too",
        "complexity": "0 to 1",
        "parts": "what features or signs of the request added to it",
        "task_class": "what kind of work it is",
        "explored": "true when another choice was tried out",
        "propensity": "how likely this choice was, chance included",
    },
    EventType.TOOL_CALL_CREATED: {
        "tool_call_id": "tc_...",
        "tool_name": "which",
        "args": "an object; the model's text where it is none",
        "kind": "server, or client: a client runs it",
        "step": "the step that will run it",
    },
    EventType.POLICY_DECISION: {
        "tool_call_id": "tc_...",
        "tool_name": "which",
        "decision": "allow, ask or block",
        "reason": "a sentence",
    },
    EventType.APPROVAL_REQUIRED: {
        "approval_id": "ap_...",
        "tool_call_id": "tc_...",
        "tool_name": "which",
        "args": "as the model sent them",
        "args_summary": "the call on one line",
        "args_digest": "SHA-256 of tool, arguments and tool call",
        "risk": "low, medium or high",
        "asks": "who is asked now, after an escalation; else null",
        "expires_at": "in ms, or null",
        "reason": "why it is asked",
    },
    EventType.APPROVAL_DECISION: {
        "approval_id": "ap_..., or null where a person said what became of a call",
        "tool_call_id": "tc_...",
        "decision": "approved or rejected; then happened, not_happened or give_up",
        "reason": "a sentence, or null",
        "decided_by": "the credential",
        "args_digest": "of what runs",
        "edited_args": "what runs instead, or null",
        "remember": "none, session or agent",
    },
    EventType.APPROVAL_EXPIRED: {
        "approval_id": "ap_...",
        "tool_call_id": "tc_...",
        "outcome": "rejected, approved, escalated, or cancelled with its run",
        "asks": "who is asked next, or null",
        "reason": "a sentence",
    },
    EventType.TOOL_DISPATCHED: {
        "tool_call_id": "tc_...",
        "tool_name": "which",
        "attempt": "of its step",
    },
    EventType.TOOL_REQUEST: {
        "tool_call_id": "tc_...; claim it to get the token that its result needs",
        "tool_name": "which",
        "args": "as the model sent them",
        "effect": "none, idempotent or unsafe",
        "host_id": "the tool host that is asked, or null",
        "deadline_ts": "in ms; after it a result is refused",
    },
    EventType.TOOL_RESULT: {
        "tool_call_id": "tc_...",
        "tool_name": "which",
        "status": "of the call",
        "result": "what the model reads, or null",
        "error": "null or {code, message}",
    },
    EventType.OUTCOME_UNKNOWN: {"tool_call_id": "tc_...", "reason": "a sentence"},
    EventType.BUDGET_WARNING: {
        "budget_id": "which",
        "scope": "run, session, agent, goal, key or global",
        "scope_id": "which one",
        "limit_usd": "decimal string",
        "spent_usd": "after this call",
        "reserved_usd": "held for calls under way",
        "percent": "80 or 95",
    },
    EventType.BUDGET_EXHAUSTED: {
        "budget_id": "which",
        "scope": "run, session, agent, goal, key or global",
        "scope_id": "which one",
        "limit_usd": "decimal string",
        "spent_usd": "so far",
        "reserved_usd": "held for calls under way",
        "needed_usd": "what the next call may cost",
        "action": "ask, degrade or stop",
        "step": "the call that was not made",
    },
    EventType.AGENT_SPAWNED: {
        "child_run_id": "the run that was made",
        "agent_id": "who does it",
        "tool_call_id": "tc_..., the call that made it",
        "detached": "true when nobody waits for its end",
        "limits": "the child's caps, cut to what was left",
    },
}
"""What `data` holds, field by field."""


class EventDraft(BaseModel):
    """An event before it has a place in the log. `key` is unique within its run."""

    model_config = ConfigDict(frozen=True)

    type: EventType
    key: str
    data: dict[str, Any]


class Lineage(BaseModel):
    """Where a run stands in its tree; part of every envelope."""

    model_config = ConfigDict(frozen=True)

    root_run_id: str
    parent_run_id: str | None = None
    depth: int = 0


class StoredEvent(NamedTuple):
    """An entry of the log, cheap to make: a replay makes thousands.

    `envelope` is its JSON, ready to be sent.
    """

    run_id: str
    seq: int
    type: str
    envelope: str

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows this event in its run."""
        return self.type in TERMINAL_EVENTS


MAX_NESTING = 100
"""Levels of lists and objects in what tools are given and answer, as the log shows it."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""Half of a character, spelt as JSON: alone it is no text."""
_BRACKETS = re.compile(r"[\[\]{}]")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def encode_json(value: object) -> str:
    """Return compact JSON on one line, with lone surrogates replaced so that it is valid UTF-8."""
    text = _encode(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def as_json(text: str) -> Any:  # noqa: ANN401 - any JSON
    """Return the object or list that `text` spells as JSON, else the text itself.

    What could not be written into an envelope again (numbers that are not finite, nesting past
    `MAX_NESTING`, lone surrogates) stays text: models and tools may send it.
    """
    if text[:1] not in ("{", "[") or _is_deep(text):
        return text
    try:
        value = json.loads(text, parse_constant=_finite, parse_float=_finite)
        if _SURROGATE.search(text):
            _encode(value).encode()
    except ValueError:
        return text
    return value


def as_text(value: Any) -> str:  # noqa: ANN401 - the inverse of `as_json`
    """Return what `as_json` gave as text again, without spaces."""
    return value if isinstance(value, str) else encode_json(value)


def _is_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= MAX_NESTING:
        return False
    steps = (1 if mark in "[{" else -1 for mark in _BRACKETS.findall(text))
    return max(accumulate(steps)) > MAX_NESTING


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number


def envelope(run_id: str, seq: int, ts: int, draft: EventDraft, lineage: Lineage) -> str:
    """Return the event's envelope as one line of JSON. `ts` is in milliseconds.

    Put together from pieces, because every delta pays for it; ids of runs are plain characters.
    """
    parent = "null" if lineage.parent_run_id is None else f'"{lineage.parent_run_id}"'
    return (
        f'{{"event_id":"evt_{run_id.removeprefix("run_")}_{seq}","run_id":"{run_id}","seq":{seq}'
        f',"ts":{ts},"type":"{draft.type.value}","data":{_data_json(draft.data)}'
        f',"root_run_id":"{lineage.root_run_id}","parent_run_id":{parent},"depth":{lineage.depth}}}'
    )


def _data_json(data: dict[str, Any]) -> str:
    try:
        return to_json(data).decode()
    except ValueError:  # half a character
        return encode_json(data)


SSE_FRAME = ("id: ", "\nevent: ", "\ndata: ", "\n\n")
"""What stands before, between and after an event's seq, type and envelope on the wire."""
_ID, _TYPE, _DATA, _END = SSE_FRAME


def sse_frames(events: Iterable[StoredEvent]) -> bytes:
    """Return the events as server-sent events. Source: WHATWG HTML 9.2."""
    return "".join(
        [f"{_ID}{seq}{_TYPE}{type_}{_DATA}{text}{_END}" for _, seq, type_, text in events]
    ).encode()
