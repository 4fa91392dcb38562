"""Leases and what the reconciler asks: one holder at a time, and nothing is overlooked."""

import asyncio

import pytest

from adapters.store.runs.slots import StoredPool
from domain.acceptance import IdempotencyKey
from domain.errors import NotFoundError
from domain.tool import Effect, ToolCallStatus, ToolOutcome
from domain.upkeep import Lease
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    CANCELLED,
    answer,
    execution,
    new_run,
    open_step,
    start_with_tools,
)


def lease(holder: str, until: int, name: str = "worker:1") -> Lease:
    return Lease(name=name, holder=holder, process=f"host:{holder}", until_ms=until)


async def test_a_lease_has_one_holder_until_it_runs_out(store: StoreBox) -> None:
    assert await store.upkeep.take_lease(lease("a", 100), 50)
    assert not await store.upkeep.take_lease(lease("b", 200), 100)
    assert await store.upkeep.take_lease(lease("a", 150), 60)
    assert not await store.upkeep.take_lease(lease("b", 200), 150)
    assert await store.upkeep.take_lease(lease("b", 200), 151)

    assert await store.upkeep.list_leases("worker:") == [lease("b", 200)]
    assert await store.upkeep.list_leases("other:") == []


async def test_one_of_many_takes_over_an_expired_lease(store: StoreBox) -> None:
    await store.upkeep.take_lease(lease("dead", 10), 5)

    took = await asyncio.gather(
        *(store.upkeep.take_lease(lease(f"peer-{n}", 100), 20) for n in range(10))
    )

    assert sum(took) == 1


async def test_one_of_many_drops_a_lease(store: StoreBox) -> None:
    await store.upkeep.take_lease(lease("a", 100), 50)

    assert not await store.upkeep.drop_lease("worker:1", "b")
    assert sum(await asyncio.gather(*(store.upkeep.drop_lease("worker:1", "a") for _ in "12345")))
    assert await store.upkeep.list_leases("") == []


async def test_a_worker_may_have_left_what_it_opened_and_what_it_ended_last(
    store: StoreBox,
) -> None:
    for number in range(1, 6):
        await store.runs.accept(new_run(f"run_{number}"))
    lost = execution("run_1")
    await store.steps.open(lost)
    await store.steps.close(await open_step(store, "run_2"), answer())
    await store.steps.fail(await open_step(store, "run_3"))
    await open_step(store, "run_4", worker_id="worker-2")
    await open_step(store, "run_5")
    await store.steps.finalize("run_5", CANCELLED)
    now = store.clock.now_ms()

    left = await store.upkeep.unreported_steps("worker-1", now - 60_000)
    still_open = await store.upkeep.unreported_steps("worker-1", now + 60_000)

    assert {step.run_id for step in left} == {"run_1", "run_2", "run_3"}
    assert {step.run_id for step in still_open} == {"run_1", "run_3"}, "a failure has no time"
    (found,) = (step for step in left if step.run_id == "run_1")
    assert (found.step_id, found.token) == ("llm-1-1", lost.token)


async def test_open_runs_come_oldest_first(store: StoreBox) -> None:
    for number in range(1, 5):
        await store.runs.accept(new_run(f"run_{number}"))
    await store.steps.finalize("run_2", CANCELLED)
    await store.runs.ask_cancel(None, "run_3", None)
    fourth = (await store.runs.get_run(None, "run_4")).created_at

    found = await store.upkeep.open_runs(fourth, 10)

    assert [one.run.run_id for one in found] == ["run_1", "run_3"]
    assert [one.run.cancel_asked for one in found] == [False, True]
    assert all(one.holds_session and not one.queued for one in found)
    assert len(await store.upkeep.open_runs(fourth + 1, 2)) == 2


async def test_the_snapshot_of_a_run_can_be_read_back(store: StoreBox) -> None:
    new = new_run("run_1")
    await store.runs.accept(new)

    assert await store.upkeep.spec_of("run_1") == new.spec
    with pytest.raises(NotFoundError):
        await store.upkeep.spec_of("run_0")


async def test_the_first_note_stands_until_it_is_replaced(store: StoreBox) -> None:
    assert await store.upkeep.meta("cluster") is None
    assert await store.upkeep.meta("cluster", "a") == "a"
    assert await store.upkeep.meta("cluster", "b") == "a"
    assert await store.upkeep.meta("cluster") == "a"

    await store.upkeep.set_meta("cluster", "c")

    assert await store.upkeep.meta("cluster") == "c"


async def test_old_idempotency_keys_are_forgotten(store: StoreBox) -> None:
    keys = [IdempotencyKey(scope="s", key=f"k{n}", fingerprint="f") for n in range(3)]
    for number, key in enumerate(keys):
        await store.runs.accept(new_run(f"run_{number}", idempotency=key))
    last = (await store.runs.get_run(None, "run_2")).created_at

    assert await store.upkeep.purge_idempotency(last) == 2
    assert (await store.runs.accept(new_run("run_8", idempotency=keys[2]))).replayed
    assert not (await store.runs.accept(new_run("run_9", idempotency=keys[0]))).replayed


async def test_slots_of_workers_elsewhere_are_told_from_their_steps(store: StoreBox) -> None:
    pool = StoredPool(store.engine, slots_per_worker=2)
    await store.upkeep.take_lease(lease("worker-1", 100, "worker:worker-1"), 50)
    await store.upkeep.take_lease(lease("worker-2", 100, "worker:worker-2"), 50)
    await store.upkeep.take_lease(lease("worker-1", 100, "reconciler"), 50)
    await start_with_tools(store, "run_1", Effect.NONE, Effect.NONE)
    attempt = await open_step(store, "run_1", "tool-1-0")
    broken = ToolOutcome(ok=False, content="no", error_code="tool_error")
    await store.steps.close_tool(attempt, ToolCallStatus.FAILED, broken)
    await open_step(store, "run_1", "tool-1-1")

    first, second, third, fourth = await pool.slots()

    assert (first.agent_id, first.state, first.current_step) == (
        "worker-1/0",
        "busy",
        "run_1:tool-1-1",
    )
    assert (first.processed, first.succeeded, first.failed, first.busy_ms) == (2, 1, 1, 2)
    assert (second.agent_id, second.state, second.processed) == ("worker-1/1", "idle", 0)
    assert [slot.agent_id for slot in (third, fourth)] == ["worker-2/0", "worker-2/1"]
    assert third.started_at == 0
