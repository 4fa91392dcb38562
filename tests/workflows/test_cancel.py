"""A cancel reaches what a run is at: a socket, a tool, a wait, a retry. Then nothing follows."""

import asyncio
import time

import pytest
from temporalio import workflow
from temporalio.client import WorkflowExecutionStatus
from temporalio.exceptions import ActivityError, ApplicationError, RetryState, TimeoutType
from temporalio.exceptions import TimeoutError as TemporalTimeoutError

from adapters.temporal import TemporalGateway
from domain.event import EventType
from domain.run import Run, RunState
from tests.rig.late_cancel import cancel_and_lose_the_worker, cancel_when_a_call_begins_to_wait
from tests.rig.tools import TARGETS
from tests.workflows.conftest import Make
from tests.workflows.stage import ANN, Stage, engine_settings
from workflows.outcomes import RunFailedError, RunStoppedError, failure_of

STREAM = "[[tokens=2000 gap_ms=10]] hello"


async def cancel(stage: Stage, run_id: str) -> Run:
    """Cancel as a person does, and check that both sides agree on the end."""
    await stage.intake.cancel(ANN, run_id, "changed my mind")
    run = await stage.ended(run_id)
    assert run.state is RunState.CANCELLED
    assert await stage.closed(run_id) is WorkflowExecutionStatus.CANCELED
    assert (await stage.kinds(run_id))[-1] == "run_cancelled"
    return run


async def test_in_mid_stream_the_provider_sees_its_socket_closed(stage: Stage) -> None:
    await stage.agent(models=("openai/stub",))
    run = await stage.start(STREAM)
    await stage.seen(run.run_id, EventType.AGENT_STREAM_DELTA, 3)

    asked = time.monotonic_ns()
    await cancel(stage, run.run_id)

    (request,) = await stage.provider.settled()
    assert request.outcome == "client_closed"
    assert request.ended_ns is not None
    assert request.ended_ns - asked < 1_000_000_000
    step = await stage.step(run.run_id, "llm-1-1")
    assert step["attempt"] == 1, "a cancelled call is not made again"


async def test_what_was_said_before_is_kept_and_paid(stage: Stage) -> None:
    await stage.agent(models=("openai/gpt-4o",))
    run = await stage.start(STREAM)
    await stage.seen(run.run_id, EventType.AGENT_STREAM_DELTA, 3)

    ended = await cancel(stage, run.run_id)

    events = await stage.events(run.run_id)
    said = "".join(e["data"]["text"] for e in events if e["type"] == "agent_stream_delta")
    (end,) = await stage.of_kind(run.run_id, EventType.RUN_CANCELLED)
    assert end["partial"] == said
    assert end["reason"] == "changed my mind"
    (bill,) = await stage.of_kind(run.run_id, EventType.LLM_CALL_DONE)
    assert bill["estimated"]
    assert float(ended.usage.cost_usd or 0) > 0


async def test_a_cancel_that_only_the_engine_hears_arrives_by_heartbeat(stage: Stage) -> None:
    """As when the API that is asked is not the process of the worker."""
    await stage.agent(models=("openai/stub",))
    run = await stage.start(STREAM)
    await stage.seen(run.run_id, EventType.AGENT_STREAM_DELTA, 3)
    elsewhere = TemporalGateway(stage.client, engine_settings(stage.settings, "default"))

    await stage.storage.runs.ask_cancel(None, run.run_id, None)
    await elsewhere.cancel(run.run_id)

    assert (await stage.ended(run.run_id)).state is RunState.CANCELLED
    (request,) = await stage.provider.settled()
    assert request.outcome == "client_closed"
    assert (await stage.step(run.run_id, "llm-1-1"))["attempt"] == 1


async def test_while_waiting_for_the_next_attempt(make_stage: Make) -> None:
    async with make_stage(retry_seconds=60.0) as stage:
        run = await stage.start("fail unavailable")
        await stage.until(
            "the first failure",
            lambda: stage.rows("SELECT 1 FROM steps WHERE failures = 1"),
        )

        await cancel(stage, run.run_id)

        assert (await stage.step(run.run_id, "llm-1-1"))["attempt"] == 1


async def test_while_queued_in_a_session(stage: Stage) -> None:
    holder = await stage.start("stall", session_id="s")
    queued = await stage.start("say second", session_id="s")
    third = await stage.start("say third", session_id="s")
    await stage.seen(queued.run_id, EventType.RUN_WAITING)

    await cancel(stage, queued.run_id)

    assert (await stage.get(third.run_id)).state in (RunState.CREATED, RunState.RUNNING)
    await cancel(stage, holder.run_id)
    assert (await stage.ended(third.run_id)).state is RunState.DONE


async def test_before_its_workflow_began(make_stage: Make) -> None:
    async with make_stage(works=False) as stage:
        run = await stage.start("say hello")
        await stage.intake.cancel(ANN, run.run_id, None)

        await stage.work()

        assert (await stage.ended(run.run_id)).state is RunState.CANCELLED
        assert await stage.closed(run.run_id) is WorkflowExecutionStatus.CANCELED
        assert await stage.rows("SELECT 1 FROM steps") == []


async def test_while_tools_run(make_stage: Make) -> None:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=["hang", "calculator"])
        run = await stage.start('call hang {}\ncall calculator {"expression": "1+1"}')
        await stage.seen(run.run_id, EventType.TOOL_RESULT)

        await cancel(stage, run.run_id)

        results = await stage.of_kind(run.run_id, EventType.TOOL_RESULT)
        assert {r["tool_name"]: r["status"] for r in results} == {
            "calculator": "succeeded",
            "hang": "failed",
        }


async def test_an_open_unsafe_call_ends_unknown_and_may_be_resolved_for_the_record(
    make_stage: Make,
) -> None:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=["charge_unsafe"])
        stage.ledger.holds.add("*")
        run = await stage.start(f'call charge_unsafe {{"url": "{stage.ledger_url}"}}')
        await stage.until("the charge", lambda: stage.is_true(stage.ledger.held == 1))

        await cancel(stage, run.run_id)

        (call,) = await stage.rows("SELECT * FROM tool_calls")
        assert call["status"] == "outcome_unknown"
        messages = await stage.rows("SELECT role, content FROM messages ORDER BY seq")
        assert messages[-1]["role"] == "tool"
        assert "unknown" in messages[-1]["content"]
        await stage.resolve(call["tool_call_id"], "happened", "paid 5")
        (call,) = await stage.rows("SELECT * FROM tool_calls")
        assert (call["status"], call["result"]) == ("succeeded", "paid 5")
        assert (await stage.kinds(run.run_id))[-1] == "run_cancelled"


async def test_while_a_call_waits_for_a_person(make_stage: Make) -> None:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=["charge_brief"])
        stage.ledger.holds.add("*")
        run = await stage.start(f'call charge_brief {{"url": "{stage.ledger_url}"}}')
        await stage.seen(run.run_id, EventType.RUN_WAITING)

        await cancel(stage, run.run_id)

        (call,) = await stage.rows("SELECT * FROM tool_calls")
        assert call["status"] == "outcome_unknown"


async def test_in_the_moment_in_which_a_call_begins_to_wait(make_stage: Make) -> None:
    """The workflow asks a call to stop whose answer, that it waits for a person, is on its way."""
    async with make_stage(tools=TARGETS) as stage:
        cancel_when_a_call_begins_to_wait(stage)
        await stage.agent(tools=["charge_and_raise"])

        run = await stage.run(f'call charge_and_raise {{"url": "{stage.ledger_url}"}}')

        assert run.state is RunState.CANCELLED
        assert "ACTIVITY_TASK_CANCELED" not in await stage.entries(run.run_id)
        assert await stage.closed(run.run_id) is WorkflowExecutionStatus.CANCELED


async def test_of_a_run_that_is_done_changes_nothing(stage: Stage) -> None:
    run = await stage.run("say hello")
    before = await stage.events(run.run_id)

    after = await stage.intake.cancel(ANN, run.run_id, None)

    assert after.state is RunState.DONE
    assert not after.cancel_asked
    assert await stage.events(run.run_id) == before


async def test_at_any_moment_store_and_engine_agree(make_stage: Make) -> None:
    """Cancels spread over the life of a short run with a tool: whatever wins, both sides say it."""
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=["calculator"])
        script = 'call calculator {"expression": "6*7"}\n---\nsay done tokens=3 gap_ms=1'

        async def one(delay_ms: int) -> RunState:
            run = await stage.start(script)
            await asyncio.sleep(delay_ms / 1000)
            await stage.intake.cancel(ANN, run.run_id, None)
            ended = await stage.ended(run.run_id)
            expected = {
                RunState.DONE: WorkflowExecutionStatus.COMPLETED,
                RunState.CANCELLED: WorkflowExecutionStatus.CANCELED,
            }
            assert await stage.closed(run.run_id) is expected[ended.state]
            return ended.state

        ends = [await one(delay) for delay in range(0, 60, 2)]

        print(f"{ends.count(RunState.CANCELLED)} cancelled, {ends.count(RunState.DONE)} done")
        assert RunState.CANCELLED in ends


async def test_a_step_lost_after_its_run_was_asked_to_stop_is_cancelled(stage: Stage) -> None:
    """The word to stop went with the worker, and Temporal does not try such a step again."""
    run_id = await cancel_and_lose_the_worker(stage)

    assert (await stage.get(run_id)).state is RunState.CANCELLED
    assert await stage.closed(run_id) is WorkflowExecutionStatus.CANCELED


TIMED_OUT = TemporalTimeoutError("Heartbeat", type=TimeoutType.HEARTBEAT, last_heartbeat_details=[])
LOST = ApplicationError("the worker was lost", type="WorkerLost")
REFUSED = ApplicationError("no", type="bad_request", non_retryable=True)


@pytest.mark.parametrize(
    ("cause", "state", "asked", "end"),
    [
        (TIMED_OUT, RetryState.TIMEOUT, "enough", RunStoppedError),
        (LOST, RetryState.CANCEL_REQUESTED, "enough", RunStoppedError),
        (TIMED_OUT, RetryState.TIMEOUT, None, RunFailedError),
        (LOST, RetryState.MAXIMUM_ATTEMPTS_REACHED, "enough", RunFailedError),
        (REFUSED, RetryState.NON_RETRYABLE_FAILURE, "enough", RunFailedError),
    ],
    ids=["timeout", "lost", "timeout unasked", "tried often enough", "refused for good"],
)
def test_a_step_that_is_not_tried_again_ends_its_run_as_it_was_asked_to(
    monkeypatch: pytest.MonkeyPatch,
    cause: BaseException,
    state: RetryState,
    asked: str | None,
    end: type[Exception],
) -> None:
    """A dead worker takes the word to stop with it; `tests/faults` kills one in this moment."""
    monkeypatch.setattr(workflow, "cancellation_reason", lambda: asked)
    monkeypatch.setattr(workflow, "patched", lambda _: True)
    failed = ActivityError(
        "failed",
        scheduled_event_id=5,
        started_event_id=6,
        identity="worker",
        activity_type="run_step",
        activity_id="1",
        retry_state=state,
    )
    failed.__cause__ = cause

    assert isinstance(failure_of(failed, "tool-1-0"), end)
