"""An engine that plays every run on the store at once: one reply of a model, or one tool call."""

from domain.run import Run, RunKind, RunSpec, RunState
from domain.step import Attempt, Finish
from domain.tool import ToolCallStatus, ToolOutcome
from tests.contract.store_api import QuietGateway
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import FAILED, answer, bill, execution, must_open, open_step


class PlayingGateway(QuietGateway):
    """What a worker would do, without one. `words` is the answer; None fails the run."""

    def __init__(self, store: StoreBox) -> None:
        super().__init__()
        self.words: str | None = "Hello!"
        self.holds = False
        self._store = store

    async def start(self, run: Run, spec: RunSpec, *, queued: bool) -> None:
        if self.holds or queued:
            return
        if spec.kind is RunKind.TOOL:
            await self._tool(run.run_id)
        elif self.words is None:
            error = {"code": "model_unavailable", "message": "away"}
            attempt = await open_step(self._store, run.run_id)
            await self._store.steps.fail(attempt, bill(error=error))
            await self._store.steps.finalize(run.run_id, FAILED)
        else:
            attempt = await open_step(self._store, run.run_id)
            await self._store.steps.close(attempt, answer(self.words))
            await self._store.steps.finalize(run.run_id, Finish(RunState.DONE))

    async def _tool(self, run_id: str) -> None:
        opened = must_open(await self._store.steps.open(execution(run_id, "tool-1-0")))
        attempt = Attempt(run_id, "tool-1-0", opened.attempt)
        outcome = ToolOutcome(ok=True, content='{"result":5}')
        await self._store.steps.close_tool(attempt, ToolCallStatus.SUCCEEDED, outcome)
        await self._store.steps.finalize(run_id, Finish(RunState.DONE))
