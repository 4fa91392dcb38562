"""A chat completion request as a `ChatRequest`, for providers that do not speak OpenAI's format.

What no provider of ours could keep is refused by name, and never dropped, unless it is a mere
label (`user`) or a wish that OpenAI does not promise to keep either (`seed`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from api.completions.asking import Ask
from domain.chat import (
    NO_WISHES,
    ChatMessage,
    ChatRequest,
    ChatWishes,
    Role,
    ToolCallRequest,
    ToolDefinition,
    split_model,
)
from domain.errors import InvalidRequestError, NotSupportedError
from domain.event import encode_json

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_READ = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens"),
        *("tools", "tool_choice", "parallel_tool_calls", "temperature", "top_p", "seed", "stop"),
        *("response_format", "n"),
    }
)
_LABELS = frozenset(
    {
        *("user", "metadata", "store", "safety_identifier", "prompt_cache_key", "service_tier"),
        *("prompt_cache_retention", "verbosity"),
    }
)
"""What changes no answer."""


def chat_request(ask: Ask, model: str) -> ChatRequest:
    """Return the request for `model`.

    Raises:
        NotSupportedError: it asks for what cannot be translated; names the field.
        InvalidRequestError: a field is not what OpenAI says it is.
    """
    body = ask.body
    for name, value in body.items():
        if name not in _READ and name not in _LABELS and value not in (None, False, 0, [], {}):
            raise _unknown(name, model)
    if ask.choices > 1:
        raise _unknown("n", model)
    return ChatRequest(
        model=split_model(model)[1],
        messages=tuple(_message(message) for message in body["messages"]),
        tools=tuple(_tool(tool) for tool in _items(body, "tools")),
        max_output_tokens=ask.cap,
        temperature=_number(body, "temperature", 2),
        wishes=_wishes(body),
    )


def _unknown(name: str, model: str) -> NotSupportedError:
    shown = name[:100]
    provider = split_model(model)[0]
    return NotSupportedError(f"{shown!a} cannot be asked of {provider} models here", field=shown)


def _message(message: dict[str, Any]) -> ChatMessage:
    role = _ROLES.get(str(message.get("role")))
    if role is None:
        raise _wrong("messages", "a role is system, developer, user, assistant or tool")
    text, images = _content(message.get("content"))
    if images and role != "user":
        raise _wrong("messages", "images are shown by the user")
    answers = message.get("tool_call_id")
    if (role == "tool") is not isinstance(answers, str):
        raise _wrong("messages", "a tool message, and no other, has a tool_call_id")
    return ChatMessage(
        role=role,
        content=text,
        images=images,
        tool_call_id=answers,
        tool_calls=tuple(_call(call) for call in _items(message, "tool_calls")),
    )


def _content(content: object) -> tuple[str, tuple[str, ...]]:
    if content is None or isinstance(content, str):
        return content or "", ()
    if not isinstance(content, list):
        raise _wrong("messages", "content is a text or a list of parts")
    texts: list[str] = []
    images: list[str] = []
    for part in content:
        kind, value = _part(part)
        (images if kind == "image_url" else texts).append(value)
    return "\n".join(texts), tuple(images)


def _part(part: object) -> tuple[str, str]:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str) or kind not in {"text", "image_url"}:
        raise NotSupportedError(f"parts of type {kind!r:.50} cannot be sent", field="messages")
    value = cast("dict[str, Any]", part).get(kind)
    if isinstance(value, dict):
        value = value.get("url")
    if not isinstance(value, str):
        raise _wrong("messages", f"a part of type {kind} has a {kind}")
    if kind == "image_url" and not value.startswith(("data:", "https://")):
        raise _wrong("messages", "an image is a data: or https: URL")
    return kind, value


def _call(call: object) -> ToolCallRequest:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise _wrong("messages", "a tool call has a function")
    named = cast("dict[str, Any]", call).get("id")
    fields = (named, function.get("name"), function.get("arguments"))
    if not all(isinstance(field, str) for field in fields):
        raise _wrong("messages", "a tool call has an id, a name and arguments")
    return ToolCallRequest(call_id=str(fields[0]), name=str(fields[1]), arguments=str(fields[2]))


def _tool(tool: object) -> ToolDefinition:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise NotSupportedError("a tool is {type: function, function: {name, ...}}", field="tools")
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    if not isinstance(parameters, dict):
        raise _wrong("tools", "parameters is a JSON Schema")
    description = function.get("description") or ""
    return ToolDefinition(
        name=function["name"], description=str(description), parameters=parameters
    )


def _wishes(body: Mapping[str, Any]) -> ChatWishes:
    choice, tool_name = _tool_choice(body.get("tool_choice"))
    parallel = body.get("parallel_tool_calls")
    if parallel is not None and not isinstance(parallel, bool):
        raise _wrong("parallel_tool_calls", "true or false")
    seed = body.get("seed")
    wishes = ChatWishes(
        tool_choice=choice,
        tool_name=tool_name,
        parallel_tool_calls=parallel,
        top_p=_number(body, "top_p", 1),
        seed=seed if type(seed) is int else None,
        stop=_stop(body.get("stop")),
        response_schema=_response_schema(body.get("response_format")),
    )
    return NO_WISHES if wishes == NO_WISHES else wishes


def _tool_choice(value: object) -> tuple[Any, str | None]:
    if value is None or value in ("auto", "none", "required"):
        return value, None
    function = value.get("function") if isinstance(value, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise _wrong("tool_choice", "auto, none, required or {type: function, function: {name}}")
    return None, name


def _stop(value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise _wrong("stop", "a text or a list of texts")
    return tuple(texts)


def _response_schema(value: object) -> dict[str, Any] | None:
    if value is None:
        return None
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return {}
    outer = cast("dict[str, Any]", value).get("json_schema") if kind == "json_schema" else None
    schema = outer.get("schema") if isinstance(outer, dict) else None
    if not isinstance(schema, dict) or not schema:
        raise _wrong("response_format", "text, json_object, or json_schema with a schema")
    return schema


def _number(body: Mapping[str, Any], name: str, most: float) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise _wrong(name, f"a number from 0 to {most}")
    return float(value)


def _items(body: Mapping[str, Any], name: str) -> Sequence[object]:
    value = body.get(name)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _wrong(name, "a list")
    return value


def _wrong(name: str, said: str) -> InvalidRequestError:
    return InvalidRequestError(f"{name}: {said}", field=name)


def last_user_text(ask: Ask) -> str:
    """Return what the user said last, as far as it is text."""
    for message in reversed(ask.body["messages"]):
        if message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, list):
                return "\n".join(
                    str(part.get("text"))
                    for part in content
                    if isinstance(part, dict) and part.get("text")
                )
            return content if isinstance(content, str) else encode_json(content)
    return ""
