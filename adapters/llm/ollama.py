"""Ollama, over its OpenAI-compatible endpoint `$OLLAMA_HOST/v1`. Runs locally, so it costs nothing.

Specification: https://github.com/ollama/ollama/blob/main/docs/openai.md
"""

from urllib.parse import urlsplit

from adapters.llm.openai import OpenAIAccount, OpenAIChat
from adapters.llm.patience import Patience
from adapters.llm.reply import ReplyLimits

_DEFAULT_PORT = 11434
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - translated, never bound
"""What a server that listens on every address is called by, from the same machine."""
_PLACEHOLDER_KEY = "ollama"
"""Ollama asks for no key, the SDK does."""


def ollama_account(host: str) -> OpenAIAccount:
    """Return the server at `host`, written as the `ollama` tool accepts it.

    Raises:
        ValueError: not a host or an http(s) URL.
    """
    return OpenAIAccount(_PLACEHOLDER_KEY, ollama_base_url(host))


def ollama_chat(
    host: str, *, patience: Patience | None = None, limits: ReplyLimits | None = None
) -> OpenAIChat:
    """Return the model provider at `host`."""
    return OpenAIChat(ollama_account(host), provider="ollama", patience=patience, limits=limits)


def ollama_base_url(host: str) -> str:
    """Return the base URL for `OLLAMA_HOST`, which may lack a scheme, a host or a port.

    Raises:
        ValueError: not a host or an http(s) URL.
    """
    text = host.strip()
    scheme, separator, rest = text.rpartition("://")
    if not separator and rest.startswith(":") and rest.count(":") == 1:
        rest = f"127.0.0.1{rest}"
    parts = urlsplit(f"{scheme or 'http'}://{rest}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"OLLAMA_HOST {host!r} is not a host or an http(s) URL")
    name = _LOOPBACK.get(parts.hostname, parts.hostname)
    if ":" in name:
        name = f"[{name}]"
    port = parts.port or (None if separator else _DEFAULT_PORT)
    netloc = f"{name}:{port}" if port else name
    return f"{parts.scheme}://{netloc}{parts.path.rstrip('/')}/v1"
