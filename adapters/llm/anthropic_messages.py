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
from domain.chat import ChatMessage, ChatWishes, ToolCallRequest
from domain.errors import NotSupportedError

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


def to_wishes(wishes: ChatWishes, *, has_tools: bool) -> dict[str, Any]:
    """Return what a caller asks for beyond the conversation. There is no seed; it is dropped.

    Raises:
        NotSupportedError: Anthropic fits answers to a schema only, not to any JSON.
    """
    body: dict[str, Any] = {}
    choice = _tool_choice(wishes) if has_tools else None
    if choice is not None:
        body["tool_choice"] = choice
    if wishes.top_p is not None:
        body["top_p"] = wishes.top_p
    if wishes.stop:
        body["stop_sequences"] = list(wishes.stop)
    if wishes.response_schema is not None:
        if not wishes.response_schema:
            said = "anthropic models answer by a schema: send response_format json_schema"
            raise NotSupportedError(said, field="response_format")
        form = {"type": "json_schema", "schema": wishes.response_schema}
        body["output_config"] = {"format": form}
    return body


def _tool_choice(wishes: ChatWishes) -> dict[str, Any] | None:
    choice: dict[str, Any] | None = None
    if wishes.tool_name is not None:
        choice = {"type": "tool", "name": wishes.tool_name}
    elif wishes.tool_choice is not None:
        choice = {"type": "any" if wishes.tool_choice == "required" else wishes.tool_choice}
    if wishes.parallel_tool_calls is False and wishes.tool_choice != "none":
        choice = (choice or {"type": "auto"}) | {"disable_parallel_tool_use": True}
    return choice


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
    blocks: list[dict[str, Any]] = [_image(url) for url in message.images]
    if message.content.strip():
        blocks.append({"type": "text", "text": clean(message.content)})
    blocks.extend(_tool_use(call) for call in message.tool_calls)
    return blocks


def _image(url: str) -> dict[str, Any]:
    if not url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    head, _, data = url.removeprefix("data:").partition(",")
    media, _, coding = head.partition(";")
    if coding != "base64" or not media.startswith("image/"):
        said = "an image in a data: URL is `data:image/...;base64,...`"
        raise NotSupportedError(said, field="messages")
    return {"type": "image", "source": {"type": "base64", "media_type": media, "data": data}}


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
