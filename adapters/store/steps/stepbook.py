"""The `StepBook` over a database: each method is one transaction with a name of its own."""

from collections.abc import Sequence
from dataclasses import replace

from adapters.store.approvals import news
from adapters.store.clock import firings
from adapters.store.database.commits import Commits, CrashPoint, no_crash
from adapters.store.database.tx import Engine, Tx
from adapters.store.runs import delays, ending
from adapters.store.sessions import transcript
from adapters.store.steps import opening, writes
from domain.chat import ChatMessage
from domain.event import EventDraft
from domain.ports import Clock
from domain.spending import NO_RULES, SpendingRules
from domain.step import (
    Attempt,
    Beginning,
    CallBill,
    CallPlan,
    Closing,
    Execution,
    Finish,
    Finished,
    Opening,
)
from domain.tool import ToolCallStatus, ToolOutcome


class SqlStepBook:
    """Steps on record. Source of every promise: `domain.records.StepBook`."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        crash: CrashPoint = no_crash,
        rules: SpendingRules = NO_RULES,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._commit = Commits(engine, crash)
        self._rules = rules

    async def open(
        self, who: Execution, plan: CallPlan | None = None, *, wanted: bool = False
    ) -> Opening:
        now = self._clock.now_ms()
        return await self._commit(
            "open_step", lambda tx: opening.open_step(tx, who, now, plan, wanted, self._rules)
        )

    async def read_transcript(self, owner: str, session_id: str) -> tuple[ChatMessage, ...]:
        return await self._engine.read(lambda tx: transcript.read_transcript(tx, owner, session_id))

    async def append_delta(self, who: Attempt, text: str, index: int) -> None:
        now = self._clock.now_ms()
        await self._commit(
            "append_delta", lambda tx: writes.append_delta(tx, who, text, index, now)
        )

    async def append_events(self, who: Attempt, drafts: Sequence[EventDraft]) -> None:
        now = self._clock.now_ms()
        await self._commit("append_events", lambda tx: writes.append_events(tx, who, drafts, now))

    async def close(self, who: Attempt, closing: Closing) -> None:
        now = self._clock.now_ms()
        await self._commit(
            "close_step", lambda tx: writes.close_step(tx, who, closing, now, self._rules)
        )

    async def close_tool(self, who: Attempt, status: ToolCallStatus, outcome: ToolOutcome) -> None:
        now = self._clock.now_ms()
        await self._commit(
            "close_tool", lambda tx: writes.close_tool_step(tx, who, status, outcome, now)
        )

    async def fail(self, who: Attempt, bill: CallBill | None = None) -> int:
        now = self._clock.now_ms()
        return await self._commit(
            "fail_attempt", lambda tx: writes.fail_attempt(tx, who, bill, self._rules.breaker, now)
        )

    async def release(self, who: Attempt, unseen: int = 0) -> None:
        now = self._clock.now_ms()
        await self._commit(
            "release_attempt", lambda tx: writes.release_attempt(tx, who, unseen, now)
        )

    async def mark_unknown(self, who: Attempt, reason: str) -> str:
        now = self._clock.now_ms()
        return await self._commit(
            "mark_unknown", lambda tx: writes.mark_unknown(tx, who, reason, now)
        )

    async def finalize(self, run_id: str, finish: Finish) -> Finished:
        now = self._clock.now_ms()

        def unit(tx: Tx) -> Finished:
            finished = ending.finalize(tx, run_id, finish, now)
            return replace(finished, firing_id=firings.waiting_for(tx, run_id))

        return await self._commit("finalize", unit)

    async def begin(self, run_id: str, temporal_run_id: str) -> Beginning:
        now = self._clock.now_ms()
        return await self._commit(
            "begin", lambda tx: delays.begin(tx, run_id, temporal_run_id, now)
        )

    async def read_turn(self, run_id: str, temporal_run_id: str) -> str:
        now = self._clock.now_ms()
        return await self._commit(
            "read_turn", lambda tx: ending.read_turn(tx, run_id, temporal_run_id, now)
        )

    async def read_news(self, run_id: str) -> Sequence[str]:
        return await self._engine.read(lambda tx: news.steps_with_news(tx, run_id))
