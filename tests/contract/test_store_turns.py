"""Messages for a session that is held: they interrupt its runs, or steer the one that works."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from domain.acceptance import IdempotencyKey, NewRun
from domain.errors import StepRefusedError
from domain.event import EventDraft, EventType
from domain.run import RunState
from domain.session import OnBusy
from domain.step import Closing, Finish
from domain.tool import Effect
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    CANCELLED,
    DONE,
    FAILED,
    OWNER,
    answer,
    asks_tool,
    check_log,
    events,
    new_run,
    open_step,
    transcript,
    types,
)


def steering(name: str, **fields: Any) -> NewRun:
    return new_run(name, "s1", on_busy=OnBusy.STEER, **fields)


def interrupting(name: str) -> NewRun:
    return new_run(name, "s1", on_busy=OnBusy.INTERRUPT)


def said(text: str, step_id: str) -> Closing:
    draft = EventDraft(type=EventType.AGENT_INVOKE_DONE, key=f"invoke_done:{step_id}", data={})
    return replace(answer(text), events=(draft,))


# ------------------------------------------------------------------ steer


async def test_what_steers_a_run_goes_to_that_run_and_makes_no_other(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))

    accepted = await store.runs.accept(steering("run_2"))

    assert (accepted.run.run_id, accepted.steered_seq, accepted.queued) == ("run_1", 2, False)
    assert await store.all("SELECT run_id FROM runs") == [{"run_id": "run_1"}]
    event = (await events(store, "run_1"))[1]
    assert event["data"] == {
        "role": "user",
        "content": "hello from run_2",
        "message_id": "msg_run_2",
        "steers": True,
    }
    await check_log(store, "run_1")


async def test_it_is_seen_by_the_next_call_of_the_model_behind_the_results_of_tools(
    store: StoreBox,
) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    asked = asks_tool(Effect.NONE)
    await store.steps.close(await open_step(store, "run_1"), asked)
    await store.runs.accept(steering("run_2"))
    await store.runs.accept(steering("run_3"))
    before = await transcript(store, "s1")
    attempt = await open_step(store, "run_1", "tool-1-0")
    await store.steps.close(
        attempt, answer("4", messages=(), bill=None, events=(), final_text=None)
    )

    await open_step(store, "run_1", "llm-2-1")

    assert before == [("user", "hello from run_1"), ("assistant", "")]
    assert (await transcript(store, "s1"))[-2:] == [
        ("user", "hello from run_2"),
        ("user", "hello from run_3"),
    ]
    session = await store.directory.get_session(OWNER, "s1")
    assert session.message_count == len(await transcript(store, "s1"))


async def test_a_run_that_was_steered_before_its_end_goes_on(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    attempt = await open_step(store, "run_1")
    await store.runs.accept(steering("run_2"))
    await store.steps.close(attempt, said("first", "llm-1-1"))

    refused = await store.steps.finalize("run_1", replace(DONE, turn=1))
    await store.steps.close(await open_step(store, "run_1", "llm-2-1"), said("both", "llm-2-1"))
    ended = await store.steps.finalize("run_1", replace(DONE, turn=2))

    assert (refused.state, refused.changed) == (RunState.RUNNING, False)
    assert (ended.state, ended.changed) == (RunState.DONE, True)
    assert await transcript(store, "s1") == [
        ("user", "hello from run_1"),
        ("assistant", "first"),
        ("user", "hello from run_2"),
        ("assistant", "both"),
    ]
    assert (await types(store, "run_1")).count("agent_invoke_done") == 2
    await check_log(store, "run_1")


async def test_a_workflow_that_passes_an_answered_turn_again_does_not_end_there(
    store: StoreBox,
) -> None:
    """A reset: the message was seen by turn 2, which is open, so turn 1 is not the last."""
    await store.runs.accept(new_run("run_1", "s1"))
    attempt = await open_step(store, "run_1")
    await store.runs.accept(steering("run_2"))
    await store.steps.close(attempt, said("first", "llm-1-1"))
    await open_step(store, "run_1", "llm-2-1")

    again = await store.steps.finalize("run_1", replace(DONE, turn=1))

    assert again.state is RunState.RUNNING


@pytest.mark.parametrize("end", [FAILED, CANCELLED])
async def test_what_a_run_did_not_come_to_see_stays_said(store: StoreBox, end: Finish) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    await open_step(store, "run_1")
    await store.runs.accept(steering("run_2"))

    await store.steps.finalize("run_1", end)
    await store.runs.accept(new_run("run_3", "s1"))

    assert await transcript(store, "s1") == [
        ("user", "hello from run_1"),
        ("user", "hello from run_2"),
        ("user", "hello from run_3"),
    ]


async def test_a_run_that_is_being_cancelled_is_not_steered(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    await store.runs.ask_cancel(OWNER, "run_1", None)

    accepted = await store.runs.accept(steering("run_2"))

    assert (accepted.run.run_id, accepted.queued) == ("run_2", True)


async def test_without_a_holder_it_is_a_run_like_any(store: StoreBox) -> None:
    accepted = await store.runs.accept(steering("run_1"))

    assert (accepted.run.run_id, accepted.queued, accepted.steered_seq) == ("run_1", False, None)


async def test_a_session_can_steer_by_itself(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    await store.directory.update_session(OWNER, "s1", {"on_busy": OnBusy.STEER})

    assert (await store.runs.accept(new_run("run_2", "s1"))).run.run_id == "run_1"


async def test_the_same_key_steers_once(store: StoreBox) -> None:
    key = IdempotencyKey(scope="start_run", key="k", fingerprint="f")
    await store.runs.accept(new_run("run_1", "s1"))

    first = await store.runs.accept(steering("run_2", idempotency=key))
    again = await store.runs.accept(steering("run_3", idempotency=key))

    assert (first.replayed, again.replayed) == (False, True)
    assert again.run.run_id == "run_1"
    assert (await types(store, "run_1")).count("user_input") == 2


async def test_many_at_once_are_seen_in_the_order_of_the_log(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_0", "s1"))
    await asyncio.gather(*(store.runs.accept(steering(f"run_{n}")) for n in range(1, 100)))

    await open_step(store, "run_0")

    log = [
        event["data"]["content"]
        for event in await events(store, "run_0")
        if event["type"] == "user_input"
    ]
    assert [content for _, content in await transcript(store, "s1")] == log
    assert len(log) == 100


# ------------------------------------------------------------------ interrupt


async def test_an_interrupt_stops_the_runs_before_it_and_takes_its_turn(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    await open_step(store, "run_1")
    await store.runs.accept(new_run("run_2", "s1"))

    accepted = await store.runs.accept(interrupting("run_3"))

    assert (accepted.stopped, accepted.queued) == (("run_1", "run_2"), True)
    with pytest.raises(StepRefusedError, match="being cancelled"):
        await open_step(store, "run_1", "llm-1-2")
    assert (await store.steps.finalize("run_1", CANCELLED)).woken_run_id == "run_3"
    assert (await store.steps.finalize("run_2", CANCELLED)).woken_run_id is None
    (reason,) = {(await events(store, run))[-1]["data"]["reason"] for run in ("run_1", "run_2")}
    assert reason == "interrupted by run run_3"
    for run in ("run_1", "run_2", "run_3"):
        await check_log(store, run)


async def test_what_was_said_to_interrupted_runs_keeps_its_place(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    for name in ("run_2", "run_3"):
        await store.runs.accept(new_run(name, "s1"))
    await store.runs.accept(interrupting("run_4"))
    await store.steps.finalize("run_2", CANCELLED)

    await store.steps.finalize("run_1", CANCELLED)

    assert await transcript(store, "s1") == [("user", f"hello from run_{n}") for n in range(1, 5)]
    assert (await store.directory.get_session(OWNER, "s1")).active_run_id == "run_4"


async def test_only_the_last_of_many_interrupts_is_left(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_0", "s1"))
    accepted = await asyncio.gather(
        *(store.runs.accept(interrupting(f"run_{n}")) for n in range(1, 50))
    )

    stopped = [name for one in accepted for name in one.stopped]
    assert len(stopped) == len(set(stopped)) == 49
    (left,) = {f"run_{n}" for n in range(50)} - set(stopped)
    assert (await store.steps.finalize("run_0", CANCELLED)).woken_run_id == left
    contents = [content for _, content in await transcript(store, "s1")]
    order = await store.all("SELECT run_id FROM runs ORDER BY coalesce(queue_seq, 0)")
    assert contents == [f"hello from {row['run_id']}" for row in order]


async def test_a_run_that_was_cancelled_while_it_waited_gets_no_turn(store: StoreBox) -> None:
    """Its message was taken back: nobody sees it."""
    for name in ("run_1", "run_2", "run_3"):
        await store.runs.accept(new_run(name, "s1"))
    await store.runs.ask_cancel(OWNER, "run_2", None)

    assert (await store.steps.finalize("run_1", DONE)).woken_run_id == "run_3"
    assert [content for _, content in await transcript(store, "s1")] == [
        "hello from run_1",
        "hello from run_3",
    ]


async def test_a_run_that_is_to_stop_does_not_wait_for_its_session(store: StoreBox) -> None:
    """Its cancel may have reached the engine before its workflow was there: nobody repeats it."""
    await store.runs.accept(new_run("run_1", "s1"))
    await store.runs.accept(new_run("run_2", "s1"))
    await store.runs.ask_cancel(OWNER, "run_2", None)

    assert await store.steps.read_turn("run_2", "temporal-1") == "ended"

    assert (await store.runs.get_run(OWNER, "run_2")).waiting_on is None
