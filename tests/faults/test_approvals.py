"""Faults 23 and 24, attacks 14 to 16: people race, come late or forge; processes die meanwhile."""

import asyncio
import json
import random
from typing import Any

import pytest

from tests.faults.conftest import LedgerAt
from tests.rig.viewer import Viewer
from tests.rig.world import World

pytestmark = pytest.mark.timeout(300)
RUNS = 6
CLIENTS = 20
POLICY = {"rules": [{"tool": "charge_unsafe", "decision": "ask"}]}


async def parked(world: World, ledger: LedgerAt, count: int) -> dict[str, Viewer]:
    """Start runs that wait for a person; return who watches each, by its approval."""
    await world.agent(tools=("charge_unsafe",))
    await world.send("PATCH", "/v1/agents/helper", {"tool_policy": POLICY})
    script = f"call charge_unsafe {json.dumps({'url': ledger[1]})}\n---\nsay {{result}}"
    viewers = [world.watch(await world.start(script)) for _ in range(count)]
    for viewer in viewers:
        await viewer.sees("approval_required")
    found = (await world.get("/v1/approvals?status=pending"))["approvals"]
    by_run = {viewer.run_id: viewer for viewer in viewers}
    return {approval["approval_id"]: by_run[approval["run_id"]] for approval in found}


async def race(world: World, approval_id: str, rng: random.Random) -> list[tuple[int, Any]]:
    """Have many clients answer at once, each its own way; return what each was told."""
    words = [rng.choice(("approve", "reject")) for _ in range(CLIENTS)]

    async def answer(word: str) -> tuple[int, Any]:
        reply = await world.http.post(
            f"{world.url}/v1/approvals/{approval_id}/decide", json={"decision": word}
        )
        return reply.status_code, reply.json()

    return list(await asyncio.gather(*(answer(word) for word in words)))


async def test_people_race_after_everything_was_killed_while_it_waited(
    world: World, ledger: LedgerAt, seed: int
) -> None:
    """Fault 24: one answer counts, the others learn of it, and the tool runs as it says, once."""
    role = await world.up()
    viewers = await parked(world, ledger, RUNS)
    assert len(viewers) == RUNS
    role.kill()
    await world.up()
    rng = random.Random(seed)

    told = {one: await race(world, one, rng) for one in viewers}
    ends = [await viewer.ends() for viewer in viewers.values()]

    assert ends == ["run_done"] * RUNS
    books = await world.check(effects=ledger[0])
    status = {row["approval_id"]: row["status"] for row in books.tables["approvals"]}
    for approval_id, answers in told.items():
        codes = sorted(code for code, _ in answers)
        assert codes == [200] + [409] * (CLIENTS - 1)
        (winner,) = [body for code, body in answers if code == 200]
        assert winner["status"] == status[approval_id]
        assert all(status[approval_id] in body["detail"] for code, body in answers if code == 409)
        assert viewers[approval_id].count("approval_decision") == 1
    approved = sum(one == "approved" for one in status.values())
    assert [effect.arrivals for effect in ledger[0].effects.values()] == [1] * approved


async def test_an_answer_for_a_run_that_was_cancelled_changes_nothing(
    world: World, ledger: LedgerAt
) -> None:
    """Fault 24: an old tab. What the run would have done is not done by anything later."""
    await world.up()
    ((approval_id, viewer),) = (await parked(world, ledger, 1)).items()
    await world.send("POST", f"/v1/runs/{viewer.run_id}/cancel", {})
    assert await viewer.ends() == "run_cancelled"

    reply = await world.http.post(
        f"{world.url}/v1/approvals/{approval_id}/decide", json={"decision": "approve"}
    )

    assert (reply.status_code, reply.json()["code"]) == (409, "run_terminal")
    await world.check(effects=ledger[0])
    assert ledger[0].effects == {}
