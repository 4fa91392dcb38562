"""Faults 17, 18 and 19: providers that stall, end in the middle, or are alive and say nothing."""

import asyncio

import pytest

from tests.faults.product import Api, Product, data_of
from tests.faults.providers.asking import (
    ATTEMPT_SECONDS,
    FIRST_TOKEN_SECONDS,
    Stub,
    all_slots_free,
    bills_of,
)

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
