"""`tool:spawn_run`: a tool call that makes a run of another agent, as a step.

Side effect: the child's row, before any workflow of it exists. Idempotency: the child's id follows
from the step, so a repeated step finds the same child. Nothing is held while the child works: the
step rests, and the child's end wakes the parent. What a cap or a bad argument refuses is a result
that the model reads.
"""

from dataclasses import dataclass

from pydantic import ValidationError
from temporalio import activity

from activities.live import LiveAttempt
from activities.steps import StepFrame
from domain.acceptance import NewRun
from domain.errors import (
    ForkRefusedError,
    InvalidRequestError,
    LimitReachedError,
    NotFoundError,
    OrchestratorError,
    OutcomeUnknownError,
    QueueFullError,
)
from domain.family import FamilyBook, SpawnArgs, Unstarted, child_run_id
from domain.order import ChildOrder, ToolCallOrder, ToolReply, order_of, summary_of_run
from domain.ports import Toolbox
from domain.records import Directory
from domain.routing.chaining import chain_of, with_chain
from domain.run import RunKind
from domain.snapshot import Defaults, snapshot
from domain.step import (
    AlreadyClosed,
    Attempt,
    AwaitingApproval,
    AwaitingChild,
    AwaitingClient,
    Opened,
    OutcomeUnknown,
)
from domain.tiers import ModelRouter, Question
from domain.tool import INVALID_ARGUMENTS, SPAWN_TOOL, ToolCallStatus, ToolOutcome

_REFUSALS = (
    *(LimitReachedError, QueueFullError, NotFoundError, InvalidRequestError),
    *(ForkRefusedError, OutcomeUnknownError),
)
"""What the model reads as a result: it may do something else."""


@dataclass(frozen=True, slots=True)
class ChildPorts:
    """What making a child needs."""

    book: FamilyBook
    directory: Directory
    toolbox: Toolbox
    router: ModelRouter


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """What is filled in where an agent says nothing, and the cap on open runs."""

    defaults: Defaults
    max_open_runs: int


class ChildActivities:
    """Runs made by runs."""

    def __init__(self, frame: StepFrame, ports: ChildPorts, settings: ChildSettings) -> None:
        self._frame = frame
        self._ports = ports
        self._settings = settings

    @activity.defn(name=f"tool:{SPAWN_TOOL}")
    async def spawn_run(self, order: ToolCallOrder) -> ToolReply:
        """Make the child, or say how the one that is there stands."""

        async def work(live: LiveAttempt) -> ToolReply:
            reply = await self._spawn(order)
            live.is_error = reply.status in (ToolCallStatus.FAILED, ToolCallStatus.REJECTED)
            return reply

        return await self._frame.carry(order.run_id, order.step_id, work)

    async def _spawn(self, order: ToolCallOrder) -> ToolReply:
        opening = await self._frame.open(order.run_id, order.step_id)
        match opening:
            case AlreadyClosed():
                reply = await self._reply(order, opening.result["status"], None)
                return reply.model_copy(update={"invalid": closed_reply(opening).invalid})
            case AwaitingChild(tool_call_id=call_id):
                return await self._reply(order, ToolCallStatus.WAITING_CHILD.value, call_id)
            case AwaitingApproval():
                return waits_for_others(opening)
            case OutcomeUnknown():
                raise TypeError("a run that was made or not has no unknown outcome")
            case Opened():
                return await self._make(order, opening)
            case _:
                raise TypeError(f"{opening} is no opening of a step")

    async def _make(self, order: ToolCallOrder, opened: Opened) -> ToolReply:
        attempt = Attempt(order.run_id, order.step_id, opened.attempt)
        try:
            args = SpawnArgs.model_validate_json(opened.args)
            new = await self._new_run(order, opened, args)
            spawned = await self._ports.book.spawn(attempt, new, waits=args.wait)
        except ValidationError as error:
            return await self._refuse(attempt, INVALID_ARGUMENTS, _problems(error))
        except _REFUSALS as error:
            return await self._refuse(attempt, _reason(error), error.message)
        status = ToolCallStatus.WAITING_CHILD if spawned.waits else ToolCallStatus.SUCCEEDED
        return await self._reply(order, status.value, spawned.tool_call_id)

    async def _new_run(self, order: ToolCallOrder, opened: Opened, args: SpawnArgs) -> NewRun:
        agent = await self._ports.directory.get_agent(opened.owner, args.agent_id)
        tools = {spec.name: spec for spec in self._ports.toolbox.specs()}
        run_id = child_run_id(order.run_id, order.step_id)
        suffix = run_id.removeprefix("run_")
        asked = args.limits.model_dump() if args.limits else {}
        spec = snapshot(
            agent,
            tools,
            self._settings.defaults,
            asked=type(opened.spec.limits).model_validate(asked),
            context={},
        )
        question = Question(
            args.input,
            len(spec.tools),
            owner=opened.owner,
            climbs=agent.escalate,
            is_capped=spec.limits.max_cost_usd is not None,
        )
        chain = await chain_of(spec.models, question, self._ports.router)
        return NewRun(
            run_id=run_id,
            owner=opened.owner,
            kind=RunKind.AGENT,
            spec=with_chain(spec, chain),
            agent_id=agent.agent_id,
            # A conversation of its own: it never waits for its parent's.
            session_id=f"sess_{suffix}",
            message_id=f"msg_{suffix}",
            content=args.input,
            max_open_runs=self._settings.max_open_runs,
            parent_run_id=order.run_id,
            parent_step=order.step_id,
            tier_route=chain.decision or None,
        )

    async def _refuse(self, attempt: Attempt, code: str, said: str) -> ToolReply:
        outcome = ToolOutcome(ok=False, content=f"no run was started: {said}", error_code=code)
        await self._frame.book.close_tool(attempt, ToolCallStatus.FAILED, outcome)
        return ToolReply(status=ToolCallStatus.FAILED.value, invalid=code == INVALID_ARGUMENTS)

    async def _reply(self, order: ToolCallOrder, status: str, call_id: str | None) -> ToolReply:
        """Return how the call stands; whoever crashed before may have left the child unstarted."""
        found = await self._ports.book.unstarted(child_run_id(order.run_id, order.step_id))
        child = None if found is None else _child_order(found)
        return ToolReply(status=status, tool_call_id=call_id, child=child)


def closed_reply(opening: AlreadyClosed) -> ToolReply:
    """Return the reply of a call that has ended before."""
    result = opening.result
    return ToolReply(status=result["status"], invalid=result.get("invalid", False))


def waits_for_others(opening: AwaitingApproval | AwaitingClient) -> ToolReply:
    """Return the reply of a call that a person is asked about first, or that a client runs."""
    left = opening.expires_in_ms
    is_client = isinstance(opening, AwaitingClient)
    return ToolReply(
        status="waiting_client" if is_client else ToolCallStatus.WAITING_APPROVAL.value,
        tool_call_id=opening.tool_call_id,
        expires_in_seconds=None if left is None else left / 1000,
    )


def _child_order(found: Unstarted) -> ChildOrder:
    run = order_of(found.run, found.spec, queued=found.queued)
    return ChildOrder(
        run=run, summary=summary_of_run(found.run, found.spec), goal_id=found.run.goal_id
    )


def _reason(error: OrchestratorError) -> str:
    return error.reason if isinstance(error, LimitReachedError) else error.code


def _problems(error: ValidationError) -> str:
    shown = error.errors(include_url=False, include_context=False, include_input=False)[:10]
    return "; ".join(
        f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {one['msg']}"[:300] for one in shown
    )
