"""Taking work in: who does it, as what snapshot, and how it is handed to the engine.

Knows ports only. Once a run is accepted nothing here fails any more: what the engine could not be
told now, the reconciler tells it later.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from domain.acceptance import Accepted, Chosen, IdempotencyKey, NewRun
from domain.agent import Agent, Limits
from domain.agenthealth import EverybodyWell, HealthSight
from domain.clients import HostedTools
from domain.errors import NotFoundError
from domain.event import encode_json
from domain.handover import HandOver, Spawn
from domain.learning.affording import Costs
from domain.learning.agents import AgentChooser, Picked, Wanted, luck_of
from domain.learning.learning import Learning, nothing_learned
from domain.ports import Ids, ModelCatalog, PriceList, RunGateway, Toolbox
from domain.principal import Principal
from domain.records import Directory, RunBook
from domain.routing.chaining import Chain, chain_of, with_chain
from domain.routing.classes import task_class_of
from domain.routing.ladder import Ladder
from domain.run import Run, RunKind, RunSpec
from domain.session import OnBusy
from domain.snapshot import Defaults, check_agent, snapshot, with_client_tools
from domain.stopping import Stopping
from domain.tiers import FixedTiers, ModelRouter, ModelTier, Question
from domain.tool import ToolSpec, Verdict

_URGENT = 2
"""Runs of this priority, and of 1, try nothing out."""


@dataclass(frozen=True, slots=True)
class IntakePorts:
    """What taking work in needs of the world."""

    runs: RunBook
    directory: Directory
    toolbox: Toolbox
    models: ModelCatalog
    gateway: RunGateway
    ids: Ids
    hosted: HostedTools
    health: HealthSight = field(default_factory=EverybodyWell)
    learning: Learning = field(default_factory=nothing_learned)
    router: ModelRouter | None = None
    """Chooses models for `auto` and tiers; None knows the default models only."""
    prices: PriceList | None = None
    providers: frozenset[str] | None = None
    """Those that the workers of this process can call; None where others work."""
    """What the choice of an agent knows of costs."""


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """What is filled in where an agent or a request says nothing."""

    default_limits: Limits
    default_models: tuple[str, ...]
    max_open_runs: int
    default_agent_id: str | None = None
    tiers: Mapping[ModelTier, tuple[str, ...]] = field(default_factory=dict)
    """What the choice of an agent knows of the models behind `auto` and tiers."""


@dataclass(frozen=True, slots=True)
class StartRun:
    """A request for a run, checked for form. None leaves the choice to us."""

    content: str
    agent_id: str | None = None
    session_id: str | None = None
    on_busy: OnBusy | None = None
    context: dict[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    priority: int = 3
    start_at: int | None = None
    deadline_at: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    client_tools: tuple[ToolSpec, ...] = ()
    required_tools: tuple[str, ...] = ()
    """Tools that its agent has to hold; those that the client brings along it need not."""
    goal_id: str | None = None
    key_id: str | None = None
    """The key that answers for it where nobody asks in person, as at the times of a schedule."""
    idempotency: IdempotencyKey | None = None


@dataclass(frozen=True, slots=True)
class InvokeTool:
    """A request for one tool call as a run of its own, a child of `parent_run_id` if given."""

    name: str
    args: dict[str, Any]
    parent_run_id: str | None = None
    timeout_seconds: float | None = None
    idempotency: IdempotencyKey | None = None


@dataclass(frozen=True, slots=True)
class AskAgent:
    """A request for a run of another agent, as the child of the run that asks."""

    agent_id: str
    parent_run_id: str
    content: str
    context: dict[str, Any] = field(default_factory=dict)
    idempotency: IdempotencyKey | None = None


class Intake:
    """The one way in for work, whichever channel asks.

    `spawn` runs the hand-over to the engine behind the answer; without it the caller waits.
    """

    def __init__(
        self, ports: IntakePorts, settings: IntakeSettings, spawn: Spawn | None = None
    ) -> None:
        self._ports = ports
        self._settings = settings
        self._defaults = Defaults(settings.default_limits, settings.default_models)
        self._router = ports.router or FixedTiers({}, settings.default_models)
        self._chooser = AgentChooser(
            ports.directory,
            ports.health,
            ports.learning,
            settings.default_agent_id,
            Costs(ports.prices, Ladder(settings.tiers, settings.default_models), ports.providers),
        )
        self._hand_over = HandOver(spawn)
        self._stopping = Stopping(ports.runs, ports.gateway)

    async def start_run(
        self,
        who: Principal,
        ask: StartRun,
        before_accept: Callable[[NewRun], None] | None = None,
    ) -> Accepted:
        """Make a run durable and hand it to the engine.

        `before_accept` sees the run before it exists, so that a reader of its events can be there
        first.

        Raises:
            InvalidRequestError: no agent fits or holds the required tools, or the chosen one names
                a tool that is gone.
            NotFoundError: no such agent or goal.
            ConflictError, LimitReachedError: the goal takes no more runs now.
            QueueFullError, SessionBusyError, IdempotencyKeyConflictError: nothing was kept.
        """
        return await self._accept(await self.prepare(who, ask), before_accept)

    async def prepare(self, who: Principal, ask: StartRun, run_id: str | None = None) -> NewRun:
        """Return the run that a request asks for, ready to be accepted; nothing is kept yet.

        Raises:
            InvalidRequestError: no agent fits or holds the required tools, or the chosen one names
                a tool that is gone.
            AgentUnavailableError: none is named, and every agent is unhealthy.
            NotFoundError: no such agent.
        """
        run_id = run_id or self._ports.ids.new("run")
        picked = await self._chooser.pick(_wanted(who, ask, run_id))
        agent = picked.agent
        tools = await self._tools(who.owner, agent.tools)
        spec = snapshot(agent, tools, self._defaults, asked=ask.limits, context=ask.context)
        chain = await chain_of(spec.models, _question(who, ask, run_id, agent, spec), self._router)
        return NewRun(
            run_id=run_id,
            owner=who.owner,
            kind=RunKind.AGENT,
            spec=with_client_tools(with_chain(spec, chain), ask.client_tools),
            agent_id=agent.agent_id,
            session_id=ask.session_id or self._ports.ids.new("sess"),
            message_id=self._ports.ids.new("msg"),
            content=ask.content,
            max_open_runs=self._settings.max_open_runs,
            on_busy=ask.on_busy,
            priority=ask.priority,
            start_at=ask.start_at,
            deadline_at=ask.deadline_at,
            metadata=ask.metadata,
            goal_id=ask.goal_id,
            key_id=ask.key_id or who.key_id,
            route=picked.route,
            tier_route=chain.decision or None,
            chosen=_chosen(ask, picked, chain),
            idempotency=ask.idempotency,
        )

    async def invoke_tool(
        self,
        who: Principal,
        ask: InvokeTool,
        before_accept: Callable[[NewRun], None] | None = None,
    ) -> Accepted:
        """Make a run of one tool call durable and hand it to the engine.

        Raises:
            NotFoundError: no such tool or parent run.
            RunTerminalError: the parent run has ended.
            QueueFullError, IdempotencyKeyConflictError: nothing was kept.
        """
        tool = (await self._tools(who.owner, (ask.name,))).get(ask.name)
        if tool is None:
            raise NotFoundError(f"there is no tool {ask.name}; GET /v1/tools lists them")
        if ask.timeout_seconds is not None:
            cut = min(tool.timeout_seconds, ask.timeout_seconds)
            tool = tool.model_copy(update={"timeout_seconds": cut})
        args = encode_json(ask.args)
        new = NewRun(
            run_id=self._ports.ids.new("run"),
            owner=who.owner,
            kind=RunKind.TOOL,
            spec=RunSpec(kind=RunKind.TOOL, tools=(tool,), limits=self._settings.default_limits),
            agent_id=None,
            session_id=None,
            message_id=self._ports.ids.new("msg"),
            content=args,
            max_open_runs=self._settings.max_open_runs,
            parent_run_id=ask.parent_run_id,
            key_id=who.key_id,
            tool_call_id=self._ports.ids.new("tc"),
            args=args,
            idempotency=ask.idempotency,
        )
        return await self._accept(new, before_accept)

    async def ask_agent(
        self,
        who: Principal,
        ask: AskAgent,
        before_accept: Callable[[NewRun], None] | None = None,
    ) -> Accepted:
        """Make a child run of another agent durable and hand it to the engine.

        Raises:
            NotFoundError: no such agent or parent run.
            RunTerminalError: the parent run has ended.
            LimitReachedError: a cap of the parent, or of a run above it, does not allow it.
            QueueFullError, IdempotencyKeyConflictError: nothing was kept.
        """
        new = await self.prepare(
            who,
            StartRun(
                content=ask.content,
                agent_id=ask.agent_id,
                context=ask.context,
                idempotency=ask.idempotency,
            ),
        )
        return await self._accept(
            replace(new, parent_run_id=ask.parent_run_id),
            before_accept,
            self._ports.runs.accept_child,
        )

    async def cancel(self, who: Principal, run_id: str, reason: str | None) -> Run:
        """Put on record that a run and all below it are to stop, and tell the engine.

        What has ended stays as it is.

        Raises:
            NotFoundError: no such run for this owner.
        """
        run = await self._ports.runs.ask_cancel(who.owner, run_id, reason)
        stop = self._stopping.stop_tree(run.run_id, itself=not run.is_terminal)
        await self._hand_over(run.run_id, "cancel", stop)
        return run

    async def resolve(self, who: Principal, tool_call_id: str, said: Verdict) -> Run:
        """Put on record what a person says of an unknown outcome, and wake its run.

        Raises:
            NotFoundError: no such call for this owner.
            ConflictError: its outcome is not, or no longer, unknown.
        """
        run = await self._ports.runs.resolve_tool_call(who.owner, tool_call_id, said)
        if not run.is_terminal:
            await self._hand_over(run.run_id, "wake", self._ports.gateway.wake(run.run_id))
        return run

    async def check_agent(self, agent: Agent) -> None:
        """Refuse an agent that no run could be made of.

        Raises:
            InvalidRequestError: names the tool, model or field that is wrong.
        """
        check_agent(agent, await self._tools(agent.owner, agent.tools), self._ports.models)

    async def _accept(
        self,
        new: NewRun,
        before_accept: Callable[[NewRun], None] | None,
        accept: Callable[[NewRun], Awaitable[Accepted]] | None = None,
    ) -> Accepted:
        if before_accept is not None:
            before_accept(new)
        accepted = await (accept or self._ports.runs.accept)(new)
        run = accepted.run
        await self.make_way(accepted)
        if not run.is_terminal and accepted.steered_seq is None:
            start = self._ports.gateway.start(run, accepted.spec, queued=accepted.queued)
            await self._hand_over(run.run_id, "start", start)
        return accepted

    async def make_way(self, accepted: Accepted) -> None:
        """Tell the engine of the runs that were asked to make way for an accepted one."""
        for earlier in accepted.stopped:
            await self._hand_over(earlier, "cancel", self._stopping.stop_tree(earlier))

    async def _tools(self, owner: str | None, names: Iterable[str]) -> dict[str, ToolSpec]:
        """Return the tools here, and those of the owner's hosts if a name is not among them."""
        ours = {spec.name: spec for spec in self._ports.toolbox.specs()}
        if owner is None or all(name in ours for name in names):
            return ours
        return {**await self._ports.hosted.tools(owner), **ours}


def _wanted(who: Principal, ask: StartRun, run_id: str) -> Wanted:
    return Wanted(
        run_id=run_id,
        owner=who.owner,
        user=who.signature,
        content=ask.content,
        agent_id=ask.agent_id,
        session_id=ask.session_id,
        goal_id=ask.goal_id,
        key_id=ask.key_id or who.key_id,
        priority=ask.priority,
        tools=frozenset(ask.required_tools) - {tool.name for tool in ask.client_tools},
        brings_tools=bool(ask.client_tools),
    )


def _question(who: Principal, ask: StartRun, run_id: str, agent: Agent, spec: RunSpec) -> Question:
    return Question(
        text=ask.content,
        tools=len(agent.tools) + len(ask.client_tools),
        session_id=ask.session_id,
        owner=who.owner,
        climbs=agent.escalate,
        may_explore=ask.priority > _URGENT,
        is_capped=spec.limits.max_cost_usd is not None,
        luck=luck_of(run_id, "tier"),
    )


def _chosen(ask: StartRun, picked: Picked, chain: Chain) -> Chosen | None:
    """Return what was chosen, None where the request named it all."""
    if picked.route is None and not chain.decision:
        return None
    predicted = chain.decision.get("qualities", {}).get(chain.tier)
    task_class = task_class_of(ask.content)
    return Chosen(task_class, chain.tier, predicted, picked.criteria, chain.standing)
