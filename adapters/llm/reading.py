"""Reads one reply from a provider: bytes to events to chunks, against deadlines.

What the vendor SDK does ends with the response's headers; the body is read here, because building
the SDK's chunk objects costs about three times the CPU. Knows no vendor's events.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.llm.deadlines import Deadlines
from adapters.llm.patience import Patience
from adapters.llm.reply import ReplyParser
from adapters.llm.sse import SseEvent, SseLimitError, SseParser
from domain.chat import ChatChunk, HiddenDelta, TextDelta
from domain.errors import (
    ModelUnavailableError,
    OrchestratorError,
    ReplyTooLargeError,
    StreamIncompleteError,
)

if TYPE_CHECKING:
    import httpx2

_DRAIN_SECONDS = 0.05
"""How long the end of a body may trail its terminal marker for the connection to be kept."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A request that an SDK is ready to send, and what the SDK and its transport raise."""

    response: "Awaitable[httpx2.Response]"
    """Sends it; gives the answer with its body unread."""
    errors: tuple[type[Exception], ...]


async def read_reply(
    provider: str,
    open_request: Callable[[], Awaitable[Opening]],
    reply: ReplyParser,
    patience: Patience,
) -> AsyncGenerator[ChatChunk, None]:
    """Yield a reply's text as it arrives, then its end. Leaving early closes the socket.

    Raises:
        ModelError: and its leaves, as the port says.
        ModelRequestError, ModelAuthError, ReplyTooLargeError: a retry will not help.
    """
    opening = await open_request()
    deadlines = Deadlines(provider, patience)
    async with AsyncExitStack() as stack:
        stack.callback(deadlines.stop)
        response = await _enter(provider, stack, opening, deadlines)
        body = response.aiter_raw()
        stack.push_async_callback(body.aclose)
        source = _EventSource(provider, body, deadlines, opening.errors)
        hidden = 0
        while not reply.is_complete and (events := await source.next()) is not None:
            has_progress = False
            for event in events:
                text = reply.take(event)
                if text is not None:
                    has_progress = True
                    if text:
                        yield TextDelta(text=text)
                    elif reply.hidden_bytes > hidden:
                        yield HiddenDelta(size=reply.hidden_bytes - hidden)
                        hidden = reply.hidden_bytes
            # Only now: the time the consumer took is not the provider's idleness.
            if has_progress:
                deadlines.progress()
        yield reply.end()
        await _drain(body, opening.errors)


async def _enter(
    provider: str, stack: AsyncExitStack, opening: Opening, deadlines: Deadlines
) -> "httpx2.Response":
    try:
        with deadlines:
            response = await opening.response
    except opening.errors as error:
        if isinstance(error.__cause__, OrchestratorError):
            # One SDK wraps whatever its transport raises, our refusals (transport.py) too.
            raise error.__cause__ from None
        reason = type(error.__cause__ or error).__name__
        raise ModelUnavailableError(f"{provider} cannot be reached ({reason})") from error
    stack.push_async_callback(response.aclose)
    return response


class _EventSource:
    """A body as batches of events."""

    def __init__(
        self,
        provider: str,
        body: AsyncGenerator[bytes, None],
        deadlines: Deadlines,
        errors: tuple[type[Exception], ...],
    ) -> None:
        self._provider = provider
        self._body = body
        self._deadlines = deadlines
        self._parser = SseParser()
        self._errors = errors

    async def next(self) -> list[SseEvent] | None:
        """Return the events of the next piece of the body, None at its end."""
        try:
            with self._deadlines:
                chunk = await anext(self._body, None)
            return None if chunk is None else self._parser.feed(chunk)
        except SseLimitError as error:
            raise ReplyTooLargeError(f"{self._provider}: {error}") from error
        except self._errors as error:
            reason = type(error).__name__
            raise StreamIncompleteError(
                f"the connection to {self._provider} broke inside its reply ({reason})"
            ) from error


async def _drain(body: AsyncGenerator[bytes, None], errors: tuple[type[Exception], ...]) -> None:
    """Read to the end of the body, if it is near, so that the connection can serve again."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            await anext(body, None)
    except TimeoutError:
        return
    except errors:
        return  # The reply is whole; only the connection is lost.
