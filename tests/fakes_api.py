"""In-memory ports for tests of the API: no store, no engine, no sockets."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from api.ports import ApiConfig, ApiPorts, LogLine, RateConfig, StreamConfig
from domain.acceptance import Accepted, NewRun, Page, RunFilter
from domain.agent import Agent, AgentKind, Limits
from domain.approval import (
    BY_POLICY,
    Answer,
    Approval,
    ApprovalStatus,
    Remember,
    Risk,
    digest_of_call,
    summary_of,
)
from domain.auth import MintedKey, mint_key
from domain.chat import ModelInfo, split_model
from domain.deciding import ApprovalFilter
from domain.errors import (
    AddressRefusedError,
    ApprovalDecidedError,
    ApprovalExpiredError,
    ConflictError,
    EngineUnavailableError,
    IdempotencyKeyConflictError,
    InvalidRequestError,
    ModelNotConfiguredError,
    NotFoundError,
    QueueFullError,
    RunTerminalError,
    SessionBusyError,
)
from domain.event import EventDraft, EventType, Lineage, StoredEvent, envelope
from domain.family import Unstarted
from domain.intake import IntakePorts, IntakeSettings
from domain.policy import OnTimeout
from domain.ports import ChatModel
from domain.principal import LOCAL_OWNER, ApiKey, Scope
from domain.run import ForkedFrom, Run, RunError, RunKind, RunSpec, RunState, RunUsage, WaitingOn
from domain.session import Message, OnBusy, Session, estimate_tokens
from domain.stats import RunStats, WorkerSlot
from domain.tool import (
    Effect,
    Resolution,
    ToolCall,
    ToolCallStatus,
    ToolInvocation,
    ToolOutcome,
    ToolSpec,
    Verdict,
)
from domain.treelog import Seen, Shelf, TreePage, advance, merge, place_of
from tests.fakes_clients import FakeClients
from tests.fakes_forks import FakeForks, FakeLetters
from tests.fakes_schedules import FakeScheduler, FakeSchedules

NOW = 1_763_632_800_000
T = TypeVar("T")

CALCULATOR = ToolSpec(
    name="calculator",
    description="Does arithmetic.",
    parameters={
        "type": "object",
        "properties": {"operation": {"type": "string"}, "a": {"type": "number"}},
    },
)
WIRE = ToolSpec(name="wire", description="Sends money.", parameters={}, effect=Effect.UNSAFE)


class FakeClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = NOW

    def now_ms(self) -> int:
        return self.now


class FakeIds:
    """Ids in order."""

    def __init__(self) -> None:
        self._count = itertools.count(1)

    def new(self, prefix: str) -> str:
        return f"{prefix}_{next(self._count):06d}"


def _paged(items: Sequence[T], page: Page) -> tuple[list[T], str | None]:
    start = int(page.cursor) if page.cursor and page.cursor.isdigit() else 0
    end = start + page.limit
    return list(items[start:end]), str(end) if end < len(items) else None


def _sees(owner: str | None, owned_by: str | None) -> bool:
    return owner is None or owned_by is None or owner == owned_by


def _forked_from(new: NewRun) -> ForkedFrom | None:
    if new.fork is None:
        return None
    return ForkedFrom(run_id=new.fork.run_id, turn=new.fork.from_turn or 0)


class FakeEvents:
    """The event log in memory."""

    def __init__(self, clock: FakeClock) -> None:
        self.logs: dict[str, list[StoredEvent]] = defaultdict(list)
        self.followers = 0
        self._clock = clock
        self._grown: dict[str, asyncio.Event] = {}

    def append(self, run: Run, type_: EventType, data: dict[str, Any]) -> StoredEvent:
        log = self.logs[run.run_id]
        seq = len(log) + 1
        draft = EventDraft(type=type_, key=str(seq), data=data)
        line = Lineage(
            root_run_id=run.root_run_id, parent_run_id=run.parent_run_id, depth=run.depth
        )
        text = envelope(run.run_id, seq, self._clock.now_ms(), draft, line)
        event = StoredEvent(run_id=run.run_id, seq=seq, type=type_.value, envelope=text)
        log.append(event)
        grown = self._grown.pop(run.run_id, None)
        if grown is not None:
            grown.set()
        return event

    async def read(
        self, run_id: str, after_seq: int, limit: int, types: Sequence[str] | None = None
    ) -> Sequence[StoredEvent]:
        found = self.logs[run_id][after_seq:]
        if types is not None:
            found = [event for event in found if event.type in types]
        return found[:limit]

    async def follow(self, run_id: str, after_seq: int) -> AsyncIterator[Sequence[StoredEvent]]:
        self.followers += 1
        try:
            cursor = after_seq
            while True:
                grown = self._grown.setdefault(run_id, asyncio.Event())
                batch = await self.read(run_id, cursor, 500)
                if batch:
                    yield batch
                    cursor = batch[-1].seq
                    if batch[-1].is_terminal:
                        return
                else:
                    await grown.wait()
        finally:
            self.followers -= 1


class FakeTrees:
    """The logs of a run and its children, in memory."""

    def __init__(self, events: FakeEvents, runs: "FakeRuns") -> None:
        self._events = events
        self._runs = runs

    def _below(self, run_id: str) -> list[Run]:
        found = [self._runs.runs[run_id]]
        for run in found:
            found += [r for r in self._runs.runs.values() if r.parent_run_id == run.run_id]
        return found

    async def read_tree(self, run_id: str, seen: Seen) -> TreePage:
        runs = self._below(run_id)
        shelves = [
            Shelf(run.run_id, run.parent_run_id, run.depth, log)
            for run in runs
            if (log := self._events.logs[run.run_id][seen.get(place_of(run.run_id), 0) :])
        ]
        return TreePage(merge(shelves), not shelves and all(run.is_terminal for run in runs))

    async def follow_tree(self, run_id: str, seen: Seen) -> AsyncIterator[Sequence[StoredEvent]]:
        so_far = dict(seen)
        while not (page := await self.read_tree(run_id, so_far)).is_over:
            if page.events:
                yield page.events
            for event in page.events:
                advance(so_far, event)
            await asyncio.sleep(0.001)


class FakeRuns:
    """Runs, tool calls and the sessions they hold, in memory."""

    def __init__(self, clock: FakeClock, events: FakeEvents, directory: "FakeDirectory") -> None:
        self.runs: dict[str, Run] = {}
        self.specs: dict[str, RunSpec] = {}
        self.calls: dict[str, ToolCall] = {}
        self.keys: dict[tuple[str, str, str], tuple[str, str]] = {}
        self.accepted: list[NewRun] = []
        self._clock = clock
        self._events = events
        self._directory = directory

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
            session = self._directory.make(new.owner, new.session_id, new.on_busy)
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

    def emit(self, run_id: str, type_: EventType, data: dict[str, Any] | None = None) -> None:
        """Append an event; run_started and terminal events move the run."""
        run = self.runs[run_id]
        event = self._events.append(run, type_, data or {})
        changes: dict[str, Any] = {"last_seq": event.seq}
        if type_ is EventType.RUN_STARTED:
            changes |= {"state": RunState.RUNNING, "started_at": self._clock.now_ms()}
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
        if run is None or not _sees(owner, run.owner):
            raise NotFoundError(f"there is no run {run_id}")
        return run

    async def list_runs(
        self, owner: str | None, which: RunFilter, page: Page
    ) -> tuple[Sequence[Run], str | None]:
        found = [
            run
            for run in reversed(self.runs.values())
            if _sees(owner, run.owner)
            and which.state in {None, run.state}
            and which.agent_id in {None, run.agent_id}
            and which.session_id in {None, run.session_id}
            and which.forked_from in {None, run.forked_from and run.forked_from.run_id}
            and which.parent_run_id in {None, run.parent_run_id}
            and which.root_run_id in {None, run.root_run_id}
            and which.kind in {None, run.kind}
        ]
        return _paged(found, page)

    async def ask_cancel(self, owner: str | None, run_id: str, reason: str | None) -> Run:
        run = await self.get_run(owner, run_id)
        if not run.is_terminal:
            self.change(run_id, cancel_asked=True, metadata={**run.metadata, "reason": reason})
        return self.runs[run_id]

    async def get_tool_call(self, owner: str | None, tool_call_id: str) -> ToolCall:
        call = self.calls.get(tool_call_id)
        if call is None or not _sees(owner, call.owner):
            raise NotFoundError(f"there is no tool call {tool_call_id}")
        return call

    async def list_tool_calls(
        self, owner: str | None, run_id: str | None, status: str | None, page: Page
    ) -> tuple[Sequence[ToolCall], str | None]:
        found = [
            call
            for call in reversed(self.calls.values())
            if _sees(owner, call.owner)
            and run_id in {None, call.run_id}
            and status in {None, call.status}
        ]
        return _paged(found, page)

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
            if _sees(owner, run.owner):
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


class FakeApprovals:
    """Approvals in memory."""

    def __init__(self, clock: FakeClock) -> None:
        self.rows: dict[str, Approval] = {}
        self.old: list[str] = []
        self._clock = clock

    def ask(self, call: ToolCall, approval_id: str = "ap_01k9", **fields: Any) -> Approval:
        """Put a question about a call."""
        values: dict[str, Any] = {
            "session_id": None,
            "agent_id": "assistant",
            "args_summary": summary_of(call.tool_name, call.args),
            "args_digest": digest_of_call(call.tool_name, call.args, call.tool_call_id),
            "risk": Risk.HIGH,
            "why": "the default is ask",
            "asker": "agent assistant",
            "asks": None,
            "on_timeout": OnTimeout.REJECT,
            "status": ApprovalStatus.PENDING,
            "expires_at": None,
        }
        shared = ("owner", "run_id", "tool_call_id", "tool_name", "args", "created_at")
        values |= {name: getattr(call, name) for name in shared} | fields
        self.rows[approval_id] = Approval(approval_id=approval_id, **values)
        return self.rows[approval_id]

    async def get_approval(self, owner: str | None, approval_id: str) -> Approval:
        found = self.rows.get(approval_id)
        if found is None or not _sees(owner, found.owner):
            raise NotFoundError(f"there is no approval {approval_id}")
        return found

    async def list_approvals(
        self, owner: str | None, which: ApprovalFilter, page: Page
    ) -> tuple[Sequence[Approval], str | None]:
        found = [
            one
            for one in reversed(self.rows.values())
            if _sees(owner, one.owner)
            and which.status in {None, one.status}
            and which.run_id in {None, one.run_id}
        ]
        return _paged(found, page)

    async def pending(self, owner: str | None) -> dict[str, int]:
        return {
            one.approval_id: one.revision
            for one in self.rows.values()
            if _sees(owner, one.owner) and one.status is ApprovalStatus.PENDING
        }

    async def decide(self, owner: str | None, approval_id: str, said: Answer) -> Approval:
        found = await self.get_approval(owner, approval_id)
        if found.status is ApprovalStatus.EXPIRED:
            raise ApprovalExpiredError(f"approval {approval_id} has expired")
        if found.status is not ApprovalStatus.PENDING:
            raise ApprovalDecidedError(f"{approval_id} was {found.status} by {found.decided_by}")
        if not said.approved and (said.edited_args or said.remember is not Remember.NONE):
            raise InvalidRequestError("edited_args and remember go with an approval only")
        if said.args_digest not in {None, found.args_digest}:
            raise ConflictError("it is about other arguments")
        changes = {
            "status": ApprovalStatus.APPROVED if said.approved else ApprovalStatus.REJECTED,
            "decided_by": said.by,
            "decided_at": self._clock.now_ms(),
            "reason": said.reason,
            "edited_args": said.edited_args,
            "remember": said.remember,
            "revision": found.revision + 1,
        }
        self.rows[approval_id] = found.model_copy(update=changes)
        return self.rows[approval_id]

    async def outdated(self) -> Sequence[str]:
        return self.old

    async def revisit(self, approval_id: str) -> Approval | None:
        self.old.remove(approval_id)
        return await self.decide(None, approval_id, Answer(approved=True, by=BY_POLICY))


class FakeDirectory:
    """Agents, sessions and transcripts in memory."""

    def __init__(self, clock: FakeClock) -> None:
        self.agents: dict[tuple[str | None, str], Agent] = {}
        self.sessions: dict[tuple[str, str], Session] = {}
        self.messages: dict[tuple[str, str], list[Message]] = defaultdict(list)
        self._clock = clock

    def make(self, owner: str, session_id: str, on_busy: OnBusy | None = None) -> Session:
        session = Session(
            session_id=session_id,
            owner=owner,
            agent_id=None,
            on_busy=on_busy or OnBusy.ENQUEUE,
            message_count=0,
            token_count=0,
            active_run_id=None,
            queued_run_ids=(),
            created_at=self._clock.now_ms(),
            metadata={},
        )
        self.sessions[owner, session_id] = session
        return session

    def add_message(self, owner: str, message: Message) -> None:
        key = (owner, message.session_id)
        seq = len(self.messages[key]) + 1
        self.messages[key].append(message.model_copy(update={"seq": seq}))
        session = self.sessions[key]
        tokens = session.token_count + message.tokens
        self.sessions[key] = session.model_copy(
            update={"message_count": seq, "token_count": tokens}
        )

    async def put_agent(self, agent: Agent, *, replace: bool) -> Agent:
        key = (agent.owner, agent.agent_id)
        if key in self.agents and not replace:
            raise ConflictError(f"agent {agent.agent_id} exists")
        self.agents[key] = agent
        return agent

    async def get_agent(self, owner: str | None, agent_id: str) -> Agent:
        for key in ((owner, agent_id), (None, agent_id)):
            if key in self.agents:
                return self.agents[key]
        raise NotFoundError(f"there is no agent {agent_id}")

    async def list_agents(
        self, owner: str | None, page: Page
    ) -> tuple[Sequence[Agent], str | None]:
        found = [agent for agent in self.agents.values() if _sees(owner, agent.owner)]
        return _paged(sorted(found, key=lambda agent: agent.agent_id), page)

    async def delete_agent(self, owner: str | None, agent_id: str) -> None:
        if (owner, agent_id) not in self.agents:
            raise NotFoundError(f"there is no agent {agent_id}")
        del self.agents[owner, agent_id]

    async def create_session(self, session: Session) -> Session:
        key = (session.owner, session.session_id)
        if key in self.sessions:
            raise ConflictError(f"session {session.session_id} exists")
        self.sessions[key] = session
        return session

    async def get_session(self, owner: str | None, session_id: str) -> Session:
        for (held_by, known), session in self.sessions.items():
            if known == session_id and _sees(owner, held_by):
                return session
        raise NotFoundError(f"there is no session {session_id}")

    async def list_sessions(
        self, owner: str | None, page: Page
    ) -> tuple[Sequence[Session], str | None]:
        found = [held for held in reversed(self.sessions.values()) if _sees(owner, held.owner)]
        return _paged(found, page)

    async def update_session(
        self, owner: str | None, session_id: str, changes: dict[str, Any]
    ) -> Session:
        session = await self.get_session(owner, session_id)
        fresh = session.model_copy(update=changes)
        self.sessions[session.owner, session_id] = fresh
        return fresh

    async def delete_session(self, owner: str | None, session_id: str) -> None:
        session = await self._free(owner, session_id)
        del self.sessions[session.owner, session_id]
        self.messages.pop((session.owner, session_id), None)

    async def list_messages(
        self, owner: str | None, session_id: str, page: Page, *, newest_first: bool = False
    ) -> tuple[Sequence[Message], str | None]:
        session = await self.get_session(owner, session_id)
        found = self.messages[session.owner, session_id]
        if not newest_first:
            return _paged(found, page)
        before = int(page.cursor) if page.cursor and page.cursor.isdigit() else 2**60
        older = [item for item in reversed(found) if (item.seq or 0) < before]
        shown = older[: page.limit]
        return shown, str(shown[-1].seq) if len(older) > len(shown) else None

    async def clear_messages(self, owner: str | None, session_id: str) -> int:
        session = await self._free(owner, session_id)
        return len(self.messages.pop((session.owner, session_id), []))

    async def _free(self, owner: str | None, session_id: str) -> Session:
        session = await self.get_session(owner, session_id)
        if session.active_run_id is not None:
            raise SessionBusyError(f"session {session_id} is held")
        return session


class FakeKeys:
    """API keys in memory."""

    def __init__(self) -> None:
        self.by_digest: dict[str, ApiKey] = {}
        self.lookups = 0

    async def add_key(self, key: ApiKey, digest: str) -> None:
        self.by_digest[digest] = key

    async def find_key(self, digest: str) -> ApiKey | None:
        self.lookups += 1
        return self.by_digest.get(digest)

    async def list_keys(self, owner: str | None, page: Page) -> tuple[Sequence[ApiKey], str | None]:
        found = [key for key in self.by_digest.values() if _sees(owner, key.owner)]
        return _paged(found[::-1], page)

    async def revoke_key(self, owner: str | None, key_id: str, now_ms: int) -> ApiKey:
        for digest, key in self.by_digest.items():
            if key.key_id == key_id and _sees(owner, key.owner):
                at = key.revoked_at or now_ms
                self.by_digest[digest] = key.model_copy(update={"revoked_at": at})
                return self.by_digest[digest]
        raise NotFoundError(f"there is no key {key_id}")

    async def has_keys(self) -> bool:
        return any(key.revoked_at is None for key in self.by_digest.values())


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


class FakeTools:
    """Two tools; none is run by the API."""

    def specs(self) -> Sequence[ToolSpec]:
        return (CALCULATOR, WIRE)

    async def run(self, invocation: ToolInvocation) -> ToolOutcome:
        raise AssertionError(f"the API runs no tool: {invocation.name}")


class FakeModels:
    """The offline models, and a provider without credentials."""

    def resolve(self, model: str) -> ChatModel:
        provider, _ = split_model(model)
        raise ModelNotConfiguredError(f"there is no provider {provider}")

    def models(self) -> Sequence[ModelInfo]:
        return (
            ModelInfo(
                model="offline/echo",
                provider="offline",
                configured=True,
                input_per_mtok_usd="0",
                output_per_mtok_usd="0",
            ),
            ModelInfo(model="openai/gpt-x", provider="openai", configured=False),
        )


class FakeWorkers:
    """A worker with two slots."""

    async def slots(self) -> Sequence[WorkerSlot]:
        return [
            WorkerSlot(
                agent_id=f"worker-1/{index}",
                state="busy" if index else "idle",
                current_step="llm-1-1" if index else None,
                processed=4,
                succeeded=3,
                failed=1,
                busy_ms=500,
                started_at=NOW - 1000,
            )
            for index in range(2)
        ]


class FakeLogs:
    """A log that ends when `lines` are told."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = [
            LogLine(NOW, "info", "worker", "started", {"run_id": "run_1"}),
            LogLine(NOW, "error", "store", "disk\nfull\x1b[31m"),
        ]
        self.open = False

    async def subscribe(self) -> AsyncIterator[LogLine]:
        for line in self.lines:
            yield line
        if self.open:
            await asyncio.Event().wait()


class FakeAddresses:
    """Refuses the metadata address and everything that is not http."""

    def check_url(self, text: str) -> object:
        if not text.startswith(("http://", "https://")) or "169.254.169.254" in text:
            raise AddressRefusedError(f"the address {text[:100]} may not be contacted")
        return text


@dataclass
class World:
    """Every fake of one app."""

    clock: FakeClock = field(default_factory=FakeClock)
    ids: FakeIds = field(default_factory=FakeIds)
    keys: FakeKeys = field(default_factory=FakeKeys)
    logs: FakeLogs = field(default_factory=FakeLogs)
    trouble: str | None = None
    stuck: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.events = FakeEvents(self.clock)
        self.directory = FakeDirectory(self.clock)
        self.runs = FakeRuns(self.clock, self.events, self.directory)
        self.approvals = FakeApprovals(self.clock)
        self.clients = FakeClients()
        self.letters = FakeLetters()
        self.schedules = FakeSchedules()
        self.scheduler = FakeScheduler()
        self.gateway = FakeGateway(self.runs)
        self.add_agent("assistant", description="general help with anything")

    def add_agent(self, agent_id: str, owner: str | None = None, **fields: Any) -> Agent:
        """Put an agent into the directory."""
        values: dict[str, Any] = {"kind": AgentKind.LLM, "name": agent_id.title(), **fields}
        agent = Agent(agent_id=agent_id, owner=owner, created_at=NOW, updated_at=NOW, **values)
        self.directory.agents[owner, agent_id] = agent
        return agent

    def add_key(self, *scopes: Scope, owner: str = LOCAL_OWNER, **fields: int) -> str:
        """Make a key and return its secret."""
        number = len(self.keys.by_digest) + 1
        minted: MintedKey = mint_key(bytes([number]) * 32)
        key = ApiKey(
            key_id=f"key_{number}",
            owner=owner,
            name=f"key {number}",
            prefix=minted.prefix,
            scopes=scopes or (Scope.ADMIN,),
            created_at=NOW,
            expires_at=fields.get("expires_at"),
            revoked_at=fields.get("revoked_at"),
        )
        self.keys.by_digest[minted.digest] = key
        return minted.secret

    async def furnish(self) -> None:
        """Put in place what the examples of the OpenAPI document name."""
        spec = RunSpec(tools=(WIRE,))
        for run_id, kind in (("run_01k9", RunKind.AGENT), ("run_02k9", RunKind.TOOL)):
            is_tool = kind is RunKind.TOOL
            await self.runs.accept(
                NewRun(
                    run_id=run_id,
                    owner=LOCAL_OWNER,
                    kind=kind,
                    spec=spec,
                    agent_id=None if is_tool else "assistant",
                    session_id=None if is_tool else "sess_01k9",
                    message_id="msg_01k9",
                    content="What is 6 * 7?",
                    max_open_runs=100,
                    tool_call_id="tc_01k9" if is_tool else None,
                )
            )
            await self.gateway.start(self.runs.runs[run_id], RunSpec(kind=kind), queued=False)
        self.approvals.ask(self.runs.calls["tc_01k9"])
        self.clients.ask(self.runs.calls["tc_01k9"])
        self.letters.put(self.runs.runs["run_01k9"])
        self.schedules.furnish()
        minted = mint_key(b"k" * 32)
        key = ApiKey(
            key_id="key_01k9",
            owner=LOCAL_OWNER,
            name="example",
            prefix=minted.prefix,
            scopes=(Scope.READ,),
            created_at=NOW,
            expires_at=None,
            revoked_at=None,
        )
        self.keys.by_digest[minted.digest] = key

    async def stuck_runs(self) -> Sequence[str]:
        """Return the runs that a reconciler noted."""
        return self.stuck

    async def check_store(self) -> str | None:
        """Answer the store's check."""
        return self.trouble

    def ports(self) -> ApiPorts:
        """Return the ports over these fakes."""
        return ApiPorts(
            intake=IntakePorts(
                runs=self.runs,
                directory=self.directory,
                toolbox=FakeTools(),
                models=FakeModels(),
                gateway=self.gateway,
                ids=self.ids,
                hosted=self.clients,
            ),
            events=self.events,
            trees=FakeTrees(self.events, self.runs),
            approvals=self.approvals,
            clients=self.clients,
            forks=FakeForks(self.runs.runs, self.runs.specs),
            dead_letters=self.letters,
            schedules=self.schedules,
            scheduler=self.scheduler,
            keys=self.keys,
            clock=self.clock,
            workers=FakeWorkers(),
            logs=self.logs,
            addresses=FakeAddresses(),
            checks={"store": self.check_store},
            stuck=self.stuck_runs,
        )


def fake_config(**changes: Any) -> ApiConfig:
    """Return a configuration for tests; keyword arguments replace fields of `ApiConfig`."""
    values: dict[str, Any] = {
        "intake": IntakeSettings(
            default_limits=Limits(max_turns=50, max_cost_usd="1.00"),
            default_models=("offline/echo",),
            max_open_runs=100,
        ),
        "open_without_keys": True,
        "stream": StreamConfig(),
        "rate": RateConfig(),
    }
    return ApiConfig(**{**values, **changes})
