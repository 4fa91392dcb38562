"""Names that may stand for a model besides the models': choices of them, and agents."""

from collections.abc import Iterable, Sequence

from api.completions.asking import AGENT_PREFIX
from api.views import View
from domain.agent import Agent
from domain.tiers import AUTO, TIER_PREFIX, Choice, ModelRouter, ModelTier, Question

_NO_QUESTION = Question(text="")


async def choice_views(router: ModelRouter) -> Sequence[View]:
    """Return `auto` and the tiers, each tier with its chain."""
    views = [_view(AUTO, "orchestrator", chain=None)]
    for tier in ModelTier:
        choice: Choice = await router.choose(tier, _NO_QUESTION)
        views.append(_view(f"{TIER_PREFIX}{tier}", "orchestrator", chain=list(choice.models)))
    return views


def agent_views(agents: Iterable[Agent]) -> Sequence[View]:
    """Return agents as models that may be named."""
    return [
        _view(f"{AGENT_PREFIX}{agent.agent_id}", "agent", chain=list(agent.models) or None)
        | {"description": agent.description or agent.name}
        for agent in agents
        if agent.status == "active"
    ]


def _view(name: str, provider: str, *, chain: list[str] | None) -> View:
    """Return what `model_view` gives for a model: there is no price for a choice of them."""
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": provider,
        "provider": provider,
        "configured": True,
        "context_window": None,
        "price": {
            "input_per_mtok_usd": None,
            "output_per_mtok_usd": None,
            "cached_input_per_mtok_usd": None,
            "source": None,
        },
        "health": None,
        "chain": chain,
        "description": None,
    }
