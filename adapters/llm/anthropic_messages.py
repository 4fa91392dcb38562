"""A conversation as Anthropic wants it: user and assistant in turns, tool results first.

System messages go to the top level. Messages of one side that follow each other become one, the
results of an assistant's tool calls leading the user message that answers it, as the API demands.
Source: https://docs.anthropic.com/en/api/messages
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from adapters.llm.values import clean
from domain.chat import ChatMessage, ToolCallRequest

_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_-]")
_OPENING = {"role": "user", "content": [{"type": "text", "text": "(the conversation begins)"}]}
"""Stands where a conversation does not begin with the user."""


def to_system(messages: Sequence[ChatMessage]) -> str:
    """Return the text of all system messages, in order."""
    return "\n\n".join(
        clean(message.content)
        for message in messages
        if message.role == "system" and message.content
    )


def to_messages(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Return the messages other than system ones, merged into turns."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "system":
            continue
        blocks = _blocks(message)
        if not blocks:
            continue
        side = "assistant" if message.role == "assistant" else "user"
        if turns and turns[-1]["role"] == side:
            turns[-1]["content"].extend(blocks)
        else:
            turns.append({"role": side, "content": blocks})
    for turn in turns:
        if turn["role"] == "user":
            turn["content"].sort(key=_results_first)
    if not turns or turns[0]["role"] != "user":
        turns.insert(0, _OPENING)
    return turns


def _results_first(block: dict[str, Any]) -> bool:
    return bool(block["type"] != "tool_result")


def _blocks(message: ChatMessage) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [
            {
                "type": "tool_result",
                "tool_use_id": _tool_id(message.tool_call_id or ""),
                "content": clean(message.content),
            }
        ]
    # The API refuses blank text.
    blocks: list[dict[str, Any]] = []
    if message.content.strip():
        blocks.append({"type": "text", "text": clean(message.content)})
    blocks.extend(_tool_use(call) for call in message.tool_calls)
    return blocks


def _tool_use(call: ToolCallRequest) -> dict[str, Any]:
    return {
        "type": "tool_use",
        "id": _tool_id(call.call_id),
        "name": call.name,
        "input": _input(call.arguments),
    }


def _tool_id(call_id: str) -> str:
    # Ids of another provider in the same conversation may hold what this one refuses.
    return _NOT_IN_IDS.sub("_", call_id)


def _input(arguments: str) -> dict[str, Any]:
    try:
        value = json.loads(clean(arguments))
    except (ValueError, RecursionError):
        value = None
    if type(value) is not dict:
        # A model's malformed text is kept for it to see; the API takes objects only.
        return {"malformed_arguments": clean(arguments)}
    if "\\u" in arguments:
        value = json.loads(clean(json.dumps(value, ensure_ascii=False)))
    return dict(value)
