"""Retries of runs whose children were cut: the child goes on too, it does not begin anew."""

from dataclasses import replace
from typing import Any

import pytest

from domain.acceptance import ForkOf
from domain.agent import Limits
from domain.errors import ForkRefusedError, OutcomeUnknownError
from domain.family import Spawned, child_run_id
from domain.run import ForkedFrom, RunSpec, RunState
from domain.step import AlreadyClosed
from domain.tool import Effect, Resolution, Verdict
from tests.contract.fork_scenes import calls, run_tool, two_turns
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    CANCELLED,
    DONE,
    MODEL,
    OWNER,
    answer,
    asks_tool,
    check_log,
    execution,
    new_run,
    open_step,
    transcript,
)

STEP = "tool-1-0"


async def spawn(store: StoreBox, run_id: str) -> Spawned:
    """Run the step that makes a child, as its activity does."""
    child = child_run_id(run_id, STEP)
    new = new_run(child, f"s-{child}", spec=RunSpec(models=(MODEL,), limits=Limits(max_turns=9)))
    new = replace(new, parent_run_id=run_id, parent_step=STEP)
    return await store.family.spawn(await open_step(store, run_id, STEP), new, waits=True)


async def parent(store: StoreBox, **fields: Any) -> str:
    """A run whose call waits for a child that has made two calls, and owes a third; the child."""
    await store.runs.accept(new_run("run_1", "s1", **fields))
    await store.steps.close(await open_step(store, "run_1"), asks_tool(Effect.IDEMPOTENT))
    child = (await spawn(store, "run_1")).run_id
    first = asks_tool(Effect.IDEMPOTENT, Effect.IDEMPOTENT)
    await store.steps.close(await open_step(store, child), first)
    for step_id in ("tool-1-0", "tool-1-1"):
        await run_tool(store, child, step_id)
    second = asks_tool(Effect.UNSAFE, turn=2)
    await store.steps.close(await open_step(store, child, "llm-2-1"), second)
    return child


async def cut(store: StoreBox, *runs: str) -> None:
    for run_id in runs:
        await store.steps.finalize(run_id, CANCELLED)


async def retry(store: StoreBox, of: str, run_id: str) -> None:
    source = await store.forks.source(OWNER, of)
    fork = ForkOf(of, from_turn=None, by="eve")
    new = new_run(run_id, f"branch-{run_id}", content=source.content, fork=fork)
    await store.runs.accept(replace(new, spec=source.spec))


async def test_the_child_of_a_retry_goes_on_under_the_keys_of_the_first(store: StoreBox) -> None:
    """Else whatever the first child had done would be done again, and no key would tell."""
    first = await parent(store)
    keys = [call.idempotency_key for call in await calls(store, first)]
    await cut(store, first, "run_1")

    await retry(store, "run_1", "run_2")
    second = (await spawn(store, "run_2")).run_id

    made = await store.runs.get_run(OWNER, second)
    assert made.forked_from == ForkedFrom(run_id=first, turn=2)
    assert (made.parent_run_id, made.root_run_id, made.depth) == ("run_2", "run_2", 1)
    assert [call.idempotency_key for call in await calls(store, second)] == keys
    assert isinstance(await store.steps.open(execution(second, "tool-1-1")), AlreadyClosed)
    await check_log(store, second)


async def test_a_retry_of_a_retry_goes_on_from_the_last_child(store: StoreBox) -> None:
    first = await parent(store)
    await cut(store, first, "run_1")
    await retry(store, "run_1", "run_2")
    second = (await spawn(store, "run_2")).run_id
    await run_tool(store, second, "tool-2-0")
    await cut(store, second, "run_2")

    await retry(store, "run_2", "run_3")
    third = (await spawn(store, "run_3")).run_id

    assert (await store.runs.get_run(OWNER, third)).forked_from == ForkedFrom(run_id=second, turn=2)
    assert isinstance(await store.steps.open(execution(third, "tool-2-0")), AlreadyClosed)


async def test_a_retry_that_made_no_child_yet_is_passed_over(store: StoreBox) -> None:
    first = await parent(store)
    await cut(store, first, "run_1")
    await retry(store, "run_1", "run_2")
    await cut(store, "run_2")

    await retry(store, "run_2", "run_3")
    third = (await spawn(store, "run_3")).run_id

    assert (await store.runs.get_run(OWNER, third)).forked_from == ForkedFrom(run_id=first, turn=2)


async def test_a_child_that_was_done_is_the_answer(store: StoreBox) -> None:
    """Its parent was cut before it had looked."""
    first = await parent(store)
    await run_tool(store, first, "tool-2-0")
    await store.steps.close(await open_step(store, first, "llm-3-1"), answer("all sent"))
    await store.steps.finalize(first, DONE)
    await cut(store, "run_1")

    await retry(store, "run_1", "run_2")
    said = await spawn(store, "run_2")

    assert (said.run_id, said.waits) == (first, False)
    assert isinstance(await store.steps.open(execution("run_2", STEP)), AlreadyClosed)
    assert "all sent" in (await transcript(store, "branch-run_2"))[-1][1]
    assert await store.family.unstarted(child_run_id("run_2", STEP)) is None
    assert (await store.runs.get_run(OWNER, "run_2")).waiting_on is None
    await check_log(store, "run_2")


async def test_a_child_that_still_ends_is_waited_for_by_whoever_retries(store: StoreBox) -> None:
    first = await parent(store)
    await cut(store, "run_1")

    with pytest.raises(ForkRefusedError, match=f"run {first}.*still ending"):
        await retry(store, "run_1", "run_2")

    await cut(store, first)
    await retry(store, "run_1", "run_2")


async def test_what_nobody_knows_of_a_child_is_resolved_first(store: StoreBox) -> None:
    first = await parent(store)
    await store.steps.mark_unknown(await open_step(store, first, "tool-2-0"), "cut")
    await cut(store, first, "run_1")

    with pytest.raises(OutcomeUnknownError, match="resolve"):
        await retry(store, "run_1", "run_2")

    said = Verdict(resolution=Resolution.HAPPENED, by="eve", result="it went out")
    await store.runs.resolve_tool_call(OWNER, (await calls(store, first))[2].tool_call_id, said)
    await retry(store, "run_1", "run_2")
    second = (await spawn(store, "run_2")).run_id
    assert isinstance(await store.steps.open(execution(second, "tool-2-0")), AlreadyClosed)


async def test_another_call_at_the_same_place_begins_anew(store: StoreBox) -> None:
    """The fork asked its model again: what that wants is not what the first one wanted."""
    first = await parent(store)
    await cut(store, first, "run_1")
    source = await store.forks.source(OWNER, "run_1")
    new = new_run("run_2", "branch", content=source.content, fork=ForkOf("run_1", 0, by="eve"))
    await store.runs.accept(replace(new, spec=source.spec))
    await store.steps.close(await open_step(store, "run_2"), asks_tool(Effect.IDEMPOTENT))

    second = (await spawn(store, "run_2")).run_id

    assert (await store.runs.get_run(OWNER, second)).forked_from is None


async def test_a_child_has_the_deadline_of_its_parent(store: StoreBox) -> None:
    """Also one that is let go: a cap of seconds would only begin with its work."""
    deadline = store.clock.now + 60_000
    child = await parent(store, deadline_at=deadline)

    run = await store.runs.get_run(OWNER, child)

    assert (run.deadline_at, run.state) == (deadline, RunState.RUNNING)


async def test_runs_that_are_not_children_are_retried_as_ever(store: StoreBox) -> None:
    keys = await two_turns(store)
    await cut(store, "run_1")

    await retry(store, "run_1", "run_2")

    assert [call.idempotency_key for call in await calls(store, "run_2")] == keys
