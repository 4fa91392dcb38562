"""Forks: what is kept happened once, under the first run's keys, and is paid for."""

from dataclasses import replace

import pytest

from domain.acceptance import ForkOf
from domain.errors import ForkRefusedError, NotFoundError
from domain.run import ForkedFrom, RunState
from domain.step import AlreadyClosed, Attempt
from domain.tool import Effect, ToolCallStatus
from tests.contract.fork_scenes import calls, done, fork, run_tool, two_turns
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
    open_step,
    transcript,
)


async def test_a_fork_keeps_calls_under_their_first_keys_and_is_not_billed(
    store: StoreBox,
) -> None:
    keys = await done(store)

    accepted = await fork(store, 2)

    run = accepted.run
    assert (run.state, run.forked_from) == (
        RunState.CREATED,
        ForkedFrom(run_id="run_1", turn=2),
    )
    assert run.usage.model_dump() == (await fork(store, 0, run_id="run_0")).run.usage.model_dump()
    kept = await calls(store, "run_2")
    assert [call.idempotency_key for call in kept] == keys
    assert {call.status for call in kept} == {ToolCallStatus.SUCCEEDED}
    assert not {call.tool_call_id for call in kept} & {
        call.tool_call_id for call in await calls(store, "run_1")
    }
    for step_id in ("llm-1-1", "tool-1-0", "tool-1-1", "llm-2-1", "tool-2-0"):
        found = await store.steps.open(execution("run_2", step_id))
        assert isinstance(found, AlreadyClosed), step_id
    opened = must_open(await store.steps.open(execution("run_2", "llm-3-1"), PLAN))
    assert opened.messages is not None
    assert [message.role for message in opened.messages] == [
        *("user", "assistant", "tool", "tool", "assistant", "tool")
    ]
    first, second = (await events(store, "run_2"))[:2]
    assert (first["type"], first["data"]["turn"], first["data"]["kept_calls"]) == (
        *("run_forked", 2),
        3,
    )
    assert second["data"]["content"] == "hello from run_1"
    assert (await store.all("SELECT * FROM usage WHERE run_id = 'run_2'")) == []
    await check_log(store, "run_2")
    await check_log(store, "run_1")


@pytest.mark.parametrize("turn", [0, 1, 2])
async def test_the_first_session_is_not_touched(store: StoreBox, turn: int) -> None:
    await store.runs.accept(new_run("run_0", "s"))
    await store.steps.close(await open_step(store, "run_0"), answer("before"))
    await store.steps.finalize("run_0", DONE)
    await done(store, session_id="s")
    await store.runs.accept(new_run("run_9", "s"))
    before = await transcript(store, "s")
    session = await store.directory.get_session(OWNER, "s")

    await fork(store, turn)

    assert await transcript(store, "s") == before
    assert await store.directory.get_session(OWNER, "s") == session
    branch = await transcript(store, "branch-run_2")
    assert branch[:3] == before[:3], "what was said before is part of it"
    assert len(branch) == {0: 3, 1: 6, 2: 8}[turn]
    rows = await store.all(
        "SELECT seq FROM messages WHERE session_id = 'branch-run_2' ORDER BY seq"
    )
    assert [row["seq"] for row in rows] == list(range(1, len(branch) + 1))
    made = await store.directory.get_session(OWNER, "branch-run_2")
    assert (made.message_count, made.active_run_id) == (len(branch), "run_2")


async def test_an_edited_message_replaces_the_question(store: StoreBox) -> None:
    await done(store)

    await fork(store, 0, "something else")

    assert await transcript(store, "branch-run_2") == [("user", "something else")]
    opened = must_open(await store.steps.open(execution("run_2"), PLAN))
    assert opened.content == "something else"
    await store.steps.close(Attempt("run_2", "llm-1-1", 1), answer("yes"))
    await store.steps.finalize("run_2", DONE)
    await check_log(store, "run_2")


@pytest.mark.parametrize("turn", [2, 3])
async def test_more_can_be_said_after_a_turn_and_after_the_answer(
    store: StoreBox, turn: int
) -> None:
    await done(store)

    await fork(store, turn, "and now in French")

    last = await store.steps.open(execution("run_2", f"llm-{turn}-1"))
    assert isinstance(last, AlreadyClosed)
    assert last.result["goes_on"] is (turn == 3), "after calls it goes on anyway"
    assert (await transcript(store, "branch-run_2"))[-1] == ("user", "and now in French")


async def test_the_answer_alone_leaves_nothing_to_do(store: StoreBox) -> None:
    await done(store)

    with pytest.raises(ForkRefusedError, match="nothing is left to do"):
        await fork(store, 3)
    with pytest.raises(ForkRefusedError, match="has no turn 4"):
        await fork(store, 4)
    with pytest.raises(ForkRefusedError, match="DONE"):
        await fork(store, None)

    assert (await store.all("SELECT * FROM sessions WHERE session_id = 'branch-run_2'")) == []


async def test_a_run_that_goes_on_is_forked_up_to_its_last_finished_turn(
    store: StoreBox,
) -> None:
    await two_turns(store)

    with pytest.raises(ForkRefusedError, match="turn 2 of run run_1 is not finished"):
        await fork(store, 2)
    with pytest.raises(ForkRefusedError, match="goes on"):
        await fork(store, None)
    await fork(store, 1)

    assert len(await calls(store, "run_2")) == 2
    await run_tool(store, "run_1", "tool-2-0")
    await fork(store, 2, run_id="run_3")
    assert len(await calls(store, "run_3")) == 3


async def test_with_more_said_a_call_stays_cut_as_its_run_was(store: StoreBox) -> None:
    await two_turns(store)
    await store.steps.finalize("run_1", CANCELLED)

    await fork(store, 2, "leave that out")

    assert isinstance(await store.steps.open(execution("run_2", "tool-2-0")), AlreadyClosed)
    branch = await transcript(store, "branch-run_2")
    assert [role for role, _ in branch][-3:] == ["assistant", "tool", "user"]


async def test_the_reply_of_a_second_model_is_found_at_the_first(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    await store.steps.fail(await open_step(store, "run_1"))
    await store.steps.close(await open_step(store, "run_1", "llm-1-2"), asks_tool(Effect.NONE))
    await run_tool(store, "run_1", "tool-1-0")
    await store.steps.finalize("run_1", FAILED)

    await fork(store, 1)

    assert isinstance(await store.steps.open(execution("run_2", "llm-1-1"), PLAN), AlreadyClosed)


async def test_a_fork_of_a_fork_keeps_the_very_first_keys(store: StoreBox) -> None:
    keys = await done(store)
    await fork(store, 2)
    await store.steps.finalize("run_2", FAILED)

    of = ForkOf("run_2", 1, by="eve")
    await store.runs.accept(new_run("run_3", "branch-3", fork=of))

    assert [call.idempotency_key for call in await calls(store, "run_3")] == keys[:2]


async def test_a_conversation_that_is_gone_cannot_be_forked(store: StoreBox) -> None:
    await done(store)
    await store.directory.clear_messages(OWNER, "s-run_1")

    with pytest.raises(ForkRefusedError, match="cleared"):
        await fork(store, 1)


async def test_forks_of_another_owner_are_not_there(store: StoreBox) -> None:
    await done(store)

    with pytest.raises(NotFoundError):
        await store.forks.source("eve", "run_1")
    stolen = replace(new_run("run_2"), owner="eve", fork=ForkOf("run_1", 1, by="eve"))
    with pytest.raises(NotFoundError):
        await store.runs.accept(stolen)
