"""OpenAI chat completions, and servers compatible with them.

The SDK makes and authorises the request; the stream is read here. One event a line:

```text
data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}
data: [DONE]
```

A reply is whole only with a `finish_reason` and `[DONE]`. Stop reasons are OpenAI's own words.
Limits: `ReplyLimits`. Specification: https://platform.openai.com/docs/api-reference/chat-streaming
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from adapters.llm.openai_reply import OpenAIReply
from adapters.llm.patience import Patience
from adapters.llm.reading import Opening, read_reply
from adapters.llm.reply import ReplyLimits
from adapters.llm.sdk import Connected, LazySdk
from adapters.llm.values import clean
from domain.chat import NO_WISHES, ChatChunk, ChatMessage, ChatRequest, ChatWishes

DEFAULT_BASE_URL = "https://api.openai.com/v1"
_STREAM_HEADERS = {"Accept-Encoding": "identity"}
"""Compression would hold tokens back and let a small body grow without bound."""


@dataclass(frozen=True, slots=True)
class OpenAIAccount:
    """Where requests go and who pays for them."""

    api_key: str = field(repr=False)
    base_url: str = DEFAULT_BASE_URL
    organization: str | None = None
    project: str | None = None


class OpenAIChat:
    """A `ChatModel` over an OpenAI-compatible server. The SDK is imported at the first call."""

    def __init__(
        self,
        account: OpenAIAccount,
        *,
        provider: str = "openai",
        patience: Patience | None = None,
        limits: ReplyLimits | None = None,
    ) -> None:
        self._account = account
        self._provider = provider
        self._patience = patience or Patience()
        self._limits = limits or ReplyLimits()
        self._sdk = LazySdk(self._connect)

    def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the reply as the port says; nothing is sent before the first item is asked for."""
        reply = OpenAIReply(self._provider, self._limits, (self._account.api_key,))

        async def open_request() -> Opening:
            sdk = await self._sdk.ready()
            return Opening(sdk.send(body=self._body(request)), sdk.errors)

        return read_reply(self._provider, open_request, reply, self._patience)

    async def warm(self) -> None:
        """Import the SDK and build its client, off the event loop; does nothing when done."""
        await self._sdk.ready()

    async def aclose(self) -> None:
        """Close idle connections; the next call opens new ones."""
        await self._sdk.aclose()

    def _connect(self) -> Connected:
        import httpx2  # noqa: PLC0415 - see sdk.py
        import openai  # noqa: PLC0415 - see sdk.py

        from adapters.llm.transport import TRANSPORT_ERRORS, build_client  # noqa: PLC0415

        client = openai.AsyncOpenAI(
            api_key=self._account.api_key,
            base_url=self._account.base_url,
            max_retries=0,
            http_client=build_client(
                self._provider,
                self._account.base_url,
                self._patience.connect_seconds,
                (self._account.api_key,),
            ),
        )
        # Set afterwards: given None, the SDK takes them from the environment, for any host.
        client.organization = self._account.organization
        client.project = self._account.project
        # Not `chat.completions.create`: it walks its arguments with their type hints, 0.1 ms a
        # message, on the loop. The SDK still makes the request, authorises it and sends it.
        send = partial(
            client.post,
            "/chat/completions",
            cast_to=httpx2.Response,
            options={"headers": _STREAM_HEADERS},
            stream=True,
            stream_cls=openai.AsyncStream[object],
        )
        return Connected(client, send, (openai.OpenAIError, *TRANSPORT_ERRORS))

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [_message(message) for message in request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            self._max_tokens_field(): request.max_output_tokens,
        }
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": tool.parameters,
                    },
                }
                for tool in request.tools
            ]
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.wishes is not NO_WISHES:
            body |= _wishes(request.wishes)
        return body

    def _max_tokens_field(self) -> str:
        return max_tokens_field(self._account.base_url)


def max_tokens_field(base_url: str) -> str:
    """Return what the server at `base_url` calls the most tokens it may answer with."""
    # OpenAI's newer models refuse the old name, many compatible servers know no other.
    host = urlsplit(base_url).hostname or ""
    return "max_completion_tokens" if host.endswith(".openai.com") else "max_tokens"


def _wishes(wishes: ChatWishes) -> dict[str, Any]:
    body: dict[str, Any] = {
        "tool_choice": wishes.tool_choice,
        "parallel_tool_calls": wishes.parallel_tool_calls,
        "top_p": wishes.top_p,
        "seed": wishes.seed,
        "stop": list(wishes.stop) or None,
    }
    if wishes.tool_name is not None:
        body["tool_choice"] = {"type": "function", "function": {"name": wishes.tool_name}}
    if wishes.response_schema is not None:
        schema = {"name": "answer", "schema": wishes.response_schema}
        kind = "json_schema" if wishes.response_schema else "json_object"
        body["response_format"] = {"type": kind} | (
            {"json_schema": schema} if wishes.response_schema else {}
        )
    return {name: value for name, value in body.items() if value is not None}


def _message(message: ChatMessage) -> dict[str, Any]:
    if message.role == "tool":
        return {
            "role": "tool",
            "tool_call_id": message.tool_call_id or "",
            "content": clean(message.content),
        }
    if message.images:
        text = [{"type": "text", "text": clean(message.content)}] if message.content else []
        shown = [{"type": "image_url", "image_url": {"url": url}} for url in message.images]
        return {"role": message.role, "content": [*text, *shown]}
    if not message.tool_calls:
        return {"role": message.role, "content": clean(message.content)}
    return {
        "role": message.role,
        "content": clean(message.content) or None,
        "tool_calls": [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": clean(call.arguments)},
            }
            for call in message.tool_calls
        ],
    }
