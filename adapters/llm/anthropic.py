"""Anthropic messages.

The SDK makes and authorises the request; the stream is read here. A piece of text:

```text
event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}
```

A reply is whole only with a stop reason and `message_stop`. Stop reasons are told in OpenAI's words
(`stop`, `length`, `tool_calls`, `content_filter`). Limits: `ReplyLimits`.
Specification: https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from adapters.llm.anthropic_messages import to_messages, to_system, to_wishes
from adapters.llm.anthropic_reply import AnthropicReply
from adapters.llm.patience import Patience
from adapters.llm.reading import Opening, read_reply
from adapters.llm.reply import ReplyLimits
from adapters.llm.sdk import Connected, LazySdk
from domain.chat import NO_WISHES, ChatChunk, ChatRequest
from domain.plain import without_tools

DEFAULT_BASE_URL = "https://api.anthropic.com"
_STREAM_HEADERS = {"Accept-Encoding": "identity"}
"""Compression would hold tokens back and let a small body grow without bound."""


class AnthropicChat:
    """A `ChatModel` over Anthropic's API. The SDK is imported at the first call.

    Of `api_key` and `auth_token` exactly one is given.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        auth_token: str | None = None,
        base_url: str = DEFAULT_BASE_URL,
        patience: Patience | None = None,
        limits: ReplyLimits | None = None,
    ) -> None:
        self._api_key = api_key
        self._auth_token = auth_token
        self._secrets = tuple(secret for secret in (api_key, auth_token) if secret)
        self._base_url = base_url
        self._patience = patience or Patience()
        self._limits = limits or ReplyLimits()
        self._sdk = LazySdk(self._connect)

    def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the reply as the port says; nothing is sent before the first item is asked for."""
        reply = AnthropicReply(self._limits, self._secrets)

        async def open_request() -> Opening:
            sdk = await self._sdk.ready()
            return Opening(sdk.send(body=_body(request)), sdk.errors)

        return read_reply("anthropic", open_request, reply, self._patience)

    async def warm(self) -> None:
        """Import the SDK and build its client, off the event loop; does nothing when done."""
        await self._sdk.ready()

    async def aclose(self) -> None:
        """Close idle connections; the next call opens new ones."""
        await self._sdk.aclose()

    def _connect(self) -> Connected:
        import anthropic  # noqa: PLC0415 - see sdk.py
        import httpx2  # noqa: PLC0415 - see sdk.py

        from adapters.llm.transport import TRANSPORT_ERRORS, build_client  # noqa: PLC0415

        client = anthropic.AsyncAnthropic(
            api_key=self._api_key,
            auth_token=self._auth_token,
            base_url=self._base_url,
            max_retries=0,
            open_telemetry=False,
            http_client=build_client(
                "anthropic", self._base_url, self._patience.connect_seconds, self._secrets
            ),
        )
        # Not `messages.create`: it walks its arguments with their type hints, on the loop. The
        # SDK still makes the request, authorises it and sends it.
        send = partial(
            client.post,
            "/v1/messages",
            cast_to=httpx2.Response,
            options={"headers": _STREAM_HEADERS},
            stream=True,
            stream_cls=anthropic.AsyncStream[object],
        )
        return Connected(client, send, (anthropic.AnthropicError, *TRANSPORT_ERRORS))


def _body(request: ChatRequest) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_output_tokens,
        # Blocks of tools are refused in a request that declares none.
        "messages": to_messages(
            request.messages if request.tools else without_tools(request.messages)
        ),
        "stream": True,
    }
    system = to_system(request.messages)
    if system:
        body["system"] = system
    if request.tools:
        body["tools"] = [
            {
                "name": tool.name,
                "description": tool.description,
                "input_schema": tool.parameters,
            }
            for tool in request.tools
        ]
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.wishes is not NO_WISHES:
        body |= to_wishes(request.wishes, has_tools=bool(request.tools))
    return body
