"""The API as the commands use it: plain requests, and refusals as one sentence.

Knows the wire and no command. Source: reference/protocols.md 4.1b.
"""

import contextlib
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx2

from adapters.net.loopback import is_loopback, verify_for
from bootstrap.commands.failure import CommandError, ServerAwayError
from bootstrap.commands.wire import Json
from bootstrap.terminal import harmless, note, working

_SECONDS = 30.0
_PAGE = 1000
_OUR_PROBLEMS = "urn:orchestrator:error:"
_LATER = (429, 502, 503, 504)
"""Statuses that say nothing about the request itself."""


class Api:
    """One server. A refusal is a `CommandError`; no answer is a `ServerAwayError`."""

    def __init__(self, url: str, key: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CommandError(f"{url} is no address of an API: http://host:port", code=2)
        self.url = url.rstrip("/")
        self._client = httpx2.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=_SECONDS,
            # A proxy of the environment never leads to this machine.
            trust_env=not is_loopback(url),
            verify=verify_for(url),
        )

    def __enter__(self) -> "Api":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        params: Mapping[str, Any] | None = None,
    ) -> Json:
        """Return the answer to one request.

        Raises:
            CommandError: refused.
            ServerAwayError: no answer.
        """
        given = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            with working(f"waiting for {self.url}"):
                response = self._client.request(method, path, json=body, params=given)
        except httpx2.TransportError as error:
            raise self._away(error) from error
        refuse_problem(response)
        if not response.content:
            return {}
        answer = _object(response)
        if answer is None:
            raise CommandError(_no_orchestrator(response))
        return answer

    def pages(self, path: str, plural: str, limit: int, **params: str | None) -> list[Json]:
        """Return up to `limit` entries of a list, over as many pages as it takes.

        That there are more is said on stderr.
        """
        found: list[Json] = []
        for page in self._each_page(path, min(limit, _PAGE), params):
            found += page[plural]
            if len(found) > limit or (len(found) == limit and page["has_more"]):
                note(f"there are more than these {limit}; --limit prints more")
            if len(found) >= limit:
                break
        return found[:limit]

    def each(
        self, path: str, plural: str, page_size: int = _PAGE, **params: str | None
    ) -> Iterator[Json]:
        """Yield every entry of a list, a page at a time."""
        for page in self._each_page(path, page_size, params):
            yield from page[plural]

    def _each_page(
        self, path: str, page_size: int, params: Mapping[str, str | None]
    ) -> Iterator[Json]:
        cursor: str | None = None
        while True:
            asked = {**params, "limit": page_size, "cursor": cursor}
            page = self.call("GET", path, params=asked)
            yield page
            cursor = page["next_cursor"]
            if not page["has_more"]:
                return

    @contextlib.contextmanager
    def stream(
        self, method: str, path: str, *, headers: Mapping[str, str], body: object = None
    ) -> Iterator[httpx2.Response]:
        """Open a stream of server-sent events, to be read inside.

        Raises:
            CommandError: refused.
            ServerAwayError: no answer, or the connection broke.
        """
        asked = {**headers, "accept": "text/event-stream"}
        try:
            with self._client.stream(method, path, json=body, headers=asked) as response:
                if response.status_code >= 400:
                    response.read()
                refuse_problem(response)
                if response.status_code != 204 and not _is_stream(response):
                    raise CommandError(_no_orchestrator(response))
                yield response
        except httpx2.TransportError as error:
            raise self._away(error) from error

    def _away(self, error: httpx2.TransportError) -> ServerAwayError:
        absent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
        said = f"{self.url} cannot be reached: {error or type(error).__name__}"
        return ServerAwayError(said, was_reached=not absent)


def refuse_problem(response: httpx2.Response) -> None:
    """Do nothing for a good answer.

    Raises:
        ServerAwayError: the server cannot answer now.
        CommandError: what the server said is wrong.
    """
    if response.status_code < 400:
        return
    said = harmless(problem_of(response))
    if response.status_code in _LATER:
        raise ServerAwayError(said, was_reached=True)
    raise CommandError(said)


def problem_of(response: httpx2.Response) -> str:
    """Return what an answer says is wrong, as one sentence. Source: RFC 9457."""
    problem = _object(response) or {}
    inner = problem.get("error")
    if isinstance(inner, dict) and "code" in inner:
        problem = {**inner, "detail": inner.get("message")}
    elif not str(problem.get("type", "")).startswith(_OUR_PROBLEMS):
        return _no_orchestrator(response)
    said = str(problem.get("detail") or problem.get("title") or response.status_code)
    errors = problem.get("errors")
    if isinstance(errors, list):
        said += "".join(f"; {item.get('field')}: {item.get('message')}" for item in errors[:5])
    if response.status_code == 401:
        said += "; name a key with --api-key or ORCHESTRATOR_API_KEY"
    return said


def _object(response: httpx2.Response) -> Json | None:
    try:
        found = response.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _is_stream(response: httpx2.Response) -> bool:
    media: str = response.headers.get("content-type", "")
    return media.startswith("text/event-stream")


def _no_orchestrator(response: httpx2.Response) -> str:
    return (
        f"{response.url} answered {response.status_code}, but not as an orchestrator does: another"
        " server is there; see --api-url and ORCHESTRATOR_API_URL"
    )
