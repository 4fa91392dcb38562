"""Requests for models that do not speak OpenAI's format: what is read of them, what is refused."""

from typing import Any

import httpx2
import pytest

from api.completions.asking import Ask
from api.completions.reading import chat_request, last_user_text
from domain.chat import NO_WISHES, ChatMessage, ToolCallRequest
from domain.errors import InvalidRequestError, NotSupportedError
from tests.unit.api.test_completions import PATH, ask


def asked(choices: int = 1, **fields: Any) -> Ask:
    body = {"model": "x/y", "messages": [{"role": "user", "content": "hi"}], **fields}
    return Ask("x/y", body, 100, 9, choices, False, False, None, None)


def test_a_conversation_is_read_as_it_is() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    image = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "look"}, image]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "seen"},
    ]

    request = chat_request(asked(messages=messages, user="u", metadata={}, logprobs=False), "x/y")

    assert request.messages == (
        ChatMessage(role="system", content="be brief"),
        ChatMessage(role="user", content="look", images=("https://x/y.png",)),
        ChatMessage(
            role="assistant",
            content="",
            tool_calls=(ToolCallRequest(call_id="c1", name="f", arguments="{}"),),
        ),
        ChatMessage(role="tool", content="seen", tool_call_id="c1"),
    )
    assert (request.model, request.max_output_tokens) == ("y", 9)
    assert request.wishes is NO_WISHES


def test_wishes_are_read() -> None:
    schema = {"type": "object"}
    request = chat_request(
        asked(
            temperature=0.5,
            top_p=1,
            seed=7,
            stop="end",
            tool_choice={"type": "function", "function": {"name": "f"}},
            parallel_tool_calls=False,
            response_format={"type": "json_schema", "json_schema": {"schema": schema}},
            tools=[{"type": "function", "function": {"name": "f"}}],
        ),
        "x/y",
    )

    wishes = request.wishes
    assert (request.temperature, wishes.top_p, wishes.seed) == (0.5, 1.0, 7)
    assert (wishes.stop, wishes.tool_name, wishes.tool_choice) == (("end",), "f", None)
    assert (wishes.parallel_tool_calls, wishes.response_schema) == (False, schema)
    assert request.tools[0].parameters == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    "fields",
    [
        {"logit_bias": {"1": 2}},
        {"functions": [{"name": "f"}]},
        {"choices": 2},
        {"tools": [{"type": "custom"}]},
        {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
    ],
)
def test_what_cannot_be_translated_is_not_supported(fields: dict[str, Any]) -> None:
    with pytest.raises(NotSupportedError):
        chat_request(asked(**fields), "x/y")


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "king", "content": "x"}]},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [{"role": "user", "content": "x", "tool_call_id": "c"}]},
        {"messages": [{"role": "user", "content": 7}]},
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [7]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}]},
        {"messages": [{"role": "assistant", "tool_calls": 7}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:x"}}]}
            ]
        },
        {
            "messages": [
                {
                    "role": "system",
                    "content": [{"type": "image_url", "image_url": {"url": "data:x"}}],
                }
            ]
        },
        {"tools": [{"function": {"name": "f", "parameters": 7}}]},
        {"tool_choice": "maybe"},
        {"parallel_tool_calls": "yes"},
        {"temperature": 3},
        {"top_p": "high"},
        {"stop": [7]},
        {"response_format": "json"},
    ],
)
def test_what_is_not_openais_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        chat_request(asked(**fields), "x/y")


def test_a_text_or_any_json_may_be_asked_for() -> None:
    text = chat_request(asked(response_format={"type": "text"}), "x/y")
    json = chat_request(asked(response_format={"type": "json_object"}), "x/y")

    assert text.wishes.response_schema is None
    assert json.wishes.response_schema == {}


def test_what_the_user_said_last_is_its_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}]

    assert last_user_text(asked()) == "hi"
    assert last_user_text(asked(messages=[{"role": "user", "content": parts}])) == "a\nb"
    assert last_user_text(asked(messages=[{"role": "user", "content": 7}])) == "7"
    assert last_user_text(asked(messages=[{"role": "system", "content": "x"}])) == ""


async def test_tool_calls_are_streamed_and_whole(client: httpx2.AsyncClient) -> None:
    tool = {"type": "function", "function": {"name": "calculator", "parameters": {}}}
    question = {"role": "user", "content": "What is 6 * 7?"}
    body = ask("offline/assistant", tools=[tool], messages=[question])

    whole = (await client.post(PATH, json=body)).json()
    streamed = (await client.post(PATH, json=body | {"stream": True})).text

    choice = whole["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "calculator"
    assert '"finish_reason":"tool_calls"' in streamed
    assert '"tool_calls":[{"index":0,' in streamed
    assert streamed.endswith("data: [DONE]\n\n")
