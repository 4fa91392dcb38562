"""Cancels that come in a moment which no timing hits reliably."""

from typing import Any

from adapters.temporal import TemporalGateway
from domain.event import EventType
from tests.workflows.stage import Stage, engine_settings


async def cancel_unheard(stage: Stage, run_id: str) -> None:
    """Cancel a run as another process does: Temporal has noted it, its worker has not heard yet."""
    elsewhere = TemporalGateway(stage.client, engine_settings(stage.settings, "default"))
    await stage.storage.runs.ask_cancel(None, run_id, None)
    await elsewhere.cancel(run_id)

    async def is_asked_to_stop() -> bool:
        return "ACTIVITY_TASK_CANCEL_REQUESTED" in await stage.entries(run_id)

    await stage.until("the call is asked to stop", is_asked_to_stop)


def cancel_when_a_call_begins_to_wait(stage: Stage) -> None:
    """Have the next call whose outcome is unknown answer only once its run asks it to stop."""
    steps: Any = stage.storage.steps
    mark_unknown = steps.mark_unknown

    async def cancelled_meanwhile(attempt: Any, said: str) -> str:
        call_id: str = await mark_unknown(attempt, said)
        await cancel_unheard(stage, stage.started[-1])
        return call_id

    steps.mark_unknown = cancelled_meanwhile


async def cancel_and_lose_the_worker(stage: Stage) -> str:
    """Have a model's call lost after its run was asked to stop; return the run."""
    run = await stage.start("stall")
    await stage.seen(run.run_id, EventType.LLM_CALL_STARTED)
    await cancel_unheard(stage, run.run_id)
    step = await stage.step(run.run_id, "llm-1-1")
    assert await stage.gateway.fail_attempt(bytes(step["task_token"]))
    await stage.ended(run.run_id)
    return run.run_id
