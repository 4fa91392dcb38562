"""The offline models: what they say, and the script language line by line."""

import asyncio
import json
import time
from datetime import timedelta

import pytest

from adapters.llm.offline import OfflineChat
from adapters.llm.patience import Patience
from domain.chat import ChatMessage, StreamEnd, TokenUsage
from domain.errors import (
    ModelAuthError,
    ModelRateLimitedError,
    ModelRequestError,
    ModelTimeoutError,
    ModelUnavailableError,
    StreamIncompleteError,
)
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


async def said(model: str, *messages: ChatMessage, tools: tuple[str, ...] = ()) -> str:
    texts, _ = await read(OfflineChat().stream(request(model, *messages, tools=tools)))
    return "".join(texts)


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


# echo and assistant


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


# script


async def script(text: str, *after: ChatMessage) -> str:
    return await said("script", user(text), *after)


async def test_say_and_tokens_make_the_words() -> None:
    assert await script("say hello world\nsay again\ntokens=3") == (
        "[offline] hello world\nagain t0 t1 t2"
    )


async def test_tokens_alone_are_as_many_deltas() -> None:
    texts, end = await read(OfflineChat().stream(request("script", user("tokens=50"))))

    assert len(texts) == 50
    assert texts[0] == "[offline] t0 "
    assert texts[-1] == "t49"
    assert end.usage is not None
    assert end.usage.output_tokens == 50


@pytest.mark.parametrize(("cap", "words"), [(1, 1), (3, 3), (5, 5), (6, 5)])
async def test_a_reply_is_cut_at_the_tokens_that_were_asked_for(cap: int, words: int) -> None:
    asked_for = request("script", user("tokens=5\ncall a")).model_copy(
        update={"max_output_tokens": cap}
    )
    texts, end = await read(OfflineChat().stream(asked_for))

    is_cut = cap < 5
    assert len(texts) == words
    assert end.stop_reason == ("length" if is_cut else "tool_calls")
    assert bool(end.tool_calls) is not is_cut
    assert end.usage is not None
    assert end.usage.output_tokens == words


@pytest.mark.parametrize("model", ["echo", "assistant"])
async def test_every_offline_model_keeps_to_the_tokens(model: str) -> None:
    asked_for = request(model, user("a b c d")).model_copy(update={"max_output_tokens": 2})
    texts, end = await read(OfflineChat().stream(asked_for))

    assert (len(texts), end.stop_reason) == (2, "length")


async def test_turns_follow_the_assistant_messages_since_the_user() -> None:
    text = "call a\n---\nsay {turn}: {result}\n---\nsay last"

    first = await script(text)
    second = await script(text, assistant(), result("x", "41"), result("y", "42"))
    third = await script(text, assistant(), assistant())
    over = await script(text, assistant(), assistant(), assistant())

    assert (first, second) == ("[offline] calling a", "[offline] 1: 41, 42")
    assert (third, over) == ("[offline] last", "[offline] The script is over.")


async def test_a_new_user_message_begins_a_new_script() -> None:
    assert await script("say old", assistant("x"), user("say new")) == "[offline] new"


async def test_loop_repeats_its_turn() -> None:
    text = 'loop 3 call a {"x": 1}\ncall b\n---\nsay done'
    chat = OfflineChat()
    ends = []
    for turn in range(4):
        messages = (user(text), *[assistant()] * turn)
        ends.append((await read(chat.stream(request("script", *messages))))[1])

    names = [[c.name for c in end.tool_calls] for end in ends]
    assert names == [["a", "b"]] * 3 + [[]]
    assert len({c.call_id for end in ends for c in end.tool_calls}) == 6
    assert ends[0].tool_calls[0].arguments == '{"x": 1}'


async def test_a_comment_and_blank_lines_say_nothing() -> None:
    assert await script("# a comment\n\n  say hi  ") == "[offline] hi"


async def test_usage_and_stop_are_as_told() -> None:
    text = "say x\nusage input=10 output=5 cached=2\nstop=length"
    _, end = await read(OfflineChat().stream(request("script", user(text))))

    assert end == StreamEnd(
        stop_reason="length",
        usage=TokenUsage(input_tokens=10, output_tokens=5, cached_tokens=2),
    )


@pytest.mark.parametrize(
    "kind",
    [
        "rate_limited", "unavailable", "timeout", "incomplete", "malformed", "bad_request", "auth",
        "too_large",
    ],
)  # fmt: skip
async def test_each_kind_of_failure_can_be_asked_for(kind: str) -> None:
    stream = OfflineChat().stream(request("script", user(f"fail {kind} retry_after=1.5")))

    _, error = await break_off(stream)

    assert kind in error.code or kind in ("incomplete", "malformed", "too_large")
    assert error.retry_after == timedelta(seconds=1.5)


async def test_a_failure_can_come_after_some_words() -> None:
    stream = OfflineChat().stream(request("script", user("tokens=5\nfail incomplete after=2")))

    texts, error = await break_off(stream)

    assert isinstance(error, StreamIncompleteError)
    assert texts == ["[offline] t0 ", "t1 "]


async def test_a_counted_failure_ends_after_its_times() -> None:
    chat = OfflineChat()
    text = "say fine\nfail unavailable times=2 id=a"
    for _ in range(2):
        with pytest.raises(ModelUnavailableError):
            await read(chat.stream(request("script", user(text))))

    assert (await read(chat.stream(request("script", user(text)))))[0] == ["[offline] fine"]


async def test_counted_failures_are_forgotten_in_the_end() -> None:
    chat = OfflineChat()
    for at in range(1100):
        text = f"fail rate_limited times=1 id=i{at}"
        with pytest.raises(ModelRateLimitedError):
            await read(chat.stream(request("script", user(text))))

    with pytest.raises(ModelRateLimitedError):
        await read(chat.stream(request("script", user("fail rate_limited times=1 id=i0"))))


async def test_pauses_are_real_only_when_asked_for() -> None:
    start = time.monotonic()
    await script("tokens=3\nfirst_ms=30\ngap_ms=20")

    assert time.monotonic() - start >= 0.07


@pytest.mark.parametrize(("text", "sent"), [("stall", 0), ("tokens=9\nhang_after=3", 3)])
async def test_a_stalled_model_runs_into_its_deadline(text: str, sent: int) -> None:
    chat = OfflineChat(patience=Patience(first_seconds=0.01, idle_seconds=0.02))

    texts, error = await break_off(chat.stream(request("script", user(text))))

    assert isinstance(error, ModelTimeoutError)
    assert len(texts) == sent


async def test_a_stall_after_the_last_word_never_ends() -> None:
    chat = OfflineChat(patience=Patience(idle_seconds=0.01))

    with pytest.raises(ModelTimeoutError):
        await read(chat.stream(request("script", user("tokens=2 hang_after=2"))))


async def test_a_stalled_model_can_be_cancelled() -> None:
    task = asyncio.ensure_future(read(OfflineChat().stream(request("script", user("stall")))))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_long_reply_lets_others_run() -> None:
    others = asyncio.ensure_future(asyncio.sleep(0))
    stream = OfflineChat().stream(request("script", user("tokens=200")))
    async for _ in stream:
        if others.done():
            break

    assert others.done()
    await stream.aclose()  # type: ignore[attr-defined]


async def test_clock_stamps_the_words() -> None:
    before = time.monotonic_ns()
    texts = (await script("tokens=3 clock")).split()

    stamps = [int(text.partition("@")[2]) for text in texts[1:]]
    assert before <= stamps[0] <= stamps[1] <= stamps[2] <= time.monotonic_ns()


@pytest.mark.parametrize(
    "line",
    [
        "dance", "tokens=many", "tokens=-1", "tokens=9999999", "call", "call a {broken", "stop=",
        "loop x call a", "fail", "fail badly", "fail auth colour=red", "stall=1", "usage input=x",
        "fail auth retry_after=soon",
    ],
)  # fmt: skip
async def test_a_line_that_cannot_be_read_is_named(line: str) -> None:
    with pytest.raises(ModelRequestError, match="line 2 of the offline script"):
        await script(f"say hi\n{line}")


async def test_a_script_failure_of_auth_is_permanent() -> None:
    with pytest.raises(ModelAuthError):
        await script("fail auth")


async def test_warm_and_close_do_nothing() -> None:
    chat = OfflineChat()
    await chat.warm()
    await chat.aclose()

    assert (await read(chat.stream(request("echo", user("x")))))[0] == ["[offline] x"]


async def test_a_conversation_without_a_user_has_an_empty_script() -> None:
    assert await said("script", assistant("x")) == "[offline] The script is over."
