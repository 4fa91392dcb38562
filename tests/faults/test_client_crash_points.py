"""Tools of clients, crashed at every commit: asked, claimed, answered, given up, hosted."""

import contextlib
import os
import random
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.faults.books import Books
from tests.faults.crashes import BOTH, before_and_after, commits_in, crash_all
from tests.faults.report import record
from tests.faults.scene import Play, Played, Scene
from tests.rig.temporal import TemporalServer
from tests.rig.viewer import Viewer
from tests.rig.waiting import until

TOOL: dict[str, Any] = {"name": "print_page", "description": "Print.", "timeout_seconds": 600}
CALL = 'call print_page {"text": "x"}\n---\nsay {result}'
HOST = "/v1/tool_hosts/laptop"


async def requested(scene: Scene, **fields: Any) -> tuple[Viewer, str]:
    """Start a run that asks a client; return who watches it, and the call."""
    viewer = scene.world.watch(await scene.world.start(CALL, key="run", **fields))
    await viewer.sees("tool_request")
    (request,) = [event for event in viewer.events if event["type"] == "tool_request"]
    return viewer, request["data"]["tool_call_id"]


def answered_once(viewer: Viewer, said: str) -> Played:
    """The client was asked once, its answer counts once and is the run's."""

    def look(books: Books) -> None:
        assert books.answer(viewer.run_id) == f"[offline] {said}"
        assert (viewer.count("tool_request"), viewer.count("tool_result")) == (1, 1)
        (row,) = books.tables["tool_requests"]
        assert (row["status"], row["dispatch"]) == ("closed", 1)

    return look


async def play_client(scene: Scene) -> Played:
    """A client claims and answers, each again until it is answered itself."""
    world = scene.world
    viewer, call_id = await requested(scene, client_tools=[TOOL])
    at = f"/v1/tool_calls/{call_id}"
    token = (await world.send("POST", f"{at}/claim", {}, key="claim"))["token"]
    done = await world.send("POST", f"{at}/submit", {"token": token, "result": "printed"})
    assert done["status"] == "succeeded"
    assert await viewer.ends() == "run_done"
    return answered_once(viewer, "printed")


async def put_host(scene: Scene, lease: float) -> None:
    body = {"tools": [TOOL], "lease_seconds": lease}
    await scene.world.send("PUT", HOST, body)
    await scene.world.send("PATCH", "/v1/agents/helper", {"tools": ["print_page"]})


async def play_host(scene: Scene) -> Played:
    """A host registers, polls, beats and answers."""
    world = scene.world
    await put_host(scene, 600)
    viewer, _ = await requested(scene)
    asked = {"max": 1, "wait_seconds": 5}
    (taken,) = (await world.send("POST", f"{HOST}/poll", asked, key="poll"))["requests"]
    beat = {"tool_calls": [taken["tool_call_id"]]}
    assert (await world.send("POST", f"{HOST}/heartbeat", beat))["lost"] == []
    body = {"token": taken["token"], "result": "printed"}
    await world.send("POST", f"/v1/tool_calls/{taken['tool_call_id']}/submit", body)
    assert await viewer.ends() == "run_done"
    return answered_once(viewer, "printed")


async def play_silence(scene: Scene) -> Played:
    """A host takes an unsafe call and is not heard of again; a person says what happened."""
    world = scene.world
    await put_host(scene, 600)
    viewer, call_id = await requested(scene)
    asked = {"max": 1, "wait_seconds": 5}
    (taken,) = (await world.send("POST", f"{HOST}/poll", asked, key="poll"))["requests"]
    # Shorter from the next heartbeat on, which is the last one.
    await world.send("PUT", HOST, {"tools": [TOOL], "lease_seconds": 1})
    await world.send("POST", f"{HOST}/heartbeat", {"tool_calls": [taken["tool_call_id"]]})
    await viewer.sees("outcome_unknown")
    late = {"token": taken["token"], "result": "printed after all"}
    told = await world.send("POST", f"/v1/tool_calls/{call_id}/submit", late, allowed=(409,))
    assert told["code"] == "tool_call_settled"
    said = {"outcome": "happened", "result": "printed"}
    await world.send("POST", f"/v1/tool_calls/{call_id}/resolve", said, allowed=(409,))
    assert await viewer.ends() == "run_done"

    def look(books: Books) -> None:
        assert books.answer(viewer.run_id) == "[offline] printed"
        assert viewer.count("outcome_unknown") == 1

    return look


async def play_blocked(scene: Scene) -> Played:
    """The policy is tightened while a call waits for its client."""
    viewer, _ = await requested(scene, client_tools=[TOOL])
    rule = {"tool": "print_page", "decision": "block", "reason": "no paper"}
    await scene.world.send("PATCH", "/v1/agents/helper", {"tool_policy": {"rules": [rule]}})
    assert await viewer.ends() == "run_done"

    def look(books: Books) -> None:
        assert "no paper" in books.answer(viewer.run_id)
        assert (viewer.count("tool_request"), viewer.count("tool_result")) == (1, 1)
        (row,) = books.tables["tool_requests"]
        assert (row["status"], row["dispatch"]) == ("closed", 0)

    return look


async def gone(scene: Scene) -> None:
    """Delete the host, again until that is answered."""

    async def is_gone() -> bool:
        with contextlib.suppress(httpx2.TransportError, OSError):
            reply = await scene.world.http.delete(scene.world.url + HOST)
            return bool(reply.status_code in (204, 404))
        return False

    await until("the host is deleted", is_gone)


async def play_dropped(scene: Scene) -> Played:
    """A host is forgotten; its tool with it."""
    world = scene.world
    await put_host(scene, 600)
    await gone(scene)
    await world.send("PATCH", "/v1/agents/helper", {"tools": []})
    run_id = await world.start("say nothing to print", key="run")
    await world.ended(run_id)
    assert (await world.get("/v1/tool_hosts"))["tool_hosts"] == []

    def look(books: Books) -> None:
        assert books.answer(run_id) == "[offline] nothing to print"

    return look


PLAYS: dict[str, Play] = {
    "claim": play_client,
    "submit": play_client,
    "put_host": play_host,
    "beat": play_host,
    "give_up": play_silence,
    "rule_again": play_blocked,
    "drop_host": play_dropped,
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PLAYS)
async def test_a_commit_of_client_tools_crashed(
    name: str, temporal: TemporalServer, tmp_path: Path
) -> None:
    await crash_all(before_and_after([name]), temporal.address, tmp_path, play=PLAYS[name])


@pytest.mark.timeout(300)
async def test_a_client_tool_crashed_at_every_commit(
    temporal: TemporalServer, tmp_path: Path
) -> None:
    """Asked and read: whoever dies while it is, the answer counts once."""
    cases: list[tuple[str, ...]] = [(f"open_step:{when}:{nth}",) for nth in (2, 3) for when in BOTH]
    await crash_all(cases, temporal.address, tmp_path, play=play_client)


def test_every_commit_of_clients_has_a_play() -> None:
    """The names stand in the code once: a new commit needs a place here."""
    text = Path("adapters/store/clients/clientbook.py").read_text()
    assert commits_in(text) == set(PLAYS)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
async def test_a_seeded_loop_over_a_client_tool(
    temporal: TemporalServer, tmp_path: Path, seed: int
) -> None:
    """Every process dies at a random step of the flow, sometimes the next one at another too."""
    rng = random.Random(seed)
    names = ("accept", "open_step", "close_step", "claim", "submit", "finalize")
    cases: list[tuple[str, ...]] = []
    for _ in range(int(os.environ.get("FAULT_ROUNDS", "50"))):
        places = sorted(rng.sample(range(3, len(names)), rng.randint(1, 2)))
        cases.append(tuple(f"{names[place]}:{rng.choice(BOTH)}" for place in places))
    cases += [(f"{name}:{when}",) for name in names[:3] for when in BOTH]
    cases += [(f"open_step:{when}:{nth}",) for nth in (2, 3) for when in BOTH]
    await crash_all(cases, temporal.address, tmp_path, play=play_client)
    record("client_tool_crash_points", seed, cases=len(cases))
