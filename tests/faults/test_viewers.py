"""Faults 26 to 28: viewers that drop, viewers that do not read, and a shutdown under all."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from adapters.llm.sse import SseParser
from tests.faults.product import Api, Json, Product, Viewer, check_run, data_of

WORDS = "one two three four five six seven eight nine ten eleven twelve"
STUCK_SECONDS = 5.0
"""After which a reader that takes nothing is cut; a heavy test takes the product's own 30."""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    tools = "tests.rig.tools:large_result"
    folder = tmp_path_factory.mktemp("product")
    made = Product(folder, tools=tools, stall_seconds=STUCK_SECONDS).start()
    try:
        yield made
        assert asyncio.run(made.check()) >= 3
    finally:
        made.close()


@pytest.fixture
async def api(product: Product) -> AsyncIterator[Api]:
    async with product.api() as made:
        yield made


async def script_agent(api: Api) -> str:
    return await api.agent("offline/script", tools=("calculator",))


# 26: viewers that drop


async def hold_to_every_index(api: Api, script: str, drops: int) -> None:
    """Watch one live run by as many viewers as it has events, each dropping somewhere else."""
    run_id = await api.start(script, await script_agent(api))
    expected = 30

    async def drops_at(index: int) -> list[Json]:
        viewer = await api.viewer(run_id).watch(index)
        if not viewer.has_ended:
            for _ in range(drops):
                await viewer.watch(0)
        return (await viewer.to_end()).seen

    async def drops_always() -> list[Json]:
        viewer = api.viewer(run_id)
        async with asyncio.timeout(60):
            while not viewer.has_ended:
                await viewer.watch(1)
        return viewer.seen

    views = await asyncio.gather(
        *(drops_at(index) for index in range(1, expected)), drops_always(), drops_always()
    )

    log = await api.log(run_id)
    assert len(log) >= 15
    assert all(view == log for view in views), "a viewer missed or repeated an event"
    check_run(await api.get(run_id), log)
    assert [event["type"] for event in log].count("run_started") == 1
    assert {call["attempt"] for call in data_of(log, "llm_call_started")} == {1}, "not run again"

    async def ends_with_nothing_new(seq: int) -> None:
        """After the end too: the exact rest from every index, 204 after the last event."""
        viewer = api.viewer(run_id)
        viewer.seen = log[:seq]
        await viewer.watch()
        assert viewer.status == (204 if seq == len(log) else 200)
        assert viewer.seen == log

    await asyncio.gather(*(ends_with_nothing_new(seq) for seq in range(len(log) + 1)))


async def test_a_viewer_that_drops_at_any_event_gets_the_exact_rest(api: Api) -> None:
    script = f'call calculator {{"expression": "6*7"}}\n---\nsay {WORDS} {{result}}\ngap_ms=60'
    await hold_to_every_index(api, script, drops=2)


@pytest.mark.heavy
@pytest.mark.parametrize("gap_ms", [5, 20, 150])
async def test_viewers_drop_at_any_event_of_runs_of_any_pace(api: Api, gap_ms: int) -> None:
    for _ in range(5):
        script = f'call calculator {{"expression": "6*7"}}\n---\nsay {WORDS}\ngap_ms={gap_ms}'
        await hold_to_every_index(api, script, drops=4)


# 27: viewers that do not read


class StuckViewer:
    """A connection with a tiny window that asks for a stream and never reads it."""

    def __init__(self, url: str, run_id: str, after: int = 0) -> None:
        parts = urlsplit(url)
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect((parts.hostname, parts.port))
        head = f"GET /v1/runs/{run_id}/events?after_seq={after} HTTP/1.1\r\nhost: localhost\r\n"
        self.socket.sendall(f"{head}accept: text/event-stream\r\n\r\n".encode())

    def rest(self) -> list[Json]:
        """Read what had arrived before the connection was cut; the whole events of it."""
        found = b""
        self.socket.settimeout(10)
        try:
            while piece := self.socket.recv(65536):
                found += piece
        except ConnectionResetError:
            pass
        finally:
            self.socket.close()
        _, _, body = found.partition(b"\r\n\r\n")
        return [json.loads(e.data) for e in SseParser().feed(_dechunked(body)) if e.last_event_id]


def _dechunked(body: bytes) -> bytes:
    """Return the bytes of a chunked body, which may stop anywhere."""
    whole = b""
    while body:
        size, end, rest = body.partition(b"\r\n")
        if not end or not size:
            break
        count = int(size, 16)
        whole += rest[:count]
        body = rest[count + 2 :]
    return whole


STALLED = 'orchestrator_sse_cut_total{reason="stalled"}'


async def metric(api: Api, name: str) -> float:
    text = (await api.http.get("/metrics")).text
    values = [line.split()[-1] for line in text.splitlines() if line.startswith(name)]
    return float(values[0]) if values else 0.0


async def lateness(api: Api, agent: str, tokens: int) -> list[float]:
    """Watch a paced run and return how late each word arrived, in seconds."""
    run_id = await api.start(f"tokens={tokens} gap_ms=20\nclock", agent)
    late: list[float] = []
    parser = SseParser()
    headers = {"accept": "text/event-stream"}
    async with api.http.stream("GET", f"/v1/runs/{run_id}/events", headers=headers) as reply:
        async for chunk in reply.aiter_bytes():
            now = time.monotonic_ns()
            for event in parser.feed(chunk):
                if event.event != "agent_stream_delta":
                    continue
                stamps = json.loads(event.data)["data"]["text"].split("@")[1:]
                late += [(now - int(stamp.split()[0])) / 1e9 for stamp in stamps]
    assert (await api.get(run_id))["state"] == "DONE"
    return sorted(late)


async def large_run(api: Api) -> tuple[Json, list[Json]]:
    """Make a run whose log is more than the kernel holds for a connection."""
    agent = await api.agent("offline/script", tools=("large_result",))
    call = 'call large_result {"size": 100000}'
    run = await api.run("\n".join([*[call] * 70, "---", "say done"]), agent)
    log = await api.log(run["run_id"])
    assert sum(len(json.dumps(event)) for event in log) > 5_500_000
    return run, log


async def hold_against_stuck_viewers(
    product: Product, api: Api, count: int, words: int, share: float
) -> None:
    """Have so many viewers never read, and others watch meanwhile.

    Args:
        words: how many of those others see at least.
        share: of these so many may not be later than without the stuck ones.
    """
    agent = await script_agent(api)
    large, log = await large_run(api)
    quiet = await lateness(api, agent, 100)
    cut = await metric(api, STALLED)
    before = product.child.rss_mib()

    with ExitStack() as stack:
        stuck = [StuckViewer(product.url, large["run_id"]) for _ in range(count)]
        for viewer in stuck:
            stack.callback(viewer.socket.close)
        began = time.monotonic()
        peak, late = before, list[float]()
        async with asyncio.timeout(90):
            while len(late) < words or await metric(api, STALLED) - cut < count:
                late += await lateness(api, agent, 50)
                peak = max(peak, product.child.rss_mib())
        took = time.monotonic() - began
        seen = [viewer.rest() for viewer in stuck]

    late.sort()
    alone, beside = quiet[int(len(quiet) * share)], late[int(len(late) * share)]
    print(
        f"{count} stuck viewers cut after {took:.1f} s; RSS {before:.0f} -> {peak:.0f} MiB;"
        f" p{share * 100:.0f} of {len(late)} words {beside * 1000:.1f} ms,"
        f" alone {alone * 1000:.1f} ms"
    )
    assert await metric(api, "orchestrator_sse_clients") == 0
    assert len(late) >= words
    assert beside < alone + 0.25
    assert peak - before < 40 + count * 1.5, "each may hold a chunk and a page, not a log"
    for events in seen:
        assert events == log[: len(events)], "what it had is a prefix"
        assert len(events) < len(log)
    resumed = api.viewer(large["run_id"])
    resumed.seen = seen[0]
    assert (await resumed.to_end()).seen == log


async def test_viewers_that_never_read_are_cut_and_cost_nobody_else(
    product: Product, api: Api
) -> None:
    """The median: what else runs on the machine makes a few words late at any time."""
    await hold_against_stuck_viewers(product, api, 20, words=100, share=0.5)


@pytest.mark.heavy
@pytest.mark.timeout(240)
async def test_two_hundred_viewers_that_never_read(tmp_path: Path) -> None:
    product = Product(tmp_path / "product", tools="tests.rig.tools:large_result").start()
    try:
        async with product.api() as api:
            await hold_against_stuck_viewers(product, api, 200, words=200, share=0.95)
    finally:
        product.close()


# 28: a shutdown under load

MOST = 0.75
"""So much of the load must still be there at the stop, or it was none."""


@pytest.mark.parametrize(
    ("runs", "tokens"),
    [(10, 60), pytest.param(50, 150, marks=pytest.mark.heavy)],
    ids=["short", "long"],
)
async def test_a_shutdown_under_load_loses_and_cancels_nothing(
    tmp_path: Path, runs: int, tokens: int
) -> None:
    product = Product(tmp_path).start()
    try:
        async with product.api() as api:
            agent = await script_agent(api)
            script = f"tokens={tokens} gap_ms=100"
            ids = await asyncio.gather(*(api.start(script, agent) for _ in range(runs)))
            await asyncio.gather(*(api.seen(run_id, "agent_stream_delta") for run_id in ids))
            viewers = [api.viewer(run_id) for run_id in ids for _ in range(2)]
            await stop_under(product, viewers)
        rows = product.rows("SELECT state, count(*) AS n FROM runs GROUP BY state")
        states = {row["state"]: row["n"] for row in rows}
        # On a slow machine some say their last word while the others are stopped.
        assert states["RUNNING"] + states.get("DONE", 0) == runs, states
        assert states["RUNNING"] >= runs * MOST, states

        product.start()
        async with product.api() as api:
            for viewer in viewers:
                viewer.http = api.http
            await asyncio.gather(*(viewer.to_end() for viewer in viewers))
            for viewer in viewers:
                assert viewer.seen == await api.log(viewer.run_id)
            for run_id in ids:
                run = await api.get(run_id)
                assert (run["state"], run["usage"]["turns"]) == ("DONE", 1)
        assert await product.check() == runs
    finally:
        product.close()


async def stop_under(product: Product, viewers: list[Viewer]) -> None:
    """Stop the product while all of them watch, and hold it to its manners."""
    watching = [asyncio.create_task(viewer.watch()) for viewer in viewers]
    async with asyncio.timeout(30):
        while not all(viewer.seen for viewer in viewers):
            await asyncio.sleep(0.02)
    took = await asyncio.to_thread(product.child.terminate, 60)
    await asyncio.gather(*watching)
    code = product.child.wait(1)
    print(f"{len(viewers)} streams: ended after {took:.1f} s with {code}")
    assert code == 0
    cut = [viewer for viewer in viewers if not viewer.has_ended]
    assert len(cut) >= len(viewers) * MOST
    assert all(len(viewer.notices) == 1 for viewer in cut)
    ends = {viewer.seen[-1]["type"] for viewer in viewers if viewer.has_ended}
    assert ends <= {"run_done"}
