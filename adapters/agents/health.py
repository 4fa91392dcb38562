"""How an external agent is, over HTTP: GET {endpoint}/health.

    {"status": "ok", "version": "1.0", "capabilities": ["echo"]}

Follows no redirect and reads little. Whatever an agent does here is a report, never an error: one
that has no such path answers at least. Source: seed B, agent protocol.
"""

import asyncio

import httpx2
from pydantic_core import from_json

from adapters.net.bodies import UnreadableBodyError, read_at_most
from domain.agent import endpoint_flaw
from domain.agenthealth import Report, report_of
from domain.errors import AddressRefusedError

MAX_BODY_BYTES = 64 * 1024
"""More than anybody has to say of himself."""
_NO_SUCH_PATH = frozenset({404, 405, 501})


class HttpHealthProbe:
    """Asks agents through a guarded client, which it does not own."""

    def __init__(self, client: httpx2.AsyncClient, *, seconds: float = 5.0) -> None:
        self._client = client
        self._seconds = seconds

    async def look(self, endpoint: str) -> Report:
        """Return what `GET {endpoint}/health` says."""
        flaw = endpoint_flaw(endpoint)
        if flaw is not None:
            return _lost(flaw)
        try:
            async with asyncio.timeout(self._seconds):
                return await self._ask(f"{endpoint.rstrip('/')}/health")
        except TimeoutError:
            return _lost(f"GET /health was not answered within {self._seconds:g} s")
        except AddressRefusedError as error:
            return _lost(error.message)
        except (httpx2.ProtocolError, UnreadableBodyError):
            return _lost("GET /health broke HTTP")  # the error's text may hold bytes of the answer
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return _lost(f"it cannot be reached: {str(error) or type(error).__name__}")
        except Exception as error:  # noqa: BLE001 - a client that breaks must not end the checks
            return _lost(f"it cannot be asked: {type(error).__name__} in the HTTP client")

    async def _ask(self, url: str) -> Report:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with self._client.stream(
            "GET", url, headers=headers, follow_redirects=False
        ) as response:
            status = response.status_code
            if status in _NO_SUCH_PATH:
                return Report(is_word=False)  # the protocol asks for POST /invoke only
            if status != 200:
                return _lost(f"GET /health answered {status}")
            body, is_more = await read_at_most(response, MAX_BODY_BYTES)
        if is_more:
            return _lost(f"GET /health answered more than {MAX_BODY_BYTES} bytes")
        return _read(body)


def _read(body: bytes) -> Report:
    try:
        said = from_json(body, allow_inf_nan=False)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        return _lost("GET /health answered something else than a JSON object")
    return report_of(said.get("status"), said.get("version"), said.get("capabilities"))


def _lost(error: str) -> Report:
    return Report(error=error, is_there=False)
