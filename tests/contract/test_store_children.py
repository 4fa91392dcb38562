"""Children and trees on record: made once, cut to what is left, stopped together, read as one."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from domain.agent import Limits
from domain.errors import LimitReachedError, RunTerminalError, StepRefusedError
from domain.event import StoredEvent
from domain.family import child_run_id
from domain.run import RunSpec, WaitingOn
from domain.step import AlreadyClosed, Attempt, AwaitingChild, CallPlan
from domain.tool import Effect
from domain.treelog import advance, decode_seen, encode_seen
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    CANCELLED,
    DONE,
    FAILED,
    MODEL,
    OWNER,
    PLAN,
    answer,
    asks_tool,
    bill,
    check_log,
    events,
    execution,
    new_run,
    new_tool_run,
    open_step,
    transcript,
    types,
)


async def parent(
    store: StoreBox, run_id: str = "run_1", calls: int = 1, limits: Limits | None = None
) -> str:
    """Accept a run whose first reply asks for `calls` children."""
    spec = RunSpec(models=(MODEL,), limits=limits or Limits())
    await store.runs.accept(new_run(run_id, spec=spec))
    await ask_for(store, run_id, calls)
    return run_id


async def ask_for(store: StoreBox, run_id: str, calls: int = 1, turn: int = 1) -> None:
    closing = asks_tool(*[Effect.IDEMPOTENT] * calls, turn=turn)
    await store.steps.close(await open_step(store, run_id, f"llm-{turn}-1"), closing)


async def spawn(
    store: StoreBox, run_id: str, step: str = "tool-1-0", *, waits: bool = True, **limits: Any
) -> str:
    """Run a step that makes a child; return the child."""
    return await make(store, await open_step(store, run_id, step), waits=waits, **limits)


async def make(store: StoreBox, who: Attempt, *, waits: bool = True, **limits: Any) -> str:
    child = child_run_id(who.run_id, who.step_id)
    new = new_run(
        child,
        spec=RunSpec(models=(MODEL,), limits=Limits(**limits)),
        parent_run_id=who.run_id,
        parent_step=who.step_id,
    )
    return (await store.family.spawn(who, new, waits=waits)).run_id


async def look(store: StoreBox, run_id: str, step: str = "tool-1-0") -> Any:
    return await store.steps.open(execution(run_id, step))


async def finish(store: StoreBox, run_id: str, text: str = "hi") -> None:
    await store.steps.close(await open_step(store, run_id), answer(text))
    await store.steps.finalize(run_id, DONE)


async def test_a_child_is_there_with_its_parents_wait_or_not_at_all(store: StoreBox) -> None:
    await parent(store)
    child = await spawn(store, "run_1")

    run, made = [await store.runs.get_run(OWNER, one) for one in ("run_1", child)]

    assert (run.waiting_on, made.state) == (WaitingOn.CHILD, "CREATED")
    assert (made.parent_run_id, made.root_run_id, made.depth) == ("run_1", "run_1", 1)
    assert (await types(store, "run_1"))[-3:] == ["tool_dispatched", "agent_spawned", "run_waiting"]
    found = await store.family.unstarted(child)
    assert found is not None
    assert found.run.run_id == child
    await check_log(store, "run_1")


async def test_a_repeated_step_finds_the_same_child(store: StoreBox) -> None:
    await parent(store)
    await spawn(store, "run_1")

    assert isinstance(await look(store, "run_1"), AwaitingChild)
    assert isinstance(await look(store, "run_1"), AwaitingChild)

    assert (await types(store, "run_1")).count("agent_spawned") == 1


async def test_an_attempt_that_is_not_current_makes_no_child(store: StoreBox) -> None:
    await parent(store)
    old = await open_step(store, "run_1", "tool-1-0")
    await open_step(store, "run_1", "tool-1-0")

    with pytest.raises(StepRefusedError):
        await make(store, old)

    assert await store.family.unstarted(child_run_id("run_1", "tool-1-0")) is None


async def test_the_end_of_a_child_is_what_its_parents_model_reads(store: StoreBox) -> None:
    await parent(store)
    child = await spawn(store, "run_1")
    await store.steps.close(await open_step(store, child), answer("forty-two"))

    finished = await store.steps.finalize(child, DONE)
    again = await store.steps.finalize(child, DONE)
    closed = await look(store, "run_1")

    assert (finished.parent_run_id, again.parent_run_id) == ("run_1", "run_1")
    assert isinstance(closed, AlreadyClosed)
    assert closed.result["status"] == "succeeded"
    (*_, (role, said)) = await transcript(store, "s-run_1")
    assert role == "tool"
    assert json.loads(said) == {"run_id": child, "state": "DONE", "result": "forty-two"}
    assert (await types(store, "run_1"))[-2:] == ["tool_result", "run_resumed"]
    assert (await store.steps.finalize(child, DONE)).parent_run_id is None
    await check_log(store, "run_1")


async def test_an_unseen_end_is_noticed_by_a_pass_over_open_runs(store: StoreBox) -> None:
    await parent(store)
    child = await spawn(store, "run_1")

    async def unseen() -> bool:
        runs = await store.upkeep.open_runs(store.clock.now_ms() + 1, 10)
        return {found.run.run_id: found.resolved_unseen for found in runs}["run_1"]

    assert not await unseen()
    await store.steps.finalize(child, FAILED)
    assert await unseen()
    await look(store, "run_1")
    assert not await unseen()


async def test_two_calls_wait_until_both_children_ended(store: StoreBox) -> None:
    await parent(store, calls=2)
    first, second = [await spawn(store, "run_1", f"tool-1-{n}") for n in range(2)]
    await finish(store, first)
    await look(store, "run_1", "tool-1-0")
    assert (await store.runs.get_run(OWNER, "run_1")).waiting_on is WaitingOn.CHILD

    await finish(store, second)
    await look(store, "run_1", "tool-1-1")

    assert (await store.runs.get_run(OWNER, "run_1")).waiting_on is None
    assert (await types(store, "run_1")).count("run_resumed") == 1


async def test_shares_are_cut_to_what_every_run_above_has_left(store: StoreBox) -> None:
    # One call of `bill()` is 120 tokens and 140,000 picodollars.
    limits = Limits(max_tokens=1000, max_cost_usd="0.000001", max_depth=2, max_spawns=2)
    await parent(store, calls=2, limits=limits)
    child = await spawn(store, "run_1", max_tokens=5000, max_depth=9)
    await ask_for(store, child)
    grandchild = await spawn(store, child)

    specs = [await store.upkeep.spec_of(one) for one in (child, grandchild)]

    assert [spec.limits.max_tokens for spec in specs] == [880, 760]
    assert [spec.limits.max_cost_usd for spec in specs] == ["0.00000086", "0.00000072"]
    assert [spec.limits.max_depth for spec in specs] == [1, 0]
    assert [spec.limits.max_spawns for spec in specs] == [1, 0]
    with pytest.raises(LimitReachedError) as refused:
        await spawn(store, "run_1", "tool-1-1")
    assert refused.value.reason == "max_spawns"


async def test_a_tree_shares_the_caps_of_its_root(store: StoreBox) -> None:
    """Neither child is over its own cap; both together are over their parent's."""
    await parent(store, calls=2, limits=Limits(max_tokens=350))
    first, second = [await spawn(store, "run_1", f"tool-1-{n}") for n in range(2)]
    await store.steps.close(await open_step(store, first), answer())
    await store.steps.close(await open_step(store, second), answer())

    with pytest.raises(StepRefusedError) as refused:
        await store.steps.open(execution(second, "llm-2-1"), PLAN)

    assert refused.value.reason == "max_tokens"


async def test_a_child_that_died_leaves_its_tree_tokens(store: StoreBox) -> None:
    await parent(store, limits=Limits(max_tokens=350))
    child = await spawn(store, "run_1")

    assert [(await open_step(store, child)).number for _ in range(2)] == [1, 2]


async def test_money_of_the_tree_is_counted_before_a_call(store: StoreBox) -> None:
    await parent(store, limits=Limits(max_cost_usd="0.0000003"))
    child = await spawn(store, "run_1")
    await store.steps.close(
        await open_step(store, child), replace(asks_tool(), bill=bill(cost_pico=150_000))
    )

    with pytest.raises(StepRefusedError) as refused:
        await store.steps.open(
            execution(child, "llm-2-1"), CallPlan(model=MODEL, input_rate=9000, output_rate=1)
        )

    assert refused.value.reason == "max_cost_usd"


async def test_a_cancel_marks_the_whole_tree_in_one_go(store: StoreBox) -> None:
    await parent(store, calls=2)
    child = await spawn(store, "run_1")
    free = await spawn(store, "run_1", "tool-1-1", waits=False)
    await ask_for(store, child)
    grandchild = await spawn(store, child)
    await finish(store, free)

    await store.runs.ask_cancel(OWNER, "run_1", "enough")

    assert [one.run.run_id for one in await store.runs.to_stop("run_1")] == [child, grandchild]
    for run_id in (child, grandchild):
        with pytest.raises(StepRefusedError) as refused:
            await store.steps.open(execution(run_id, "llm-2-1"), PLAN)
        assert refused.value.reason == "cancel_asked"
    await store.steps.finalize(grandchild, CANCELLED)
    assert (await events(store, grandchild))[-1]["data"]["reason"] == "enough"


async def test_a_cancelled_run_gets_no_more_children(store: StoreBox) -> None:
    await parent(store)
    child = await spawn(store, "run_1")
    await ask_for(store, child)
    who = await open_step(store, child, "tool-1-0")
    await store.runs.ask_cancel(OWNER, "run_1", None)

    with pytest.raises(StepRefusedError) as refused:
        await make(store, who)
    with pytest.raises(RunTerminalError):
        await store.runs.accept(new_run("run_2", parent_run_id="run_1"))

    assert refused.value.reason == "cancel_asked"


async def test_spawns_that_race_with_a_cancel_are_marked_or_refused(store: StoreBox) -> None:
    await parent(store, calls=20)
    steps = [await open_step(store, "run_1", f"tool-1-{n}") for n in range(20)]

    made = await asyncio.gather(
        *(make(store, who) for who in steps[:10]),
        store.runs.ask_cancel(OWNER, "run_1", None),
        *(make(store, who) for who in steps[10:]),
        return_exceptions=True,
    )

    assert not [one for one in made if isinstance(one, Exception) and not _is_refused(one)]
    children = {one for one in made if isinstance(one, str)}
    assert {one.run.run_id for one in await store.runs.to_stop("run_1")} == children


def _is_refused(error: Exception) -> bool:
    return isinstance(error, StepRefusedError) and error.reason == "cancel_asked"


async def test_a_cancel_of_a_run_that_ended_reaches_what_it_let_go(store: StoreBox) -> None:
    await parent(store)
    free = await spawn(store, "run_1", waits=False)
    await store.steps.finalize("run_1", DONE)
    assert not (await store.runs.get_run(OWNER, free)).cancel_asked

    run = await store.runs.ask_cancel(OWNER, "run_1", None)

    assert run.state == "DONE"
    assert [one.run.run_id for one in await store.runs.to_stop("run_1")] == [free]


@pytest.mark.parametrize(("finish", "stopped"), [(CANCELLED, 2), (FAILED, 1), (DONE, 0)])
async def test_how_a_run_ends_says_who_stops_with_it(
    store: StoreBox, finish: Any, stopped: int
) -> None:
    await parent(store, calls=2)
    waited = await spawn(store, "run_1")
    free = await spawn(store, "run_1", "tool-1-1", waits=False)

    finished = await store.steps.finalize("run_1", finish)

    to_stop = [one.run.run_id for one in await store.runs.to_stop("run_1")]
    assert set(to_stop) == set([waited, free][:stopped])
    assert finished.stops_below == bool(stopped)
    await store.steps.finalize(waited, DONE)
    await check_log(store, "run_1")


async def test_a_cut_answer_is_a_message_of_its_own_kind(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    await store.steps.append_delta(await open_step(store, "run_1"), "half a sent", 1)

    await store.steps.finalize("run_1", CANCELLED)

    assert (await events(store, "run_1"))[-1]["data"]["partial"] == "half a sent"
    *_, (role, content) = await transcript(store, "s-run_1")
    assert role == "assistant"
    assert content == "half a sent\n[cut short: the run was cancelled]"


async def test_a_tool_called_by_api_belongs_to_the_tree(store: StoreBox) -> None:
    await parent(store)
    await store.runs.accept(_with_parent(new_tool_run("run_2"), "run_1"))

    await store.runs.ask_cancel(OWNER, "run_1", None)

    assert [one.run.run_id for one in await store.runs.to_stop("run_1")] == ["run_2"]


def _with_parent(new: Any, run_id: str) -> Any:
    return replace(new, parent_run_id=run_id)


# ------------------------------------------------------------------ the tree's log


async def family(store: StoreBox) -> list[str]:
    """A run with a child and a grandchild, all over."""
    await parent(store)
    child = await spawn(store, "run_1")
    await ask_for(store, child)
    grandchild = await spawn(store, child)
    for run_id, above in ((grandchild, child), (child, "run_1")):
        await store.steps.close(await open_step(store, run_id, "llm-9-1"), answer())
        await store.steps.finalize(run_id, DONE)
        await look(store, above)
    await store.steps.finalize("run_1", DONE)
    return ["run_1", child, grandchild]


async def followed(store: StoreBox, seen: dict[str, int] | None = None) -> list[StoredEvent]:
    async with asyncio.timeout(20):
        return [e async for batch in store.trees.follow_tree("run_1", seen or {}) for e in batch]


async def test_a_tree_is_read_in_one_order(store: StoreBox) -> None:
    root, child, grandchild = await family(store)

    found = await followed(store)

    for run_id in (root, child, grandchild):
        mine = [event.seq for event in found if event.run_id == run_id]
        assert mine == list(range(1, len(mine) + 1))
    places = {(event.run_id, event.type): at for at, event in enumerate(found)}
    for above, below in ((root, child), (child, grandchild)):
        assert places[above, "agent_spawned"] < places[below, "user_input"]
        assert places[below, "run_done"] < places[above, "tool_result"]
    assert len(found) == len(store.committed)


async def test_a_tree_is_resumed_at_any_place(store: StoreBox) -> None:
    await family(store)
    whole = await followed(store)

    for cut in range(len(whole) + 1):
        seen: dict[str, int] = {}
        for event in whole[:cut]:
            advance(seen, event)
        assert await followed(store, decode_seen(encode_seen(seen))) == whole[cut:]


async def test_a_tree_is_followed_while_it_grows(store: StoreBox) -> None:
    await parent(store)
    following = asyncio.create_task(followed(store))
    await asyncio.sleep(0)
    child = await spawn(store, "run_1")
    await finish(store, child)
    await look(store, "run_1")
    assert not following.done()
    await store.steps.finalize("run_1", DONE)

    found = await following

    assert {event.run_id for event in found} == {"run_1", child}
    assert len(found) == len(store.committed)


async def test_a_subtree_can_be_read_alone(store: StoreBox) -> None:
    _, child, grandchild = await family(store)

    page = await store.trees.read_tree(child, {})

    assert {event.run_id for event in page.events} == {child, grandchild}
