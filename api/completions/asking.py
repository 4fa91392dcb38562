"""A chat completion as it is asked for: what is read of it, and what is refused.

Nothing is judged that its provider judges: unknown fields are passed on. Refused is only what would
choose the upstream, and what the bill could not be bounded by.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json
from starlette.datastructures import Headers

from api.errors import refuse
from api.ports import ProxyConfig
from domain.errors import InvalidRequestError
from domain.principal import Principal, Scope

AGENT_PREFIX = "agent:"
_UPSTREAM = frozenset(
    {
        *("api_base", "base_url", "api_key", "api_type", "api_version", "endpoint", "url"),
        *("extra_headers", "default_headers", "headers", "extra_query", "default_query"),
        *("extra_body", "http_client", "proxy", "proxies", "organization", "project"),
        *("models", "route", "provider", "custom_llm_provider", "llm_provider"),
        *("deployment_id", "azure_endpoint"),
        *("azure_deployment", "azure_ad_token", "fallbacks", "mock_response", "model_list"),
    }
)
_UPSTREAM_PREFIXES = ("aws_", "vertex_", "litellm_", "azure_")
"""Fields by which clients and proxies choose where a request goes and who pays for it."""
_IMAGE_TOKENS = 50_000
"""What an image, a sound or a file may count for at most: its bytes say nothing of it."""
_MOST_CHOICES = 128
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}")
_CAPS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, checked as far as we have to understand it.

    `input_tokens` and `output_tokens` are upper bounds; `cap` is the most tokens of one answer,
    of which there are `choices`.
    """

    model: str
    body: dict[str, Any]
    input_tokens: int
    cap: int
    choices: int
    is_stream: bool
    shows_usage: bool
    run_id: str | None
    session_id: str | None
    is_committed: bool = False
    """Of an agent's text: told once it cannot change any more."""

    @property
    def output_tokens(self) -> int:
        """Return how many tokens all answers hold at most."""
        return self.cap * self.choices


def read_ask(raw: bytes, headers: Headers, config: ProxyConfig, who: Principal) -> Ask:
    """Return what is asked for: of an agent by a key with the scope `invoke`, else `proxy`.

    An external agent's token may ask for models; for which run is seen later.

    Raises:
        ForbiddenError: the key lacks that scope.
        RefusedError: the body is not JSON.
        InvalidRequestError: a field is missing, wrong, or not the caller's to choose.
    """
    is_token = who.agent_id is not None
    if not is_token and not who.may(Scope.INVOKE):
        who.require(Scope.PROXY)
    body = _decode(raw)
    if is_agent(body.get("model")):
        who.require(Scope.INVOKE)
    elif not is_token:
        who.require(Scope.PROXY)
    _refuse_upstream(body)
    is_stream = _flag(body, "stream")
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise _wrong("stream_options", "send an object")
    return Ask(
        model=_model(body),
        body=body,
        input_tokens=len(raw) + _IMAGE_TOKENS * _other_parts(_messages(body)),
        cap=_cap(body, config),
        choices=_count(body, "n", _MOST_CHOICES) or 1,
        is_stream=is_stream,
        shows_usage=bool(options and options.get("include_usage")),
        run_id=_named(headers, "x-run-id"),
        session_id=_named(headers, "x-session-id"),
        is_committed=_is_committed(headers),
    )


def _is_committed(headers: Headers) -> bool:
    value = headers.get("x-stream")
    if value not in (None, "live", "committed"):
        raise refuse(400, "invalid_header", "x-stream is live or committed")
    return value == "committed"


def is_agent(model: object) -> bool:
    """Say whether `model` names an agent."""
    return isinstance(model, str) and model.startswith(AGENT_PREFIX)


def _named(headers: Headers, name: str) -> str | None:
    value = headers.get(name)
    if value is not None and not _ID.fullmatch(value):
        raise refuse(400, "invalid_header", f"{name} is no id")
    return value


def _decode(raw: bytes) -> dict[str, Any]:
    # Of two equal keys the last counts, also for the provider: it is sent what was read here.
    try:
        body = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise refuse(400, "malformed_json", f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise InvalidRequestError("the body is a JSON object")
    return body


def _refuse_upstream(body: Mapping[str, Any]) -> None:
    for name in body:
        plain = name.lower().replace("-", "_")
        if plain in _UPSTREAM or plain.startswith(_UPSTREAM_PREFIXES):
            said = f"{name[:100]!a} is not taken: where a request goes is the operator's decision"
            raise InvalidRequestError(said, field=name[:100])


def _model(body: Mapping[str, Any]) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= 300 or not model.isprintable():
        raise _wrong("model", "name a model; GET /v1/models lists them")
    return model


def _messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _wrong("messages", "send a list of messages")
    if not all(isinstance(message, dict) for message in messages):
        raise _wrong("messages", "every message is an object")
    if not all(isinstance(message.get("role"), str) for message in messages):
        raise _wrong("messages", "every message has a role")
    return messages


def _other_parts(messages: list[dict[str, Any]]) -> int:
    """Return how many parts of messages are no text."""
    return sum(
        not isinstance(part, dict) or part.get("type") != "text"
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )


def _cap(body: Mapping[str, Any], config: ProxyConfig) -> int:
    most = config.most_output_tokens
    asked = [cap for name in _CAPS if (cap := _count(body, name, most)) is not None]
    return max(asked, default=config.output_tokens)


def _count(body: Mapping[str, Any], name: str, most: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= most:
        raise _wrong(name, f"a whole number from 1 to {most}")
    return value


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise _wrong(name, "true or false")


def _wrong(name: str, said: str) -> InvalidRequestError:
    return InvalidRequestError(f"{name}: {said}", field=name)
