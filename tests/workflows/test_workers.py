"""Workers that stop, freeze or are lost: attempts are handed on, and late words are refused."""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from activities.leases import PREFIX, RECONCILER
from bootstrap.identity import process_name
from domain.agent import Limits
from domain.event import EventType
from domain.run import RunState
from domain.upkeep import Lease
from tests.rig.tools import TARGETS
from tests.workflows.conftest import Make
from tests.workflows.stage import Stage

STREAM = "say it is said\ntokens=60 gap_ms=10"
LEASE_SECONDS = 0.4
HEARTBEAT_SECONDS = 20.0


@pytest.fixture
async def two(
    make_stage: Make, empty_store: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[Stage, Stage]]:
    """Two stages around one store and queue; the second one's worker does not work yet.

    Its parameter is how long the first worker waits for what it runs when it stops.
    """
    store = tmp_path / "shared.db"
    store.write_bytes(empty_store.read_bytes())
    options = {
        "store": store,
        "task_queue": f"q-{uuid.uuid4().hex}",
        "tools": TARGETS,
        "lease_seconds": LEASE_SECONDS,
        "drain_seconds": getattr(request, "param", 1.0),
    }
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(make_stage(**options))
        second = await stack.enter_async_context(make_stage(**options, works=False))
        yield first, second


async def freeze(stage: Stage) -> None:
    """Stop everything by which a worker shows that it lives; what it runs goes on, too late."""
    worker = stage.worker
    assert worker is not None
    for task in worker._tasks:
        if task.get_name() != "temporal worker":
            task.cancel()
    # It takes no more work either; its grace period is long enough for what it has.
    stage.frozen = asyncio.create_task(worker.worker.shutdown())
    await asyncio.sleep(0)


async def attempts_of(stage: Stage, run_id: str) -> list[int]:
    """Return the attempts that streamed text, in the order in which they began."""
    deltas = await stage.of_kind(run_id, EventType.AGENT_STREAM_DELTA)
    return list(dict.fromkeys(delta["attempt"] for delta in deltas))


async def test_a_worker_that_stops_hands_its_stream_on_and_nothing_counts_as_a_failure(
    two: tuple[Stage, Stage],
) -> None:
    leaving, staying = two
    # Room for the answer and the part that is lost, not for all that a call could have used.
    run = await leaving.start(STREAM, limits=Limits(max_tokens=400))
    await leaving.seen(run.run_id, EventType.AGENT_STREAM_DELTA, 3)
    await staying.work()

    await leaving.rest()

    ended = await staying.ended(run.run_id)
    assert ended.state is RunState.DONE
    step = await staying.step(run.run_id, "llm-1-1")
    assert (step["attempt"], step["failures"], step["abandoned"]) == (2, 0, 0)
    bills = await staying.of_kind(run.run_id, EventType.LLM_CALL_DONE)
    assert [bill["error"] and bill["error"]["code"] for bill in bills] == ["worker_shutdown", None]
    assert ended.output is not None
    assert ended.output["content"].startswith("[offline] it is said t0 t1")


async def test_many_stops_do_not_use_a_step_up(make_stage: Make, tmp_path: Path) -> None:
    """More deploys than a step may have failures or silent openings."""
    async with make_stage(drain_seconds=1.0) as stage:
        await stage.agent(models=("openai/slow",))
        stage.provider.controls = {"slow": "[[tokens=2 stall_after=1]]"}
        run = await stage.start("hello")
        for attempt in range(1, 13):
            await stage.until(
                f"attempt {attempt}",
                lambda: stage.rows("SELECT 1 FROM steps WHERE attempt = :n", n=attempt),  # noqa: B023 - awaited here
            )
            await stage.rest()
            if attempt == 12:
                stage.provider.controls = {"slow": "[[say=finally]]"}
            # A worker that has stopped cannot start again: its process would have ended.
            stage.live._draining = False
            await stage.work()

        ended = await stage.ended(run.run_id)

        assert ended.state is RunState.DONE
        step = await stage.step(run.run_id, "llm-1-1")
        assert (step["attempt"], step["failures"]) == (13, 0)


async def test_a_stop_waits_for_an_unsafe_tool(two: tuple[Stage, Stage]) -> None:
    leaving, staying = two
    await leaving.agent(tools=["charge_unsafe"])
    leaving.ledger.holds.add("*")
    run = await leaving.start(f'call charge_unsafe {{"url": "{leaving.ledger_url}"}}\n---\nsay ok')
    await leaving.until("the charge", lambda: leaving.is_true(leaving.ledger.held == 1))
    await staying.work()

    stopping = asyncio.create_task(leaving.rest())
    await leaving.until("the drain", lambda: leaving.is_true(leaving.live.is_draining))
    leaving.ledger.holds.clear()
    leaving.ledger.released.set()
    await stopping

    assert (await staying.ended(run.run_id)).state is RunState.DONE
    assert [effect.arrivals for effect in leaving.ledger.effects.values()] == [1]
    assert "outcome_unknown" not in await staying.kinds(run.run_id)


async def test_an_unsafe_tool_that_outlasts_the_stop_becomes_unknown(
    two: tuple[Stage, Stage],
) -> None:
    leaving, staying = two
    await leaving.agent(tools=["charge_unsafe"])
    leaving.ledger.holds.add("*")
    run = await leaving.start(f'call charge_unsafe {{"url": "{leaving.ledger_url}"}}\n---\nsay ok')
    await leaving.until("the charge", lambda: leaving.is_true(leaving.ledger.held == 1))
    await staying.work()

    await leaving.rest()

    await staying.seen(run.run_id, EventType.RUN_WAITING)
    (call,) = await staying.rows("SELECT * FROM tool_calls")
    assert call["status"] == "outcome_unknown"
    assert [effect.arrivals for effect in leaving.ledger.effects.values()] == [1]


@pytest.mark.parametrize("two", [HEARTBEAT_SECONDS], indirect=True)
async def test_a_frozen_worker_loses_its_attempt_and_its_late_words_are_refused(
    two: tuple[Stage, Stage],
) -> None:
    frozen, peer = two
    run = await frozen.start("say it is said\ntokens=150 gap_ms=10")
    await frozen.seen(run.run_id, EventType.AGENT_STREAM_DELTA, 3)
    await peer.work()

    await freeze(frozen)
    started = time.monotonic()
    await peer.until("a second attempt", lambda: peer.rows("SELECT 1 FROM steps WHERE attempt = 2"))
    took = time.monotonic() - started

    ended = await peer.ended(run.run_id)
    assert ended.state is RunState.DONE
    assert took < HEARTBEAT_SECONDS, "by its lease, not by its heartbeat"
    assert await attempts_of(peer, run.run_id) == [1, 2], "no word of attempt 1 after attempt 2"
    deltas = await peer.of_kind(run.run_id, EventType.AGENT_STREAM_DELTA)
    text = "".join(delta["text"] for delta in deltas if delta["attempt"] == 2)
    assert ended.output is not None
    assert ended.output["content"] == text
    assert ended.usage.turns == 1
    await peer.until(
        "the end of the late attempt",
        lambda: peer.is_true(not frozen.live.runs(run.run_id, "llm-1-1")),
    )


@pytest.mark.parametrize("two", [HEARTBEAT_SECONDS], indirect=True)
async def test_a_frozen_worker_cannot_end_its_unsafe_call_late(two: tuple[Stage, Stage]) -> None:
    frozen, peer = two
    await frozen.agent(tools=["charge_unsafe"])
    frozen.ledger.holds.add("*")
    run = await frozen.start(f'call charge_unsafe {{"url": "{frozen.ledger_url}"}}\n---\nsay ok')
    await frozen.until("the charge", lambda: frozen.is_true(frozen.ledger.held == 1))
    await peer.work()

    await freeze(frozen)
    await peer.seen(run.run_id, EventType.RUN_WAITING)
    frozen.ledger.holds.clear()
    frozen.ledger.released.set()
    await peer.until(
        "the late end of the call",
        lambda: peer.is_true(not frozen.live.runs(run.run_id, "tool-1-0")),
    )

    (call,) = await peer.rows("SELECT * FROM tool_calls")
    assert call["status"] == "outcome_unknown"
    await peer.resolve(call["tool_call_id"], "happened", "paid")
    assert (await peer.ended(run.run_id)).state is RunState.DONE
    assert [effect.arrivals for effect in frozen.ledger.effects.values()] == [1]


async def test_a_worker_that_was_lost_with_the_passes_leaves_them_to_the_next(
    make_stage: Make,
) -> None:
    """Its process is gone, both of its leases are valid for long: the next one does not wait."""
    async with make_stage(works=False, reconcile_seconds=3600.0) as stage:
        stage.gateway.mismatch = "the line is cut"
        run = await stage.start("say late but here")
        stage.gateway.mismatch = None
        for name in (f"{PREFIX}w-dead", RECONCILER):
            lease = Lease(name, "w-dead", gone_process(), stage.storage.clock.now_ms() + 3_600_000)
            assert await stage.storage.upkeep.take_lease(lease, 0)

        await stage.work()

        assert (await stage.ended(run.run_id)).state is RunState.DONE
        # Its own, the passes and the agents' checks.
        holders = [row["holder"] for row in await stage.rows("SELECT holder FROM leases")]
        assert set(holders) == {stage.live.worker_id}
        assert len(holders) >= 2


async def test_a_worker_that_stops_leaves_no_lease(stage: Stage) -> None:
    await stage.run("say hello")

    await stage.rest()

    assert await stage.rows("SELECT * FROM leases") == []


def gone_process() -> str:
    """Name a process of this machine that cannot live: it began when no other one did."""
    host, boot, _, _ = process_name().rsplit(":", 3)
    return f"{host}:{boot}:{os.getpid()}:0"
