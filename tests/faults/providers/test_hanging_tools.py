"""Fault 22: tools that hang, and are deaf to their end."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults import stubborn_tools
from tests.faults.product import Api, Product, data_of
from tests.faults.providers.asking import Stub, all_slots_free
from tests.rig.waiting import gone, until


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
    await until("the tool runs", runs_at.exists, 30)

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
            await until("the tool runs", runs_at.exists, 30)
            product.child.terminate(30)
            await asyncio.wait({asked})
            asked.exception()
    finally:
        product.close()
