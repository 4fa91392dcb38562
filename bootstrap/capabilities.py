"""What this process can reach: models, prices, tools and external agents, from the settings."""

import asyncio
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import httpx2
from pydantic import SecretStr

from adapters.agents.health import HttpHealthProbe
from adapters.agents.http import HttpAgentInvoker
from adapters.llm.catalog import Catalog, ProviderConfig
from adapters.llm.patience import Patience
from adapters.llm.prices import Prices
from adapters.net.guard import guarded_client
from adapters.net.policy import LOOPBACK, AddressPolicy
from adapters.tools.builtin import builtin_tools
from adapters.tools.loading import load_tools
from adapters.tools.pool import ProcessPool
from adapters.tools.registry import ToolRegistry
from bootstrap.exposure import is_loopback
from bootstrap.settings import Settings
from domain.agent import Agent
from domain.snapshot import check_agent


@dataclass(frozen=True)
class Capabilities:
    """The outer ports of one process. `policy` says which addresses may be contacted."""

    models: Catalog
    prices: Prices
    toolbox: ToolRegistry
    invoker: HttpAgentInvoker
    probe: HttpHealthProbe
    policy: AddressPolicy
    _clients: tuple[httpx2.AsyncClient, ...]
    _pool: ProcessPool

    def providers(self) -> tuple[str, ...]:
        """Return the providers that are configured here, `offline` always among them."""
        return tuple(self.models.configured())

    def check_agent(self, agent: Agent) -> None:
        """Refuse an agent that no run could be made of.

        Raises:
            InvalidRequestError: names the tool, model or field that is wrong.
            AddressRefusedError: its endpoint may not be reached.
        """
        check_agent(agent, {tool.name: tool for tool in self.toolbox.specs()}, self.models)
        if agent.endpoint:
            self.policy.check_url(agent.endpoint)

    async def warm(self) -> None:
        """Load what the first call of each configured provider would wait for."""
        await self.models.warm()

    async def close(self) -> None:
        """Close every connection and end the tools' processes."""
        await asyncio.gather(*(client.aclose() for client in self._clients))
        await self.models.aclose()
        await self._pool.aclose()


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def provider_config(settings: Settings) -> ProviderConfig:
    """Return how providers are reached; only the operator chooses where."""
    return ProviderConfig(
        openai_api_key=_plain(settings.openai_api_key),
        openai_base_url=settings.openai_base_url,
        openai_org_id=settings.openai_org_id,
        openai_project_id=settings.openai_project_id,
        anthropic_api_key=_plain(settings.anthropic_api_key),
        anthropic_auth_token=_plain(settings.anthropic_auth_token),
        anthropic_base_url=settings.anthropic_base_url,
        ollama_host=settings.ollama_host,
        patience=Patience(
            first_seconds=settings.first_token_seconds,
            idle_seconds=settings.idle_seconds,
            total_seconds=settings.attempt_seconds,
        ),
    )


def _split(place: str) -> SplitResult:
    return urlsplit(place if "://" in place else f"//{place}")


def _host_of(place: str) -> str:
    return _split(place).hostname or ""


def _ports_here(*places: str | None) -> frozenset[int]:
    """Return the ports of those places that are on this machine's loopback."""
    here = (_split(place) for place in places if place and is_loopback(_host_of(place)))
    return frozenset(at.port or (443 if at.scheme == "https" else 80) for at in here)


def build_capabilities(settings: Settings, api: str | None, *engine: str | None) -> Capabilities:
    """Return everything that this process can reach.

    Args:
        settings: the operator's word.
        api: where this process serves the API; None in a worker alone, which has it from settings.
        engine: wherever Temporal listens, with its UI, as URLs or `host:port`.

    Raises:
        SetupError: a tool cannot be imported, or an entry of the allow-list is not understood.
    """
    # A tool fetches what a model chose: nothing private, unless the operator says so. An agent was
    # registered by somebody who may; on a laptop, which alone reaches its API, it lives beside us.
    platform_url = api or settings.api_url
    own_ports = _ports_here(platform_url, *engine)
    allowed = settings.allow_private_hosts
    for_tools = AddressPolicy(allowed, own_ports=own_ports)
    # A worker alone does not see who reaches the API: it has to be told, not guessed by default.
    is_told = "api_url" in settings.model_fields_set and is_loopback(_host_of(platform_url))
    is_laptop = is_loopback(settings.host) if api else is_told
    for_agents = AddressPolicy((*allowed, *LOOPBACK) if is_laptop else allowed, own_ports=own_ports)
    tool_client = guarded_client(for_tools)
    agent_client = guarded_client(for_agents)
    pool = ProcessPool()
    registry = ToolRegistry([*builtin_tools(tool_client), *load_tools(settings.tools)], pool=pool)
    prices = Prices(
        {model: price.model_dump(exclude_none=True) for model, price in settings.prices.items()}
    )
    return Capabilities(
        models=Catalog(provider_config(settings), prices),
        prices=prices,
        toolbox=registry,
        invoker=HttpAgentInvoker(agent_client, platform_base_url=platform_url),
        probe=HttpHealthProbe(agent_client, seconds=settings.agent_check_timeout_seconds),
        policy=for_agents,
        _clients=(tool_client, agent_client),
        _pool=pool,
    )
