"""Chat completions passed through to an OpenAI-compatible server: `RawModels`' one provider.

The request is the caller's own, with the model's name, a cap of tokens and, in a stream, the wish
for its usage put in. What comes back goes through as it is. A stream:

```text
data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}
data: [DONE]
```

Specification: https://platform.openai.com/docs/api-reference/chat
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from urllib.parse import urlsplit

from pydantic_core import to_json

from adapters.llm.deadlines import Deadlines
from adapters.llm.openai import OpenAIAccount, max_tokens_field
from adapters.llm.patience import Patience
from adapters.llm.raw.connection import Connection, Head, WireError
from adapters.llm.raw.dialing import Dialer, place_of
from adapters.llm.raw.pool import Pool
from adapters.llm.raw.scan import StreamScan, read_usage
from adapters.llm.refusals import status_error
from adapters.llm.values import decode_object, malformed
from domain.chat import TokenUsage, split_model
from domain.errors import (
    MalformedReplyError,
    ModelUnavailableError,
    ReplyTooLargeError,
    StreamIncompleteError,
)
from domain.upstream import RawRequest

_MOST_ERROR_BYTES = 64 * 1024
_ERROR_SECONDS = 5.0
_MOST_BODY_BYTES = 32 * 1024 * 1024
"""Of an answer that is no stream."""
_DRAIN_SECONDS = 0.05
"""How long the end of a body may trail its terminal marker for the connection to be kept."""
_CAPS = ("max_tokens", "max_completion_tokens")


class PassThrough:
    """One OpenAI-compatible server. Connections are shared by all requests."""

    def __init__(self, account: OpenAIAccount, provider: str, patience: Patience) -> None:
        self.provider = provider
        self.patience = patience
        self.secrets = (account.api_key,)
        self._cap = max_tokens_field(account.base_url)
        place = place_of(account.base_url)
        self.pool = Pool(Dialer(place, patience.connect_seconds))
        path = urlsplit(account.base_url).path.rstrip("/")
        lines = [
            f"POST {path}/chat/completions HTTP/1.1",
            f"Host: {place.authority}",
            f"Authorization: Bearer {account.api_key}",
            "Content-Type: application/json",
            # Compression would hold tokens back and let a small body grow without bound.
            "Accept-Encoding: identity",
            "User-Agent: durable-orchestrator",
        ]
        named = {"OpenAI-Organization": account.organization, "OpenAI-Project": account.project}
        lines += [f"{name}: {value}" for name, value in named.items() if value]
        self._head = "\r\n".join(lines).encode("latin-1") + b"\r\nContent-Length: "

    def ask(self, request: RawRequest) -> "PassedReply":
        """Return the answer to come."""
        return PassedReply(self, self._written(request), request)

    async def warm(self) -> None:
        """Do what the first request would wait for."""
        await self.pool.warm()

    def close(self) -> None:
        """Close idle connections."""
        self.pool.close()

    def _written(self, request: RawRequest) -> bytes:
        body = dict(request.body)
        body["model"] = split_model(request.model)[1]
        if not any(body.get(name) is not None for name in _CAPS):
            body[self._cap] = request.output_tokens
        if request.is_stream:
            body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        data = to_json(body)
        return b"%b%d\r\n\r\n%b" % (self._head, len(data), data)


class PassedReply:
    """One answer on its way through."""

    def __init__(self, server: PassThrough, data: bytes, request: RawRequest) -> None:
        self._server = server
        self._data = data
        self._request = request
        self._connection: Connection | None = None
        self._scan = StreamScan(
            server.provider, shows_usage=request.shows_usage, secrets=server.secrets
        )
        self._held = b""
        self._body_size = 0
        self._usage: TokenUsage | None = None
        self._stop_reason: str | None = None
        self._is_complete = False

    @property
    def usage(self) -> TokenUsage | None:
        """What the provider says was used."""
        return self._scan.usage if self._request.is_stream else self._usage

    @property
    def stop_reason(self) -> str | None:
        """Why the answer ended."""
        return self._scan.stop_reason if self._request.is_stream else self._stop_reason

    @property
    def has_begun(self) -> bool:
        """Whether any of the answer came."""
        return self._scan.has_content or self._body_size > 0

    @property
    def seen(self) -> int:
        """About how many bytes of the answer came; an event of a stream holds a token or so."""
        return 4 * self._scan.events + self._body_size

    @property
    def is_complete(self) -> bool:
        """Whether the answer was handed out to its end."""
        return self._is_complete

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """Yield the answer; see the port."""
        deadlines = Deadlines(self._server.provider, self._server.patience)
        if not self._request.is_stream:
            # An answer that is no stream shows no progress before its end.
            deadlines.wait_for_the_end()
        try:
            await self._check(await self._open(deadlines))
            if not self._request.is_stream:
                yield await self._body(deadlines)
            while self._request.is_stream and not self._is_complete:
                block = await self._block(deadlines)
                if block:
                    yield block
                # Only now: the time the reader took is not the provider's idleness.
                if self._scan.has_progress:
                    deadlines.progress()
            await self._drain()
        finally:
            deadlines.stop()
            if self._connection is not None:
                self._server.pool.give(self._connection)
                self._connection = None

    async def _open(self, deadlines: Deadlines) -> Head:
        provider = self._server.provider
        try:
            with deadlines:
                self._connection = await self._server.pool.take()
        except (OSError, TimeoutError, WireError) as error:
            reason = str(error) if isinstance(error, WireError) else type(error).__name__
            raise ModelUnavailableError(f"{provider} cannot be reached ({reason})") from error
        try:
            with deadlines:
                return await self._connection.send(self._data)
        except WireError as error:
            # It may have worked, and been paid for.
            raise StreamIncompleteError(
                f"the connection to {provider} broke before it answered ({error})"
            ) from error

    async def _check(self, head: Head) -> None:
        """Refuse whatever is not an answer. Redirects are not followed."""
        provider = self._server.provider
        if head.status != 200:
            body = await self._excerpt()
            raise status_error(provider, head.status, head.headers, body, self._server.secrets)
        if head.headers.get("content-encoding", "identity") != "identity":
            raise MalformedReplyError(f"{provider} compressed its answer unasked")
        kind = head.headers.get("content-type", "")
        is_json = "json" in kind
        if "html" in kind or is_json is self._request.is_stream:
            what = "a stream" if self._request.is_stream else "JSON"
            raise MalformedReplyError(f"{provider} answered without {what}")

    async def _excerpt(self) -> bytes:
        found = bytearray()
        with contextlib.suppress(TimeoutError, WireError):
            async with asyncio.timeout(_ERROR_SECONDS):
                while len(found) < _MOST_ERROR_BYTES and (piece := await self._wire.read()):
                    found += piece
        return bytes(found[:_MOST_ERROR_BYTES])

    @property
    def _wire(self) -> Connection:
        if self._connection is None:
            raise WireError("the answer was dropped")
        return self._connection

    async def _block(self, deadlines: Deadlines) -> bytes:
        """Return the next events; nothing while no content has come."""
        data = await self._read(deadlines)
        if not data:
            self._scan.end()
        block = self._scan.feed(data)
        self._held += block
        if not self._scan.has_content:
            return b""
        self._is_complete = self._scan.is_complete
        block, self._held = self._held, b""
        return block

    async def _body(self, deadlines: Deadlines) -> bytes:
        whole = bytearray()
        while data := await self._read(deadlines):
            self._body_size += len(data)
            whole += data
            if len(whole) > _MOST_BODY_BYTES:
                raise ReplyTooLargeError(f"the answer of {self._server.provider} is too large")
        self._take(bytes(whole))
        self._is_complete = True
        return bytes(whole)

    async def _read(self, deadlines: Deadlines) -> bytes:
        try:
            with deadlines:
                return await self._wire.read()
        except WireError as error:
            raise StreamIncompleteError(
                f"the connection to {self._server.provider} broke inside its reply ({error})"
            ) from error

    def _take(self, body: bytes) -> None:
        provider = self._server.provider
        answer = decode_object(provider, body.decode("utf-8", "replace"))
        choices = answer.get("choices")
        if type(choices) is not list or not choices or type(choices[0]) is not dict:
            raise malformed(provider, "choice")
        reason = choices[0].get("finish_reason")
        self._stop_reason = reason if type(reason) is str else None
        try:
            self._usage = read_usage(provider, answer["usage"]) if answer.get("usage") else None
        except MalformedReplyError:
            self._usage = None

    async def _drain(self) -> None:
        """Read to the end of the body, if it is near, so that the connection can serve again."""
        if self._connection is None or self._connection.is_spent:
            return
        with contextlib.suppress(TimeoutError, WireError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while await self._connection.read():
                    pass
