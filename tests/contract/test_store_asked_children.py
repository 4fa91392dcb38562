"""Children that are asked for over the API: cut, counted, marked and stopped like spawned ones."""

from dataclasses import replace
from typing import Any

import pytest

from domain.acceptance import Accepted, IdempotencyKey
from domain.agent import AgentKind, Limits
from domain.errors import (
    IdempotencyKeyConflictError,
    LimitReachedError,
    NotFoundError,
    RunTerminalError,
)
from domain.run import RunSpec, RunState
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    CANCELLED,
    DONE,
    FAILED,
    OWNER,
    check_log,
    events,
    execution,
    new_run,
    new_tool_run,
    types,
)

KEY = IdempotencyKey("ask_agent b agent:local:a -", "k1", "print")


async def parent(store: StoreBox, run_id: str = "run_1", **limits: int) -> str:
    """Accept a run of an external agent, and open the step that calls it."""
    spec = RunSpec(
        agent_kind=AgentKind.HTTP, endpoint="http://a.test", limits=Limits.model_validate(limits)
    )
    await store.runs.accept(new_run(run_id, spec=spec))
    await store.steps.open(execution(run_id, "invoke-1"))
    return run_id


async def ask(
    store: StoreBox, parent_id: str, run_id: str = "run_2", key: IdempotencyKey | None = None
) -> Accepted:
    new = replace(new_run(run_id, session_id=f"s_{run_id}"), parent_run_id=parent_id)
    return await store.runs.accept_child(replace(new, idempotency=key))


async def end(store: StoreBox, run_id: str, how: Any) -> None:
    await store.steps.finalize(run_id, how)


async def test_an_asked_child_stands_below_its_parent_and_both_logs_say_so(store: StoreBox) -> None:
    parent_id = await parent(store)

    child = (await ask(store, parent_id)).run

    assert (child.parent_run_id, child.root_run_id, child.depth) == (parent_id, parent_id, 1)
    assert child.state is RunState.CREATED
    assert (await types(store, parent_id))[-1] == "agent_spawned"
    said = (await events(store, parent_id))[-1]["data"]
    assert (said["child_run_id"], said["tool_call_id"]) == ("run_2", None)
    row = await store.one("SELECT parent_step FROM runs WHERE run_id = 'run_2'")
    assert row["parent_step"] == "invoke-1"
    await check_log(store, parent_id)


async def test_an_asked_child_has_what_its_parent_has_left(store: StoreBox) -> None:
    parent_id = await parent(store, max_depth=2, max_spawns=5, max_tokens=100)

    accepted = await ask(store, parent_id)

    limits = accepted.spec.limits
    assert (limits.max_depth, limits.max_spawns, limits.max_tokens) == (1, 4, 100)


@pytest.mark.parametrize(
    ("reason", "fits"), [("max_depth", 0), ("max_children", 1), ("max_spawns", 1)]
)
async def test_caps_of_the_parent_hold_for_what_it_asks_for(
    store: StoreBox, reason: str, fits: int
) -> None:
    parent_id = await parent(store, "run_1", **{reason: fits})
    for number in range(fits):
        await ask(store, parent_id, f"run_{number + 2}")

    with pytest.raises(LimitReachedError) as caught:
        await ask(store, parent_id, "run_9")

    assert caught.value.reason == reason
    rows = await store.all("SELECT run_id FROM runs WHERE parent_run_id = :id", id=parent_id)
    assert len(rows) == fits


async def test_the_same_key_is_the_same_child_also_after_its_parent_ended(store: StoreBox) -> None:
    parent_id = await parent(store, max_spawns=1)
    first = await ask(store, parent_id, key=KEY)
    again = await ask(store, parent_id, "run_3", KEY)
    await end(store, parent_id, DONE)
    late = await ask(store, parent_id, "run_4", KEY)

    assert [one.run.run_id for one in (first, again, late)] == ["run_2"] * 3
    assert (first.replayed, again.replayed, late.replayed) == (False, True, True)
    with pytest.raises(IdempotencyKeyConflictError):
        await ask(store, parent_id, "run_5", replace(KEY, fingerprint="other"))


@pytest.mark.parametrize("how", [DONE, FAILED, CANCELLED])
async def test_a_run_that_has_ended_asks_nobody(store: StoreBox, how: Any) -> None:
    parent_id = await parent(store)
    await end(store, parent_id, how)

    with pytest.raises(RunTerminalError):
        await ask(store, parent_id)


async def test_a_run_that_is_being_cancelled_asks_nobody(store: StoreBox) -> None:
    parent_id = await parent(store)
    await store.runs.ask_cancel(OWNER, parent_id, None)

    with pytest.raises(RunTerminalError, match="being cancelled"):
        await ask(store, parent_id)


async def test_a_run_of_another_owner_or_of_nobody_is_not_there(store: StoreBox) -> None:
    parent_id = await parent(store)
    strangers = replace(new_run("run_9", session_id="s9"), parent_run_id=parent_id, owner="bob")

    with pytest.raises(NotFoundError):
        await store.runs.accept_child(strangers)
    with pytest.raises(NotFoundError):
        await ask(store, "run_nobody")


@pytest.mark.parametrize(("how", "asked"), [(CANCELLED, 2), (FAILED, 2), (DONE, 0)])
async def test_what_an_agent_asked_for_stops_with_a_parent_that_is_cancelled_or_fails(
    store: StoreBox, how: Any, asked: int
) -> None:
    """Nobody is there to read the answer; a parent that is done let its children go."""
    parent_id = await parent(store)
    await ask(store, parent_id)
    await ask(store, parent_id, "run_3")

    finished = await store.steps.finalize(parent_id, how)

    rows = await store.all("SELECT run_id FROM runs WHERE cancel_asked_at IS NOT NULL")
    assert len(rows) == asked
    assert finished.stops_below == bool(asked)


@pytest.mark.parametrize(("how", "stops"), [(CANCELLED, True), (FAILED, True), (DONE, False)])
async def test_a_tool_call_stops_with_a_run_whose_agent_asked_for_it(
    store: StoreBox, how: Any, stops: bool
) -> None:
    """It may wait for a person, whose word would come too late."""
    parent_id = await parent(store)
    await store.runs.accept(replace(new_tool_run("run_2"), parent_run_id=parent_id))

    finished = await store.steps.finalize(parent_id, how)

    row = await store.one("SELECT cancel_asked_at FROM runs WHERE run_id = 'run_2'")
    assert (row["cancel_asked_at"] is not None, finished.stops_below) == (stops, stops)


async def test_what_an_external_agent_asks_is_text_of_a_stranger(store: StoreBox) -> None:
    parent_id = await parent(store)
    await store.runs.accept(new_run("run_5", session_id="s5"))

    await ask(store, parent_id)
    await ask(store, "run_5", "run_6")

    marked = {
        row["run_id"]: bool(row["untrusted"])
        for row in await store.all("SELECT run_id, untrusted FROM runs")
    }
    assert marked == {"run_1": False, "run_2": True, "run_5": False, "run_6": False}
    row = await store.one("SELECT untrusted FROM messages WHERE run_id = 'run_2'")
    assert row["untrusted"]
    by_hand = await store.one("SELECT parent_step FROM runs WHERE run_id = 'run_6'")
    assert by_hand["parent_step"] == "ask"
