"""Retries of runs that ended: what did not end is made again under its first key."""

from dataclasses import replace

import pytest

from domain.acceptance import ForkOf, IdempotencyKey, Page, RunFilter
from domain.errors import ForkRefusedError, OutcomeUnknownError
from domain.fold import fold
from domain.run import ForkedFrom
from domain.step import AlreadyClosed, Attempt, Opened, OutcomeUnknown
from domain.tool import Effect, Resolution, ToolCallStatus, Verdict
from tests.contract.fork_scenes import SENT, calls, fork, run_tool, two_turns
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    CANCELLED,
    DONE,
    FAILED,
    OWNER,
    PLAN,
    answer,
    asks_tool,
    check_log,
    events,
    execution,
    must_open,
    new_run,
    new_tool_run,
    open_step,
    transcript,
)


async def test_a_retry_makes_the_call_that_did_not_end_under_its_first_key(
    store: StoreBox,
) -> None:
    """The tool may have acted before the run failed: under the same key it acts once."""
    keys = await two_turns(store)
    await store.steps.finalize("run_1", FAILED)

    accepted = await fork(store, None)

    assert accepted.run.forked_from == ForkedFrom(run_id="run_1", turn=2)
    assert [call.idempotency_key for call in await calls(store, "run_2")] == keys
    branch = await transcript(store, "branch-run_2")
    assert [role for role, _ in branch] == ["user", "assistant", "tool", "tool", "assistant"]
    opened = await store.steps.open(execution("run_2", "tool-2-0"))
    assert isinstance(opened, Opened)
    assert opened.idempotency_key == keys[2]
    again = Attempt("run_2", "tool-2-0", 1)
    await store.steps.close_tool(again, ToolCallStatus.SUCCEEDED, SENT)
    assert (await transcript(store, "branch-run_2"))[-1] == ("tool", "sent")
    await check_log(store, "run_2")


async def test_an_unknown_outcome_is_resolved_first(store: StoreBox) -> None:
    """Fault 2: nobody knows whether the mail went out."""
    await two_turns(store)
    await open_step(store, "run_1", "tool-2-0")
    assert isinstance(await store.steps.open(execution("run_1", "tool-2-0")), OutcomeUnknown)
    await store.steps.finalize("run_1", CANCELLED)
    for turn in (2, None):
        with pytest.raises(OutcomeUnknownError, match="resolve"):
            await fork(store, turn)
    await fork(store, 1, run_id="run_5")
    call = (await calls(store, "run_1"))[2]

    said = Verdict(resolution=Resolution.HAPPENED, by="eve", result="it went out")
    await store.runs.resolve_tool_call(OWNER, call.tool_call_id, said)
    await fork(store, 2)

    assert (await transcript(store, "branch-run_2"))[-1] == ("tool", "it went out")
    assert isinstance(await store.steps.open(execution("run_2", "tool-2-0")), AlreadyClosed)


async def test_what_did_not_happen_is_made_again(store: StoreBox) -> None:
    keys = await two_turns(store)
    await open_step(store, "run_1", "tool-2-0")
    await store.steps.open(execution("run_1", "tool-2-0"))
    await store.steps.finalize("run_1", CANCELLED)
    said = Verdict(resolution=Resolution.NOT_HAPPENED, by="eve")
    call = (await calls(store, "run_1"))[2]
    await store.runs.resolve_tool_call(OWNER, call.tool_call_id, said)

    await fork(store, None)

    opened = must_open(await store.steps.open(execution("run_2", "tool-2-0")))
    assert opened.idempotency_key == keys[2]


async def test_a_retry_of_a_run_that_failed_after_its_answer_has_that_answer(
    store: StoreBox,
) -> None:
    """Its workflow was terminated between the answer and the end."""
    await store.runs.accept(new_run("run_1"))
    await store.steps.close(await open_step(store, "run_1"), answer("all sent"))
    await store.steps.finalize("run_1", FAILED)

    await fork(store, None)
    await store.steps.finalize("run_2", DONE)

    run = await store.runs.get_run(OWNER, "run_2")
    assert run.output is not None
    assert run.output["content"] == "all sent"
    folded = fold(await events(store, "run_2"))
    assert folded.output == run.output


async def test_a_reply_that_led_nowhere_is_asked_for_anew(store: StoreBox) -> None:
    """Else a retry would fail by the very same stored reply."""
    await two_turns(store)
    await run_tool(store, "run_1", "tool-2-0")
    cut = replace(answer("half an ans"), result={"calls": [], "cut_by": "max_tokens"}, events=())
    await store.steps.close(await open_step(store, "run_1", "llm-3-1"), cut)
    await store.steps.finalize("run_1", FAILED)

    accepted = await fork(store, None)

    assert accepted.run.forked_from == ForkedFrom(run_id="run_1", turn=2)
    assert isinstance(await store.steps.open(execution("run_2", "llm-3-1"), PLAN), Opened)


async def test_a_failed_tool_run_is_retried_under_its_key(store: StoreBox) -> None:
    new = new_tool_run("run_1", Effect.IDEMPOTENT)
    await store.runs.accept(new)
    await open_step(store, "run_1", "tool-1-0")
    await store.steps.finalize("run_1", FAILED)

    of = ForkOf("run_1", None, by="eve")
    again = replace(new, run_id="run_2", tool_call_id="tc_run_2", fork=of)
    await store.runs.accept(again)

    opened = must_open(await store.steps.open(execution("run_2", "tool-1-0")))
    assert opened.idempotency_key == "run_1:tc_run_1"
    with pytest.raises(ForkRefusedError, match="retry it"):
        await store.runs.accept(replace(again, run_id="run_3", fork=replace(of, from_turn=0)))


async def test_a_run_that_never_had_its_session_is_retried_after_what_was_finished(
    store: StoreBox,
) -> None:
    """What the holder of the session says meanwhile may hold calls without an answer."""
    await store.runs.accept(new_run("run_0", "s"))
    await store.runs.accept(new_run("run_1", "s"))
    await store.steps.finalize("run_1", CANCELLED)
    await store.steps.close(await open_step(store, "run_0"), asks_tool(Effect.NONE))

    await fork(store, None)
    await store.steps.finalize("run_0", CANCELLED)
    await fork(store, None, run_id="run_3")

    assert await transcript(store, "branch-run_2") == [("user", "hello from run_1")]
    assert [role for role, _ in await transcript(store, "branch-run_3")] == [
        *("user", "assistant", "tool", "user")
    ]


async def test_a_repeated_request_finds_the_same_fork_even_if_it_is_refused_by_now(
    store: StoreBox,
) -> None:
    await two_turns(store)
    await store.steps.finalize("run_1", FAILED)
    key = IdempotencyKey("retry", "k", "same")
    first = await fork(store, None, idempotency=key)
    await store.directory.clear_messages(OWNER, "s-run_1")

    second = await fork(store, None, run_id="run_7", idempotency=key)

    assert second.replayed
    assert second.run.run_id == first.run.run_id
    found, _ = await store.runs.list_runs(OWNER, RunFilter(forked_from="run_1"), Page())
    assert [run.run_id for run in found] == ["run_2"]
