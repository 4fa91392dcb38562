"""The ways a run's work can end or wait, and what an activity's failure means for its run."""

import asyncio
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, RetryState

T = TypeVar("T")

FINAL_CODES = frozenset(
    {
        "run_terminal",
        "poison_step",
        "max_cost_usd",
        "max_tokens",
        "superseded",
        "budget_exhausted",
    }
)
"""Failures that no other model of the chain can mend."""
_HEEDS_CANCEL = "cancel_before_wait"
"""Runs that began to wait before this was there wait on."""
_STOPS_LOST_STEP = "cancel_over_timeout"
"""Runs asked to stop whose step was lost before this was there failed."""
_STOPS_UNTRIED_STEP = "cancel_over_retry"
"""Runs asked to stop whose step failed and was not tried again before this was there failed."""
_CANCEL_CODES = frozenset({"cancel_asked", "RunCancelled"})


class RunFailedError(ApplicationError):
    """Ends a run as FAILED. Its type is the run's error code."""

    def __init__(self, code: str, message: str, step: str | None = None) -> None:
        super().__init__(message, type=code, non_retryable=True)
        self.code = code
        self.step = step


class RunStoppedError(Exception):
    """Ends a run as CANCELLED: the store refused a step because a cancel was asked."""


def forget_cut_activities() -> None:
    """Have the log not tell of activities that failed in the moment their run was cancelled.

    The SDK then keeps the failure in a future of its own that nobody asks any more.
    """
    asyncio.get_running_loop().set_exception_handler(tell_of)


def tell_of(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tell of what went wrong behind a workflow, but not of an activity that was cut."""
    is_task = isinstance(context.get("future"), asyncio.Task)
    if is_task or not isinstance(context.get("exception"), ActivityError):
        loop.default_exception_handler(context)


async def answer_all() -> None:
    """Let updates that were accepted have their answer; a workflow that closes takes it from them.

    Makes no command of its own, so it changes no history.
    """
    if not workflow.all_handlers_finished():
        await undisturbed(
            asyncio.create_task(workflow.wait_condition(workflow.all_handlers_finished))
        )


async def undisturbed(handle: asyncio.Task[T]) -> T:
    """Wait for something at the end to its end: a cancel that arrives meanwhile came too late."""
    while True:
        try:
            return await asyncio.shield(handle)
        except asyncio.CancelledError:
            if handle.done():
                return handle.result()


def heed_cancel() -> None:
    """End a run that was asked to stop instead of having it wait.

    An activity that is asked to stop and ends well all the same swallows the cancel: nobody would
    ever wake the run.
    """
    if workflow.cancellation_reason() is not None and workflow.patched(_HEEDS_CANCEL):
        raise asyncio.CancelledError


def failure_of(error: ActivityError, step_id: str) -> Exception:
    """Return the run's way to end that an activity's failure stands for.

    A worker that dies with a step takes the word that the step was told to stop with it: the run
    was asked to, and ends so.
    """
    cause = error.cause
    if not isinstance(cause, ApplicationError):
        reason = str(cause or error)
        if _is_stopped(_STOPS_LOST_STEP):
            return RunStoppedError(f"step {step_id} was lost after the run was asked to stop")
        return RunFailedError("step_timeout", f"step {step_id} did not end: {reason}", step_id)
    if cause.type in _CANCEL_CODES:
        return RunStoppedError(cause.message)
    # Temporal tries no activity again that it has told to stop, also if its worker was lost.
    if error.retry_state is RetryState.CANCEL_REQUESTED and _is_stopped(_STOPS_UNTRIED_STEP):
        return RunStoppedError(f"step {step_id} was not tried again: {cause.message}")
    return RunFailedError(cause.type or "internal_error", cause.message, step_id)


def _is_stopped(patch: str) -> bool:
    """Whether the run was asked to stop, and is new enough to end so."""
    return workflow.cancellation_reason() is not None and workflow.patched(patch)
