"""Short ways to ask a model something."""

from collections.abc import AsyncIterator

from adapters.llm.offline import OfflineChat
from domain.chat import (
    ChatChunk,
    ChatMessage,
    ChatRequest,
    HiddenDelta,
    StreamEnd,
    TextDelta,
    ToolCallRequest,
    ToolDefinition,
)
from domain.errors import OrchestratorError


def tool(name: str) -> ToolDefinition:
    """Return a tool with no schema to speak of."""
    return ToolDefinition(name=name, description=f"does {name}", parameters={"type": "object"})


def user(text: str) -> ChatMessage:
    return ChatMessage(role="user", content=text)


def assistant(text: str = "", *calls: ToolCallRequest) -> ChatMessage:
    return ChatMessage(role="assistant", content=text, tool_calls=calls)


def call(call_id: str, name: str = "calculator", arguments: str = "{}") -> ToolCallRequest:
    return ToolCallRequest(call_id=call_id, name=name, arguments=arguments)


def result(call_id: str, content: str) -> ChatMessage:
    return ChatMessage(role="tool", content=content, tool_call_id=call_id)


def request(model: str, *messages: ChatMessage, tools: tuple[str, ...] = ()) -> ChatRequest:
    return ChatRequest(model=model, messages=messages, tools=tuple(tool(name) for name in tools))


async def break_off(stream: AsyncIterator[ChatChunk]) -> tuple[list[str], OrchestratorError]:
    """Return the texts and the error that ended the stream; fails unless one did."""
    texts: list[str] = []
    try:
        async for chunk in stream:
            if isinstance(chunk, HiddenDelta):
                continue
            assert isinstance(chunk, TextDelta), "the stream ended as if whole"
            texts.append(chunk.text)
    except OrchestratorError as error:
        return texts, error
    raise AssertionError("the stream ended without an end")


async def read(stream: AsyncIterator[ChatChunk]) -> tuple[list[str], StreamEnd]:
    """Return the texts and the end; fails unless the end comes once, last."""
    chunks = [chunk async for chunk in stream if not isinstance(chunk, HiddenDelta)]
    texts, end = chunks[:-1], chunks[-1]
    assert isinstance(end, StreamEnd)
    assert all(isinstance(chunk, TextDelta) for chunk in texts)
    return [chunk.text for chunk in texts if isinstance(chunk, TextDelta)], end


async def said(model: str, *messages: ChatMessage, tools: tuple[str, ...] = ()) -> str:
    """Return what an offline model says."""
    texts, _ = await read(OfflineChat().stream(request(model, *messages, tools=tools)))
    return "".join(texts)
