"""What a run asks of the store itself: may it begin, is it its turn, is there news, its end.

Short, and safe to repeat.
"""

import logging
from typing import Protocol

from temporalio import activity

from activities import failures
from domain.errors import EngineUnavailableError, OrchestratorError
from domain.order import BeginReply, FinishOrder, RunResult, TurnOrder
from domain.ports import RunGateway
from domain.records import StepBook
from domain.run import RunState
from domain.step import Finish, Finished
from domain.stopping import Stopping

_log = logging.getLogger(__name__)


class WakesFirings(Protocol):
    """How the firing of a schedule learns that its run has ended."""

    async def wake_firing(self, firing_id: str) -> bool:
        """Tell a firing's workflow to look at the store."""
        ...


class RunActivities:
    """Terminal moves and session turns."""

    def __init__(
        self,
        book: StepBook,
        gateway: RunGateway,
        stopping: Stopping,
        firings: WakesFirings | None = None,
    ) -> None:
        self._book = book
        self._gateway = gateway
        self._stopping = stopping
        self._firings = firings

    @activity.defn(name="finalize_run")
    async def finalize_run(self, order: FinishOrder) -> RunResult:
        """End the run in the store, tell whom it concerns, return the state on record.

        Those are who gets its session, the parent that waits for it, and the runs below it that
        stop with it. Safe to repeat: the first terminal move counts, and all are told again.
        """
        finish = Finish(
            state=RunState(order.state),
            code=order.code,
            message=order.message,
            dead_letter_step=order.dead_letter_step,
            turn=order.turn,
        )
        try:
            finished = await self._book.finalize(order.run_id, finish)
        except OrchestratorError as error:
            raise failures.named(error) from error
        await self._tell(order.run_id, finished)
        if finished.firing_id is not None and self._firings is not None:
            await self._wake_firing(finished.firing_id)
        if finished.state is RunState.CANCELLED and not order.engine_asked:
            await self._ask_engine(order.run_id)
        return RunResult(state=finished.state, code=finished.code, message=finished.message)

    async def _tell(self, run_id: str, finished: Finished) -> None:
        try:
            await self._stopping.tell(run_id, finished)
        except EngineUnavailableError as error:
            _log.warning("the end of run %s is told by the reconciler: %s", run_id, error)

    async def _wake_firing(self, firing_id: str) -> None:
        assert self._firings is not None
        try:
            await self._firings.wake_firing(firing_id)
        except EngineUnavailableError as error:
            _log.warning("firing %s ends later: %s", firing_id, error)

    async def _ask_engine(self, run_id: str) -> None:
        try:
            await self._gateway.cancel(run_id)
        except OrchestratorError as error:
            raise failures.named(error) from error

    @activity.defn(name="begin_run")
    async def begin_run(self, order: TurnOrder) -> BeginReply:
        """Say whether the work of a run that starts later may begin. Safe to repeat."""
        temporal_run_id = activity.info().workflow_run_id or ""
        try:
            found = await self._book.begin(order.run_id, temporal_run_id)
        except OrchestratorError as error:
            raise failures.named(error) from error
        early = found.early_ms
        left = None if early is None else max(0.001, early / 1000)
        return BeginReply(state=found.state, seconds_left=left)

    @activity.defn(name="read_turn")
    async def read_turn(self, order: TurnOrder) -> str:
        """Say whether the run may work in its session: `held`, `queued` or `ended`."""
        temporal_run_id = activity.info().workflow_run_id or ""
        try:
            return await self._book.read_turn(order.run_id, temporal_run_id)
        except OrchestratorError as error:
            raise failures.named(error) from error

    @activity.defn(name="read_news")
    async def read_news(self, order: TurnOrder) -> list[str]:
        """Return the steps of the run's waiting calls that are worth another look. Only reads."""
        try:
            return list(await self._book.read_news(order.run_id))
        except OrchestratorError as error:
            raise failures.named(error) from error
