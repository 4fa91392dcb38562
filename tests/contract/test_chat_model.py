"""What the port `ChatModel` promises, over every implementation.

The remote ones speak real HTTP to the stub; what only they can suffer is in
`test_chat_model_faults.py`.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from adapters.llm.patience import Patience
from domain.chat import ChatMessage, StreamEnd, TextDelta, TokenUsage, ToolCallRequest
from domain.errors import (
    MalformedReplyError,
    ModelAuthError,
    ModelRateLimitedError,
    ModelRequestError,
    ModelTimeoutError,
    ModelUnavailableError,
    OrchestratorError,
    ReplyTooLargeError,
    StreamIncompleteError,
)
from tests.contract.chat_models import ALL, Bench, Subject, benches
from tests.unit.adapters.llm.asking import break_off, read


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with benches() as bench:
        yield bench


@pytest.fixture(params=ALL)
def subject(request: pytest.FixtureRequest, bench: Bench) -> Subject:
    return bench.subject(request.param)


async def test_text_comes_in_order_and_then_one_end(subject: Subject) -> None:
    texts, end = await read(subject.stream("five words"))

    said = "".join(texts).removeprefix("[offline] ")
    assert said == "t0 t1 t2 t3 t4"
    assert len(texts) == 5
    assert end.stop_reason == "stop"
    assert end.tool_calls == ()


async def test_usage_counts_cached_tokens_as_a_part_of_the_input(subject: Subject) -> None:
    _, end = await read(subject.stream("usage"))

    assert end.usage == TokenUsage(input_tokens=10, output_tokens=5, cached_tokens=4)


async def test_tool_calls_come_whole_with_the_end_and_with_unique_ids(subject: Subject) -> None:
    _, end = await read(subject.stream("two calls", tools=("calculator", "time")))

    assert [(c.name, c.arguments) for c in end.tool_calls] == [
        ("calculator", '{"a": 1}'),
        ("time", "{}"),
    ]
    assert len({c.call_id for c in end.tool_calls}) == 2
    assert end.stop_reason == "tool_calls"


async def test_the_answer_after_tool_results_has_seen_them(subject: Subject) -> None:
    _, end = await read(subject.stream("two calls", tools=("calculator", "time")))
    results = [
        ChatMessage(role="tool", content=f"r{at}", tool_call_id=c.call_id)
        for at, c in enumerate(end.tool_calls)
    ]
    asked = ChatMessage(role="assistant", content="", tool_calls=end.tool_calls)

    tools = ("calculator", "time")
    texts, last = await read(subject.stream("two calls", asked, *results, tools=tools))

    assert "r0, r1" in "".join(texts)
    assert last.tool_calls == ()


async def test_many_streams_at_once_stay_apart(subject: Subject) -> None:
    replies = await asyncio.gather(*(read(subject.stream("five words")) for _ in range(25)))

    assert all("".join(texts).endswith("t0 t1 t2 t3 t4") for texts, _ in replies)


async def test_nothing_happens_before_the_first_item_is_asked_for(subject: Subject) -> None:
    stream = subject.stream("five words")
    await asyncio.sleep(0)

    assert subject.provider.log == []
    await stream.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ("rate limited", ModelRateLimitedError),
        ("unavailable", ModelUnavailableError),
        ("refused key", ModelAuthError),
        ("bad request", ModelRequestError),
        ("half a stream", StreamIncompleteError),
        ("malformed", MalformedReplyError),
        ("too large", ReplyTooLargeError),
    ],
)
async def test_each_failure_is_one_of_ours(
    subject: Subject, behaviour: str, kind: type[OrchestratorError]
) -> None:
    _, error = await break_off(subject.stream(behaviour))

    assert type(error) is kind


async def test_a_rate_limit_says_how_long_to_wait(subject: Subject) -> None:
    _, error = await break_off(subject.stream("rate limited"))

    assert error.retry_after == timedelta(seconds=1.5)


async def test_what_came_before_a_failure_was_handed_out(subject: Subject) -> None:
    texts, _ = await break_off(subject.stream("half a stream"))

    assert len(texts) == 3


@pytest.mark.parametrize("name", ALL)
async def test_a_model_that_never_answers_is_given_up(bench: Bench, name: str) -> None:
    subject = bench.subject(name, Patience(first_seconds=0.15))

    texts, error = await break_off(subject.stream("stall"))

    assert type(error) is ModelTimeoutError
    assert texts == []


@pytest.mark.parametrize("name", ALL)
async def test_a_model_that_falls_silent_is_given_up(bench: Bench, name: str) -> None:
    subject = bench.subject(name, Patience(idle_seconds=0.1))

    texts, error = await break_off(subject.stream("stall later"))

    assert type(error) is ModelTimeoutError
    assert "0.1 seconds" in error.message
    assert len(texts) == 3


async def test_closing_the_stream_ends_it_at_once(subject: Subject) -> None:
    stream = subject.stream("endless words")
    assert isinstance(await anext(stream), TextDelta)

    async with asyncio.timeout(5):
        await stream.aclose()  # type: ignore[attr-defined]

    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_cancelling_the_reader_ends_the_stream_at_once(subject: Subject) -> None:
    begun = asyncio.Event()

    async def consume() -> None:
        async for _ in subject.stream("endless words"):
            begun.set()

    task = asyncio.ensure_future(consume())
    await begun.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await task


async def test_half_characters_in_a_conversation_do_not_stop_it(subject: Subject) -> None:
    call = ToolCallRequest(call_id="a", name="f", arguments='{"x": "\\ud800\ud800"}')
    odd = (
        ChatMessage(role="assistant", content="\ud83d", tool_calls=(call,)),
        ChatMessage(role="tool", content="\udfff\0", tool_call_id="a"),
        ChatMessage(role="user", content="say \ud800 [[tokens=2]]"),
    )

    texts, end = await read(subject.stream("five words", *odd))

    assert "".join(texts).encode()
    assert isinstance(end, StreamEnd)
