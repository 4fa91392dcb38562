"""Forks and retries: a new run that goes on from a turn of another. Knows ports only.

What is kept is kept whole: a model's reply and the ends of the calls that it asked for. A kept call
keeps its idempotency key, so nothing that happened happens again.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

from domain.acceptance import Accepted, ForkOf, IdempotencyKey, NewRun
from domain.agent import AgentKind, Limits
from domain.deadletter import DeadLetterBook
from domain.errors import InvalidRequestError, NotFoundError
from domain.handover import HandOver, Spawn
from domain.intake import IntakePorts, IntakeSettings
from domain.principal import Principal
from domain.routing.chaining import with_models
from domain.run import Run, RunKind, RunSpec
from domain.snapshot import check_models, recap


@dataclass(frozen=True, slots=True)
class ForkSource:
    """The run that a new one is made of: as it is, its snapshot and what was asked of it."""

    run: Run
    spec: RunSpec
    content: str


class ForkBook(Protocol):
    """What forks need of the store besides `RunBook.accept`."""

    async def source(self, owner: str | None, run_id: str) -> ForkSource:
        """Return the run to fork.

        Raises:
            NotFoundError: no such run for this owner.
        """
        ...


@dataclass(frozen=True, slots=True)
class Edits:
    """What is different in the new run; None and empty keep what the original had.

    `limits` replaces single caps, up to what the agent allows now.
    """

    content: str | None = None
    models: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    priority: int | None = None
    deadline_at: int | None = None
    metadata: dict[str, Any] | None = None
    idempotency: IdempotencyKey | None = None


class Forking:
    """The one way in for forks, whoever asks.

    `spawn` hands the run to the engine behind the answer; without it the caller waits.
    """

    def __init__(
        self,
        ports: IntakePorts,
        book: ForkBook,
        letters: DeadLetterBook,
        settings: IntakeSettings,
        spawn: Spawn | None = None,
    ) -> None:
        self._ports = ports
        self._book = book
        self._letters = letters
        self._settings = settings
        self._hand_over = HandOver(spawn)

    async def fork(self, who: Principal, run_id: str, from_turn: int, edits: Edits) -> Accepted:
        """Make a run that keeps the first `from_turn` turns of another and goes on from there.

        Its message, if `edits` brings one, replaces the question (turn 0) or follows the last kept
        turn.

        Raises:
            NotFoundError: no such run for this owner.
            ForkRefusedError: it cannot be forked there; says why.
            OutcomeUnknownError: nobody knows what a kept call did; a person resolves it first.
            InvalidRequestError: the models are not those an agent of this kind may have.
            QueueFullError, IdempotencyKeyConflictError: nothing was kept.
        """
        of = ForkOf(run_id=run_id, from_turn=from_turn, by=who.signature)
        return await self._accept(who, of, edits)

    async def retry(self, who: Principal, run_id: str, edits: Edits) -> Accepted:
        """Make a run that goes on from the last good step of one that failed or was cancelled.

        Raises:
            as `fork`; ForkRefusedError also for a run that is open or done.
        """
        return await self._accept(
            who, ForkOf(run_id=run_id, from_turn=None, by=who.signature), edits
        )

    async def redrive(self, who: Principal, dead_letter_id: str, edits: Edits) -> Accepted:
        """Make a run of a dead letter: as `retry`, or from the start with another message.

        Raises:
            as `retry`; NotFoundError also when there is no such dead letter for this owner.
            ConflictError: it was re-driven or discarded.
        """
        letter = await self._letters.get_letter(who.owner, dead_letter_id)
        of = ForkOf(
            run_id=letter.run_id,
            from_turn=None if edits.content is None else 0,
            by=who.signature,
            dead_letter_id=dead_letter_id,
        )
        return await self._accept(who, of, edits)

    async def _accept(self, who: Principal, of: ForkOf, edits: Edits) -> Accepted:
        source = await self._book.source(who.owner, of.run_id)
        new = await self._new_run(who, source, of, edits)
        accepted = await self._ports.runs.accept(new)
        run = accepted.run
        if not run.is_terminal:
            start = self._ports.gateway.start(run, accepted.spec, queued=accepted.queued)
            await self._hand_over(run.run_id, "start", start)
        return accepted

    async def _new_run(
        self, who: Principal, source: ForkSource, of: ForkOf, edits: Edits
    ) -> NewRun:
        old, ids = source.run, self._ports.ids
        is_tool = old.kind is RunKind.TOOL
        if is_tool and edits.content is not None:
            raise InvalidRequestError("the run is one tool call: there is no message to edit")
        return NewRun(
            run_id=ids.new("run"),
            owner=old.owner,
            kind=old.kind,
            spec=await self._spec(who, source, edits),
            agent_id=old.agent_id,
            session_id=None if is_tool else ids.new("sess"),
            message_id=ids.new("msg"),
            content=source.content if edits.content is None else edits.content,
            max_open_runs=self._settings.max_open_runs,
            priority=old.priority if edits.priority is None else edits.priority,
            goal_id=old.goal_id,
            key_id=who.key_id,
            metadata=old.metadata if edits.metadata is None else edits.metadata,
            tool_call_id=ids.new("tc") if is_tool else None,
            idempotency=edits.idempotency,
            deadline_at=edits.deadline_at,
            fork=of.saying_more(edits.content is not None),
        )

    async def _spec(self, who: Principal, source: ForkSource, edits: Edits) -> RunSpec:
        """Return the original's snapshot with what is edited of it."""
        spec = source.spec
        changes: dict[str, object] = {}
        if edits.models:
            if source.run.kind is RunKind.TOOL or spec.agent_kind is not AgentKind.LLM:
                raise InvalidRequestError("only a run of an agent of kind llm has models")
            check_models(edits.models, self._ports.models)
            spec = with_models(spec, edits.models)
        if edits.limits != Limits():
            allowed = await self._allowed(who, source)
            changes["limits"] = recap(spec.limits, edits.limits, allowed)
        return spec.model_copy(update=changes)

    async def _allowed(self, who: Principal, source: ForkSource) -> Limits:
        """Return the caps that the run's agent has now; of one that is gone, the run's own."""
        if source.run.agent_id is None:
            return self._settings.default_limits
        try:
            agent = await self._ports.directory.get_agent(who.owner, source.run.agent_id)
        except NotFoundError:
            return source.spec.limits
        return agent.limits.over(self._settings.default_limits)
