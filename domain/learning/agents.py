"""The agent of a run: the one that is named, the one of its session, or the one that is chosen.

Knows ports only; how it is chosen is in `domain.choosing`.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

from domain.agent import Agent, AgentKind
from domain.agenthealth import HealthSight
from domain.choosing.asking import Ask, Candidate
from domain.choosing.cards import Card
from domain.choosing.choice import Choice, choose
from domain.errors import AgentUnavailableError, InvalidRequestError, NotFoundError
from domain.learning.affording import Costs
from domain.learning.books import Asker, Standing, Turns
from domain.learning.circuits import Way, way_of
from domain.learning.learning import Learning
from domain.learning.roster import active_agents
from domain.records import Directory
from domain.routing.classes import task_class_of


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an agent is looked for. `run_id` is that of the run it will become."""

    run_id: str
    owner: str
    user: str
    content: str
    agent_id: str | None = None
    session_id: str | None = None
    goal_id: str | None = None
    key_id: str | None = None
    priority: int = 3
    tools: frozenset[str] = frozenset()
    """Tools that its agent has to hold."""
    brings_tools: bool = False
    """Whether the request brings tools along that its agent is to call."""


@dataclass(frozen=True, slots=True)
class Picked:
    """The agent, and how it was found; `route` None where it was named."""

    agent: Agent
    route: dict[str, object] | None = None
    criteria: Mapping[str, float] = field(default_factory=dict)


class AgentChooser:
    """Finds the agents of runs."""

    def __init__(
        self,
        directory: Directory,
        health: HealthSight,
        learning: Learning,
        default: str | None,
        costs: Costs,
    ) -> None:
        self._directory = directory
        self._costs = costs
        self._health = health
        self._learning = learning
        self._default = default

    async def pick(self, wanted: Wanted) -> Picked:
        """Return the agent of a run.

        Raises:
            NotFoundError: no such agent, where one is named.
            InvalidRequestError: none is named, and there is none; or a required tool is not held.
            AgentUnavailableError: none is named, and none can do it now.
        """
        if wanted.agent_id is not None:
            agent = await self._directory.get_agent(wanted.owner, wanted.agent_id)
            _check_held(wanted.tools, [agent])
            return Picked(agent)
        held = await self._of_session(wanted)
        if held is None:
            return await self._best(wanted)
        try:
            agent = await self._directory.get_agent(wanted.owner, held)
        except NotFoundError:
            gone = f"{held}, the agent of session {wanted.session_id}, is gone; "
            return await self._best(wanted, because=gone)
        _check_held(wanted.tools, [agent])
        reason = f"{held} is the agent of session {wanted.session_id}"
        return Picked(agent, {"kind": "agent", "agent_id": held, "reason": reason, "scores": {}})

    async def _best(self, wanted: Wanted, because: str = "") -> Picked:
        standing = await self._learning.standing(
            Asker(wanted.owner, wanted.session_id, wanted.goal_id, wanted.key_id)
        )
        named = (standing.pinned, self._default)
        active = await active_agents(self._directory, wanted.owner, named)
        if not active:
            raise InvalidRequestError("there is no agent; make one with POST /v1/agents")
        _check_held(wanted.tools, active.values())
        if wanted.brings_tools and not any(map(_takes_tools, active.values())):
            said = "every agent is of kind http and calls its tools itself; make one of kind llm"
            raise InvalidRequestError(said, field="client_tools")
        unhealthy = await self._health.unhealthy(wanted.owner)
        if unhealthy.issuperset(active):
            raise AgentUnavailableError("every agent is unhealthy; GET /v1/agents says why")
        choice = await self._choose(wanted, active, standing, unhealthy)
        if choice is None:
            raise AgentUnavailableError(
                "no agent that can do it is healthy and within its budget; try again later"
            )
        criteria = choice.criteria.get(choice.agent_id, {})
        route = replace(choice, reason=because + choice.reason).as_route()
        return Picked(active[choice.agent_id], route, criteria)

    async def _of_session(self, wanted: Wanted) -> str | None:
        if wanted.session_id is None:
            return None
        try:
            session = await self._directory.get_session(wanted.owner, wanted.session_id)
        except NotFoundError:
            return None
        return session.agent_id

    async def _choose(
        self,
        wanted: Wanted,
        agents: Mapping[str, Agent],
        standing: Standing,
        unhealthy: Collection[str],
    ) -> Choice | None:
        memory = await self._learning.recall(wanted.owner)
        turns = await self._turns(wanted)
        cards = [card_of(agent) for agent in agents.values()]
        ask = Ask(
            request_id=wanted.run_id,
            text=wanted.content,
            user=wanted.user,
            recent=turns.recent,
            tools=wanted.tools,
            brings_tools=wanted.brings_tools,
            task_class=task_class_of(wanted.content),
            priority=wanted.priority,
            budget_used=standing.spent,
            pinned=standing.pinned,
            last_agent=turns.agent_id,
            last_disliked=turns.is_disliked,
        )
        candidates = [
            replace(
                self._candidate(agent, card, wanted, standing),
                is_healthy=agent.agent_id not in unhealthy,
            )
            for agent, card in zip(agents.values(), cards, strict=True)
        ]
        specialty = self._learning.specialty(wanted.owner, cards)
        luck = luck_of(wanted.run_id, "agent")
        choice = choose(ask, candidates, specialty, memory.known, self._default, luck)
        if choice is not None or all(_answers(each) for each in candidates):
            return choice
        # A run that waits until a circuit closes, or says what key is missing, is better than none.
        waiting = [replace(each, is_open=False, is_reachable=True) for each in candidates]
        return choose(ask, waiting, specialty, memory.known, self._default, luck)

    def _candidate(self, agent: Agent, card: Card, wanted: Wanted, standing: Standing) -> Candidate:
        way = way_of(self._costs.chain_of(agent), standing)
        return Candidate(
            card=card,
            tools=frozenset(agent.tools),
            takes_tools=_takes_tools(agent),
            is_open=way is Way.OPEN,
            is_probing=way is Way.PROBING,
            is_reachable=self._costs.can_reach(agent),
            can_pay=self._costs.can_pay(agent, wanted.content, standing),
            queue=standing.open_runs.get(agent.agent_id, 0),
            budget_used=standing.budget_used.get(agent.agent_id, 0.0),
        )

    async def _turns(self, wanted: Wanted) -> Turns:
        if wanted.session_id is None:
            return Turns()
        return await self._learning.turns(wanted.owner, wanted.session_id)


def _check_held(needed: frozenset[str], agents: Iterable[Agent]) -> None:
    """Refuse a request whose tools none of these agents holds together.

    Raises:
        InvalidRequestError: names the tools.
    """
    among = list(agents)
    if any(needed.issubset(agent.tools) for agent in among):
        return
    who = f"agent {among[0].agent_id} does not hold" if len(among) == 1 else "no agent holds"
    nowhere = sorted(needed.difference(*(agent.tools for agent in among)))
    said = ", ".join(nowhere) or f"all of {', '.join(sorted(needed))}"
    raise InvalidRequestError(f"{who} {said}, which the run requires", field="requires.tools")


def _answers(candidate: Candidate) -> bool:
    return candidate.is_reachable and not candidate.is_open


def _takes_tools(agent: Agent) -> bool:
    return agent.kind is AgentKind.LLM


def card_of(agent: Agent) -> Card:
    """Return what is known of an agent for the match."""
    parts = (agent.agent_id, agent.name, agent.description, *agent.capabilities)
    return Card(agent.agent_id, " ".join(parts))


def luck_of(run_id: str, purpose: str) -> float:
    """Return an even draw from 0..1 that is always the same for a run and a purpose."""
    digest = sha256(f"{purpose} {run_id}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64
