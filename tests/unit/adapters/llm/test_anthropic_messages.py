"""How a conversation becomes Anthropic's turns."""

import json
from typing import Any

import pytest

from adapters.llm.anthropic_messages import to_messages, to_system
from domain.chat import ChatMessage
from tests.unit.adapters.llm.asking import assistant, call, result, user


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def system(value: str) -> ChatMessage:
    return ChatMessage(role="system", content=value)


def test_system_messages_go_to_the_top_in_order() -> None:
    messages = [system("a"), user("x"), system(""), system("b")]

    assert to_system(messages) == "a\n\nb"
    assert to_messages(messages) == [{"role": "user", "content": [text("x")]}]


def test_messages_of_one_side_become_one_turn() -> None:
    turns = to_messages([user("a"), user("b"), assistant("c"), assistant("d"), user("e")])

    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[0]["content"] == [text("a"), text("b")]


def test_tool_results_lead_the_user_turn_that_answers_the_calls() -> None:
    """Law: results first even when a user's words came between call and result."""
    turns = to_messages(
        [
            user("q"),
            assistant("t", call("a", "f", '{"x": 1}'), call("b", "g")),
            result("a", "1"),
            user("hurry"),
            result("b", "2"),
        ]
    )

    assert turns[1]["content"][1:] == [
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "g", "input": {}},
    ]
    assert [block["type"] for block in turns[2]["content"]] == ["tool_result"] * 2 + ["text"]
    assert [block.get("tool_use_id") for block in turns[2]["content"]] == ["a", "b", None]


def test_ids_of_another_provider_are_made_acceptable_on_both_sides() -> None:
    turns = to_messages(
        [user("q"), assistant("", call("functions.f:0")), result("functions.f:0", "1")]
    )

    assert turns[1]["content"][0]["id"] == turns[2]["content"][0]["tool_use_id"] == "functions_f_0"


@pytest.mark.parametrize("arguments", ["{broken", "[1]", "7", "[" * 5000])
def test_malformed_arguments_are_kept_inside_an_object(arguments: str) -> None:
    turns = to_messages([user("q"), assistant("", call("a", "f", arguments))])

    assert turns[1]["content"][0]["input"] == {"malformed_arguments": arguments}


def test_half_characters_in_arguments_can_be_sent() -> None:
    turns = to_messages([user("q"), assistant("", call("a", "f", '{"x": "a\\ud800"}'))])

    assert json.dumps(turns, ensure_ascii=False).encode()


@pytest.mark.parametrize("messages", [[], [system("s")], [user("  ")], [assistant("a"), user("b")]])
def test_every_conversation_begins_with_the_user_and_has_no_blank_text(
    messages: list[ChatMessage],
) -> None:
    turns = to_messages(messages)

    assert turns[0]["role"] == "user"
    assert all(block["text"].strip() for turn in turns for block in turn["content"])
