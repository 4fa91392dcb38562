"""OpenAI's answers, written by us: for models with another wire format, and for agents."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from api.errors import Problem, openai_error, openai_problem
from domain.chat import TokenUsage, ToolCallRequest
from domain.errors import OrchestratorError
from domain.event import encode_json

DONE = b"data: [DONE]\n\n"


class Chunks:
    """The chunks of one streamed answer."""

    def __init__(self, answer_id: str, created: int, model: str) -> None:
        head = {"id": answer_id, "object": "chat.completion.chunk", "created": created}
        self._head = encode_json({**head, "model": model})[:-1]

    def role(self) -> bytes:
        """Return the chunk that every answer begins with."""
        return self._choice('{"role":"assistant","content":""}')

    def text(self, text: str) -> bytes:
        """Return a piece of the answer's text."""
        return self._choice('{"content":' + encode_json(text) + "}")

    def calls(self, calls: Sequence[ToolCallRequest]) -> bytes:
        """Return the tool calls."""
        return self._choice(encode_json({"tool_calls": _calls(calls, indexed=True)}))

    def finish(self, reason: str) -> bytes:
        """Return the chunk that says why the answer ended."""
        return self._choice("{}", json.dumps(reason))

    def usage(self, usage: TokenUsage) -> bytes:
        """Return the chunk that says what was used."""
        counts = encode_json(usage_view(usage))
        return f'data: {self._head},"choices":[],"usage":{counts}}}\n\n'.encode()

    def _choice(self, delta: str, reason: str = "null") -> bytes:
        choice = f'{{"index":0,"delta":{delta},"finish_reason":{reason}}}'
        return f'data: {self._head},"choices":[{choice}]}}\n\n'.encode()


def error_chunk(error: OrchestratorError) -> bytes:
    """Return the chunk that ends a stream that cannot go on: the official client raises it."""
    return problem_chunk(openai_problem(error))


def problem_chunk(problem: Problem) -> bytes:
    """Return the chunk that ends a stream for this reason."""
    return f"data: {encode_json(openai_error(problem))}\n\n".encode()


def completion(
    head: tuple[str, int, str],
    text: str,
    calls: Sequence[ToolCallRequest],
    reason: str,
    usage: TokenUsage | None,
) -> dict[str, Any]:
    """Return a whole answer; `head` is its id, the time in seconds, and the model."""
    answer_id, created, model = head
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if calls:
        message |= {"content": text or None, "tool_calls": _calls(calls, indexed=False)}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    return {
        "id": answer_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [choice],
        "usage": None if usage is None else usage_view(usage),
    }


def usage_view(usage: TokenUsage) -> Mapping[str, Any]:
    """Return what was used."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def _calls(calls: Sequence[ToolCallRequest], *, indexed: bool) -> list[dict[str, Any]]:
    return [
        {
            **({"index": index} if indexed else {}),
            "id": call.call_id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for index, call in enumerate(calls)
    ]
