"""The frame of every step: open it, do the work, and end it well however the work ends."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities import failures
from activities.live import LiveAttempt, LiveAttempts, Stop
from domain.errors import InternalError, StepRefusedError, StoreUnavailableError
from domain.records import StepBook
from domain.step import (
    AlreadyClosed,
    Attempt,
    AwaitingApproval,
    AwaitingBudget,
    AwaitingChild,
    AwaitingClient,
    CallPlan,
    Execution,
    Older,
    Opened,
    OutcomeUnknown,
    Withheld,
)

T = TypeVar("T")
Begun = (
    Opened
    | AlreadyClosed
    | OutcomeUnknown
    | AwaitingApproval
    | AwaitingChild
    | AwaitingClient
    | AwaitingBudget
    | Withheld
)
"""What an opening leads to, once it is clear that this attempt is the one that is wanted."""

UNCOUNTED_ATTEMPTS = 5
"""Attempts of a step that may fail in an unforeseen way before they are opened."""


class PendingCheck(Protocol):
    """A look at what the engine waits for."""

    async def is_wanted(self, run_id: str, activity_id: str, attempt: int) -> bool:
        """Whether `attempt` (the engine's count) of a pending activity is its current one."""
        ...


class StepFrame:
    """What all activities of a worker share.

    Args:
        book: the steps on record.
        live: the attempts of this process.
        pending: asked only when clocks seem to have stepped back.
    """

    def __init__(self, book: StepBook, live: LiveAttempts, pending: PendingCheck) -> None:
        self.book = book
        self.live = live
        self._pending = pending

    async def open(self, run_id: str, step_id: str, plan: CallPlan | None = None) -> Begun:
        """Open the step for the current activity.

        Raises:
            StepRefusedError: it may not be opened.
        """
        info = activity.info()
        who = Execution(
            run_id=run_id,
            step_id=step_id,
            temporal_run_id=info.workflow_run_id or "",
            scheduled_at_us=int(info.current_attempt_scheduled_time.timestamp() * 1_000_000),
            token=info.task_token,
            worker_id=self.live.worker_id,
        )
        opening = await self.book.open(who, plan)
        if isinstance(opening, Older):
            if not await self._pending.is_wanted(run_id, step_id, info.attempt):
                raise StepRefusedError(
                    f"step {step_id} of run {run_id} has a newer attempt", reason="superseded"
                )
            opening = await self.book.open(who, plan, wanted=True)
        if isinstance(opening, Older):
            raise StepRefusedError(f"step {step_id} stays older", reason="superseded")
        return opening

    async def carry(
        self,
        run_id: str,
        step_id: str,
        work: Callable[[LiveAttempt], Awaitable[T]],
        *,
        drains: bool = True,
    ) -> T:
        """Run `work` as a live attempt and turn every way it can end into what Temporal expects.

        Raises:
            ApplicationError: with the error's code as type.
            asyncio.CancelledError: the engine cancelled the activity.
        """
        with self.live.attempt(run_id, step_id, drains=drains) as live:
            try:
                return await work(live)
            except ApplicationError:
                raise
            except Exception as error:  # the engine gets a typed reason for anything
                raise self._named(error, run_id, step_id) from error
            except asyncio.CancelledError:
                if live.stopped is None:
                    raise
                live.task.uncancel()
                raise self._stopped(live) from None

    def _named(self, error: Exception, run_id: str, step_id: str) -> ApplicationError:
        """Name a failure that no attempt's row has counted; only the engine's count ends those."""
        found = failures.ours(error, run_id, step_id)
        if isinstance(found, InternalError) and activity.info().attempt >= UNCOUNTED_ATTEMPTS:
            return failures.final(found)
        return failures.named(found)

    def _stopped(self, live: LiveAttempt) -> Exception:
        if live.stopped is Stop.CANCEL:
            return failures.cancelled(live.run_id)
        return failures.drained()

    async def let_go(self, live: LiveAttempt, attempt: Attempt) -> None:
        """Note that a drain cut the attempt, so that it counts for nothing."""
        if live.stopped is not Stop.DRAIN:
            return
        live.task.uncancel()
        try:
            await self.book.release(attempt, live.unseen)
        except (StepRefusedError, StoreUnavailableError):
            activity.logger.debug("attempt of %s could not be released", attempt.step_id)
