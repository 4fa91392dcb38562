"""How a run ends: once, with a valid transcript, and the session goes to whoever waits."""

import pytest

from domain.errors import NotFoundError
from domain.run import RunState
from domain.step import Finish
from domain.tool import Effect
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    CANCELLED,
    DONE,
    FAILED,
    OWNER,
    answer,
    bill,
    check_log,
    events,
    new_run,
    new_tool_run,
    open_step,
    start_with_tools,
    transcript,
    types,
)


async def test_a_run_that_is_done_says_what_it_said(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    await store.steps.close(await open_step(store, "run_1"), answer("hello"))

    finished = await store.steps.finalize("run_1", DONE)

    run = await store.runs.get_run(OWNER, "run_1")
    last = (await events(store, "run_1"))[-1]
    assert (finished.state, finished.changed, finished.woken_run_id) == (RunState.DONE, True, None)
    assert (run.state, run.waiting_on, run.error) == ("DONE", None, None)
    assert run.ended_at == store.clock.now
    assert last["type"] == "run_done"
    assert last["data"] == {
        "final_message": {"role": "assistant", "content": "hello"},
        "stop_reason": None,
        "usage": run.usage.model_dump(),
    }
    await check_log(store, "run_1")


async def test_an_answer_that_its_provider_cut_says_so(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    cut = answer("hel", bill=bill(stop_reason="length"))
    await store.steps.close(await open_step(store, "run_1"), cut)

    await store.steps.finalize("run_1", DONE)

    output = {"role": "assistant", "content": "hel", "stop_reason": "length"}
    last = (await events(store, "run_1"))[-1]["data"]
    assert (await store.runs.get_run(OWNER, "run_1")).output == output
    assert (last["final_message"], last["stop_reason"]) == (output, "length")
    await check_log(store, "run_1")


async def test_a_run_that_failed_says_why(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    await open_step(store, "run_1")

    await store.steps.finalize("run_1", FAILED)

    run = await store.runs.get_run(OWNER, "run_1")
    assert run.error is not None
    assert run.error.model_dump() == {"code": "model_unavailable", "message": "no model answered"}
    last = (await events(store, "run_1"))[-1]
    assert last["data"] == {**run.error.model_dump(), "usage": run.usage.model_dump()}
    await check_log(store, "run_1")


async def test_a_cancelled_run_keeps_what_it_had_said(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    first = await open_step(store, "run_1")
    await store.steps.append_delta(first, "void", 1)
    second = await open_step(store, "run_1")
    await store.steps.append_delta(second, "half an ", 1)
    await store.steps.append_delta(second, "answer", 2)
    await store.runs.ask_cancel(OWNER, "run_1", "enough")
    await store.runs.ask_cancel(OWNER, "run_1", "a second reason")

    await store.steps.finalize("run_1", CANCELLED)

    run = await store.runs.get_run(OWNER, "run_1")
    last = (await events(store, "run_1"))[-1]
    assert last["type"] == "run_cancelled"
    assert last["data"] == {
        "reason": "enough",
        "partial": "half an answer",
        "usage": run.usage.model_dump(),
    }
    assert run.usage.model_calls == 2
    await check_log(store, "run_1")


async def test_a_cancelled_run_that_said_nothing_has_no_partial(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))

    await store.steps.finalize("run_1", CANCELLED)

    last = (await events(store, "run_1"))[-1]
    assert (last["data"]["partial"], last["data"]["reason"]) == (None, None)


async def test_a_run_that_never_began_still_tells_a_whole_story(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))

    await store.steps.finalize("run_1", FAILED)

    run = await store.runs.get_run(OWNER, "run_1")
    assert await types(store, "run_1") == ["user_input", "run_started", "run_failed"]
    assert run.started_at == run.ended_at == store.clock.now
    await check_log(store, "run_1")


@pytest.mark.parametrize("second", [DONE, FAILED, CANCELLED])
async def test_the_first_end_counts(store: StoreBox, second: Finish) -> None:
    await store.runs.accept(new_run("run_1"))
    await open_step(store, "run_1")
    await store.steps.finalize("run_1", FAILED)
    before = await events(store, "run_1")

    again = await store.steps.finalize("run_1", second)

    assert (again.state, again.code, again.changed) == ("FAILED", "model_unavailable", False)
    assert again.message == "no model answered"
    assert await events(store, "run_1") == before


async def test_an_unknown_run_cannot_end(store: StoreBox) -> None:
    with pytest.raises(NotFoundError):
        await store.steps.finalize("run_0", DONE)


async def test_the_session_goes_to_the_oldest_that_waits(store: StoreBox) -> None:
    for name in ("run_1", "run_2", "run_3"):
        await store.runs.accept(new_run(name, "s1"))
    await store.steps.close(await open_step(store, "run_1"), answer("first answer"))

    finished = await store.steps.finalize("run_1", DONE)

    session = await store.directory.get_session(OWNER, "s1")
    assert finished.woken_run_id == "run_2"
    assert (session.active_run_id, session.queued_run_ids) == ("run_2", ("run_3",))
    assert await transcript(store, "s1") == [
        ("user", "hello from run_1"),
        ("assistant", "first answer"),
        ("user", "hello from run_2"),
    ]
    assert session.message_count == 3


async def test_a_lost_wake_up_is_repeated(store: StoreBox) -> None:
    for name in ("run_1", "run_2", "run_3"):
        await store.runs.accept(new_run(name, "s1"))
    await store.steps.finalize("run_1", DONE)

    again = await store.steps.finalize("run_1", DONE)
    await store.steps.finalize("run_2", DONE)
    later = await store.steps.finalize("run_1", DONE)

    assert (again.changed, again.woken_run_id) == (False, "run_2")
    assert later.woken_run_id == "run_3"


async def test_who_ended_while_waiting_is_passed_over(store: StoreBox) -> None:
    for name in ("run_1", "run_2", "run_3"):
        await store.runs.accept(new_run(name, "s1"))
    left = await store.steps.finalize("run_2", CANCELLED)

    finished = await store.steps.finalize("run_1", DONE)

    assert left.woken_run_id is None
    assert finished.woken_run_id == "run_3"
    assert [text for _, text in await transcript(store, "s1")] == [
        "hello from run_1",
        "hello from run_3",
    ]


async def test_the_last_one_frees_the_session(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))

    finished = await store.steps.finalize("run_1", DONE)
    next_one = await store.runs.accept(new_run("run_2", "s1"))

    assert finished.woken_run_id is None
    assert not next_one.queued
    assert (await store.steps.finalize("run_1", DONE)).woken_run_id == "run_2"


async def test_a_run_that_waits_for_its_session_says_so_once(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    await store.runs.accept(new_run("run_2", "s1"))

    turns = [await store.steps.read_turn("run_2", "temporal-1") for _ in range(3)]

    run = await store.runs.get_run(OWNER, "run_2")
    assert turns == ["queued"] * 3
    assert (run.state, run.waiting_on) == ("RUNNING", "session")
    log = await events(store, "run_2")
    assert [event["type"] for event in log] == ["user_input", "run_started", "run_waiting"]
    assert log[-1]["data"] == {
        "waiting_on": "session",
        "reason": "run run_1 holds the session",
    }
    await check_log(store, "run_2")


async def test_a_hand_over_resumes_who_waits(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    await store.runs.accept(new_run("run_2", "s1"))
    await store.steps.read_turn("run_2", "temporal-1")

    await store.steps.finalize("run_1", DONE)

    run = await store.runs.get_run(OWNER, "run_2")
    assert run.waiting_on is None
    assert (await types(store, "run_2"))[-1] == "run_resumed"
    assert await store.steps.read_turn("run_2", "temporal-1") == "held"
    await check_log(store, "run_2")


async def test_a_hand_over_before_the_start_is_not_missed(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    await store.runs.accept(new_run("run_2", "s1"))
    await store.steps.finalize("run_1", DONE)

    turn = await store.steps.read_turn("run_2", "temporal-1")

    assert turn == "held"
    assert await types(store, "run_2") == ["user_input"]


async def test_whose_turn_it_is_once_the_run_has_ended(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    await store.runs.accept(new_tool_run("run_2"))
    await store.steps.finalize("run_1", CANCELLED)

    assert await store.steps.read_turn("run_1", "temporal-1") == "ended"
    assert await store.steps.read_turn("run_2", "temporal-1") == "held"


async def test_the_reconciler_sees_who_holds_a_session_unknowingly(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    await store.runs.accept(new_run("run_2", "s1"))
    await store.steps.finalize("run_1", DONE)

    (before,) = await store.upkeep.open_runs(store.clock.now + 10, 10)
    await store.steps.read_turn("run_2", "temporal-1")
    (after,) = await store.upkeep.open_runs(store.clock.now + 10, 10)

    assert (before.queued, before.holds_session, before.was_woken) == (True, True, False)
    assert after.was_woken


@pytest.mark.parametrize("finish", [FAILED, CANCELLED])
async def test_every_tool_call_has_its_answer_in_the_transcript(
    store: StoreBox, finish: Finish
) -> None:
    """Providers refuse a conversation in which a call of a tool has no result, or has two."""
    await start_with_tools(store, "run_1", Effect.NONE, Effect.UNSAFE, Effect.UNSAFE)
    await store.steps.mark_unknown(await open_step(store, "run_1", "tool-1-1"), "cut")
    await open_step(store, "run_1", "tool-1-2")
    await store.runs.accept(new_run("run_2", "s-run_1"))

    await store.steps.finalize("run_1", finish)

    messages = await store.steps.read_transcript(OWNER, "s-run_1")
    asked = [call.call_id for message in messages for call in message.tool_calls]
    answered = [message.tool_call_id for message in messages if message.role == "tool"]
    assert sorted(asked) == sorted(map(str, answered))
    assert [message.role for message in messages] == ["user", "assistant"] + ["tool"] * 3 + ["user"]
    await check_log(store, "run_1")


async def test_an_end_stands_when_its_session_is_gone(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    await store.set("DELETE FROM sessions")

    finished = await store.steps.finalize("run_1", FAILED)

    assert (finished.state, finished.woken_run_id) == ("FAILED", None)
