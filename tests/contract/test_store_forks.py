"""Forks and retries: what is kept happened once, under the first run's keys, and is paid for."""

from dataclasses import replace
from typing import Any

import pytest

from domain.acceptance import Accepted, ForkOf, IdempotencyKey, Page, RunFilter
from domain.errors import (
    ConflictError,
    ForkRefusedError,
    NotFoundError,
    OutcomeUnknownError,
)
from domain.fold import fold
from domain.run import ForkedFrom, RunState
from domain.step import AlreadyClosed, Attempt, Finish, Opened, OutcomeUnknown
from domain.tool import Effect, Resolution, ToolCallStatus, ToolOutcome, Verdict
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

SENT = ToolOutcome(ok=True, content="sent")


async def run_tool(store: StoreBox, run_id: str, step_id: str) -> None:
    opened = must_open(await store.steps.open(execution(run_id, step_id)))
    attempt = Attempt(run_id, step_id, opened.attempt)
    await store.steps.close_tool(attempt, ToolCallStatus.SUCCEEDED, SENT)


async def two_turns(store: StoreBox, run_id: str = "run_1", **fields: Any) -> list[str]:
    """A run with two calls in its first turn and one in its second; return their keys."""
    await store.runs.accept(new_run(run_id, **fields))
    await store.steps.close(
        await open_step(store, run_id), asks_tool(Effect.IDEMPOTENT, Effect.IDEMPOTENT)
    )
    for step_id in ("tool-1-0", "tool-1-1"):
        await run_tool(store, run_id, step_id)
    second = asks_tool(Effect.UNSAFE, turn=2)
    await store.steps.close(await open_step(store, run_id, "llm-2-1"), second)
    return [call.idempotency_key for call in await calls(store, run_id)]


async def done(store: StoreBox, run_id: str = "run_1", **fields: Any) -> list[str]:
    """The same run, to its end."""
    keys = await two_turns(store, run_id, **fields)
    await run_tool(store, run_id, "tool-2-0")
    await store.steps.close(await open_step(store, run_id, "llm-3-1"), answer("all sent"))
    await store.steps.finalize(run_id, DONE)
    return keys


async def calls(store: StoreBox, run_id: str) -> list[Any]:
    found, _ = await store.runs.list_tool_calls(OWNER, run_id, None, Page())
    return sorted(found, key=lambda call: call.step)


async def fork(
    store: StoreBox, turn: int | None, said: str | None = None, **fields: Any
) -> Accepted:
    """Fork `run_1`; None retries it."""
    name = fields.pop("run_id", "run_2")
    of = ForkOf("run_1", turn, by="eve", says_more=said is not None)
    source = await store.forks.source(OWNER, "run_1")
    new = new_run(name, f"branch-{name}", content=said or source.content, fork=of)
    return await store.runs.accept(replace(new, spec=source.spec, **fields))


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


async def test_with_more_said_a_call_stays_cut_as_its_run_was(store: StoreBox) -> None:
    await two_turns(store)
    await store.steps.finalize("run_1", CANCELLED)

    await fork(store, 2, "leave that out")

    assert isinstance(await store.steps.open(execution("run_2", "tool-2-0")), AlreadyClosed)
    branch = await transcript(store, "branch-run_2")
    assert [role for role, _ in branch][-3:] == ["assistant", "tool", "user"]


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


async def test_a_conversation_that_is_gone_cannot_be_forked(store: StoreBox) -> None:
    await done(store)
    await store.directory.clear_messages(OWNER, "s-run_1")

    with pytest.raises(ForkRefusedError, match="cleared"):
        await fork(store, 1)


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


async def test_forks_of_another_owner_are_not_there(store: StoreBox) -> None:
    await done(store)

    with pytest.raises(NotFoundError):
        await store.forks.source("eve", "run_1")
    stolen = replace(new_run("run_2"), owner="eve", fork=ForkOf("run_1", 1, by="eve"))
    with pytest.raises(NotFoundError):
        await store.runs.accept(stolen)


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


async def given_up(store: StoreBox, run_id: str = "run_1", **fields: Any) -> str:
    """A run that ended as a dead letter; return that one's id."""
    await store.runs.accept(new_run(run_id, **fields))
    finish = Finish(FAILED.state, "poison_step", "it kills workers", dead_letter_step="llm-1-1")
    await store.steps.finalize(run_id, finish)
    return f"dl_{run_id.removeprefix('run_')}"


async def test_a_poisoned_run_is_on_the_list_and_its_session_goes_on(store: StoreBox) -> None:
    """Fault 30."""
    letter_id = await given_up(store, session_id="s")
    await store.runs.accept(new_run("run_2", "s"))

    letter = await store.letters.get_letter(OWNER, letter_id)

    assert (letter.run_id, letter.code, letter.step_id) == ("run_1", "poison_step", "llm-1-1")
    assert (letter.reason, letter.status) == ("it kills workers", "waiting")
    assert letter.input == {"role": "user", "content": "hello from run_1"}
    assert (await store.directory.get_session(OWNER, "s")).active_run_id == "run_2"
    await store.steps.finalize("run_1", FAILED)
    assert len((await store.letters.list_letters(OWNER, None, Page()))[0]) == 1


async def test_a_dead_letter_is_redriven_once(store: StoreBox) -> None:
    letter_id = await given_up(store)
    of = ForkOf("run_1", None, by="eve", dead_letter_id=letter_id)
    key = IdempotencyKey("redrive", "k", "same")
    await store.runs.accept(new_run("run_2", fork=of, idempotency=key))

    with pytest.raises(ConflictError, match="re-driven as run run_2 by eve"):
        await store.runs.accept(new_run("run_3", fork=of))
    with pytest.raises(ConflictError, match="re-driven"):
        await store.letters.discard(OWNER, letter_id, "eve", None)

    again = await store.runs.accept(new_run("run_4", fork=of, idempotency=key))
    assert (again.replayed, again.run.run_id) == (True, "run_2")
    letter = await store.letters.get_letter(OWNER, letter_id)
    assert (letter.status, letter.redriven_as, letter.settled_by) == ("redriven", "run_2", "eve")
    found, _ = await store.runs.list_runs(OWNER, RunFilter(), Page())
    assert {run.run_id for run in found} == {"run_1", "run_2"}


async def test_a_retry_by_the_run_itself_settles_its_dead_letter(store: StoreBox) -> None:
    letter_id = await given_up(store)

    await fork(store, None)
    await fork(store, None, run_id="run_3")

    letter = await store.letters.get_letter(OWNER, letter_id)
    assert (letter.status, letter.redriven_as) == ("redriven", "run_2")


async def test_a_discarded_letter_stays_on_record(store: StoreBox) -> None:
    letter_id = await given_up(store)
    first = await store.letters.discard(OWNER, letter_id, "eve", "a test")
    second = await store.letters.discard(OWNER, letter_id, "bob", "another")

    assert first == second
    assert (first.settled_by, first.note) == ("eve", "a test")
    of = ForkOf("run_1", None, by="eve", dead_letter_id=letter_id)
    with pytest.raises(ConflictError, match="discarded by eve"):
        await store.runs.accept(new_run("run_2", fork=of))
    waiting, _ = await store.letters.list_letters(OWNER, "waiting", Page())
    assert waiting == []


async def test_dead_letters_of_another_owner_are_not_there(store: StoreBox) -> None:
    letter_id = await given_up(store)

    with pytest.raises(NotFoundError):
        await store.letters.get_letter("eve", letter_id)
    with pytest.raises(NotFoundError):
        await store.letters.discard("eve", letter_id, "eve", None)
    assert (await store.letters.list_letters("eve", None, Page()))[0] == []
    assert len((await store.letters.list_letters(None, None, Page()))[0]) == 1
