"""Faults 20 and 21: providers that lie, and floods."""

import asyncio
import json
from typing import Any

import pytest

from tests.faults.product import Api, Product, data_of
from tests.faults.providers.asking import Stub, bills_of

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
