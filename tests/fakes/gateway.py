"""An engine in memory: it plays runs, holds them or is away."""

import asyncio

from domain.errors import EngineUnavailableError
from domain.event import EventType
from domain.run import Run, RunKind, RunSpec, WaitingOn
from domain.tool import Effect, ToolCallStatus
from tests.fakes.clock import NOW
from tests.fakes.runs import FakeRuns


class FakeGateway:
    """An engine: `play` runs the run at once, `hold` leaves it, `down` cannot be reached."""

    def __init__(self, runs: FakeRuns) -> None:
        self.mode = "play"
        self.words = ["Hel", "lo"]
        self.started: list[str] = []
        self.cancelled: list[str] = []
        self.woken: list[str] = []
        self.trouble: str | None = None
        self._runs = runs

    async def start(self, run: Run, spec: RunSpec, *, queued: bool) -> None:
        await asyncio.sleep(0)
        if self.mode == "down":
            raise EngineUnavailableError("the Temporal server cannot be reached")
        self.started.append(run.run_id)
        if self.mode == "play" and not queued and not self._runs.runs[run.run_id].is_terminal:
            play = self._tool if spec.kind is RunKind.TOOL else self._talk
            await play(run.run_id)

    async def _talk(self, run_id: str) -> None:
        emit = self._runs.emit
        emit(run_id, EventType.RUN_STARTED, {"agent_id": "assistant", "kind": "agent"})
        for word in self.words:
            await asyncio.sleep(0)
            said = {"text": word, "step": "llm-1-1", "attempt": 1}
            emit(run_id, EventType.AGENT_STREAM_DELTA, said)
        final = {"role": "assistant", "content": "".join(self.words)}
        emit(run_id, EventType.RUN_DONE, {"final_message": final, "usage": {}})

    async def _tool(self, run_id: str) -> None:
        emit = self._runs.emit
        emit(run_id, EventType.RUN_STARTED, {"kind": "tool"})
        call = next(call for call in self._runs.calls.values() if call.run_id == run_id)
        if call.effect is Effect.UNSAFE:
            self.end_call(call.tool_call_id, ToolCallStatus.OUTCOME_UNKNOWN)
            emit(run_id, EventType.OUTCOME_UNKNOWN, {"tool_call_id": call.tool_call_id})
            self._runs.change(run_id, waiting_on=WaitingOn.APPROVAL)
            return
        failed = '"boom"' in call.args
        status = ToolCallStatus.FAILED if failed else ToolCallStatus.SUCCEEDED
        self.end_call(call.tool_call_id, status)
        emit(run_id, EventType.TOOL_RESULT, {"tool_call_id": call.tool_call_id})
        emit(run_id, EventType.RUN_DONE, {"final_message": None, "usage": {}})

    def end_call(self, tool_call_id: str, status: ToolCallStatus) -> None:
        """Close a tool call as `status` says."""
        failed = status is ToolCallStatus.FAILED
        self._runs.calls[tool_call_id] = self._runs.calls[tool_call_id].model_copy(
            update={
                "status": status,
                "result": '{"result":42}' if status is ToolCallStatus.SUCCEEDED else None,
                "error": {"code": "tool_error", "message": "boom"} if failed else None,
                "ended_at": NOW,
            }
        )

    async def cancel(self, run_id: str) -> None:
        if self.mode == "down":
            raise EngineUnavailableError("the Temporal server cannot be reached")
        self.cancelled.append(run_id)
        self._runs.emit(run_id, EventType.RUN_CANCELLED, {"usage": {}})

    async def wake(self, run_id: str) -> None:
        self.woken.append(run_id)

    async def check(self) -> str | None:
        return self.trouble

    def ui_url(self, run_id: str) -> str | None:
        return f"http://localhost:8233/namespaces/default/workflows/{run_id}"
