"""Whether an agent's own budget leaves a call of it. Holds nothing: that is done call by call."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain

from domain.agent import DEGRADED, Agent, AgentKind, agent_model
from domain.bounds import USEFUL_TOKENS, PriceOverride
from domain.chat import TokenUsage
from domain.learning.books import Standing
from domain.money import to_pico
from domain.ports import PriceList
from domain.routing.ladder import CHOSEN, LADDER, Ladder
from domain.tiers import AUTO, TIER_NAMES, TIER_PREFIX, is_choice


@dataclass(frozen=True, slots=True)
class Costs:
    """What calls cost, and which models stand behind the names that agents use."""

    prices: PriceList | None = None
    """None: nobody knows what anything costs."""
    ladder: Ladder = field(default_factory=Ladder)
    """Its usual models are those of agents that name none."""
    providers: frozenset[str] | None = None
    """Those that can be asked from here; None: calls are made elsewhere, nobody here knows."""

    def models_of(self, agent: Agent) -> tuple[str, ...]:
        """Return the names under which an agent's calls may be billed, the first one first.

        A name of a choice stands for all that it may become, the lowest tier first.
        """
        if agent.kind is AgentKind.HTTP:
            return (agent_model(agent.agent_id),)
        named = agent.models or self.ladder.usual
        found = (self._behind(model, climbs=agent.escalate) for model in named)
        return tuple(dict.fromkeys(chain.from_iterable(found)))

    def chain_of(self, agent: Agent) -> tuple[str, ...]:
        """Return all that can answer for an agent, also what stands behind its models."""
        return (*self.models_of(agent), *agent.degradation.models_behind())

    def can_reach(self, agent: Agent) -> bool:
        """Whether anything that can answer for an agent can be asked, as far as that is known."""
        if self.providers is None or agent.kind is AgentKind.HTTP:
            return True
        asked = {model.partition("/")[0] for model in self.chain_of(agent)}
        return bool(asked & (self.providers | {DEGRADED}))

    def can_pay(self, agent: Agent, content: str, standing: Standing) -> bool:
        """Whether its own budgets leave anything, and those that stop a run a small call.

        A small call is the request and the instructions, a token a byte as calls are held, with a
        reply of `USEFUL_TOKENS`, asked of the agent's first model whose circuit is not open: never
        more than what is held of the budget, so who is left out here would fail. Of a model
        without a known price nothing is said.
        """
        if standing.budget_used.get(agent.agent_id, 0.0) >= 1.0:
            return False
        left = standing.left.get(agent.agent_id)
        if left is None:
            return True
        said = len(f"{agent.instructions}{content}".encode("utf-8", "replace"))
        small = TokenUsage(input_tokens=said, output_tokens=USEFUL_TOKENS)
        first = [each for each in self.models_of(agent) if each not in standing.open_models][:1]
        return all((self._cost(model, small, standing.prices) or 0) <= left for model in first)

    def _behind(self, model: str, *, climbs: bool) -> tuple[str, ...]:
        tier = TIER_NAMES.get(model.removeprefix(TIER_PREFIX)) if is_choice(model) else None
        if tier is not None:
            return self.ladder.climb(tier).models if climbs else self.ladder.chain(tier)
        if model != AUTO:
            return (model,)
        if not self.ladder.served():
            return self.ladder.usual
        tiers = LADDER if climbs else CHOSEN
        return tuple(chain.from_iterable(map(self.ladder.chain, tiers)))

    def _cost(self, model: str, usage: TokenUsage, told: Mapping[str, PriceOverride]) -> int | None:
        if model in told:
            return told[model].cost(usage)
        usd = self.prices.cost(model, usage) if self.prices else None
        return None if usd is None else to_pico(usd)
