"""Faults 15 to 22: providers and tools that refuse, stall, lie and flood, and what runs make of it.

One product serves all tests here, with short waits; each test has models of its own at the stub.
"""

import asyncio
import json
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.faults import stubborn_tools
from tests.faults.product import Api, Json, Product, StubProcess, data_of
from tests.rig.tools import TARGETS

FIRST_TOKEN_SECONDS = 1.0
IDLE_SECONDS = 1.0
ATTEMPT_SECONDS = 5.0
RETRY_SECONDS = 0.05


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StubProcess]:
    stub = StubProcess(tmp_path_factory.mktemp("provider"))
    yield stub
    stub.close()


@pytest.fixture(scope="module")
def product(provider: StubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    made = Product(
        tmp_path_factory.mktemp("product"),
        OPENAI_API_KEY="sk-stub",
        OPENAI_BASE_URL=f"{provider.url}/v1",
        ANTHROPIC_API_KEY="sk-stub",
        ANTHROPIC_BASE_URL=provider.url,
        first_token_seconds=FIRST_TOKEN_SECONDS,
        idle_seconds=IDLE_SECONDS,
        attempt_seconds=ATTEMPT_SECONDS,
        retry_seconds=RETRY_SECONDS,
        tools=",".join((*TARGETS, *stubborn_tools.TARGETS)),
    )
    made.start()
    try:
        yield made
        print(f"{asyncio.run(made.check())} runs hold")
    finally:
        made.close()


class Stub:
    """The stub provider as this test uses it: models that no other test asks for."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http

    async def model(self, marks: str = "", vendor: str = "openai") -> str:
        """Return a new model that behaves like this."""
        name = f"m-{uuid.uuid4().hex[:8]}"
        await self.control(f"{vendor}/{name}", marks)
        return f"{vendor}/{name}"

    async def control(self, model: str, marks: str) -> None:
        await self._http.post("/control", json={model.partition("/")[2]: marks})

    async def log(self, *models: str) -> list[Json]:
        """Return the requests for these models, by arrival."""
        names = {model.partition("/")[2] for model in models}
        entries = (await self._http.get("/log")).json()["requests"]
        return [entry for entry in entries if entry["model"] in names]

    async def arrived(self, model: str, outcome: str | None = None) -> Json:
        """Wait for a request for this model, and for how it ended."""
        async with asyncio.timeout(30):
            while True:
                for entry in await self.log(model):
                    if outcome in (None, entry["outcome"]):
                        return entry
                await asyncio.sleep(0.01)


@pytest.fixture
async def stub(provider: StubProcess) -> AsyncIterator[Stub]:
    async with httpx2.AsyncClient(base_url=provider.url, trust_env=False) as http:
        yield Stub(http)


@pytest.fixture
async def api(product: Product) -> AsyncIterator[Api]:
    async with product.api() as made:
        yield made


async def busy_slots(api: Api) -> int:
    slots = (await api.call("GET", "/api/v1/agents"))["agents"]
    assert slots, "the pool has slots"
    return sum(slot["state"] == "busy" for slot in slots)


async def all_slots_free(api: Api) -> None:
    async with asyncio.timeout(10):
        while await busy_slots(api):
            await asyncio.sleep(0.02)


def bills_of(log: list[Json]) -> list[tuple[str, str | None]]:
    """Return of each billed attempt the model and the error's code."""
    bills = data_of(log, "llm_call_done")
    return [(b["model"], b["error"] and b["error"]["code"]) for b in bills]


# 15: rate limits


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
async def test_a_rate_limit_is_waited_out_as_told_with_one_request_an_attempt(
    api: Api, stub: Stub, vendor: str
) -> None:
    model = await stub.model("[[status=429 retry_after=1 times=1]]", vendor)
    agent = await api.agent(model)

    run = await api.run("hello", agent)

    assert run["state"] == "DONE"
    refused, answered = await stub.log(model)
    assert (refused["outcome"], answered["outcome"]) == ("refused", "answered")
    waited = (answered["at_ns"] - refused["ended_ns"]) / 1e9
    assert waited >= 1.0
    log = await api.log(run["run_id"])
    assert bills_of(log) == [(model, "model_rate_limited"), (model, None)]
    assert run["usage"]["model_calls"] == 2


async def test_a_short_wait_is_honoured_although_another_model_stands_by(
    api: Api, stub: Stub
) -> None:
    first = await stub.model("[[status=429 retry_after_ms=400 times=1]]")
    second = await stub.model()

    run = await api.run("hello", await api.agent(first, second))

    assert run["state"] == "DONE"
    refused, answered = await stub.log(first)
    assert (answered["at_ns"] - refused["ended_ns"]) / 1e9 >= 0.4
    assert await stub.log(second) == []


async def test_a_long_wait_goes_to_the_next_model_and_starves_nobody(api: Api, stub: Stub) -> None:
    limited = await stub.model("[[status=429 retry_after=60]]")
    other = await stub.model("[[say=other]]")
    alone = await api.start("hello", await api.agent(limited))
    await stub.arrived(limited)

    agent = await api.agent(limited, other)
    began = time.monotonic()
    runs = await asyncio.gather(*(api.run("hello", agent) for _ in range(10)))

    assert time.monotonic() - began < 55, "sooner than the wait"
    assert [run["output"]["content"] for run in runs] == ["other"] * 10
    assert len(await stub.log(limited)) == 11, "one request each, none repeated"
    assert len(await stub.log(other)) == 10
    assert (await api.get(alone))["state"] == "RUNNING", "it waits as told"
    await api.cancel(alone)
    assert (await api.ended(alone))["state"] == "CANCELLED"


# 16: errors, and the chain


async def test_a_failing_chain_is_gone_through_in_order(api: Api, stub: Stub) -> None:
    down = await stub.model("[[status=500]]")
    refusing = await stub.model("[[status=400]]")
    locked = await stub.model("[[status=401]]", "anthropic")
    answering = await stub.model("[[say=finally]]", "anthropic")
    chain = (down, refusing, locked, answering)

    run = await api.run("hello", await api.agent(*chain))

    assert run["output"]["content"] == "finally"
    asked = [entry["model"] for entry in await stub.log(*chain)]
    names = [model.partition("/")[2] for model in chain]
    assert asked == [names[0]] * 3 + names[1:], "400 and 401 are not tried again"
    log = await api.log(run["run_id"])
    fallbacks = [(f["from"], f["to"], f["reason"]) for f in data_of(log, "model_fallback")]
    assert fallbacks == [
        (down, refusing, "model_unavailable"),
        (refusing, locked, "model_bad_request"),
        (locked, answering, "model_auth"),
    ]


async def test_a_chain_that_fails_whole_ends_the_run_with_the_last_reason(
    api: Api, stub: Stub
) -> None:
    down = await stub.model("[[status=503]]")
    locked = await stub.model("[[status=403]]")

    run = await api.run("hello", await api.agent(down, locked))

    assert run["state"] == "FAILED"
    assert run["error"]["code"] == "model_auth"
    assert len(await stub.log(down, locked)) == 4
    await all_slots_free(api)


# 17: silence


async def test_a_model_that_never_answers_is_left_for_the_next(api: Api, stub: Stub) -> None:
    silent = await stub.model("[[stall]]")
    other = await stub.model("[[say=here]]")

    run = await api.run("hello", await api.agent(silent, other))

    assert run["output"]["content"] == "here"
    log = await api.log(run["run_id"])
    assert bills_of(log) == [(silent, "model_timeout")] * 3 + [(other, None)]
    entries = await stub.log(silent)
    assert [entry["outcome"] for entry in entries] == ["client_closed"] * 3
    for entry in entries:
        waited = (entry["ended_ns"] - entry["at_ns"]) / 1e9
        assert waited >= FIRST_TOKEN_SECONDS * 0.9
    await all_slots_free(api)


@pytest.mark.parametrize("marks", ["[[stall]]", "[[tokens=9 stall_after=2]]"])
async def test_a_cancel_reaches_a_silent_model_at_once(api: Api, stub: Stub, marks: str) -> None:
    silent = await stub.model(marks)
    run_id = await api.start("hello", await api.agent(silent))
    await stub.arrived(silent)

    await api.cancel(run_id)
    run = await api.ended(run_id)

    assert run["state"] == "CANCELLED"
    assert run["usage"]["model_calls"] == 1, "not the watchdog's second attempt"
    await stub.arrived(silent, "client_closed")
    await all_slots_free(api)


# 18: half-closed streams


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
@pytest.mark.parametrize(
    "cut", ["half_close_after=4", "reset_after=4", "no_done no_finish times=3"]
)
async def test_a_stream_without_its_end_is_no_answer(
    api: Api, stub: Stub, vendor: str, cut: str
) -> None:
    cutting = await stub.model(f"[[tokens=9 {cut}]]", vendor)
    other = await stub.model("[[say=whole]]", vendor)

    run = await api.run("hello", await api.agent(cutting, other))

    assert run["output"]["content"] == "whole"
    log = await api.log(run["run_id"])
    assert bills_of(log) == [(cutting, "stream_incomplete")] * 3 + [(other, None)]
    assert all(bill["estimated"] for bill in data_of(log, "llm_call_done")[:3])


async def test_a_partial_tool_call_is_never_executed(
    api: Api, stub: Stub, product: Product
) -> None:
    asking = await stub.model(
        '[[tool=calculator args={"expression":"1+1"} no_done no_finish times=3]]'
    )
    other = await stub.model("[[say=none]]")

    run = await api.run("hello", await api.agent(asking, other, tools=("calculator",)))

    assert run["output"]["content"] == "none"
    log = await api.log(run["run_id"])
    assert [code for _, code in bills_of(log)] == ["stream_incomplete"] * 3 + [None]
    assert data_of(log, "tool_call_created") == []
    assert product.rows("SELECT 1 FROM tool_calls WHERE run_id = ?", run["run_id"]) == []


# 19: alive and saying nothing


async def test_keepalives_and_drips_are_no_progress(api: Api, stub: Stub) -> None:
    async def one(marks: str, vendor: str) -> None:
        busy = await stub.model(marks, vendor)
        other = await stub.model("[[say=over]]", vendor)
        run = await api.run("hello", await api.agent(busy, other))
        assert run["output"]["content"] == "over"
        log = await api.log(run["run_id"])
        assert bills_of(log) == [(busy, "model_timeout")] * 3 + [(other, None)], marks
        for entry in await stub.log(busy):
            assert (entry["ended_ns"] - entry["at_ns"]) / 1e9 < ATTEMPT_SECONDS - 1, marks

    await asyncio.gather(
        *(
            one(marks, vendor)
            for marks in ("[[keepalive_only]]", "[[tokens=3 drip_ms=100]]")
            for vendor in ("openai", "anthropic")
        )
    )
    await all_slots_free(api)


async def test_an_answer_without_end_meets_the_absolute_cap(api: Api, stub: Stub) -> None:
    endless = await stub.model("[[tokens=100000 gap_ms=50]]")
    run_id = await api.start("hello", await api.agent(endless))
    entry = await stub.arrived(endless, "client_closed")
    await stub.control(endless, "[[say=short]]")

    run = await api.ended(run_id)

    assert run["output"]["content"] == "short"
    lasted = (entry["ended_ns"] - entry["at_ns"]) / 1e9
    assert ATTEMPT_SECONDS * 0.9 <= lasted < ATTEMPT_SECONDS + 2
    assert bills_of(await api.log(run_id))[0] == (endless, "model_timeout")


# 20: garbage

GARBAGE = {
    "invalid_json": "malformed_reply",
    "wrong_types": "malformed_reply",
    "deep": "malformed_reply",
    "nan_usage": "malformed_reply",
    "surrogate": None,
    "nul": None,
}
"""What each kind is: an error by name, or text that can be kept."""


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
async def test_garbage_is_a_named_error_or_clean_text(api: Api, stub: Stub, vendor: str) -> None:
    async def one(kind: str, code: str | None) -> tuple[str, list[Any], str]:
        model = await stub.model(f"[[say=end garbage={kind}]]", vendor)
        run = await api.run("hello", await api.agent(model))
        log = await api.log(run["run_id"])
        if code is None:
            assert run["state"] == "DONE", (kind, run["error"])
            text = run["output"]["content"]
            assert text.startswith("a")
            assert text.endswith("end")
            assert "\0" not in json.dumps(log, ensure_ascii=False)
        return kind, bills_of(log), run["state"]

    found = await asyncio.gather(*(one(kind, code) for kind, code in GARBAGE.items()))
    print(vendor, found)
    for kind, bills, state in found:
        if GARBAGE[kind] is None:
            assert len(bills) == 1
        else:
            assert state == "FAILED", kind
            assert [code for _, code in bills] == [GARBAGE[kind]] * 3, "tried again, not for ever"
    assert (await api.run("hello", await api.agent(await stub.model())))["state"] == "DONE"


async def test_a_model_that_insists_on_an_unknown_tool_ends_after_two_repairs(
    api: Api, stub: Stub
) -> None:
    model = await stub.model("[[tool=no_such_tool tool_turns=99]]")

    run = await api.run("hello", await api.agent(model, tools=("calculator",)))

    assert run["state"] == "FAILED"
    assert run["error"]["code"] == "malformed_reply"
    assert len(await stub.log(model)) == 3


async def test_arguments_that_are_no_json_are_told_to_the_model(api: Api, stub: Stub) -> None:
    model = await stub.model(r'[[tool=calculator args="{broken \u0000 [["]]')

    run = await api.run("hello", await api.agent(model, tools=("calculator",)))

    assert run["state"] == "DONE"
    (result,) = data_of(await api.log(run["run_id"]), "tool_result")
    assert result["status"] == "failed"


# 21: floods


@pytest.mark.parametrize(
    "marks",
    [
        "[[huge_text=50MB]]",
        "[[huge_event=20MB]]",
        "[[tool_calls=5000]]",
        "[[huge_args=10MB]]",
    ],
)
async def test_a_flood_is_cut_with_a_name(
    api: Api, stub: Stub, product: Product, marks: str
) -> None:
    flooding = await stub.model(marks)
    other = await stub.model("[[say=brief]]")
    before = product.child.rss_mib()

    run = await api.run("hello", await api.agent(flooding, other, tools=("calculator",)))

    assert run["output"]["content"] == "brief"
    log = await api.log(run["run_id"])
    assert bills_of(log) == [(flooding, "reply_too_large"), (other, None)]
    assert len(await stub.log(flooding)) == 1, "asking again would not make it smaller"
    assert await product.history_bytes(run["run_id"]) < 100_000
    assert product.child.rss_mib() - before < 120


async def test_a_flood_of_text_shows_at_most_the_limit(api: Api, stub: Stub) -> None:
    flooding = await stub.model("[[huge_text=50MB]]")

    run = await api.run("hello", await api.agent(flooding))

    assert (run["state"], run["error"]["code"]) == ("FAILED", "reply_too_large")
    log = await api.log(run["run_id"])
    shown = sum(len(delta["text"]) for delta in data_of(log, "agent_stream_delta"))
    assert 0 < shown <= 2 * 1024 * 1024


async def test_a_huge_tool_result_is_cut_and_history_holds_references(
    api: Api, stub: Stub, product: Product
) -> None:
    model = await stub.model('[[tool=large_result args={"size":10000000} tool_turns=3 say=read]]')

    run = await api.run("hello", await api.agent(model, tools=("large_result",)))

    assert run["state"] == "DONE"
    results = data_of(await api.log(run["run_id"]), "tool_result")
    assert len(results) == 3
    for result in results:
        assert "result_too_large, 10000000 bytes" in result["result"][-120:]
        assert len(result["result"]) < 1_100_000
    assert await product.history_bytes(run["run_id"]) < 200_000


# 22: tools that hang


async def test_hanging_tools_are_cut_and_leave_no_slot_behind(
    api: Api, stub: Stub, tmp_path: Path
) -> None:
    blocking = tmp_path / "blocking"
    model = await stub.model(
        '[[tool=hang args={}]] [[tool=hang_deaf args={"seconds":30}]]'
        f' [[tool=hang_blocking args={{"path":"{blocking}"}}]] [[say=over]]'
    )
    tools = ("hang", "hang_deaf", "hang_blocking")

    runs = await asyncio.gather(
        *(api.run("hello", agent) for agent in [await api.agent(model, tools=tools)] * 3)
    )

    for run in runs:
        assert run["state"] == "DONE"
        results = data_of(await api.log(run["run_id"]), "tool_result")
        assert [result["status"] for result in results] == ["timeout"] * 3
        assert {result["error"]["code"] for result in results} == {"tool_timeout"}
    await all_slots_free(api)
    await gone(int(blocking.read_text()))


async def gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while Path(f"/proc/{pid}").exists() and os.path.realpath(f"/proc/{pid}/exe"):
            stat = Path(f"/proc/{pid}/stat").read_text()
            if stat.rpartition(")")[2].split()[0] == "Z":
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("tool", "args"),
    [("deaf_for_long", {"seconds": 40.0}), ("blocked_for_long", {})],
)
async def test_a_cancel_is_visible_soon_whatever_a_tool_does(
    api: Api, stub: Stub, tmp_path: Path, tool: str, args: dict[str, Any]
) -> None:
    runs_at = tmp_path / "runs"
    asked_for = json.dumps(args | {"path": str(runs_at)})
    model = await stub.model(f"[[tool={tool} args={asked_for}]]")
    run_id = await api.start("hello", await api.agent(model, tools=(tool,)))
    async with asyncio.timeout(30):
        while not runs_at.exists():
            await asyncio.sleep(0.02)

    asked = time.monotonic()
    await api.cancel(run_id)
    run = await api.ended(run_id)

    assert run["state"] == "CANCELLED"
    assert time.monotonic() - asked < 30, "before the tool would have ended"
    await all_slots_free(api)
    assert (await api.run("hello", await api.agent(await stub.model())))["state"] == "DONE"


async def test_a_tool_deaf_to_its_end_does_not_keep_the_process(tmp_path: Path) -> None:
    tools = ",".join(stubborn_tools.TARGETS)
    product = Product(tmp_path / "product", tools=tools, drain_seconds=1).start()
    try:
        async with product.api() as api:
            runs_at = tmp_path / "runs"
            args = {"path": str(runs_at), "seconds": 300.0}
            body = {"args": args, "timeout_ms": 1000}
            asked = asyncio.create_task(api.call("POST", "/v1/tools/deaf_for_long/invoke", body))
            async with asyncio.timeout(30):
                while not runs_at.exists():
                    await asyncio.sleep(0.02)
            product.child.terminate(30)
            await asyncio.wait({asked})
            asked.exception()
    finally:
        product.close()
