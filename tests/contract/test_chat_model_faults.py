"""What a provider on the network can do to us: faults 15-21, attacks 9 and 22, closed sockets."""

import asyncio
import traceback
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from adapters.llm.openai import OpenAIAccount, OpenAIChat
from adapters.llm.patience import Patience
from adapters.llm.reply import ReplyLimits
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
from tests.contract.chat_models import KEY, REMOTE, Bench, Subject, benches
from tests.stub.provider import Provider
from tests.unit.adapters.llm.asking import break_off, read, request, user

SOON = Patience(first_seconds=0.15, idle_seconds=0.1)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with benches() as bench:
        yield bench


@pytest.fixture(params=REMOTE)
def subject(request: pytest.FixtureRequest, bench: Bench) -> Subject:
    return bench.subject(request.param)


@pytest.fixture(params=REMOTE)
def hasty(request: pytest.FixtureRequest, bench: Bench) -> Subject:
    return bench.subject(request.param, SOON)


# Sockets


async def test_closing_the_stream_closes_the_socket(subject: Subject) -> None:
    stream = subject.stream("endless words")
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]

    async with asyncio.timeout(5):
        assert (await subject.last()).outcome == "client_closed"


@pytest.mark.parametrize("behaviour", ["endless words", "stall", "stall later"])
async def test_cancelling_closes_the_socket(subject: Subject, behaviour: str) -> None:
    task = asyncio.ensure_future(read(subject.stream(behaviour)))
    async with asyncio.timeout(10):
        await subject.provider.arrived()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert (await subject.last()).outcome == "client_closed"


async def test_a_timeout_closes_the_socket(hasty: Subject) -> None:
    await break_off(hasty.stream("stall"))

    async with asyncio.timeout(5):
        assert (await hasty.last()).outcome == "client_closed"


async def test_calls_in_turn_share_a_connection(subject: Subject) -> None:
    for _ in range(5):
        await read(subject.stream("five words"))

    assert subject.server.accepted == 1


async def test_a_provider_that_lingers_after_its_marker_does_not_hold_the_answer(
    subject: Subject,
) -> None:
    async with asyncio.timeout(5):
        texts, _ = await read(subject.stream("[[tokens=2 linger]]"))
        assert (await subject.last()).outcome == "client_closed"

    assert texts == ["t0 ", "t1"]


async def test_a_closed_adapter_can_be_used_again(subject: Subject) -> None:
    await read(subject.stream("five words"))
    await subject.chat.aclose()

    texts, _ = await read(subject.stream("five words"))

    assert len(texts) == 5


# Faults 15, 16: refusals


@pytest.mark.parametrize(
    ("marks", "kind"),
    [
        ("status=408", ModelUnavailableError),
        ("status=409", ModelUnavailableError),
        ("status=503", ModelUnavailableError),
        ("status=529", ModelUnavailableError),
        ("status=403", ModelAuthError),
        ("status=422", ModelRequestError),
        ("status=500 should_retry=false", ModelRequestError),
        ("status=400 should_retry=true", ModelUnavailableError),
        ("status=429 error_type=insufficient_quota", ModelAuthError),
        ("html", MalformedReplyError),
        ("reset_after=2 tokens=5", StreamIncompleteError),
        ("error_after=1", ModelUnavailableError),
        ("error_after=1 error_type=rate_limit_error", ModelRateLimitedError),
        ("error_after=1 error_type=invalid_request_error", ModelRequestError),
    ],
)
async def test_each_refusal_makes_one_request_and_one_typed_error(
    subject: Subject, marks: str, kind: type[OrchestratorError]
) -> None:
    _, error = await break_off(subject.stream(f"[[{marks}]]"))

    assert type(error) is kind
    assert len(subject.provider.log) == 1


@pytest.mark.parametrize(
    ("marks", "low", "high"),
    [
        ("retry_after=2", 2, 2),
        ("retry_after_ms=250 retry_after=9", 0.25, 0.25),
        ("retry_after=date:30", 25, 31),
    ],
)
async def test_the_wait_is_told_in_every_form(
    subject: Subject, marks: str, low: float, high: float
) -> None:
    _, error = await break_off(subject.stream(f"[[status=429 {marks}]]"))

    assert error.retry_after is not None
    assert timedelta(seconds=low) <= error.retry_after <= timedelta(seconds=high)


async def test_a_provider_that_recovers_is_answered_by(subject: Subject) -> None:
    marks = "[[status=500 times=3 id=a]] [[tokens=2]]"
    for _ in range(3):
        await break_off(subject.stream(marks))

    texts, _ = await read(subject.stream(marks))

    assert texts == ["t0 ", "t1"]


async def test_a_provider_that_is_not_there_is_unavailable() -> None:
    chat = OpenAIChat(OpenAIAccount(KEY, "http://127.0.0.1:1/v1"))

    _, error = await break_off(chat.stream(request("m", user("hi"))))

    assert type(error) is ModelUnavailableError
    assert "openai cannot be reached (ConnectError)" in error.message
    await chat.aclose()


# Fault 18: no terminal marker


@pytest.mark.parametrize(
    "marks",
    ["no_done", "no_finish", "half_close_after=0", "tool=f no_done", "tool=f no_finish"],
)
async def test_a_clean_end_without_the_marker_is_no_answer(subject: Subject, marks: str) -> None:
    _, error = await break_off(subject.stream(f"[[{marks}]]"))

    assert type(error) is StreamIncompleteError


# Fault 19: liveness


@pytest.mark.parametrize("marks", ["keepalive_only gap_ms=5", "drip_ms=60"])
async def test_bytes_that_say_nothing_do_not_keep_a_call_alive(hasty: Subject, marks: str) -> None:
    texts, error = await break_off(hasty.stream(f"[[{marks}]]"))

    assert type(error) is ModelTimeoutError
    assert texts == []


@pytest.mark.parametrize("name", REMOTE)
async def test_no_reply_goes_on_for_longer_than_the_whole(bench: Bench, name: str) -> None:
    subject = bench.subject(name, Patience(total_seconds=0.3))

    _, error = await break_off(subject.stream("endless words"))

    assert type(error) is ModelTimeoutError
    assert "did not end" in error.message


@pytest.mark.parametrize("name", REMOTE)
async def test_a_slow_reader_is_not_taken_for_a_silent_provider(bench: Bench, name: str) -> None:
    subject = bench.subject(name, Patience(idle_seconds=0.1))
    chunks = 0
    async for _ in subject.stream("[[tokens=2 gap_ms=5]]"):
        chunks += 1
        await asyncio.sleep(0.15)  # slower than the provider may be

    assert chunks == 3


# Fault 20: garbage


@pytest.mark.parametrize("kind", ["invalid_json", "wrong_types", "nan_usage", "deep"])
async def test_garbage_is_malformed(subject: Subject, kind: str) -> None:
    _, error = await break_off(subject.stream(f"[[garbage={kind}]]"))

    assert type(error) is MalformedReplyError


@pytest.mark.parametrize(("kind", "said"), [("surrogate", "a\ufffdb "), ("nul", "ab ")])
async def test_text_that_no_store_can_hold_is_mended(
    subject: Subject, kind: str, said: str
) -> None:
    texts, _ = await read(subject.stream(f"[[garbage={kind} tokens=1]]"))

    assert texts == [said, "t0"]


async def test_a_tool_nobody_offered_is_told_as_it_was_asked_for(subject: Subject) -> None:
    _, end = await read(subject.stream("[[garbage=unknown_tool tokens=1]]"))

    assert [c.name for c in end.tool_calls] == ["no_such_tool"]


@pytest.mark.parametrize("cut", ["split=1", "split=7 crlf", "split=3 bom crlf", "bom"])
async def test_a_stream_cut_anywhere_reads_the_same(subject: Subject, cut: str) -> None:
    texts, end = await read(subject.stream(f'[[{cut} say="héllo wörld ✓"]]'))

    assert "".join(texts) == "héllo wörld ✓"
    assert end.usage is not None


# Fault 21: too much


@pytest.mark.parametrize(
    ("marks", "reason"),
    [
        ("huge_text=50MB", "longer than 2097152 bytes"),
        ("huge_event=20MB", "a line is longer"),
        ("tool_calls=5000", "more than 128 tool calls"),
        ("huge_args=1MB", "more than 262144 bytes of arguments"),
    ],
)
async def test_too_much_is_cut_at_its_limit(subject: Subject, marks: str, reason: str) -> None:
    _, error = await break_off(subject.stream(f"[[{marks}]]"))

    assert type(error) is ReplyTooLargeError
    assert reason in error.message
    # Of 800 and more: what sockets hold on the way is sent, the rest never is.
    assert (await subject.last()).sent_tokens < 400


@pytest.mark.parametrize("name", REMOTE)
async def test_limits_are_the_ones_given(bench: Bench, name: str) -> None:
    subject = bench.subject(name, limits=ReplyLimits(max_text_bytes=8))

    texts, error = await break_off(subject.stream("five words"))

    assert type(error) is ReplyTooLargeError
    assert texts == ["t0 ", "t1 "]


# Attack 9: redirects


async def test_redirects_are_not_followed(subject: Subject) -> None:
    """Law: neither key nor prompt reaches a host that the configuration did not name."""
    async with Provider().serve() as canary:
        _, error = await break_off(subject.stream(f"[[redirect={canary.url}/v1/chat/completions]]"))

        assert type(error) is ModelRequestError
        assert "307" in error.message
        assert canary.accepted == 0


# Secrets


@pytest.mark.parametrize(
    "marks",
    [
        "status=401 echo_key",
        "status=400 echo_key",
        "status=500 echo_key",
        f"error_after=0 error_text={KEY} error_type={KEY}",
        "reset_after=0",
        "stall",
    ],
)
async def test_the_key_is_in_no_error_and_no_traceback(hasty: Subject, marks: str) -> None:
    _, error = await break_off(hasty.stream(f"[[{marks}]]"))

    told = "".join(traceback.format_exception(error)) + repr(error)
    assert KEY not in told.replace(repr(marks), "")
    assert "canary" not in error.message


async def test_the_key_goes_where_it_belongs_and_ollama_gets_none(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: what the environment says of OpenAI's account is sent to nobody it is not meant for."""
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-environment")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-the-environment")
    await read(subject.stream("five words"))

    headers = (await subject.last()).headers
    assert "authorization" in headers
    assert not [name for name in headers if name.startswith("openai-")]
    assert "accept-encoding" in headers
