"""The receiver of the event push, over HTTP. Source: seed B, `POST {INGRESS_URL}/internal/send`.

The address is the operator's own setting, so it is not held to the rules for addresses that callers
name. Redirects are not followed: an event goes where the operator said, or nowhere.
"""

import asyncio
import json

import httpx2

from adapters.llm.refusals import retry_after
from adapters.net.loopback import verify_for
from domain.event import StoredEvent
from domain.push import NotTakenError

SEND_SECONDS = 10.0
"""The longest that one event may take; then it is sent again."""
_PATH = "/internal/send"
_MOST_SAID = 200
_MOST_READ = 65_536


class HttpIngress:
    """Sends events, one at a time and run, to one receiver.

    Args:
        url: the receiver's base address.
        token: sent as a bearer token, if there is one.
    """

    def __init__(self, url: str, token: str | None = None, seconds: float = SEND_SECONDS) -> None:
        self._url = url.rstrip("/") + _PATH
        self._seconds = seconds
        headers = {"content-type": "application/json"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        self._client = httpx2.AsyncClient(
            headers=headers,
            timeout=httpx2.Timeout(seconds),
            trust_env=False,
            verify=verify_for(url),
        )

    async def send(self, session_id: str, event: StoredEvent) -> None:
        """Deliver one event.

        Raises:
            NotTakenError: anything but a 2xx in time.
        """
        body = f'{{"session_id":{json.dumps(session_id)},"event":{event.envelope}}}'.encode()
        try:
            async with asyncio.timeout(self._seconds):
                await self._post(body)
        except TimeoutError as error:
            raise NotTakenError(f"no answer within {self._seconds:g} s") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise NotTakenError(f"{type(error).__name__}: {error}"[:_MOST_SAID]) from error

    async def _post(self, body: bytes) -> None:
        async with self._client.stream("POST", self._url, content=body) as answer:
            if not answer.is_success:
                wait = retry_after(answer.headers)
                wait_ms = None if wait is None else int(wait.total_seconds() * 1000)
                raise NotTakenError(f"HTTP {answer.status_code}", wait_ms)
            # Only the status counts; a short answer is read so that the connection can be kept.
            read = 0
            async for chunk in answer.aiter_raw():
                read += len(chunk)
                if read > _MOST_READ:
                    return

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
