"""Plays of runs that have others work for them."""

from domain.family import child_run_id
from tests.faults.books import Books
from tests.faults.scene import Played, Scene
from tests.rig.scripts import hand_down


async def play_child(scene: Scene) -> Played:
    """A run waits for one child, which charges, and lets another one go."""
    tools = ["spawn_run", "charge_keyed"]
    await scene.world.send("PATCH", "/v1/agents/helper", {"tools": tools})
    held = hand_down(f"call charge_keyed {scene.url_args}\n---\nsay paid")
    free = hand_down("say free", wait=False)
    run_id = await scene.world.start(f"{held}\n{free}\n---\nsay {{result}}")
    viewer = scene.world.watch(run_id)
    children = [child_run_id(run_id, f"tool-1-{n}") for n in range(2)]
    assert await viewer.ends() == "run_done"
    await scene.world.ended(children[1])

    def look(books: Books) -> None:
        assert "paid" in books.answer(run_id)
        assert {row["run_id"] for row in books.runs} == {run_id, *children}
        assert [books.run(one)["state"] for one in children] == ["DONE"] * 2
        assert viewer.count("agent_spawned") == 2
        assert [effect.tool for effect in scene.ledger.effects.values()] == ["charge_keyed"]
        assert books.run(run_id)["spawned"] == 2

    return look


async def play_asked(scene: Scene) -> Played:
    """An agent elsewhere asks another one, again if not answered; then its own run is stopped."""
    world = scene.world
    body = {"agent_id": "far", "name": "far", "endpoint": scene.agent_url}
    token = (await world.send("POST", "/v1/agents/register", body))["token"]
    run_id = await world.start("[[endless gap_ms=50]]", "far")
    viewer = world.watch(run_id)
    await viewer.sees("agent_stream_delta")
    ask = {"parent_run_id": run_id, "input_message": {"role": "user", "content": "say asked"}}
    headers = {"authorization": f"Bearer {token}", "idempotency-key": "asked"}
    answer = await world.answer("POST", "/v1/agents/helper:invoke", ask, headers)
    await world.send("POST", f"/v1/runs/{run_id}/cancel", {"reason": "enough"})
    assert await viewer.ends() == "run_cancelled"

    def look(books: Books) -> None:
        (child,) = (row for row in books.runs if row["run_id"] != run_id)
        assert (child["parent_run_id"], child["state"]) == (run_id, "DONE")
        assert books.answer(child["run_id"]) == "[offline] asked"
        assert child["run_id"] in answer.text
        assert viewer.count("agent_spawned") == 1

    return look


async def play_child_cancelled(scene: Scene) -> Played:
    """A whole tree is told to stop, again if not answered."""
    await scene.world.send("PATCH", "/v1/agents/helper", {"tools": ["spawn_run"]})
    below = hand_down("say x\nstall")
    run_id = await scene.world.start(f"{hand_down(below)}\n{hand_down('say y', wait=False)}")
    viewer = scene.world.watch(run_id)
    await viewer.sees("agent_spawned", 2)
    child = child_run_id(run_id, "tool-1-0")
    await scene.world.watch(child).sees("agent_spawned")
    await scene.world.send("POST", f"/v1/runs/{run_id}/cancel", {"reason": "enough"})
    assert await viewer.ends() == "run_cancelled"

    def look(books: Books) -> None:
        stopped = {run_id, child, child_run_id(child, "tool-1-0")}
        assert {books.run(one)["state"] for one in stopped} == {"CANCELLED"}

    return look
