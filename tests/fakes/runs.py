"""Runs and their tool calls in memory, with the rules that the API relies on."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from domain.acceptance import Accepted, NewRun, Page, RunFilter
from domain.errors import (
    ConflictError,
    IdempotencyKeyConflictError,
    NotFoundError,
    QueueFullError,
    RunTerminalError,
    SessionBusyError,
)
from domain.event import EventType
from domain.family import Unstarted
from domain.run import ForkedFrom, Run, RunError, RunKind, RunSpec, RunState, RunUsage
from domain.session import Message, OnBusy, estimate_tokens
from domain.stats import RunStats
from domain.tool import Resolution, ToolCall, ToolCallStatus, Verdict
from tests.fakes.clock import FakeClock
from tests.fakes.directory import FakeDirectory
from tests.fakes.events import FakeEvents
from tests.fakes.listing import paged, sees


def _forked_from(new: NewRun) -> ForkedFrom | None:
    if new.fork is None:
        return None
    return ForkedFrom(run_id=new.fork.run_id, turn=new.fork.from_turn or 0)


class FakeRuns:
    """Runs, tool calls and the sessions they hold, in memory."""

    def __init__(self, clock: FakeClock, events: FakeEvents, directory: FakeDirectory) -> None:
        self.runs: dict[str, Run] = {}
        self.specs: dict[str, RunSpec] = {}
        self.calls: dict[str, ToolCall] = {}
        self.keys: dict[tuple[str, str, str], tuple[str, str]] = {}
        self.accepted: list[NewRun] = []
        self._clock = clock
        self._events = events
        self._directory = directory

    async def accept_child(self, new: NewRun) -> Accepted:
        return await self.accept(new)

    async def accept(self, new: NewRun) -> Accepted:
        await asyncio.sleep(0)
        known = self._known(new)
        if known is not None:
            return known
        if sum(1 for run in self.runs.values() if not run.is_terminal) >= new.max_open_runs:
            raise QueueFullError("too many runs are open")
        parent = self._parent(new)
        queued = self._claim(new)
        run = Run(
            run_id=new.run_id,
            owner=new.owner,
            session_id=new.session_id,
            agent_id=new.agent_id,
            kind=new.kind,
            state=RunState.CREATED,
            waiting_on=None,
            output=None,
            error=None,
            usage=RunUsage(),
            priority=new.priority,
            goal_id=parent.goal_id if parent else new.goal_id,
            parent_run_id=new.parent_run_id,
            root_run_id=parent.root_run_id if parent else new.run_id,
            depth=parent.depth + 1 if parent else 0,
            created_at=self._clock.now_ms(),
            started_at=None,
            ended_at=None,
            last_seq=0,
            cancel_asked=False,
            metadata=new.metadata or {},
            forked_from=_forked_from(new),
            start_at=new.start_at,
            deadline_at=new.deadline_at,
        )
        self.accepted.append(new)
        self.runs[new.run_id] = run
        self.specs[new.run_id] = new.spec
        if new.idempotency is not None:
            key = new.idempotency
            self.keys[new.owner, key.scope, key.key] = (key.fingerprint, new.run_id)
        self._first_events(new, run)
        return Accepted(self.runs[run.run_id], queued, replayed=False, spec=new.spec)

    def _known(self, new: NewRun) -> Accepted | None:
        if new.idempotency is None:
            return None
        key = new.idempotency
        held = self.keys.get((new.owner, key.scope, key.key))
        if held is None:
            return None
        if held[0] != key.fingerprint:
            raise IdempotencyKeyConflictError("the key was used with another body")
        return Accepted(self.runs[held[1]], False, replayed=True, spec=self.specs[held[1]])

    def _parent(self, new: NewRun) -> Run | None:
        if new.parent_run_id is None:
            return None
        parent = self.runs.get(new.parent_run_id)
        if parent is None or parent.owner != new.owner:
            raise NotFoundError(f"there is no run {new.parent_run_id}")
        if parent.is_terminal:
            raise RunTerminalError(f"run {parent.run_id} has ended")
        return parent

    def _claim(self, new: NewRun) -> bool:
        if new.session_id is None:
            return False
        session = self._directory.sessions.get((new.owner, new.session_id))
        if session is None:
            session = self._directory.make(new.owner, new.session_id)
        if session.active_run_id is None:
            changes: dict[str, Any] = {"active_run_id": new.run_id}
        elif (new.on_busy or session.on_busy) is OnBusy.REJECT:
            raise SessionBusyError(f"session {new.session_id} is held")
        else:
            changes = {"queued_run_ids": (*session.queued_run_ids, new.run_id)}
        fresh = session.model_copy(update=changes)
        self._directory.sessions[new.owner, new.session_id] = fresh
        return "queued_run_ids" in changes

    def _first_events(self, new: NewRun, run: Run) -> None:
        if new.kind is RunKind.TOOL:
            tool = new.spec.tools[0]
            call_id = new.tool_call_id or ""
            self.calls[call_id] = ToolCall(
                tool_call_id=call_id,
                owner=new.owner,
                run_id=new.run_id,
                step="tool-1-0",
                tool_name=tool.name,
                args=new.args,
                status=ToolCallStatus.CREATED,
                result=None,
                error=None,
                effect=tool.effect,
                idempotency_key=f"{new.run_id}:{call_id}",
                created_at=self._clock.now_ms(),
                ended_at=None,
            )
            self.emit(run.run_id, EventType.TOOL_CALL_CREATED, {"tool_call_id": call_id})
            return
        message = Message(
            message_id=new.message_id,
            session_id=new.session_id or "",
            run_id=new.run_id,
            seq=None,
            role="user",
            content=new.content,
            tokens=estimate_tokens(new.content),
            created_at=self._clock.now_ms(),
        )
        self._directory.add_message(new.owner, message)
        said = {"role": "user", "content": new.content, "message_id": new.message_id}
        self.emit(run.run_id, EventType.USER_INPUT, said)
        if new.route is not None:
            self.emit(run.run_id, EventType.ROUTE_DECIDED, new.route)
        if new.tier_route is not None:
            self.emit(run.run_id, EventType.ROUTE_DECIDED, new.tier_route)

    def emit(self, run_id: str, type_: EventType, data: dict[str, Any] | None = None) -> None:
        """Append an event; run_started and terminal events move the run."""
        run = self.runs[run_id]
        event = self._events.append(run, type_, data or {})
        changes: dict[str, Any] = {"last_seq": event.seq}
        if type_ is EventType.RUN_STARTED:
            changes |= {"state": RunState.RUNNING, "started_at": self._clock.now_ms()}
        if type_ is EventType.RUN_WAITING:
            changes["waiting_on"] = (data or {})["waiting_on"]
        ends = {
            EventType.RUN_DONE: RunState.DONE,
            EventType.RUN_FAILED: RunState.FAILED,
            EventType.RUN_CANCELLED: RunState.CANCELLED,
        }
        if type_ in ends:
            changes |= {"state": ends[type_], "ended_at": self._clock.now_ms()}
            changes["output"] = (data or {}).get("final_message")
            if type_ is EventType.RUN_FAILED:
                changes["error"] = RunError.model_validate(data)
        self.runs[run_id] = run.model_copy(update=changes)
        if type_ in ends:
            self._release(self.runs[run_id])

    def _release(self, run: Run) -> None:
        if run.session_id is None:
            return
        key = (run.owner, run.session_id)
        session = self._directory.sessions[key]
        if session.active_run_id == run.run_id:
            queue = session.queued_run_ids
            update = {"active_run_id": queue[0] if queue else None, "queued_run_ids": queue[1:]}
            self._directory.sessions[key] = session.model_copy(update=update)

    def change(self, run_id: str, **changes: object) -> None:
        """Overwrite fields of a run."""
        self.runs[run_id] = self.runs[run_id].model_copy(update=changes)

    async def to_stop(self, run_id: str) -> Sequence[Unstarted]:
        return [
            Unstarted(run, self.specs[run.run_id])
            for run in self.runs.values()
            if run.parent_run_id == run_id and run.cancel_asked and not run.is_terminal
        ]

    async def get_run(self, owner: str | None, run_id: str) -> Run:
        run = self.runs.get(run_id)
        if run is None or not sees(owner, run.owner):
            raise NotFoundError(f"there is no run {run_id}")
        return run

    async def list_runs(
        self, owner: str | None, which: RunFilter, page: Page
    ) -> tuple[Sequence[Run], str | None]:
        found = [
            run
            for run in reversed(self.runs.values())
            if sees(owner, run.owner)
            and which.state in {None, run.state}
            and which.agent_id in {None, run.agent_id}
            and which.session_id in {None, run.session_id}
            and which.forked_from in {None, run.forked_from and run.forked_from.run_id}
            and which.parent_run_id in {None, run.parent_run_id}
            and which.root_run_id in {None, run.root_run_id}
            and which.kind in {None, run.kind}
            and which.goal_id in {None, run.goal_id}
        ]
        return paged(found, page)

    async def ask_cancel(self, owner: str | None, run_id: str, reason: str | None) -> Run:
        run = await self.get_run(owner, run_id)
        if not run.is_terminal:
            self.change(run_id, cancel_asked=True, metadata={**run.metadata, "reason": reason})
        return self.runs[run_id]

    async def get_tool_call(self, owner: str | None, tool_call_id: str) -> ToolCall:
        call = self.calls.get(tool_call_id)
        if call is None or not sees(owner, call.owner):
            raise NotFoundError(f"there is no tool call {tool_call_id}")
        return call

    async def list_tool_calls(
        self, owner: str | None, run_id: str | None, status: str | None, page: Page
    ) -> tuple[Sequence[ToolCall], str | None]:
        found = [
            call
            for call in reversed(self.calls.values())
            if sees(owner, call.owner)
            and run_id in {None, call.run_id}
            and status in {None, call.status}
        ]
        return paged(found, page)

    async def resolve_tool_call(self, owner: str | None, tool_call_id: str, said: Verdict) -> Run:
        call = await self.get_tool_call(owner, tool_call_id)
        if call.status is not ToolCallStatus.OUTCOME_UNKNOWN:
            raise ConflictError(f"the outcome of {tool_call_id} is {call.status}")
        done = said.resolution is Resolution.HAPPENED
        self.calls[tool_call_id] = call.model_copy(
            update={
                "status": ToolCallStatus.SUCCEEDED if done else ToolCallStatus.FAILED,
                "resolution": said.resolution,
                "resolved_by": said.by,
                "result": said.result or None,
            }
        )
        return self.runs[call.run_id]

    async def stats(self, owner: str | None) -> RunStats:
        states: dict[str, int] = defaultdict(int)
        for run in self.runs.values():
            if sees(owner, run.owner):
                states[run.state.value] += 1
        return RunStats(
            total=sum(states.values()),
            by_state=dict(states),
            waiting={},
            average_ms=12.0 if states else None,
            p50_ms=10.0 if states else None,
            p95_ms=20.0 if states else None,
            wait_p95_ms=1.0 if states else None,
        )
