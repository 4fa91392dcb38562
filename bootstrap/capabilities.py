"""What this process can reach: models, prices, tools and external agents, from the settings."""

import asyncio
from dataclasses import dataclass

import httpx2
from pydantic import SecretStr

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


def build_capabilities(settings: Settings, platform_url: str) -> Capabilities:
    """Return everything that this process can reach.

    Raises:
        SetupError: a tool cannot be imported, or an entry of the allow-list is not understood.
    """
    # A tool fetches what a model chose: nothing private, unless the operator says so. An agent was
    # registered by somebody who may; on a laptop it lives on this machine.
    for_tools = AddressPolicy(allow_private_hosts=settings.allow_private_hosts)
    for_agents = AddressPolicy(allow_private_hosts=(*settings.allow_private_hosts, *LOOPBACK))
    tool_client = guarded_client(for_tools)
    agent_client = guarded_client(for_agents)
    pool = ProcessPool()
    registry = ToolRegistry([*builtin_tools(tool_client), *load_tools(settings.tools)], pool=pool)
    prices = Prices()
    return Capabilities(
        models=Catalog(provider_config(settings), prices),
        prices=prices,
        toolbox=registry,
        invoker=HttpAgentInvoker(agent_client, platform_base_url=platform_url),
        policy=for_agents,
        _clients=(tool_client, agent_client),
        _pool=pool,
    )
