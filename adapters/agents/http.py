"""External agents over HTTP: POST {endpoint}/invoke, answered with server-sent events.

    POST /invoke
    Accept: text/event-stream
    X-Session-ID: sess_1
    X-Run-ID: run_1

    {"agent_id", "session_id", "run_id", "input_message", "messages", "context"}

Retries nothing, follows no redirect. How long an answer may take, and how long it may be silent, is
the caller's to say: it closes the iterator. Source: seed B, agent protocol.
"""

import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote

import httpx2
from pydantic_core import to_json

from adapters.agents.protocol import AnswerReader, request_body
from adapters.llm.sse import SseLimitError, SseParser
from adapters.net.bodies import UnreadableBodyError, bounded_chunks
from domain.agent import AgentChunk, AgentDone, AgentInvocation, endpoint_flaw
from domain.errors import (
    AddressRefusedError,
    AgentFailedError,
    AgentUnavailableError,
    OrchestratorError,
    ReplyTooLargeError,
)

RETRIED_STATUSES = frozenset({408, 425, 429})
"""Besides 5xx: answers that another attempt may change."""
BUSY_STATUSES = frozenset({425, 429})
"""Of an agent that works and has no time now."""
WRITE_SECONDS = 30.0
"""An agent that does not take the request for this long is gone."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What one answer may cost us. Bytes are counted after decompression."""

    line_bytes: int = 1 << 20
    event_bytes: int = 4 << 20
    total_bytes: int = 16 << 20
    connect_seconds: float = 10.0


def trace_of(invocation: AgentInvocation) -> str:
    """Return a W3C `traceparent`: one trace per run, a new span per attempt."""
    trace = hashlib.sha256(invocation.run_id.encode()).hexdigest()[:32]
    return f"00-{trace}-{secrets.token_hex(8)}-01"


class HttpAgentInvoker:
    """Speaks the agent protocol through a guarded client, which it does not own."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        *,
        platform_base_url: str,
        limits: StreamLimits | None = None,
        traceparent: Callable[[AgentInvocation], str] = trace_of,
    ) -> None:
        self._client = client
        self._platform_base_url = platform_base_url
        self._limits = limits or StreamLimits()
        self._timeout = httpx2.Timeout(
            None, connect=self._limits.connect_seconds, write=WRITE_SECONDS
        )
        self._traceparent = traceparent

    async def stream(self, invocation: AgentInvocation) -> AsyncIterator[AgentChunk]:
        """Yield deltas and states, then exactly one `AgentDone` with the whole answer.

        Raises:
            AgentUnavailableError: not reachable, 5xx or 429, or ended without `done`.
            AgentFailedError: it reported an error, broke the protocol or a limit.
            AddressRefusedError: its endpoint may not be contacted.
        """
        reader = AnswerReader(invocation)
        parser = SseParser(
            max_line_bytes=self._limits.line_bytes, max_event_bytes=self._limits.event_bytes
        )
        async with self._answer(invocation) as response:
            async for data in bounded_chunks(response, self._limits.total_bytes):
                for event in parser.feed(data):
                    chunk = reader.read(event)
                    if chunk is not None:
                        yield chunk
                    if isinstance(chunk, AgentDone):
                        return
        raise AgentUnavailableError(f"agent {invocation.agent_id} ended without done")

    @asynccontextmanager
    async def _answer(self, invocation: AgentInvocation) -> AsyncIterator[httpx2.Response]:
        """Open the stream and name what fails while it is open."""
        who = f"agent {invocation.agent_id}"
        flaw = endpoint_flaw(invocation.endpoint)
        if flaw is not None:
            raise AddressRefusedError(f"{who}: {flaw}")
        try:
            async with self._client.stream(
                "POST",
                f"{invocation.endpoint.rstrip('/')}/invoke",
                content=to_json(request_body(invocation)),
                headers=self._headers(invocation),
                timeout=self._timeout,
                follow_redirects=False,
            ) as response:
                _require_stream(response, who)
                yield response
        except (ReplyTooLargeError, UnreadableBodyError, SseLimitError) as error:
            raise AgentFailedError(f"{who}: {error}") from error
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise AddressRefusedError(f"{who}: its endpoint is no URL: {error}") from error
        except (httpx2.TimeoutException, httpx2.NetworkError) as error:
            reason = str(error) or type(error).__name__
            raise AgentUnavailableError(f"{who} cannot be reached: {reason}") from error
        except httpx2.ProtocolError as error:
            # Its text may hold bytes of the answer.
            raise AgentUnavailableError(f"{who} cannot be reached: it broke HTTP") from error
        except OrchestratorError:
            raise
        except Exception as error:  # a client that breaks must not break the run untyped
            kind = type(error).__name__
            raise AgentFailedError(f"{who} cannot be asked: {kind} in the HTTP client") from error

    def _headers(self, invocation: AgentInvocation) -> dict[str, str]:
        return {
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "X-Session-ID": quote(invocation.session_id, safe="!#$&'*+.^_`|~:/-"),
            "X-Run-ID": invocation.run_id,
            "x-platform-base-url": self._platform_base_url,
            "traceparent": self._traceparent(invocation),
        }


def _require_stream(response: httpx2.Response, who: str) -> None:
    """Raise unless the response is an event stream. An error's body is read by nobody.

    Whoever registers an endpoint could otherwise read what other services answer.
    """
    status = response.status_code
    if status in RETRIED_STATUSES or status >= 500:
        refused = AgentUnavailableError(
            f"{who} answered {status}: it cannot serve this now",
            retry_after=_retry_after(response.headers.get("retry-after", "")),
        )
        refused.is_busy = status in BUSY_STATUSES
        raise refused
    if 300 <= status < 400:
        raise AgentFailedError(f"{who} answered {status}: redirects are not followed")
    if status != 200:
        raise AgentFailedError(f"{who} answered {status}: it did not take the request")
    content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "text/event-stream":
        raise AgentFailedError(
            f"{who} answered {content_type[:100] or 'no content type'!r}, not text/event-stream"
        )


def _retry_after(value: str) -> timedelta | None:
    """Read Retry-After in seconds; dates and nonsense count as not said."""
    return timedelta(seconds=int(value)) if value.isascii() and value.isdigit() else None
