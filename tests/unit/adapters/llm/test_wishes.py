"""What callers may ask of a call beyond the conversation, as each provider is told it."""

from typing import Any

import pytest

from adapters.llm.anthropic_messages import to_messages, to_wishes
from adapters.llm.offline import OfflineChat
from adapters.llm.openai import OpenAIAccount, OpenAIChat
from domain.chat import ChatMessage, ChatRequest, ChatWishes, StreamEnd, ToolDefinition
from domain.errors import NotSupportedError
from tests.stub.provider import Provider

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
TOOL = ToolDefinition(name="calculator", description="x", parameters={})


def asked(model: str = "m", content: str = "6 * 7", **fields: Any) -> ChatRequest:
    return ChatRequest(model=model, messages=(ChatMessage(role="user", content=content),), **fields)


@pytest.mark.parametrize(
    ("wishes", "sent"),
    [
        (ChatWishes(tool_choice="required"), {"tool_choice": {"type": "any"}}),
        (ChatWishes(tool_choice="none"), {"tool_choice": {"type": "none"}}),
        (ChatWishes(tool_name="f"), {"tool_choice": {"type": "tool", "name": "f"}}),
        (
            ChatWishes(parallel_tool_calls=False),
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        ),
        (
            ChatWishes(tool_choice="none", parallel_tool_calls=False),
            {"tool_choice": {"type": "none"}},
        ),
        (ChatWishes(top_p=0.5, seed=7), {"top_p": 0.5}),
        (ChatWishes(stop=("end",)), {"stop_sequences": ["end"]}),
        (
            ChatWishes(response_schema=SCHEMA),
            {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        ),
    ],
)
def test_anthropic_is_told_in_its_own_words(wishes: ChatWishes, sent: dict[str, Any]) -> None:
    assert to_wishes(wishes, has_tools=True) == sent


def test_anthropic_is_told_of_no_choice_where_there_are_no_tools() -> None:
    assert to_wishes(ChatWishes(tool_choice="auto"), has_tools=False) == {}


def test_anthropic_answers_by_a_schema_only() -> None:
    with pytest.raises(NotSupportedError, match="json_schema"):
        to_wishes(ChatWishes(response_schema={}), has_tools=False)


def test_anthropic_is_shown_images_before_the_text() -> None:
    urls = ("data:image/png;base64,AAAA", "https://x/y.png")
    (turn,) = to_messages([ChatMessage(role="user", content="what?", images=urls)])

    assert [block["type"] for block in turn["content"]] == ["image", "image", "text"]
    assert turn["content"][0]["source"] == {
        "type": "base64",
        "media_type": "image/png",
        "data": "AAAA",
    }
    for url in ("data:image/png,AAAA", "data:text/plain;base64,AAAA"):
        with pytest.raises(NotSupportedError):
            to_messages([ChatMessage(role="user", content="", images=(url,))])


async def test_an_openai_server_is_told_through_the_port_too() -> None:
    provider = Provider()
    every = ChatWishes(
        tool_name="calculator",
        parallel_tool_calls=False,
        top_p=0.5,
        seed=7,
        stop=("end",),
        response_schema=SCHEMA,
    )
    async with provider.serve() as server:
        chat = OpenAIChat(OpenAIAccount("sk", f"{server.url}/v1"))
        message = ChatMessage(role="user", content="what?", images=("https://x/y.png",))
        for wishes in (every, ChatWishes(response_schema={})):
            request = ChatRequest(model="m", messages=(message,), tools=(TOOL,), wishes=wishes)
            assert [chunk async for chunk in chat.stream(request)]
        await chat.aclose()

    first, second = (entry.asked for entry in provider.log)
    assert first["tool_choice"] == {"type": "function", "function": {"name": "calculator"}}
    assert first["response_format"]["json_schema"]["schema"] == SCHEMA
    assert (first["seed"], first["stop"], first["top_p"]) == (7, ["end"], 0.5)
    assert second["response_format"] == {"type": "json_object"}


async def end_of(request: ChatRequest) -> StreamEnd:
    chunks = [chunk async for chunk in OfflineChat().stream(request)]
    assert isinstance(chunks[-1], StreamEnd)
    return chunks[-1]


@pytest.mark.parametrize(
    "wishes",
    [
        ChatWishes(tool_choice="required"),
        ChatWishes(tool_name="calculator"),
        ChatWishes(stop=("end",)),
        ChatWishes(response_schema=SCHEMA),
    ],
)
async def test_offline_models_refuse_what_only_a_model_can_do(wishes: ChatWishes) -> None:
    with pytest.raises(NotSupportedError):
        await end_of(asked("echo", wishes=wishes))


async def test_the_offline_assistant_calls_no_tool_where_none_may_be_called() -> None:
    free = await end_of(asked("assistant", "What is 6 * 7?", tools=(TOOL,)))
    bound = await end_of(
        asked("assistant", "What is 6 * 7?", tools=(TOOL,), wishes=ChatWishes(tool_choice="none"))
    )

    assert free.tool_calls
    assert not bound.tool_calls
