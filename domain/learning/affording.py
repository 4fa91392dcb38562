"""Whether an agent's own budget leaves a call of it. Holds nothing: that is done call by call."""

from collections.abc import Mapping
from dataclasses import dataclass

from domain.agent import Agent, AgentKind, agent_model
from domain.bounds import USEFUL_TOKENS, PriceOverride
from domain.chat import TokenUsage
from domain.learning.books import Standing
from domain.money import to_pico
from domain.ports import PriceList


@dataclass(frozen=True, slots=True)
class Costs:
    """What calls cost, and the chain of agents that name no models."""

    prices: PriceList | None = None
    """None: nobody knows what anything costs."""
    default_models: tuple[str, ...] = ()

    def models_of(self, agent: Agent) -> tuple[str, ...]:
        """Return the names under which an agent's calls are billed, the first one first."""
        if agent.kind is AgentKind.HTTP:
            return (agent_model(agent.agent_id),)
        return agent.models or self.default_models

    def chain_of(self, agent: Agent) -> tuple[str, ...]:
        """Return all that can answer for an agent, also what stands behind its models."""
        return (*self.models_of(agent), *agent.degradation.models_behind())

    def can_pay(self, agent: Agent, content: str, standing: Standing) -> bool:
        """Whether its own budgets leave anything, and those that stop a run a small call.

        A small call is the request and the instructions, a token a byte as calls are held, with a
        reply of `USEFUL_TOKENS`, asked of the agent's first model whose circuit is not open: never
        more than what is held of the budget, so who is left out here would fail. Of a model
        without a known price, or one that is yet to be chosen, nothing is said.
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

    def _cost(self, model: str, usage: TokenUsage, told: Mapping[str, PriceOverride]) -> int | None:
        if model in told:
            return told[model].cost(usage)
        usd = self.prices.cost(model, usage) if self.prices else None
        return None if usd is None else to_pico(usd)
