"""Which providers this process can reach, and how: from configuration to a `ChatModel`.

Upstreams come from the configuration alone: no request chooses a base URL or a key. Providers are
built when first asked for, their SDKs imported later still; `warm` does both ahead of time.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from adapters.llm import anthropic, offline, ollama, openai
from adapters.llm.patience import Patience
from adapters.llm.prices import BUNDLED_PROVIDERS, Prices, chat_models
from adapters.llm.raw.passing import PassThrough
from adapters.llm.reply import ReplyLimits
from domain.chat import ModelInfo, split_model
from domain.errors import ModelNotConfiguredError
from domain.ports import ChatModel
from domain.upstream import RawRequest, Reply

_OPENAI_WIRE = frozenset({"openai", "ollama"})
"""Providers whose bytes go through as they come."""
_PROVIDERS = ("anthropic", "openai", "ollama", "offline")


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """What the environment says of providers, as their own tools spell it; None is not set."""

    openai_api_key: str | None = field(default=None, repr=False)
    openai_base_url: str | None = None
    openai_org_id: str | None = None
    openai_project_id: str | None = None
    anthropic_api_key: str | None = field(default=None, repr=False)
    anthropic_auth_token: str | None = field(default=None, repr=False)
    anthropic_base_url: str | None = None
    ollama_host: str | None = None
    patience: Patience = field(default_factory=Patience)
    limits: ReplyLimits = field(default_factory=ReplyLimits)


class Provider(ChatModel, Protocol):
    """A chat model that can be made ready and closed."""

    async def warm(self) -> None:
        """Load what the first call would wait for."""
        ...

    async def aclose(self) -> None:
        """Close idle connections."""
        ...


class Catalog:
    """A `ModelCatalog` over the configured providers and the offline one."""

    def __init__(self, config: ProviderConfig, prices: Prices | None = None) -> None:
        self._config = config
        self._prices = prices or Prices()
        self._providers: dict[str, Provider] = {}
        self._servers: dict[str, PassThrough] = {}

    def resolve(self, model: str) -> ChatModel:
        """Return the provider of `model`; see the port."""
        try:
            provider, _ = split_model(model)
        except ValueError as error:
            raise ModelNotConfiguredError(str(error)) from error
        return self._provider(provider)

    def passes(self, model: str) -> bool:
        """Say whether the provider of `model` speaks OpenAI's wire format; see the port."""
        self.resolve(model)
        return model.partition("/")[0] in _OPENAI_WIRE

    def ask(self, request: RawRequest) -> Reply:
        """Pass a request through; see the port."""
        return self._server(split_model(request.model)[0]).ask(request)

    def configured(self) -> list[str]:
        """Return the names of the providers that can be called here, `offline` last."""
        config = self._config
        has = {
            "anthropic": config.anthropic_api_key or config.anthropic_auth_token,
            "openai": config.openai_api_key,
            "ollama": config.ollama_host,
            "offline": True,
        }
        return [name for name, value in has.items() if value]

    def providers(self) -> Sequence[str]:
        """Return the names of all providers; see the port."""
        return _PROVIDERS

    def models(self) -> Sequence[ModelInfo]:
        """Return the known models; what an Ollama server holds is not asked for."""
        configured = self.configured()
        infos = [
            self._info(provider, name, window, provider in configured)
            for provider in sorted(BUNDLED_PROVIDERS)
            for name, window in chat_models(provider)
        ]
        infos += [self._info("offline", name, None, True) for name in offline.MODELS]
        known = {info.model for info in infos}
        for model in self._prices.overridden():
            provider, _, name = model.partition("/")
            if model not in known:
                infos.append(self._info(provider, name, None, provider in configured))
        return sorted(infos, key=lambda info: not info.configured)

    async def warm(self) -> None:
        """Import the SDKs of configured providers and the prices, off the event loop."""
        configured = self.configured()
        await asyncio.gather(
            *(self._server(name).warm() for name in configured if name in _OPENAI_WIRE)
        )
        if BUNDLED_PROVIDERS.intersection(configured):
            await self._prices.warm()
        for name in configured:
            await self._provider(name).warm()

    async def aclose(self) -> None:
        """Close every provider's idle connections."""
        for server in self._servers.values():
            server.close()
        await asyncio.gather(*(provider.aclose() for provider in self._providers.values()))

    def _server(self, name: str) -> PassThrough:
        if name not in self._servers:
            account = self._account(name)
            self._servers[name] = PassThrough(account, name, self._config.patience)
        return self._servers[name]

    def _provider(self, name: str) -> Provider:
        if name not in self._providers:
            self._providers[name] = self._build(name)
        return self._providers[name]

    def _build(self, name: str) -> Provider:
        builders: dict[str, Callable[[], Provider]] = {
            "anthropic": self._anthropic,
            "openai": self._openai,
            "ollama": self._ollama,
            "offline": lambda: offline.OfflineChat(patience=self._config.patience),
        }
        if name not in builders:
            raise ModelNotConfiguredError(
                f"there is no provider {name!r}; there are {', '.join(_PROVIDERS)}"
            )
        return builders[name]()

    def _account(self, provider: str) -> openai.OpenAIAccount:
        """Return the account at a provider that speaks OpenAI's wire format."""
        return self._openai_account() if provider == "openai" else self._ollama_account()

    def _openai(self) -> Provider:
        config = self._config
        return openai.OpenAIChat(
            self._openai_account(), patience=config.patience, limits=config.limits
        )

    def _openai_account(self) -> openai.OpenAIAccount:
        config = self._config
        key = _secret(config.openai_api_key, "OPENAI_API_KEY")
        if not key:
            raise ModelNotConfiguredError("openai is not configured: set OPENAI_API_KEY")
        return openai.OpenAIAccount(
            api_key=key,
            base_url=_url(config.openai_base_url, openai.DEFAULT_BASE_URL, "OPENAI_BASE_URL"),
            organization=config.openai_org_id or None,
            project=config.openai_project_id or None,
        )

    def _anthropic(self) -> Provider:
        config = self._config
        key = _secret(config.anthropic_api_key, "ANTHROPIC_API_KEY")
        token = _secret(config.anthropic_auth_token, "ANTHROPIC_AUTH_TOKEN")
        if not (key or token):
            raise ModelNotConfiguredError(
                "anthropic is not configured: set ANTHROPIC_API_KEY (or ANTHROPIC_AUTH_TOKEN)"
            )
        url = _url(config.anthropic_base_url, anthropic.DEFAULT_BASE_URL, "ANTHROPIC_BASE_URL")
        return anthropic.AnthropicChat(
            key,
            auth_token=None if key else token,
            base_url=url,
            patience=config.patience,
            limits=config.limits,
        )

    def _ollama(self) -> Provider:
        config = self._config
        self._ollama_account()
        return ollama.ollama_chat(
            config.ollama_host or "", patience=config.patience, limits=config.limits
        )

    def _ollama_account(self) -> openai.OpenAIAccount:
        host = self._config.ollama_host
        if not host:
            raise ModelNotConfiguredError(
                "ollama is not configured: set OLLAMA_HOST, for example localhost:11434"
            )
        try:
            return ollama.ollama_account(host)
        except ValueError as error:
            raise ModelNotConfiguredError(str(error)) from error

    def _info(self, provider: str, name: str, window: int | None, configured: bool) -> ModelInfo:
        rates = self._prices.rates(f"{provider}/{name}")
        return ModelInfo(
            model=f"{provider}/{name}",
            provider=provider,
            configured=configured,
            context_window=window,
            input_per_mtok_usd=None if rates is None else str(rates.input),
            output_per_mtok_usd=None if rates is None else str(rates.output),
            cached_input_per_mtok_usd=None if rates is None else str(rates.cached_input),
            price_source=self._prices.source(f"{provider}/{name}"),
        )


def _secret(value: str | None, variable: str) -> str | None:
    """Return a credential without the white space that files leave around it."""
    secret = (value or "").strip()
    # A header cannot carry others, and the error that says so would hold the key.
    if not all("!" <= character <= "~" for character in secret):
        raise ModelNotConfiguredError(f"{variable} holds characters that no key has; set it again")
    return secret or None


def _url(value: str | None, default: str, variable: str) -> str:
    url = (value or default).strip()
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
        parts = urlsplit("")
    if not is_valid or parts.username is not None:
        raise ModelNotConfiguredError(
            f"{variable} is not an http(s) URL without a user name; correct it"
        )
    return url
