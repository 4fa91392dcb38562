"""Faults 15 and 16: rate limits and errors, and the chain of models."""

import asyncio
import time

import pytest

from tests.faults.product import Api, data_of
from tests.faults.providers.asking import Stub, all_slots_free, bills_of

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
    assert len(await stub.log(limited)) == 1, "it was told once to stay away, for all"
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
