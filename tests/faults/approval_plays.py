"""Plays of a call that waits to be allowed."""

from tests.faults.books import Books
from tests.faults.scene import Played, Scene
from tests.rig.viewer import Viewer


async def ask_for_a_charge(scene: Scene) -> tuple[str, Viewer, str]:
    """Start a run that has to be allowed to charge; return it, who watches, and the question."""
    world = scene.world
    policy = {"rules": [{"tool": "charge_keyed", "decision": "ask"}]}
    await world.send("PATCH", "/v1/agents/helper", {"tool_policy": policy})
    run_id = await world.start(f"call charge_keyed {scene.url_args}\n---\nsay {{result}}")
    viewer = world.watch(run_id)
    await viewer.sees("approval_required")
    (asked,) = (await world.get(f"/v1/approvals?run_id={run_id}"))["approvals"]
    return run_id, viewer, asked["approval_id"]


def charged_once(scene: Scene, run_id: str, viewer: Viewer, decided_by: str) -> Played:
    """The effect is there once, the log tells one decision, and who made it is on record."""

    def look(books: Books) -> None:
        assert books.run(run_id)["state"] == "DONE"
        # Once per key: an attempt whose end was lost comes again under the same one.
        assert [effect.tool for effect in scene.ledger.effects.values()] == ["charge_keyed"]
        kinds = ("approval_required", "approval_decision")
        assert [viewer.count(kind) for kind in kinds] == [1, 1]
        (row,) = books.tables["approvals"]
        assert (row["status"], row["decided_by"]) == ("approved", decided_by)

    return look


async def play_approval(scene: Scene) -> Played:
    """A person lets a call run, and says so again if not answered."""
    run_id, viewer, asked = await ask_for_a_charge(scene)
    body = {"decision": "approve"}
    await scene.world.send("POST", f"/v1/approvals/{asked}/decide", body, allowed=(409,))
    assert await viewer.ends() == "run_done"
    return charged_once(scene, run_id, viewer, "local")


async def play_relaxed(scene: Scene) -> Played:
    """The policy is relaxed while a call waits."""
    run_id, viewer, _ = await ask_for_a_charge(scene)
    await scene.world.send("PATCH", "/v1/agents/helper", {"tool_policy": {}})
    assert await viewer.ends() == "run_done"
    return charged_once(scene, run_id, viewer, "tool policy")
