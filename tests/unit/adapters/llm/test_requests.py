"""What each provider is sent, byte for byte of the JSON that matters."""

import json
from typing import Any

import pytest

from adapters.llm.anthropic import AnthropicChat
from adapters.llm.catalog import Provider
from adapters.llm.ollama import ollama_chat
from adapters.llm.openai import DEFAULT_BASE_URL, OpenAIAccount, OpenAIChat
from domain.chat import ChatMessage, ChatRequest
from tests.stub.http import Exchange, StubServer, serving
from tests.unit.adapters.llm.asking import (
    assistant,
    break_off,
    call,
    read,
    request,
    result,
    tool,
    user,
)

FULL = ChatRequest(
    model="m",
    messages=(
        ChatMessage(role="system", content="Be brief."),
        user("q"),
        assistant("", call("a", "f", '{"x": 1}')),
        result("a", "1"),
    ),
    tools=(tool("f"),),
    max_output_tokens=77,
    temperature=0.5,
)


def build(name: str, server: StubServer) -> Provider:
    if name == "openai":
        return OpenAIChat(OpenAIAccount("k", f"{server.url}/v1", "org", "project"))
    if name == "ollama":
        return ollama_chat(server.url)
    return AnthropicChat(auth_token="token", base_url=server.url)


async def sent(name: str, asked: ChatRequest) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Return path, headers and body of the one request that `asked` makes."""
    seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    async def handler(exchange: Exchange) -> None:
        got = exchange.request
        seen.append((got.path, got.headers, got.json()))
        await exchange.reply(b"", 400)

    async with serving(handler) as server:
        chat = build(name, server)
        await break_off(chat.stream(asked))
        await chat.aclose()
    (only,) = seen
    return only


async def test_openai_is_sent_the_conversation_the_tools_and_the_account() -> None:
    path, headers, body = await sent("openai", FULL)

    assert path == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer k"
    assert (headers["openai-organization"], headers["openai-project"]) == ("org", "project")
    assert headers["accept-encoding"] == "identity"
    function = {"name": "f", "arguments": '{"x": 1}'}
    assert body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "q"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "a", "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": "a", "content": "1"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 77,
        "temperature": 0.5,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "f",
                    "description": "does f",
                    "parameters": {"type": "object"},
                },
            }
        ],
    }


async def test_what_was_not_asked_for_is_not_sent() -> None:
    for name in ("openai", "anthropic", "ollama"):
        _, _, body = await sent(name, request("m", user("q")))
        assert not body.keys() & {"temperature", "tools", "system"}


def test_openai_itself_is_sent_the_new_name_of_the_token_limit() -> None:
    body = OpenAIChat(OpenAIAccount("k", DEFAULT_BASE_URL))._body(FULL)

    assert body["max_completion_tokens"] == 77
    assert "max_tokens" not in body


async def test_ollama_is_sent_no_account() -> None:
    path, headers, _ = await sent("ollama", FULL)

    assert path == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer ollama"


async def test_anthropic_is_sent_turns_a_system_prompt_and_its_version() -> None:
    path, headers, body = await sent("anthropic", FULL)

    assert path == "/v1/messages"
    assert headers["authorization"] == "Bearer token"
    assert headers["anthropic-version"]
    assert body == {
        "model": "m",
        "max_tokens": 77,
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "q"}]},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "a", "content": "1"}],
            },
        ],
        "stream": True,
        "temperature": 0.5,
        "tools": [{"name": "f", "description": "does f", "input_schema": {"type": "object"}}],
    }


async def test_anthropic_is_told_of_tools_in_words_where_none_are_declared() -> None:
    _, _, body = await sent("anthropic", FULL.model_copy(update={"tools": ()}))

    assert "tools" not in body
    said = [(turn["role"], part) for turn in body["messages"] for part in turn["content"]]
    assert {part["type"] for _, part in said} == {"text"}
    assert [(role, part["text"]) for role, part in said] == [
        ("user", "q"),
        ("assistant", '[called f with {"x": 1}]'),
        ("user", "[tool result]\n1"),
    ]


async def test_a_connection_cut_after_the_marker_loses_only_itself() -> None:
    async def handler(exchange: Exchange) -> None:
        chunk = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}
        await exchange.start_stream()
        await exchange.send(f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode())
        await exchange.sleep(0.01)
        exchange.reset()

    async with serving(handler) as server:
        chat = build("openai", server)
        texts, end = await read(chat.stream(FULL))
        await chat.aclose()

    assert (texts, end.stop_reason) == (["Hi"], "stop")


@pytest.mark.parametrize("name", ["openai", "anthropic"])
async def test_closing_what_was_never_used_does_nothing(name: str) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.reply(b"")

    async with serving(handler) as server:
        await build(name, server).aclose()
