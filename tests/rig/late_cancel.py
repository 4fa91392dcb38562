"""A cancel between a call's last commit and its answer, which no timing hits reliably."""

from typing import Any

from adapters.temporal import TemporalGateway
from tests.workflows.stage import Stage, engine_settings


def cancel_when_a_call_begins_to_wait(stage: Stage) -> None:
    """Have the next call whose outcome is unknown answer only once its run asks it to stop."""
    elsewhere = TemporalGateway(stage.client, engine_settings(stage.settings, "default"))
    steps: Any = stage.storage.steps
    mark_unknown = steps.mark_unknown

    async def cancelled_meanwhile(attempt: Any, said: str) -> str:
        call_id: str = await mark_unknown(attempt, said)
        run_id = stage.started[-1]
        await stage.storage.runs.ask_cancel(None, run_id, None)
        await elsewhere.cancel(run_id)

        async def is_asked_to_stop() -> bool:
            return "ACTIVITY_TASK_CANCEL_REQUESTED" in await stage.entries(run_id)

        await stage.until("the call is asked to stop", is_asked_to_stop)
        return call_id

    steps.mark_unknown = cancelled_meanwhile
