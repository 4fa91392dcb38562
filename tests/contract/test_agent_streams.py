"""The bar: fuzzed streams of external agents, each a typed failure or the right answer (fault 33).

Over real sockets, with the deadlines of the product's own step. `make faults` does not go here:
`pytest -m heavy tests/contract/test_agent_streams.py` reads ten thousand.
"""

import asyncio
import contextlib
import gc
import os
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from activities.agents import AgentSettings, patiently
from adapters.agents.http import HttpAgentInvoker
from adapters.net.guard import guarded_client
from adapters.net.policy import LOOPBACK, AddressPolicy
from domain.agent import AgentDelta, AgentDone, AgentInvocation
from domain.chat import ChatMessage
from domain.errors import OrchestratorError
from tests.contract.fuzzed_streams import CUT, LIMITS, RUN, Plan, plan_of

AT_ONCE = 16
SLACK_SECONDS = 60.0
"""No stream may last as long; the machine may be busy."""


class Server:
    """Sends the plan of the seed that is named in the path."""

    def __init__(self) -> None:
        self.url = ""
        self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                _, plan = plan_of(int(head.split(b"/")[1]))
                await self._send(plan, reader, writer)
        finally:
            self.open -= 1
            writer.close()

    async def _send(
        self, plan: Plan, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        for piece in plan.answer():
            if piece is CUT:
                writer.transport.abort()
                return
            if isinstance(piece, float):
                await asyncio.sleep(piece)
                continue
            writer.write(piece)
            await writer.drain()
            if writer.transport.is_closing():
                return
        if plan.holds:
            while await reader.read(65536):
                pass


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with listener:
        yield server
        async with asyncio.timeout(10):
            while server.open:
                await asyncio.sleep(0.01)


@dataclass
class Tally:
    """What became of the streams."""

    ended: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0


async def read(invoker: HttpAgentInvoker, url: str, seed: int) -> str:
    """Read one stream as the step does; return its final text."""
    _, plan = plan_of(seed)
    patience = AgentSettings(plan.idle_seconds, plan.total_seconds)
    invocation = AgentInvocation(
        endpoint=f"{url}/{seed}",
        agent_id="agent_1",
        session_id="sess_1",
        run_id=RUN,
        input_message=ChatMessage(role="user", content="hi"),
        messages=(),
    )
    said: list[str] = []
    async with aclosing(patiently(invoker.stream(invocation), patience, "agent_1")) as chunks:
        async for chunk in chunks:
            if isinstance(chunk, AgentDone):
                assert chunk.final_message is not None
                return chunk.final_message
            if isinstance(chunk, AgentDelta):
                said.append(chunk.text)
    raise AssertionError(f"no end, and no error; it said {said!r}")


async def judge(invoker: HttpAgentInvoker, url: str, seed: int, tally: Tally) -> None:
    kind, plan = plan_of(seed)
    began = time.monotonic()
    found: object
    try:
        found = await asyncio.wait_for(read(invoker, url, seed), SLACK_SECONDS)
        is_right = plan.text is not None and found == plan.text
        tally.ended["answer"] += 1
    except OrchestratorError as error:
        found = error
        is_right = isinstance(error, plan.errors) and plan.said in error.message
        tally.ended[error.code] += 1
    except Exception as error:  # noqa: BLE001 - whatever is not typed is what is looked for
        found, is_right = error, False
    tally.slowest = max(tally.slowest, time.monotonic() - began)
    if not is_right:
        tally.wrong.append(
            f"seed {seed} ({kind}): {found!r:.300}, not {plan.text!r}, {plan.errors}, {plan.said}"
        )


async def read_all(seeds: range) -> Tally:
    tally, waiting = Tally(), iter(seeds)

    async def work(invoker: HttpAgentInvoker, url: str) -> None:
        for seed in waiting:
            await judge(invoker, url, seed, tally)

    async with serving() as server, guarded_client(AddressPolicy(LOOPBACK)) as client:
        invoker = HttpAgentInvoker(client, platform_base_url="http://p.test", limits=LIMITS)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(work(invoker, server.url))
    return tally


def rss_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.untraced  # through lines that the invoker's own tests cover
async def test_fuzzed_streams_are_answers_or_typed_failures() -> None:
    """Each kind of stream three times; ten thousand are among the heavy ones."""
    tally = await read_all(range(81))

    assert not tally.wrong, "\n".join(tally.wrong[:20])
    assert set(tally.ended) == {"answer", "agent_error", "agent_unavailable"}


@pytest.mark.untraced  # two tracers in one: eight times as slow
async def test_streams_leave_no_memory_behind() -> None:
    """A second round over the same streams allocates nothing that stays."""
    await read_all(range(27))
    gc.collect()
    tracemalloc.start()
    try:
        await read_all(range(27))
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        await read_all(range(54))
        gc.collect()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert after - before < 256 * 1024
    assert peak - before < 40 * 1024 * 1024, "16 streams at once, each with its limits"


@pytest.mark.heavy
@pytest.mark.timeout(1800)
async def test_ten_thousand_fuzzed_streams_and_memory_stays_flat() -> None:
    """The bar: 10,000 streams, a typed failure each or the right answer, memory flat."""
    await read_all(range(1000))
    before = rss_bytes()
    began = time.monotonic()

    tally = await read_all(range(1000, 11_000))

    grown = rss_bytes() - before
    print(
        f"\n{sum(tally.ended.values())} streams in {time.monotonic() - began:.0f} s:"
        f" {dict(tally.ended)}; slowest {tally.slowest:.2f} s; memory grew by {grown >> 10} KiB"
    )
    assert not tally.wrong, "\n".join(tally.wrong[:20])
    assert sum(tally.ended.values()) == 10_000
    assert grown < 16 * 1024 * 1024
