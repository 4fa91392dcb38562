"""What a run's workflow asks of the store itself: short writes, by local activities where it can.

Workflow code never writes; each of these is an activity, safe to repeat.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from domain.order import (
        BeginReply,
        DecisionOrder,
        DecisionReply,
        FinishOrder,
        RunResult,
        TurnOrder,
    )
    from domain.run import RunState
    from workflows import policies
    from workflows.outcomes import undisturbed


async def read_turn(run_id: str, seconds: float) -> str:
    """Return whether a run may work in its session: `held`, `queued` or `ended`."""
    turn: str = await workflow.execute_local_activity(
        "read_turn",
        TurnOrder(run_id=run_id),
        result_type=str,
        start_to_close_timeout=timedelta(seconds=seconds),
        retry_policy=policies.PATIENT,
    )
    return turn


async def read_news(run_id: str, seconds: float) -> frozenset[str]:
    """Return the steps whose waiting call somebody has said something of."""
    steps: list[str] = await workflow.execute_local_activity(
        "read_news",
        TurnOrder(run_id=run_id),
        result_type=list[str],
        start_to_close_timeout=timedelta(seconds=seconds),
        retry_policy=policies.PATIENT,
    )
    return frozenset(steps)


async def begin(run_id: str, seconds: float) -> BeginReply:
    """Return whether the work of a run that starts later may begin."""
    reply: BeginReply = await workflow.execute_local_activity(
        "begin_run",
        TurnOrder(run_id=run_id),
        result_type=BeginReply,
        start_to_close_timeout=timedelta(seconds=seconds),
        retry_policy=policies.PATIENT,
    )
    return reply


async def put_decision(run_id: str, order: DecisionOrder, seconds: float) -> DecisionReply:
    """Have an answer of somebody unknown judged, and return what became of it."""
    reply: DecisionReply = await workflow.execute_local_activity(
        "decide_unverified",
        args=[run_id, order],
        result_type=DecisionReply,
        start_to_close_timeout=timedelta(seconds=seconds),
        retry_policy=policies.PATIENT,
    )
    return reply


async def finalize(finish: FinishOrder, seconds: float) -> RunResult:
    """Make the terminal move: inside this workflow task if all is well, else patiently."""
    patience = timedelta(seconds=seconds)
    if finish.state == RunState.DONE:
        try:
            return await undisturbed(
                workflow.start_local_activity(
                    "finalize_run",
                    finish,
                    result_type=RunResult,
                    start_to_close_timeout=patience,
                    retry_policy=policies.LOCAL,
                )
            )
        except ActivityError:
            workflow.logger.info("the store is away: finalize goes on as an activity")
    return await undisturbed(
        workflow.start_activity(
            "finalize_run",
            finish,
            result_type=RunResult,
            start_to_close_timeout=patience,
            retry_policy=policies.PATIENT,
            summary=f"finalize {finish.state}",
        )
    )
