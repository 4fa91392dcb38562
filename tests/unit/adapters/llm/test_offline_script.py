"""The offline model that follows a script: its language line by line."""

import asyncio
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
from tests.unit.adapters.llm.asking import assistant, break_off, read, request, result, said, user


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


async def test_a_conversation_without_a_user_has_an_empty_script() -> None:
    assert await said("script", assistant("x")) == "[offline] The script is over."
