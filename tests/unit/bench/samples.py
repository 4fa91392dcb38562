"""Streams as the product sends them, for the bench's readers."""

import json
from collections.abc import Mapping, Sequence

from bench.events import Seen

Entry = tuple[str, Mapping[str, object]]


def frame(seq: int, kind: str, data: Mapping[str, object]) -> bytes:
    envelope = json.dumps({"seq": seq, "type": kind, "data": data})
    return f"id: {seq}\nevent: {kind}\ndata: {envelope}\n\n".encode()


def delta(text: str, attempt: int = 1) -> Entry:
    return "agent_stream_delta", {"text": text, "step": "llm-1-1", "attempt": attempt}


def done(text: str, model_calls: int = 1, tool_calls: int = 0) -> Entry:
    usage = {"model_calls": model_calls, "tool_calls": tool_calls}
    return "run_done", {"final_message": {"content": text}, "usage": usage}


def seen(entries: Sequence[Entry]) -> list[Seen]:
    return [
        Seen(seq, kind, dict(data), seq * 1_000_000)
        for seq, (kind, data) in enumerate(entries, start=1)
    ]
