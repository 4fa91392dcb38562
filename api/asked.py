"""A child run as whoever asked for it reads it: the events of the agent protocol.

    event: delta
    data: {"text": "4", "run_id": "run_2"}

    event: done
    data: {"final_message": "42", "usage": {"total_tokens": 10}, "run_id": "run_2"}

`state` besides, and `error` in place of `done`. Text of an attempt that failed is taken back with
the state `reset`; what counts in the end is `final_message`. Source: seed B.
"""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from api.tail import Tail
from domain.event import EventType, StoredEvent, encode_json

Said = tuple[str, dict[str, Any]]
Data = dict[str, Any]


def _state(state: str, detail: str = "") -> Said:
    return "state", {"state": state, "detail": detail}


def _done(data: Data) -> Said:
    usage = dict(data.get("usage") or {})
    usage["total_tokens"] = usage.get("input_tokens", 0) + usage.get("output_tokens", 0)
    final = (data.get("final_message") or {}).get("content", "")
    return "done", {"final_message": final, "usage": usage}


def _cancelled(data: Data) -> Said:
    return "error", {"code": "cancelled", "message": data.get("reason") or "the run was cancelled"}


_TOLD: dict[str, Callable[[Data], Said]] = {
    EventType.RUN_STARTED: lambda data: _state("started", data.get("agent_id") or ""),
    EventType.RUN_WAITING: lambda data: _state("waiting", data.get("waiting_on") or ""),
    EventType.RUN_RESUMED: lambda data: _state("resumed", data.get("waiting_on") or ""),
    EventType.AGENT_STATE: lambda data: _state(data.get("state", ""), data.get("detail", "")),
    EventType.TOOL_CALL_CREATED: lambda data: _state("tool", data.get("tool_name", "")),
    EventType.AGENT_STREAM_RESET: lambda _: _state("reset", "forget the text so far"),
    EventType.AGENT_STREAM_DELTA: lambda data: ("delta", {"text": data.get("text", "")}),
    EventType.RUN_DONE: _done,
    EventType.RUN_FAILED: lambda data: (
        "error",
        {"code": data.get("code", ""), "message": data.get("message", "")},
    ),
    EventType.RUN_CANCELLED: _cancelled,
}


async def asked_frames(tail: Tail) -> AsyncGenerator[bytes, None]:
    """Yield a run's events as frames of the agent protocol, up to `done` or `error`."""
    async with aclosing(tail.batches()) as batches:
        async for batch in batches:
            chunk = b"".join(frame for frame in map(frame_of, batch) if frame)
            if chunk:
                yield chunk


def frame_of(event: StoredEvent) -> bytes:
    """Return an event of a run as the agent protocol has it; nothing for one that it has not."""
    told = _TOLD.get(event.type)
    if told is None:
        return b""
    name, data = told(json.loads(event.envelope)["data"])
    return f"event: {name}\ndata: {encode_json({**data, 'run_id': event.run_id})}\n\n".encode()
