"""FireWorkflow: one time of a schedule that has come. It lasts as long as its run.

Temporal's overlap policy looks at this workflow, so it waits for the run; how the run ended it
reads in the store, because a run that is reset or continues as new is another execution. The
signal `wake` only says that there may be something to read.
"""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import (
    Priority,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from domain.order import (
        FireOrder,
        FireReply,
        FireRequest,
        FiringEnd,
        RunResult,
        StartTicket,
    )
    from domain.run import RunState
    from domain.schedule import firing_of
    from workflows import policies
    from workflows.run import RunWorkflow

_TIME = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
_PATIENCE = timedelta(seconds=10)
"""Each of these is a short write; a worker that dies in one of them costs this much."""


@workflow.defn(
    name="FireWorkflow",
    failure_exception_types=[ValueError, TypeError, LookupError, AttributeError],
)
class FireWorkflow:
    """One firing: has its run made, starts it, waits for its end."""

    @workflow.init
    def __init__(self, order: FireOrder) -> None:
        self._order = order
        self._firing_id = firing_of(workflow.info().workflow_id)
        self._wakes = 0
        self._must_stop = False
        self._has_stopped = False

    @workflow.run
    async def run(self, order: FireOrder) -> RunResult:  # noqa: ARG002 - kept by __init__
        """Return how the run ended; a cancel stops the run first."""
        firing = asyncio.create_task(self._fire())
        while True:
            try:
                return await asyncio.shield(firing)
            except asyncio.CancelledError:
                if firing.done():
                    raise
                self._must_stop = True

    @workflow.signal(name="wake", description="look at the store again")
    def wake(self) -> None:
        """Note that the run may have ended; whether it has stands in the store."""
        self._wakes += 1

    async def _fire(self) -> RunResult:
        reply: FireReply = await workflow.execute_activity(
            "fire_schedule",
            FireRequest(
                uid=self._order.uid, firing_id=self._firing_id, scheduled_at=self._scheduled_at()
            ),
            result_type=FireReply,
            start_to_close_timeout=_PATIENCE,
            retry_policy=policies.PATIENT,
            summary="make the run",
        )
        if reply.ticket is None:
            return _ended(FiringEnd(state=reply.state, is_over=True, **_why(reply)))
        workflow.set_current_details(f"run `{reply.run_id}`")
        await self._start(reply.ticket)
        return await self._wait()

    async def _start(self, ticket: StartTicket) -> None:
        try:
            child = await workflow.start_child_workflow(
                RunWorkflow.run,
                ticket.order,
                id=ticket.workflow_id,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
                task_timeout=timedelta(seconds=5),
                static_summary=ticket.summary,
                search_attributes=_attributes(ticket),
                priority=Priority(priority_key=ticket.priority, fairness_key=ticket.fairness_key),
            )
        except WorkflowAlreadyStartedError:
            return  # the reconciler, or this firing before a reset, has started it
        child.add_done_callback(_mark_seen)

    async def _wait(self) -> RunResult:
        """Wait until the store says that the run has ended."""
        while True:
            seen = self._wakes
            if self._must_stop and not self._has_stopped:
                await self._stop()
            end: FiringEnd = await workflow.execute_local_activity(
                "read_firing",
                self._firing_id,
                result_type=FiringEnd,
                start_to_close_timeout=_PATIENCE,
                retry_policy=policies.PATIENT,
            )
            if end.is_over:
                return _ended(end)
            await self._wait_for_news(seen)

    async def _wait_for_news(self, seen: int) -> None:
        """Wait for a `wake` after the `seen`-th, or for the order to stop."""
        await workflow.wait_condition(
            lambda: self._wakes > seen or (self._must_stop and not self._has_stopped)
        )

    async def _stop(self) -> None:
        await workflow.execute_activity(
            "stop_firing",
            self._firing_id,
            start_to_close_timeout=_PATIENCE,
            retry_policy=policies.PATIENT,
            summary="stop the run",
        )
        self._has_stopped = True

    def _scheduled_at(self) -> int:
        """Return the time that has come, in ms; jitter and a late start do not move it."""
        time = workflow.info().typed_search_attributes.get(_TIME) or workflow.info().start_time
        return int(time.timestamp() * 1000)


def _why(reply: FireReply) -> dict[str, str | None]:
    return {"code": reply.code, "message": reply.message}


def _ended(end: FiringEnd) -> RunResult:
    """Return how the run ended, or fail as it did.

    Raises:
        ApplicationError: it failed, or there was none to make.
    """
    if end.code is not None and end.state != RunState.CANCELLED:
        raise ApplicationError(end.message, type=end.code, non_retryable=True)
    return RunResult(state=end.state, message=end.message)


def _attributes(ticket: StartTicket) -> TypedSearchAttributes:
    return TypedSearchAttributes(
        [
            SearchAttributePair(SearchAttributeKey.for_keyword(name), value)
            for name, value in ticket.attributes.items()
        ]
    )


def _mark_seen(child: "asyncio.Future[RunResult]") -> None:
    # How it ended stands in the store; nobody is to be told of an exception that was not read.
    if not child.cancelled():
        child.exception()
