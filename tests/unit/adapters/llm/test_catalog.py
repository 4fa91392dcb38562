"""Which providers a configuration gives, and what is said when it gives none."""

import pytest

from adapters.llm.anthropic import AnthropicChat
from adapters.llm.catalog import Catalog, ProviderConfig
from adapters.llm.offline import OfflineChat
from adapters.llm.ollama import ollama_base_url
from adapters.llm.openai import OpenAIChat
from domain.errors import ModelNotConfiguredError

ALL = ProviderConfig(
    openai_api_key="sk-canary-1", anthropic_api_key="sk-canary-2", ollama_host="localhost"
)


def test_models_resolve_to_their_providers() -> None:
    catalog = Catalog(ALL)

    assert isinstance(catalog.resolve("openai/gpt-x"), OpenAIChat)
    assert isinstance(catalog.resolve("anthropic/claude-x"), AnthropicChat)
    assert isinstance(catalog.resolve("ollama/a/b:c"), OpenAIChat)
    assert isinstance(catalog.resolve("offline/echo"), OfflineChat)
    assert catalog.resolve("openai/a") is catalog.resolve("openai/b")
    assert catalog.configured() == ["anthropic", "openai", "ollama", "offline"]


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("openai/x", "OPENAI_API_KEY"),
        ("anthropic/x", "ANTHROPIC_API_KEY"),
        ("ollama/x", "OLLAMA_HOST"),
        ("mistral/x", "no provider 'mistral'"),
        ("gpt-4o", "<provider>/<name>"),
        ("/x", "<provider>/<name>"),
    ],
)
def test_what_is_missing_is_named(model: str, variable: str) -> None:
    with pytest.raises(ModelNotConfiguredError, match=variable):
        Catalog(ProviderConfig(openai_api_key="", anthropic_api_key=" \n")).resolve(model)


def test_without_configuration_only_the_offline_provider_is_there() -> None:
    catalog = Catalog(ProviderConfig())

    assert catalog.configured() == ["offline"]
    assert [info.model for info in catalog.models()[:4]] == [
        "offline/assistant",
        "offline/echo",
        "offline/script",
        catalog.models()[3].model,
    ]
    assert not catalog.models()[3].configured


def test_known_models_come_with_prices_configured_ones_first() -> None:
    infos = Catalog(ProviderConfig(anthropic_auth_token="t")).models()

    states = [info.configured for info in infos]
    assert states == sorted(states, reverse=True)
    by_name = {info.model: info for info in infos}
    assert by_name["offline/echo"].input_per_mtok_usd == "0"
    known = by_name["anthropic/claude-sonnet-4-5"]
    assert known.configured
    assert known.context_window == 200_000
    assert float(known.input_per_mtok_usd or 0) > float(known.cached_input_per_mtok_usd or 0) > 0
    assert not any("audio" in name or "embedding" in name for name in by_name)


@pytest.mark.parametrize("key", ["a key", "kéy", "key\x07x", "a\nb"])
@pytest.mark.parametrize("field", ["openai_api_key", "anthropic_api_key", "anthropic_auth_token"])
def test_a_key_no_header_can_carry_is_refused_without_showing_it(key: str, field: str) -> None:
    catalog = Catalog(ProviderConfig(**{field: key}))  # type: ignore[arg-type]

    with pytest.raises(ModelNotConfiguredError) as caught:
        catalog.resolve(f"{field.partition('_')[0]}/x")

    assert field.upper() in str(caught.value)
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["ftp://x", "nonsense", "http://", "http://u:p@x", "http://[", "http://x:0"]
)
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    catalog = Catalog(ProviderConfig(openai_api_key="k", openai_base_url=url))

    with pytest.raises(ModelNotConfiguredError, match="OPENAI_BASE_URL") as caught:
        catalog.resolve("openai/x")

    assert "u:p" not in str(caught.value)


def test_secrets_are_not_in_the_configurations_repr() -> None:
    assert "canary" not in repr(ALL)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("localhost", "http://localhost:11434/v1"),
        ("localhost:11434", "http://localhost:11434/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080/v1"),
        (":11435", "http://127.0.0.1:11435/v1"),
        ("[::]:1", "http://[::1]:1/v1"),
        ("http://box", "http://box/v1"),
        ("https://box.example/ollama/", "https://box.example/ollama/v1"),
        (" box:1 ", "http://box:1/v1"),
    ],
)
def test_an_ollama_host_is_read_as_its_own_tool_reads_it(host: str, url: str) -> None:
    assert ollama_base_url(host) == url


@pytest.mark.parametrize("host", ["ftp://box", "http://", "box:port"])
def test_an_ollama_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(ModelNotConfiguredError):
        Catalog(ProviderConfig(ollama_host=host)).resolve("ollama/x")


async def test_warming_builds_every_configured_provider_and_closing_ends_them() -> None:
    catalog = Catalog(ALL)

    await catalog.warm()
    await catalog.aclose()
    await catalog.aclose()


async def test_warming_without_providers_loads_nothing_heavy() -> None:
    await Catalog(ProviderConfig()).warm()
