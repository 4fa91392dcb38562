"""The promises of the store: what is on record, and how it is read and written.

The ports of the store, as `ports.py` holds those of everything else. Each has a contract test over
every implementation.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Protocol

from domain.acceptance import Accepted, IdempotencyKey, NewRun, Page, RunFilter
from domain.agent import Agent
from domain.chat import ChatMessage
from domain.event import EventDraft, StoredEvent
from domain.family import Unstarted
from domain.principal import ApiKey
from domain.run import Run, RunSpec
from domain.session import Message, Session
from domain.stats import RunStats
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
from domain.tool import (
    ToolCall,
    ToolCallStatus,
    ToolOutcome,
    Verdict,
)
from domain.upkeep import HeldStep, Lease, OpenRun


class RunBook(Protocol):
    """Runs on record, as the API and the CLI see and steer them.

    `owner` None means any owner (an administrator of the process itself); otherwise a row of
    another owner is not found.
    """

    async def accept(self, new: NewRun) -> Accepted:
        """Make a run durable; when this returns it survives anything.

        Raises:
            IdempotencyKeyConflictError, QueueFullError, SessionBusyError, NotFoundError,
            RunTerminalError: as their docstrings say; nothing was kept.
        """
        ...

    async def accept_child(self, new: NewRun) -> Accepted:
        """Make a child of `new.parent_run_id` durable, with what every run above has left.

        Raises:
            LimitReachedError: a cap of a run above does not allow it; nothing was kept.
            IdempotencyKeyConflictError, QueueFullError, NotFoundError, RunTerminalError: as their
            docstrings say; nothing was kept.
        """
        ...

    async def get_run(self, owner: str | None, run_id: str) -> Run:
        """Return one run.

        Raises:
            NotFoundError: no such run for this owner.
        """
        ...

    async def list_runs(
        self, owner: str | None, which: RunFilter, page: Page
    ) -> tuple[Sequence[Run], str | None]:
        """Return runs, newest first, and the cursor of the next page or None."""
        ...

    async def ask_cancel(self, owner: str | None, run_id: str, reason: str | None) -> Run:
        """Record that a run, and all below it, are to stop; return the run.

        One that has ended is returned unchanged.

        Raises:
            NotFoundError: no such run for this owner.
        """
        ...

    async def to_stop(self, run_id: str) -> Sequence[Unstarted]:
        """Return the runs below a run that were asked to stop and have not ended, top down."""
        ...

    async def get_tool_call(self, owner: str | None, tool_call_id: str) -> ToolCall:
        """Return one tool call.

        Raises:
            NotFoundError: no such call for this owner.
        """
        ...

    async def list_tool_calls(
        self, owner: str | None, run_id: str | None, status: str | None, page: Page
    ) -> tuple[Sequence[ToolCall], str | None]:
        """Return tool calls, newest first, and the cursor of the next page or None."""
        ...

    async def resolve_tool_call(self, owner: str | None, tool_call_id: str, said: Verdict) -> Run:
        """Record what a person says of an unknown outcome and return the call's run.

        Raises:
            NotFoundError: no such call for this owner.
            ConflictError: its outcome is not, or no longer, unknown.
        """
        ...

    async def stats(self, owner: str | None) -> RunStats:
        """Return figures over the runs on record."""
        ...


class EventLog(Protocol):
    """The append-only log of every run. Viewers see an event only after its commit."""

    async def read(
        self, run_id: str, after_seq: int, limit: int, types: Sequence[str] | None = None
    ) -> Sequence[StoredEvent]:
        """Return up to `limit` events after `after_seq`, in order."""
        ...

    def replay(
        self, run_id: str, after_seq: int, until_seq: int, types: Sequence[str] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yield what is on record after `after_seq` and up to `until_seq` as server-sent events.

        In order, in large pieces of whole frames; a replay needs constant memory.
        """
        ...

    def follow(self, run_id: str, after_seq: int) -> AsyncIterator[Sequence[StoredEvent]]:
        """Yield every event after `after_seq` in order, in batches, as they are committed.

        Ends after the terminal event. A consumer that stops reading costs bounded memory: it falls
        back to reading the log. No connection is held between batches. Subscribing happens at the
        first `__anext__`, so a caller may start it before it accepts the run.
        """
        ...


class Directory(Protocol):
    """Agents, sessions and their transcripts."""

    async def put_agent(self, agent: Agent, *, replace: bool) -> Agent:
        """Store an agent; `agent.owner` None makes it visible to every owner.

        Raises:
            ConflictError: the id is taken (by this owner) and `replace` is False.
        """
        ...

    async def get_agent(self, owner: str | None, agent_id: str) -> Agent:
        """Return the owner's agent of that id, else the shared one.

        Raises:
            NotFoundError: neither exists.
        """
        ...

    async def list_agents(
        self, owner: str | None, page: Page
    ) -> tuple[Sequence[Agent], str | None]:
        """Return the owner's and the shared agents by id, and the cursor of the next page."""
        ...

    async def delete_agent(self, owner: str | None, agent_id: str) -> None:
        """Remove an agent; runs in flight keep their snapshot.

        Raises:
            NotFoundError: no such agent that this owner may remove.
        """
        ...

    async def create_session(
        self, session: Session, key: IdempotencyKey | None = None
    ) -> tuple[Session, bool]:
        """Make a session, or return the one that the same key made before, and whether it did.

        Raises:
            ConflictError: the id is taken.
            IdempotencyKeyConflictError: the key was used with another body.
            NotFoundError: the session that the key made is gone.
        """
        ...

    async def get_session(self, owner: str | None, session_id: str) -> Session:
        """Return one session with its holder and queue.

        Raises:
            NotFoundError: no such session for this owner.
        """
        ...

    async def list_sessions(
        self, owner: str | None, page: Page
    ) -> tuple[Sequence[Session], str | None]:
        """Return sessions, newest first, and the cursor of the next page or None."""
        ...

    async def update_session(
        self, owner: str | None, session_id: str, changes: dict[str, Any]
    ) -> Session:
        """Change `agent_id`, `on_busy` or `metadata` and return the session.

        Raises:
            NotFoundError: no such session for this owner.
        """
        ...

    async def delete_session(self, owner: str | None, session_id: str) -> None:
        """Remove a session and its transcript; its runs stay on record.

        Raises:
            NotFoundError: no such session for this owner.
            SessionBusyError: a run holds it or waits for it.
        """
        ...

    async def list_messages(
        self, owner: str | None, session_id: str, page: Page, *, newest_first: bool = False
    ) -> tuple[Sequence[Message], str | None]:
        """Return a transcript in order (messages that still wait for their place come last).

        Raises:
            NotFoundError: no such session for this owner.
        """
        ...

    async def clear_messages(self, owner: str | None, session_id: str) -> int:
        """Empty a transcript and return how many messages went.

        Raises:
            NotFoundError: no such session for this owner.
            SessionBusyError: a run holds it or waits for it.
        """
        ...


class KeyRing(Protocol):
    """API keys. Only a digest of a key is kept."""

    async def add_key(self, key: ApiKey, digest: str) -> None:
        """Store a key under the SHA-256 hex digest of its secret."""
        ...

    async def find_key(self, digest: str) -> ApiKey | None:
        """Return the key with this digest, revoked or expired ones too, or None."""
        ...

    async def list_keys(self, owner: str | None, page: Page) -> tuple[Sequence[ApiKey], str | None]:
        """Return keys, newest first, and the cursor of the next page or None."""
        ...

    async def revoke_key(self, owner: str | None, key_id: str, now_ms: int) -> ApiKey:
        """Revoke a key, for good; again changes nothing.

        Raises:
            NotFoundError: no such key for this owner.
        """
        ...

    async def has_keys(self) -> bool:
        """Whether any key is usable: authentication is then on. Tokens of agents do not count."""
        ...

    async def issue_token(self, key: ApiKey, digest: str) -> tuple[str, ...]:
        """Store the token of an agent in place of those it had; return the ids of these."""
        ...


class StepBook(Protocol):
    """Steps on record, as the activities of a worker see them. Every write is behind the fence.

    Each method raises `StepRefusedError` when the attempt may not write, and
    `StoreUnavailableError` when nothing could be written.
    """

    async def open(
        self, who: Execution, plan: CallPlan | None = None, *, wanted: bool = False
    ) -> Opening:
        """Open a step for one attempt, or return what makes that unnecessary."""
        ...

    async def read_transcript(self, owner: str, session_id: str) -> tuple[ChatMessage, ...]:
        """Return a whole conversation, in order."""
        ...

    async def append_delta(self, who: Attempt, text: str, index: int) -> None:
        """Append the next piece of an answer."""
        ...

    async def append_events(self, who: Attempt, drafts: Sequence[EventDraft]) -> None:
        """Append other events of an open attempt."""
        ...

    async def close(self, who: Attempt, closing: Closing) -> None:
        """End a step for good, in one transaction."""
        ...

    async def close_tool(self, who: Attempt, status: ToolCallStatus, outcome: ToolOutcome) -> None:
        """End a tool's step for good, in one transaction."""
        ...

    async def fail(self, who: Attempt, bill: CallBill | None = None) -> int:
        """End a failed attempt and return how many of the step have failed so far."""
        ...

    async def release(self, who: Attempt, unseen: int = 0) -> None:
        """End an attempt that a drain cut; it counts for nothing.

        `unseen` are bytes that its model sent besides text.
        """
        ...

    async def mark_unknown(self, who: Attempt, reason: str) -> str:
        """Park an unsafe call whose outcome nobody knows; return its id."""
        ...

    async def finalize(self, run_id: str, finish: Finish) -> Finished:
        """End a run, once, and hand its session over; return the state on record."""
        ...

    async def begin(self, run_id: str, temporal_run_id: str) -> Beginning:
        """Say whether the work of a run that starts later may begin; if so it joins its session."""
        ...

    async def read_turn(self, run_id: str, temporal_run_id: str) -> str:
        """Say whether a run may work: `held`, `queued` (now noted as waiting) or `ended`."""
        ...

    async def read_news(self, run_id: str) -> Sequence[str]:
        """Return the steps that wait for somebody who has said something meanwhile."""
        ...


class UpkeepBook(Protocol):
    """What the store knows of work that nobody seems to do: leases, and rows that need a push."""

    async def take_lease(self, lease: Lease, now_ms: int) -> bool:
        """Take or renew a lease; False when another holder's is still valid."""
        ...

    async def drop_lease(self, name: str, holder: str) -> bool:
        """Remove a lease if `holder` has it; True for the one caller that did."""
        ...

    async def list_leases(self, prefix: str) -> Sequence[Lease]:
        """Return the leases whose name begins with `prefix`."""
        ...

    async def unreported_steps(self, worker_id: str, since_ms: int) -> Sequence[HeldStep]:
        """Return the steps of a worker whose end the engine may not have been told.

        Those are what it opened and did not end, and what it ended since a time: it may have died
        between the commit and its report. Only steps of runs that go on.
        """
        ...

    async def open_runs(self, before_ms: int, limit: int) -> Sequence[OpenRun]:
        """Return runs that have not ended and were accepted before a time, oldest first."""
        ...

    async def spec_of(self, run_id: str) -> RunSpec:
        """Return the snapshot a run was accepted with."""
        ...

    async def meta(self, key: str, value: str | None = None) -> str | None:
        """Return what is noted under `key`; with `value`, note it first if nothing is."""
        ...

    async def set_meta(self, key: str, value: str) -> None:
        """Replace what is noted under `key`."""
        ...

    async def purge_idempotency(self, before_ms: int) -> int:
        """Forget idempotency keys older than a time and return how many."""
        ...
