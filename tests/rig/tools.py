"""Tools of the tests, for `ORCHESTRATOR_TOOLS`: they leave marks in an effect ledger, or misbehave.

The ledger's address is an argument of each call, so that nothing but the prompt says what happens.
"""

import asyncio
import json
import os
import signal
import time
import urllib.request
from urllib.parse import urlsplit

from adapters.tools.context import ToolContext
from adapters.tools.decorator import tool
from domain.errors import ToolFailedError, TransientError
from domain.tool import Effect

NAMES = (
    "read_only",
    "charge_keyed",
    "charge_unsafe",
    "charge_brief",
    "charge_blocking",
    "charge_flaky",
    "charge_and_raise",
    "charge_and_refuse",
    "hang",
    "hang_deaf",
    "hang_blocking",
    "kill_worker",
    "raise_blocking",
    "large_result",
    "read_page",
)
TARGETS = tuple(f"{__name__}:{name}" for name in NAMES)


async def post(url: str, key: str, name: str) -> int:
    """Leave one mark and return how often this key has arrived."""
    parts = urlsplit(url)
    body = json.dumps({"key": key, "tool": name}).encode()
    head = f"POST /effect HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(head.encode() + body)
        header = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in header.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        return int(json.loads(await reader.readexactly(length))["arrivals"])
    finally:
        writer.close()


@tool
async def read_only(url: str, context: ToolContext) -> int:
    """Leave a mark; a second one would do no harm."""
    return await post(url, context.idempotency_key, "read_only")


@tool(effect=Effect.IDEMPOTENT)
async def charge_keyed(url: str, context: ToolContext) -> int:
    """Charge once per idempotency key."""
    return await post(url, context.idempotency_key, "charge_keyed")


@tool(effect=Effect.UNSAFE)
async def charge_unsafe(url: str, context: ToolContext) -> int:
    """Charge; a second call would charge again."""
    return await post(url, context.idempotency_key, "charge_unsafe")


@tool(effect=Effect.UNSAFE, timeout_seconds=0.4)
async def charge_brief(url: str, context: ToolContext) -> int:
    """Charge, and be cut soon."""
    return await post(url, context.idempotency_key, "charge_brief")


@tool(effect=Effect.UNSAFE)
def charge_blocking(url: str, context: ToolContext) -> int:
    """Charge from a process of its own."""
    body = json.dumps({"key": context.idempotency_key, "tool": "charge_blocking"}).encode()
    with urllib.request.urlopen(f"{url}/effect", body) as reply:
        return int(json.load(reply)["arrivals"])


@tool(effect=Effect.UNSAFE)
async def charge_flaky(url: str, context: ToolContext) -> int:
    """Declare twice that nothing happened, then charge."""
    tries = await post(url, f"try:{context.idempotency_key}", "charge_flaky_try")
    if tries < 3:
        raise TransientError("the bank is closed; nothing happened")
    return await post(url, context.idempotency_key, "charge_flaky")


@tool(effect=Effect.UNSAFE)
async def charge_and_raise(url: str, context: ToolContext) -> int:
    """Charge, and lose the reply."""
    await post(url, context.idempotency_key, "charge_and_raise")
    raise ConnectionResetError("the reply was lost")


@tool(effect=Effect.UNSAFE)
async def charge_and_refuse(url: str, context: ToolContext) -> int:
    """Refuse, and say that nothing happened."""
    raise ToolFailedError("the account is closed; nothing was charged")


async def sleep_deaf(seconds: float) -> None:
    """Sleep for so long, and swallow every cancellation."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            await asyncio.sleep(until - time.monotonic())
        except asyncio.CancelledError:
            continue


@tool(timeout_seconds=0.3, attempts=1)
async def hang() -> str:
    """Never answer."""
    await asyncio.Event().wait()
    return "never"


@tool(timeout_seconds=0.3, attempts=1)
async def hang_deaf(seconds: float) -> str:
    """Never answer, and swallow cancellation for so long."""
    await sleep_deaf(seconds)
    return "late"


@tool(timeout_seconds=0.5, attempts=1)
def hang_blocking(path: str) -> str:
    """Write the process id to `path`, then block, deaf to SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(path, "w") as out:  # noqa: PTH123 - as a tool of a user would
        out.write(str(os.getpid()))
    while True:
        time.sleep(60)


@tool(attempts=1)
def raise_blocking() -> str:
    """Raise in a process of its own."""
    raise LookupError("no such thing")


@tool(attempts=3)
async def kill_worker() -> str:
    """Take the whole worker down."""
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


@tool(untrusted=True)
async def read_page(text: str) -> str:
    """Return what a stranger wrote."""
    return text


@tool
async def large_result(size: int) -> str:
    """Return so many characters."""
    return "x" * size
