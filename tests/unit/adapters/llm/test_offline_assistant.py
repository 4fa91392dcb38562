"""The offline models without a script: what they say, and what they ask of tools."""

import json

import pytest

from adapters.llm.offline import OfflineChat
from domain.chat import ChatMessage
from domain.errors import ModelRequestError
from tests.unit.adapters.llm.asking import assistant, call, read, request, result, said, tool, user


async def asked(*messages: ChatMessage, tools: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    chat = OfflineChat()
    _, end = await read(chat.stream(request("assistant", *messages, tools=tools)))
    return [(c.name, c.arguments) for c in end.tool_calls]


async def summed(question: str) -> list[dict[str, object]]:
    """Return what a calculator that takes expressions is asked."""
    parameters = {"type": "object", "properties": {"expression": {"type": "string"}}}
    calculator = tool("calculator").model_copy(update={"parameters": parameters})
    question_asked = request("assistant", user(question)).model_copy(
        update={"tools": (calculator,)}
    )
    _, end = await read(OfflineChat().stream(question_asked))
    return [json.loads(call.arguments) for call in end.tool_calls]


async def test_echo_repeats_the_last_user_message_under_its_label() -> None:
    reply = await said("echo", user("first"), assistant("x"), user("Hello  there,\nworld"))

    assert reply == "[offline] Hello  there,\nworld"


async def test_an_empty_reply_is_still_labelled() -> None:
    assert await said("echo") == "[offline]"


async def test_every_word_is_a_piece_of_its_own() -> None:
    texts, _ = await read(OfflineChat().stream(request("echo", user("a b c"))))

    assert texts == ["[offline] a ", "b ", "c"]


async def test_half_characters_and_nuls_never_leave() -> None:
    assert await said("echo", user("a\ud800b\0c")) == "[offline] a\ufffdbc"


@pytest.mark.parametrize(
    ("question", "arguments"),
    [
        ("What is 17 * 23?", '{"operation": "multiply", "a": 17, "b": 23}'),
        ("17 x 23", '{"operation": "multiply", "a": 17, "b": 23}'),
        ("what is 2.5 plus -3", '{"operation": "add", "a": 2.5, "b": -3}'),
        ("7 minus 9 please", '{"operation": "subtract", "a": 7, "b": 9}'),
        ("7 - 9", '{"operation": "subtract", "a": 7, "b": 9}'),
        ("10 divided by 4", '{"operation": "divide", "a": 10, "b": 4}'),
        ("10 \u00f7 4", '{"operation": "divide", "a": 10, "b": 4}'),
    ],
)
async def test_arithmetic_goes_to_the_calculator(question: str, arguments: str) -> None:
    assert await asked(user(question), tools=("calculator",)) == [("calculator", arguments)]


@pytest.mark.parametrize(
    ("question", "expression"),
    [
        ("12*(3+4)?", "12*(3+4)"),
        ("What is (1 + 2) * (3 + 4)?", "(1 + 2) * (3 + 4)"),
        ("1 plus 2 times 3, please", "1 + 2 * 3"),
        ("6 times (1 plus 2)", "6 * (1 + 2)"),
        ("12-3*4", "12-3*4"),
        ("10-(2-3)", "10-(2-3)"),
        ("3 x (4 \u2212 1) \u00f7 2", "3 * (4 - 1) / 2"),
        ("2^10", "2 ** 10"),
        ("SQRT(16) + 2 (please)", "sqrt(16) + 2"),
        ("10 % 3 + 1", "10 % 3 + 1"),
    ],
)
async def test_longer_arithmetic_goes_to_the_calculator_as_a_whole(
    question: str, expression: str
) -> None:
    assert await summed(question) == [{"expression": expression}]


@pytest.mark.parametrize(
    ("question", "a", "b"),
    [("What is 17 + 23?", 17, 23), ("(2+2)", 2, 2), ("see (2+2 or so", 2, 2), ("7 plus -9", 7, -9)],
)
async def test_plain_arithmetic_stays_plain_for_a_calculator_of_expressions(
    question: str, a: int, b: int
) -> None:
    assert await summed(question) == [{"operation": "add", "a": a, "b": b}]


@pytest.mark.parametrize(
    ("question", "arguments"),
    [
        (
            "9007199254740993 minus 9007199254740992",
            {"operation": "subtract", "a": 9007199254740993, "b": 9007199254740992},
        ),
        (
            "9007199254740993.5 - 9007199254740992.5",
            {"expression": "9007199254740993.5 - 9007199254740992.5"},
        ),
    ],
)
async def test_no_digit_is_lost_on_the_way_to_the_calculator(
    question: str, arguments: dict[str, object]
) -> None:
    assert await summed(question) == [arguments]


@pytest.mark.parametrize(
    "question",
    [
        "on 2026-11-20", "call 555-1234", "tel. (030) 123-456", "10% of 50", "2*(3+4", "2(3+4)",
        "5 (4) 3", "it was over", "((1)", "-5", "max(1, 2)", "(" * 100_000, "2*(" * 50_000 + "1",
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
async def test_a_part_of_an_expression_is_never_answered_for_the_whole(question: str) -> None:
    assert await summed(question) == []


async def test_sums_side_by_side_are_sums_of_their_own() -> None:
    assert await summed("1 + 2\n3 + 4, and 5*(6+7)") == [
        {"operation": "add", "a": 1, "b": 2},
        {"operation": "add", "a": 3, "b": 4},
        {"expression": "5*(6+7)"},
    ]


async def test_a_calculator_without_expressions_gets_what_it_can_take() -> None:
    assert await asked(user("1 + 2 * 3"), tools=("calculator",)) == [
        ("calculator", '{"operation": "add", "a": 1, "b": 2}')
    ]


async def test_the_answer_shows_the_whole_expression() -> None:
    reply = await said(
        "assistant",
        user("12*(3+4)?"),
        assistant("", call("a", "calculator", '{"expression": "12*(3+4)"}')),
        result("a", '{"result": 84}'),
    )

    assert reply == "[offline] 12*(3+4) = 84."


async def test_work_for_another_agent_is_handed_on_by_who_can() -> None:
    question = user("ask math: what is 6 * 7?")

    assert await asked(question, tools=("spawn_run", "calculator")) == [
        ("spawn_run", '{"agent_id": "math", "input": "what is 6 * 7?"}')
    ]
    assert [name for name, _ in await asked(question, tools=("calculator",))] == ["calculator"]


async def test_several_questions_are_asked_at_once() -> None:
    calls = await asked(
        user("1 + 2, then 'abc' reversed: reverse \"abc\", and what time is it?"),
        tools=("calculator", "time", "text"),
    )

    assert calls == [
        ("calculator", '{"operation": "add", "a": 1, "b": 2}'),
        ("time", '{"action": "current"}'),
        ("text", '{"operation": "reverse", "text": "abc"}'),
    ]


@pytest.mark.parametrize("question", ["on 2026-11-20", "it was time", "a-b", "hello"])
async def test_what_is_no_question_is_asked_of_no_tool(question: str) -> None:
    assert await asked(user(question), tools=("calculator", "time", "text")) == []


async def test_a_tool_it_was_not_given_is_not_called() -> None:
    assert await asked(user("2 + 2 and what time is it"), tools=("time",)) == [
        ("time", '{"action": "current"}')
    ]


async def test_calls_are_announced_under_the_label() -> None:
    reply = await said("assistant", user("2 + 2"), tools=("calculator",))

    assert reply == "[offline] calling calculator"


async def test_it_answers_with_the_tool_results() -> None:
    arguments = '{"operation": "multiply", "a": 17, "b": 23}'
    reply = await said(
        "assistant",
        user("17 * 23 and the time"),
        assistant("", call("a", "calculator", arguments), call("b", "time")),
        result("a", '{"result": 391}'),
        result("b", '{"now": "noon"}'),
    )

    assert reply == '[offline] 17 * 23 = 391. time says {"now": "noon"}.'


@pytest.mark.parametrize("arguments", ["{}", "[1]", "{broken"])
async def test_results_of_odd_calls_are_told_as_they_are(arguments: str) -> None:
    reply = await said(
        "assistant",
        user("?"),
        assistant("", call("a", "calculator", arguments)),
        result("a", "it failed"),
        result("nobody", '{"result": "x"}'),
    )

    assert reply == "[offline] None ? None = it failed. the tool says x."


async def test_it_says_what_was_said_before() -> None:
    reply = await said("assistant", user("a"), assistant("[offline] one"), user("b" * 300))

    assert reply.endswith('bb..." Said before in this conversation: "one"')


async def test_an_unknown_offline_model_is_refused() -> None:
    with pytest.raises(ModelRequestError, match="offline/script"):
        await said("gpt", user("hi"))


@pytest.mark.parametrize("model", ["echo", "assistant"])
async def test_every_offline_model_keeps_to_the_tokens(model: str) -> None:
    asked_for = request(model, user("a b c d")).model_copy(update={"max_output_tokens": 2})
    texts, end = await read(OfflineChat().stream(asked_for))

    assert (len(texts), end.stop_reason) == (2, "length")


async def test_warm_and_close_do_nothing() -> None:
    chat = OfflineChat()
    await chat.warm()
    await chat.aclose()

    assert (await read(chat.stream(request("echo", user("x")))))[0] == ["[offline] x"]
