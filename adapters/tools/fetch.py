"""The `http_fetch` tool: read a public web page. Untrusted URLs, untrusted replies.

Every hop of a redirect is a new request through the guarded client, so its address is judged again.
No credentials, no cookies, GET only.
"""

import asyncio
import codecs
import re
from dataclasses import dataclass
from typing import Annotated

import httpx2
from pydantic import Field

from adapters.net.bodies import UnreadableBodyError, read_at_most
from adapters.net.policy import require_whole
from adapters.tools.decorator import FunctionTool, tool
from adapters.tools.page import page_text, page_title
from domain.errors import AddressRefusedError, ToolFailedError

MAX_REDIRECTS = 3
MAX_BODY_BYTES = 1 << 20
"""Of the decoded body; the rest is not read."""
TOTAL_SECONDS = 20.0
"""For all hops together."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TEXTUAL = ("text/", "application/json", "application/xml", "application/javascript")
_CHARSET = re.compile(
    "utf-8|ascii|utf-16(-[lb]e)?|gb18030|gbk|gb2312|big5|shift_jis|euc_jp|euc_kr|koi8-r"
    "|iso8859-(1|2|5|7|9|15)|cp125[0-6]"
)
"""By Python's names: Python knows codecs that are slow, or no charsets at all."""


@dataclass(frozen=True, slots=True)
class _Page:
    url: str
    status: int
    content_type: str
    body: bytes
    is_cut: bool


def fetch_tool(client: httpx2.AsyncClient, total_seconds: float = TOTAL_SECONDS) -> FunctionTool:
    """Return the `http_fetch` tool over a guarded client."""

    @tool(name="http_fetch", timeout_seconds=total_seconds + 10, untrusted=True)
    async def http_fetch(
        url: Annotated[str, Field(max_length=4096)],
        max_chars: Annotated[int, Field(ge=1, le=100_000)] = 20_000,
    ) -> dict[str, object]:
        """Read a public web page or text file with GET and return its text.

        Args:
            url: Address beginning with http:// or https://.
            max_chars: Characters of text to return.
        """
        page = await _guarded_fetch(client, url, total_seconds)
        # A large page takes tens of ms to read, too long for the loop that streams tokens.
        title, text = await asyncio.to_thread(_title_and_text, page)
        return {
            "url": page.url,
            "status": page.status,
            "content_type": page.content_type,
            "title": title,
            "text": text[:max_chars],
            "truncated": page.is_cut or len(text) > max_chars,
        }

    return http_fetch


async def _guarded_fetch(client: httpx2.AsyncClient, url: str, total_seconds: float) -> _Page:
    """Fetch `url` and say every failure as one that the model may read."""
    try:
        async with asyncio.timeout(total_seconds):
            return await _fetch(client, url)
    except TimeoutError as error:
        raise ToolFailedError(f"no complete answer within {total_seconds:g} s") from error
    except (AddressRefusedError, UnreadableBodyError) as error:
        raise ToolFailedError(f"the page cannot be read: {error}") from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise ToolFailedError(f"the page cannot be reached: {reason}") from error


async def _fetch(client: httpx2.AsyncClient, url: str) -> _Page:
    target = httpx2.URL(url)
    # The client would take what is missing from its own base, and complain of something else.
    require_whole(target, url)
    for _ in range(MAX_REDIRECTS + 1):
        headers = {"Accept": "text/html, text/*, application/json;q=0.9", "Accept-Encoding": "gzip"}
        async with client.stream("GET", target, headers=headers) as response:
            location = response.headers.get("location")
            if response.status_code not in _REDIRECTS or not location:
                return await _read(response)
        target = target.join(location).copy_with(fragment=None)
    raise ToolFailedError(f"the page redirects more than {MAX_REDIRECTS} times")


async def _read(response: httpx2.Response) -> _Page:
    content_type = response.headers.get("content-type", "text/plain").lower()[:200]
    kind = content_type.partition(";")[0].strip()
    if not kind.startswith(_TEXTUAL) and not kind.endswith(("+json", "+xml")):
        raise ToolFailedError(f"the page is {kind!r} (status {response.status_code}), not text")
    body, is_cut = await read_at_most(response, MAX_BODY_BYTES)
    return _Page(str(response.url), response.status_code, content_type, body, is_cut)


def _title_and_text(page: _Page) -> tuple[str, str]:
    decoded = _decode(page).replace("\0", "\ufffd")
    if "html" not in page.content_type:
        return "", decoded
    return page_title(decoded), page_text(decoded)


def _decode(page: _Page) -> str:
    """Decode the body by its declared charset; UTF-8 when that is missing or exotic."""
    declared = page.content_type.partition("charset=")[2].partition(";")[0].strip(" \"'")
    try:
        charset = codecs.lookup(declared).name
    except (LookupError, ValueError):
        charset = "utf-8"
    text = page.body.decode(charset if _CHARSET.fullmatch(charset) else "utf-8", errors="replace")
    return text.removeprefix("\ufeff")
