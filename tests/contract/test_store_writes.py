"""What an open attempt writes, and that nobody else does."""

import asyncio
from dataclasses import replace

import pytest

from domain.chat import TokenUsage
from domain.errors import StepRefusedError
from domain.event import EventDraft, EventType
from domain.step import Attempt
from domain.tool import Effect, ToolCallStatus, ToolOutcome
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    CANCELLED,
    OWNER,
    answer,
    asks_tool,
    bill,
    check_log,
    events,
    execution,
    new_run,
    open_step,
    transcript,
    types,
)

OUTCOME = ToolOutcome(ok=True, content="sent")


async def try_everything(store: StoreBox, who: Attempt) -> list[str]:
    """Try every write under the name of an attempt; return the reasons of the refusals."""
    draft = EventDraft(type=EventType.AGENT_INVOKE_DONE, key="late", data={})
    writes = (
        store.steps.append_delta(who, "late", 77),
        store.steps.append_events(who, [draft]),
        store.steps.close(who, answer()),
        store.steps.close_tool(who, ToolCallStatus.SUCCEEDED, OUTCOME),
        store.steps.fail(who, bill()),
        store.steps.release(who),
        store.steps.mark_unknown(who, "late"),
    )
    reasons = []
    for write in writes:
        with pytest.raises(StepRefusedError) as refused:
            await write
        reasons.append(refused.value.reason)
    return reasons


async def snapshot(store: StoreBox) -> list[object]:
    tables = ("runs", "steps", "events", "messages", "usage", "tool_calls", "sessions")
    return [await store.all(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in tables]


async def test_an_attempt_that_was_replaced_writes_nothing(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    old = await open_step(store, "run_1")
    await open_step(store, "run_1")
    before = await snapshot(store)

    assert set(await try_everything(store, old)) == {"superseded"}
    assert await snapshot(store) == before


async def test_a_step_that_is_closed_or_failed_takes_no_more(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    failed = await open_step(store, "run_1")
    await store.steps.fail(failed)
    assert set(await try_everything(store, failed)) == {"superseded"}
    closed = await open_step(store, "run_1")
    await store.steps.close(closed, answer())
    before = await snapshot(store)

    assert set(await try_everything(store, closed)) == {"superseded"}
    assert await snapshot(store) == before


async def test_nothing_is_written_after_the_end(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    open_one = await open_step(store, "run_1")
    await store.steps.finalize("run_1", CANCELLED)
    before = await snapshot(store)

    assert set(await try_everything(store, open_one)) == {"run_terminal"}
    assert await snapshot(store) == before


async def test_a_cancelled_attempt_streams_no_more_but_may_end(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    attempt = await open_step(store, "run_1")
    await store.runs.ask_cancel(OWNER, "run_1", None)

    with pytest.raises(StepRefusedError) as refused:
        await store.steps.append_delta(attempt, "more", 1)
    await store.steps.close(attempt, answer())

    assert refused.value.reason == "cancel_asked"


async def test_deltas_are_numbered_and_told_in_order(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    attempt = await open_step(store, "run_1")

    for index, text in enumerate(["Hel", "lo", " é\u2028"], 1):
        await store.steps.append_delta(attempt, text, index)

    told = [e["data"] for e in await events(store, "run_1") if e["type"] == "agent_stream_delta"]
    assert told == [
        {"text": text, "step": "llm-1-1", "attempt": 1} for text in ("Hel", "lo", " é\u2028")
    ]
    await check_log(store, "run_1")


async def test_a_delta_written_twice_counts_once(store: StoreBox) -> None:
    """A write whose reply was lost is repeated under the same index."""
    await store.runs.accept(new_run("run_1"))
    attempt = await open_step(store, "run_1")

    await store.steps.append_delta(attempt, "12345678", 1)
    await store.steps.append_delta(attempt, "12345678", 1)

    step = await store.one("SELECT * FROM steps")
    assert (await types(store, "run_1")).count("agent_stream_delta") == 1
    assert step["streamed_chars"] == 8
    await check_log(store, "run_1")


async def test_closing_a_step_writes_everything_at_once(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    attempt = await open_step(store, "run_1")
    await store.steps.append_delta(attempt, "he", 1)

    await store.steps.close(attempt, answer("hello", last_delta="llo", delta_index=2))

    run = await store.runs.get_run(OWNER, "run_1")
    step = await store.one("SELECT * FROM steps")
    ledger = await store.one("SELECT * FROM usage")
    assert (await types(store, "run_1"))[-4:] == [
        "agent_stream_delta",
        "agent_stream_delta",
        "llm_call_done",
        "agent_invoke_done",
    ]
    assert await transcript(store, "s1") == [("user", "hello from run_1"), ("assistant", "hello")]
    assert run.output == {"role": "assistant", "content": "hello"}
    assert run.usage.model_dump() == {
        "input_tokens": 100,
        "output_tokens": 20,
        "cached_tokens": 5,
        "cost_usd": "0.00000014",
        "model_calls": 1,
        "tool_calls": 0,
        "turns": 1,
    }
    assert (step["state"], step["closed_at"]) == ("closed", store.clock.now)
    assert (ledger["cost_pico"], ledger["session_id"], ledger["error_code"]) == (
        140_000,
        "s1",
        None,
    )
    await check_log(store, "run_1")


async def test_a_last_word_that_differs_replaces_what_was_streamed(store: StoreBox) -> None:
    """What a viewer adds up after the reset is the final text."""
    await store.runs.accept(new_run("run_1", "s1"))
    attempt = await open_step(store, "run_1", "invoke-1")
    await store.steps.append_delta(attempt, "draft", 1)

    closing = answer("better", last_delta="better", replaces_stream=True, bill=None)
    await store.steps.close(attempt, closing)

    *_, reset, delta, _ = await events(store, "run_1")
    assert (reset["type"], reset["data"]["attempt"]) == ("agent_stream_reset", attempt.number)
    assert delta["data"]["text"] == "better"
    assert (await transcript(store, "s1"))[-1] == ("assistant", "better")
    await check_log(store, "run_1")


async def test_a_reply_that_asks_for_tools_makes_their_calls(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    closing = asks_tool(Effect.NONE, Effect.UNSAFE)

    await store.steps.close(await open_step(store, "run_1"), closing)

    run = await store.runs.get_run(OWNER, "run_1")
    calls = [
        await store.runs.get_tool_call(OWNER, call.tool_call_id) for call in closing.tool_calls
    ]
    assert [(call.step, call.effect, call.status) for call in calls] == [
        ("tool-1-0", "none", "created"),
        ("tool-1-1", "unsafe", "created"),
    ]
    assert run.usage.tool_calls == 0, "none of them has run yet"
    assert run.output is None
    assert (await types(store, "run_1"))[-2:] == ["tool_call_created"] * 2
    (_, said) = await store.steps.read_transcript(OWNER, run.session_id or "")
    assert [asked.call_id for asked in said.tool_calls] == [call.tool_call_id for call in calls]


async def test_a_refused_call_is_answered_at_once(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    asked = asks_tool(Effect.NONE)
    no = ToolOutcome(ok=False, content="there is no such tool", error_code="unknown_tool")

    await store.steps.close(
        await open_step(store, "run_1"),
        replace(asked, tool_calls=(), refused=tuple((call, no) for call in asked.tool_calls)),
    )

    call = await store.runs.get_tool_call(OWNER, asked.tool_calls[0].tool_call_id)
    assert (call.status, call.error) == (
        "rejected",
        {"code": "unknown_tool", "message": "there is no such tool"},
    )
    assert await transcript(store, "s1") == [
        ("user", "hello from run_1"),
        ("assistant", ""),
        ("tool", "there is no such tool"),
    ]
    assert (await types(store, "run_1"))[-2:] == ["tool_call_created", "tool_result"]
    assert (await store.runs.get_run(OWNER, "run_1")).usage.tool_calls == 1


async def test_a_failure_is_billed_and_counted(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    error = {"code": "model_timeout", "message": "slow"}

    first = await store.steps.fail(await open_step(store, "run_1"), bill(error=error))
    again = await store.steps.open(execution("run_1"))
    second = await store.steps.fail(Attempt("run_1", "llm-1-1", 2))

    ledger = await store.one("SELECT * FROM usage")
    run = await store.runs.get_run(OWNER, "run_1")
    assert (first, second) == (1, 2)
    assert again.failures == 1  # type: ignore[union-attr] # it opened
    assert (ledger["attempt"], ledger["error_code"]) == (1, "model_timeout")
    assert (run.usage.model_calls, run.usage.turns) == (1, 0)
    await check_log(store, "run_1")


async def test_a_drain_is_billed_and_counts_for_nothing(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    attempt = await open_step(store, "run_1")
    await store.steps.append_delta(attempt, "1234", 1)

    await store.steps.release(attempt)

    step = await store.one("SELECT * FROM steps")
    ledger = await store.one("SELECT * FROM usage")
    assert (step["state"], step["failures"]) == ("idle", 0)
    assert (ledger["error_code"], ledger["output_tokens"]) == ("worker_shutdown", 1)
    await open_step(store, "run_1")
    assert len(await store.all("SELECT * FROM usage")) == 1


async def test_a_drained_agent_or_tool_has_nothing_to_bill(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))

    await store.steps.release(await open_step(store, "run_1", "invoke-1"))

    assert await store.all("SELECT * FROM usage") == []


async def test_an_unpriced_call_makes_the_cost_unknown_and_counts_tokens(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    unpriced = bill(cost_pico=None, usage=TokenUsage(input_tokens=7, output_tokens=3))

    await store.steps.close(await open_step(store, "run_1"), answer(bill=unpriced))

    usage = (await store.runs.get_run(OWNER, "run_1")).usage
    assert (usage.cost_usd, usage.input_tokens, usage.output_tokens) == (None, 7, 3)


async def test_other_events_of_an_attempt_are_kept_once(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    attempt = await open_step(store, "run_1", "invoke-1")
    draft = EventDraft(type=EventType.AGENT_STATE, key="state:1", data={"state": "thinking"})

    await store.steps.append_events(attempt, [draft, draft])
    await store.steps.append_events(attempt, [draft])

    assert (await types(store, "run_1")).count("agent_state") == 1
    await check_log(store, "run_1")


async def test_many_writers_of_one_run_leave_no_gap(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    attempts = [await open_step(store, "run_1", f"llm-1-{k}") for k in range(1, 5)]

    await asyncio.gather(
        *(
            store.steps.append_delta(attempt, f"{n}", n)
            for n in range(1, 26)
            for attempt in attempts
        )
    )

    assert (await types(store, "run_1")).count("agent_stream_delta") == 100
    await check_log(store, "run_1")
