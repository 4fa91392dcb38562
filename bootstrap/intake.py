"""The way in for work, as a process is wired: the same for what callers ask and what fires."""

from adapters.temporal import TemporalGateway
from bootstrap.capabilities import Capabilities
from bootstrap.identity import SortableIds
from bootstrap.settings import Settings
from bootstrap.storage import Storage
from domain.agent import Limits
from domain.family import MAX_CHILDREN, MAX_DEPTH, MAX_SPAWNS
from domain.intake import IntakePorts, IntakeSettings
from domain.learning.models import LearnedRouter
from domain.learning.tiercosts import Pricing
from domain.routing.ladder import Ladder

_DEFAULT_LIMITS = Limits(
    max_turns=50,
    max_tool_calls=200,
    max_depth=MAX_DEPTH,
    max_children=MAX_CHILDREN,
    max_spawns=MAX_SPAWNS,
)


def intake_ports(
    settings: Settings,
    storage: Storage,
    gateway: TemporalGateway,
    can: Capabilities,
    *,
    works_here: bool,
) -> IntakePorts:
    """Return what taking work in needs. `works_here`: this process makes the calls of its runs."""
    return IntakePorts(
        runs=storage.runs,
        directory=storage.directory,
        toolbox=can.toolbox,
        models=can.models,
        gateway=gateway,
        ids=SortableIds(),
        hosted=storage.clients,
        health=storage.agent_health,
        learning=storage.learning,
        router=model_router(settings, storage, can),
        prices=can.prices,
        providers=frozenset(can.providers()) if works_here else None,
    )


def intake_settings(settings: Settings) -> IntakeSettings:
    """Return what is filled in where an agent or a request says nothing."""
    return IntakeSettings(
        default_limits=_DEFAULT_LIMITS,
        default_models=default_models(settings),
        max_open_runs=settings.max_open_runs,
        default_agent_id="assistant",
        tiers=settings.tiers,
    )


def default_models(settings: Settings) -> tuple[str, ...]:
    """Return the chain of agents that name none: the operator's, or the best that is configured."""
    if settings.default_models:
        return settings.default_models
    chain = []
    if settings.anthropic_api_key or settings.anthropic_auth_token:
        chain.append("anthropic/claude-sonnet-5")
    if settings.openai_api_key:
        chain.append("openai/gpt-5.5")
    return tuple(chain) or ("offline/assistant",)


def model_router(settings: Settings, storage: Storage, can: Capabilities) -> LearnedRouter:
    """Return what chooses models for `auto` and for tiers."""
    ladder = Ladder(settings.tiers, default_models(settings))
    pricing = Pricing(can.prices, storage.prices)
    return LearnedRouter(ladder, storage.learning, pricing, storage.clock)
