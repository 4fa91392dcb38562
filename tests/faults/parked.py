"""Runs that wait, one for each kind of answer, and the answers that let them go on."""

import json
from dataclasses import dataclass
from typing import Any

from tests.faults.books import Books
from tests.faults.conftest import LedgerAt
from tests.rig.scripts import hand_down
from tests.rig.viewer import Viewer
from tests.rig.world import World

TOOL = {
    "name": "print_page",
    "description": "Prints a page.",
    "parameters": {"type": "object", "properties": {}},
    "timeout_seconds": 900,
}


@dataclass
class Parked:
    """Four runs that wait: for a person, a client, a child (of which one waits too), a session."""

    world: World
    ledger: LedgerAt
    approval: Viewer
    client: Viewer
    parent: Viewer
    holder: Viewer
    queued: Viewer

    @property
    def viewers(self) -> tuple[Viewer, ...]:
        return (self.approval, self.client, self.parent, self.holder, self.queued)

    async def answer(self) -> None:
        """Say what everybody waits for, again until it is heard."""
        world = self.world
        pending = (await world.get("/v1/approvals?status=pending"))["approvals"]
        assert len(pending) == 3, "the run's, its child's and the holder's"
        for asked in pending:
            path = f"/v1/approvals/{asked['approval_id']}/decide"
            await world.send("POST", path, {"decision": "approve"}, allowed=(409,))
        calls = (await world.get(f"/v1/tool_calls?run_id={self.client.run_id}"))["tool_calls"]
        at = f"/v1/tool_calls/{calls[0]['tool_call_id']}"
        token = (await world.send("POST", f"{at}/claim", {}, key="claim"))["token"]
        body = {"token": token, "result": "printed"}
        await world.send("POST", f"{at}/submit", body, key="submit")

    async def check(self) -> Books:
        """Wait for every end; each went on once, and every charge was made once."""
        assert [await viewer.ends() for viewer in self.viewers] == ["run_done"] * 5
        books = await self.world.check(effects=self.ledger[0])
        assert [effect.arrivals for effect in self.ledger[0].effects.values()] == [1] * 3
        assert books.answer(self.client.run_id) == "[offline] printed"
        assert books.answer(self.queued.run_id) == "[offline] my turn"
        for viewer, kind in ((self.approval, "approval_decision"), (self.client, "tool_request")):
            assert viewer.count(kind) == 1
        assert self.parent.count("agent_spawned") == 1
        assert {row["decided_by"] for row in books.tables["approvals"]} == {"local"}
        return books


async def park(world: World, ledger: LedgerAt) -> Parked:
    """Start the runs and wait until all of them wait."""
    policy = {"rules": [{"tool": "charge_unsafe", "decision": "ask"}]}
    await world.agent(tools=("charge_unsafe", "spawn_run"))
    await world.send("PATCH", "/v1/agents/helper", {"tool_policy": policy})
    charge = f"call charge_unsafe {json.dumps({'url': ledger[1]})}\n---\nsay {{result}}"
    approval = await _watch(world, charge, "run_waiting")
    client = await _watch(
        world, "call print_page {}\n---\nsay {result}", "tool_request", client_tools=[TOOL]
    )
    parent = await _watch(world, f"{hand_down(charge)}\n---\nsay {{result}}", "agent_spawned")
    children = (await world.get(f"/v1/runs/{parent.run_id}/children"))["runs"]
    await world.watch(children[0]["run_id"]).sees("run_waiting")
    holder = await _watch(world, charge, "run_waiting", session_id="s")
    queued = await _watch(world, "say my turn", "run_waiting", session_id="s")
    return Parked(world, ledger, approval, client, parent, holder, queued)


async def _watch(world: World, script: str, until: str, **fields: Any) -> Viewer:
    viewer = world.watch(await world.start(script, **fields))
    await viewer.sees(until)
    return viewer
