"""What the store and the engine do not agree on is made to agree, by a pass of the reconciler."""

from collections.abc import AsyncIterator

import pytest
from temporalio.client import WorkflowExecutionStatus

from adapters import temporal
from domain.event import EventType
from domain.run import RunState
from domain.step import Finish
from domain.tool import Resolution, Verdict
from tests.rig.tools import TARGETS
from tests.workflows.conftest import Make
from tests.workflows.stage import ANN, Stage
from workflows.run import RunWorkflow


@pytest.fixture
async def stage(make_stage: Make) -> AsyncIterator[Stage]:
    """Return a stage whose reconciler makes a pass when it is told to."""
    async with make_stage(tools=TARGETS, passes=False) as made:
        yield made


async def accepted_only(stage: Stage, content: str, **fields: str) -> str:
    """Commit a run as the API does, and let nobody tell the engine."""
    stage.gateway.mismatch = "the line is cut"
    try:
        run = await stage.start(content, **fields)
    finally:
        stage.gateway.mismatch = None
    return run.run_id


async def test_a_run_that_was_never_started_is_started(stage: Stage) -> None:
    run_id = await accepted_only(stage, "say late but here")
    assert (await stage.get(run_id)).state is RunState.CREATED

    assert await stage.reconcile() == {"start": 1}

    assert (await stage.ended(run_id)).state is RunState.DONE
    assert await stage.reconcile() == {}


async def test_starting_twice_is_one_workflow(stage: Stage) -> None:
    run_id = await accepted_only(stage, "say once\nfirst_ms=100")
    run, spec = await stage.get(run_id), await stage.storage.upkeep.spec_of(run_id)

    for _ in range(3):
        await stage.gateway.start(run, spec, queued=False)
    await stage.ended(run_id)
    await stage.gateway.start(run, spec, queued=False)

    assert (await stage.kinds(run_id)).count("run_started") == 1
    assert len(await stage.rows("SELECT 1 FROM run_executions")) == 1


async def test_a_cancel_that_did_not_arrive_is_delivered(stage: Stage) -> None:
    run = await stage.start("stall")
    await stage.seen(run.run_id, EventType.LLM_CALL_STARTED)
    await stage.storage.runs.ask_cancel(None, run.run_id, "nobody told the engine")

    assert await stage.reconcile() == {"cancel": 1}

    assert (await stage.ended(run.run_id)).state is RunState.CANCELLED
    assert await stage.closed(run.run_id) is WorkflowExecutionStatus.CANCELED


async def test_a_resolution_that_did_not_arrive_wakes_the_run(make_stage: Make) -> None:
    async with make_stage(tools=TARGETS, passes=False) as stage:
        await stage.agent(tools=["charge_and_raise"])
        url = stage.ledger_url
        run = await stage.start(f'call charge_and_raise {{"url": "{url}"}}\n---\nsay {{result}}')
        await stage.seen(run.run_id, EventType.RUN_WAITING)
        (call,) = await stage.rows("SELECT tool_call_id FROM tool_calls")
        said = Verdict(resolution=Resolution.HAPPENED, by="ann", result="paid")
        await stage.storage.runs.resolve_tool_call(None, call["tool_call_id"], said)

        assert await stage.reconcile() == {"wake": 1}

        ended = await stage.ended(run.run_id)
        assert ended.output is not None
        assert ended.output["content"] == "[offline] paid"
        assert await stage.reconcile() == {}


async def test_a_hand_over_that_did_not_arrive_wakes_the_heir(stage: Stage) -> None:
    holder = await stage.start("stall", session_id="s")
    heir = await stage.start("say my turn", session_id="s")
    await stage.seen(heir.run_id, EventType.RUN_WAITING)
    await stage.storage.steps.finalize(holder.run_id, Finish(RunState.FAILED, "test", "ended"))

    assert (await stage.reconcile())["wake"] == 1

    assert (await stage.ended(heir.run_id)).state is RunState.DONE


async def test_a_wake_that_is_not_needed_does_no_harm(make_stage: Make) -> None:
    async with make_stage(tools=TARGETS, passes=False) as stage:
        await stage.agent(tools=["charge_and_raise"])
        url = stage.ledger_url
        run = await stage.start(f'call charge_and_raise {{"url": "{url}"}}\n---\nsay {{result}}')
        await stage.seen(run.run_id, EventType.RUN_WAITING)

        for _ in range(3):
            await stage.gateway.wake(run.run_id)

        (call,) = await stage.rows("SELECT * FROM tool_calls")
        await stage.resolve(call["tool_call_id"], "happened", "paid")
        assert (await stage.ended(run.run_id)).state is RunState.DONE
        assert [e.arrivals for e in stage.ledger.effects.values()] == [1]


async def test_a_terminated_workflow_ends_its_run_once_and_frees_the_session(
    make_stage: Make,
) -> None:
    async with make_stage(tools=TARGETS, passes=False) as stage:
        await stage.agent(tools=["hang", "charge_keyed"])
        stage.ledger.holds.add("*")
        url = stage.ledger_url
        run = await stage.start(f'call charge_keyed {{"url": "{url}"}}', session_id="s")
        second = await stage.start("say next", session_id="s")
        await stage.until("the charge", lambda: stage.is_true(stage.ledger.held == 1))

        await stage.handle(run.run_id).terminate("by hand")
        counts = await stage.reconcile()

        ended = await stage.get(run.run_id)
        assert counts["close"] == 1
        assert (ended.state, ended.error and ended.error.code) == (
            RunState.FAILED,
            "engine_terminated",
        )
        assert (await stage.kinds(run.run_id)).count("run_failed") == 1
        (call,) = await stage.rows("SELECT status FROM tool_calls")
        assert call["status"] == "failed"
        assert (await stage.ended(second.run_id)).state is RunState.DONE
        assert await stage.reconcile() == {}


async def test_a_run_that_was_terminated_before_it_began_is_failed(make_stage: Make) -> None:
    async with make_stage(works=False) as stage:
        run = await stage.start("say hello")
        await stage.handle(run.run_id).terminate("by hand")

        await stage.work()

        ended = await stage.ended(run.run_id)
        assert ended.error is not None
        assert ended.error.code == "engine_terminated"


async def test_a_run_that_lives_is_left_alone(stage: Stage) -> None:
    run = await stage.start("stall")
    await stage.seen(run.run_id, EventType.LLM_CALL_STARTED)

    assert await stage.reconcile() == {}

    assert (await stage.get(run.run_id)).state is RunState.RUNNING


async def test_a_run_whose_workflow_task_keeps_failing_is_stuck_until_it_is_mended(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_: RunWorkflow) -> bool:
        raise RuntimeError("a mistake in the code")

    # The SDK leaves the second failure and all after it to the timeout, so five take long.
    monkeypatch.setattr(temporal, "STUCK_ATTEMPTS", 2)
    with monkeypatch.context() as mistake:
        mistake.setattr(RunWorkflow, "_take_turn", broken)
        run = await stage.start("say mended")
        await stage.until("stuck", lambda: _is_stuck(stage, run.run_id))
        assert await stage.reconcile() == {}

        assert list(await stage.storage.stuck_runs()) == [run.run_id]
        assert f"run {run.run_id} is stuck: attempt " in caplog.text
    ended = await stage.ended(run.run_id)
    await stage.reconcile()

    assert ended.state is RunState.DONE
    assert list(await stage.storage.stuck_runs()) == []


async def test_a_stuck_run_can_be_cancelled(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: RunWorkflow) -> bool:
        raise RuntimeError("a mistake in the code")

    monkeypatch.setattr(temporal, "STUCK_ATTEMPTS", 2)
    monkeypatch.setattr(RunWorkflow, "_take_turn", broken)
    run = await stage.start("say never")
    await stage.until("stuck", lambda: _is_stuck(stage, run.run_id))
    await stage.intake.cancel(ANN, run.run_id, "it is stuck")

    assert await stage.reconcile() == {"cancel": 1}

    assert (await stage.ended(run.run_id)).state is RunState.CANCELLED


async def _is_stuck(stage: Stage, run_id: str) -> bool:
    state, attempt = await stage.gateway.look(run_id)
    return state == "open" and attempt != ""
