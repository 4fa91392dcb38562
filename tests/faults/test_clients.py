"""Attack 32, faults 2, 22 to 24 for tools of clients: results raced and forged, hosts killed."""

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import LedgerAt
from tests.faults.report import record
from tests.rig.child import Child
from tests.rig.forked import ForkedChild
from tests.rig.roles import Role
from tests.rig.temporal import TemporalServer
from tests.rig.viewer import Viewer
from tests.rig.waiting import until
from tests.rig.world import World

pytestmark = pytest.mark.timeout(300)
CLIENTS = 20
TOOL = {"name": "print_page", "description": "Print.", "timeout_seconds": 600}
CALL = 'call print_page {"text": "x"}\n---\nsay {result}'


async def parked(world: World, **fields: Any) -> tuple[Viewer, str]:
    """Start a run that waits for a client; return who watches it, and the call."""
    await world.send("POST", "/v1/agents", HELPER, allowed=(409,))
    viewer = world.watch(await world.start(CALL, client_tools=[{**TOOL, **fields}]))
    await viewer.sees("tool_request")
    (request,) = [event for event in viewer.events if event["type"] == "tool_request"]
    return viewer, request["data"]["tool_call_id"]


HELPER = {"agent_id": "helper", "name": "helper", "models": ["offline/script"]}


async def claim(world: World, call_id: str) -> str:
    said = await world.send("POST", f"/v1/tool_calls/{call_id}/claim", {}, key=f"c-{call_id}")
    return str(said["token"])


async def told(world: World, call_id: str, body: object) -> tuple[int, Any]:
    reply = await world.http.post(f"{world.url}/v1/tool_calls/{call_id}/submit", json=body)
    return reply.status_code, reply.json()


async def test_many_answer_after_everything_was_killed_while_it_waited(
    world: World, seed: int
) -> None:
    """Attack 32: whoever has the token answers once; everybody else is refused as documented."""
    rng = random.Random(seed)
    role = await world.up()
    viewer, call_id = await parked(world)
    _, other = await parked(world)
    token, stolen = await claim(world, call_id), await claim(world, other)
    role.kill()
    await world.up()
    bodies: list[dict[str, Any]] = [{"token": token, "result": n} for n in range(CLIENTS)]
    bodies += [{"token": f"dt_{n:043}", "result": "forged"} for n in range(CLIENTS)]
    bodies += [{"token": stolen, "result": "of another call"}] * 5
    rng.shuffle(bodies)

    answers = await asyncio.gather(*(told(world, call_id, body) for body in bodies))

    assert await viewer.ends() == "run_done"
    by_token: dict[bool, list[int]] = {True: [], False: []}
    for (status, _), body in zip(answers, bodies, strict=True):
        by_token[body["token"] == token].append(status)
    assert sorted(by_token[True]) == [200] + [409] * (CLIENTS - 1)
    assert set(by_token[False]) == {403}
    won = next(body for (status, _), body in zip(answers, bodies, strict=True) if status == 200)
    assert viewer.events[-1]["data"]["final_message"]["content"] == f"[offline] {won['result']}"
    assert viewer.count("tool_result") == 1
    again = await told(world, call_id, won)
    assert (again[0], again[1]["status"]) == (200, "succeeded")
    await world.send("POST", f"/v1/tool_calls/{other}/submit", {"token": stolen, "result": 1})
    await world.check(leaks(world, token, stolen))


def leaks(world: World, *tokens: str) -> list[str]:
    """No token may stand in a log or in the store."""
    files = [*world.folder.glob("*.log"), *world.folder.glob("orchestrator.db*")]
    return [
        f"a token stands in {path.name}"
        for path in files
        for token in tokens
        if token.encode() in path.read_bytes()
    ]


async def test_a_late_result_is_refused_and_changes_nothing(world: World) -> None:
    await world.up()
    viewer, call_id = await parked(world, timeout_seconds=0.5, effect="none")
    token = await claim(world, call_id)
    assert await viewer.ends() == "run_done"
    assert viewer.count("tool_result", status="timeout") == 1

    status, problem = await told(world, call_id, {"token": token, "result": "late"})

    assert (status, problem["code"]) == (409, "run_terminal")
    await world.check()


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator["Hosts"]:
    made = Hosts(tmp_path)
    yield made
    for child in made.children:
        child.close()


class Hosts:
    """Processes of `orchestrator tools host`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.children: list[Child] = []

    async def start(self, world: World, host_id: str) -> Child:
        command = [
            *("tools", "host", "tests.rig.client_tools"),
            *("--host-id", host_id, "--lease", "1", "--api-url", world.url),
        ]
        child = ForkedChild(host_id, command, self._folder / f"{host_id}.log")
        self.children.append(child)

        async def is_there() -> bool:
            assert child.is_running, child.tail(40)
            found = (await world.get("/v1/tool_hosts"))["tool_hosts"]
            return any(host["host_id"] == host_id for host in found)

        await until(f"host {host_id} registers", is_there)
        return child


@pytest.mark.parametrize("tool", ["print_keyed", "print_unsafe"])
async def test_a_host_killed_while_it_runs_a_call(
    world: World, ledger: LedgerAt, hosts: Hosts, tool: str
) -> None:
    """Fault 2: what may be repeated is handed on, under the same key; the rest is a person's."""
    await world.up()
    first = await hosts.start(world, "laptop")
    await world.agent(tools=(tool,))
    ledger[0].holds.add("*")
    args = json.dumps({"url": ledger[1]})
    viewer = world.watch(await world.start(f"call {tool} {args}\n---\nsay {{result}}"))
    await until("the first mark", lambda: ledger[0].held == 1)

    first.kill()
    await hosts.start(world, "desk")
    ledger[0].holds.clear()

    if tool == "print_unsafe":
        await viewer.sees("outcome_unknown")
        (call,) = (await world.get(f"/v1/tool_calls?run_id={viewer.run_id}"))["tool_calls"]
        said = {"outcome": "happened", "result": "printed"}
        await world.send("POST", f"/v1/tool_calls/{call['tool_call_id']}/resolve", said)
    assert await viewer.ends() == "run_done"
    ledger[0].released.set()
    (effect,) = ledger[0].effects.values()
    assert effect.arrivals == (1 if tool == "print_unsafe" else 2)
    await world.check(effects=ledger[0])


async def test_a_host_goes_on_when_the_server_comes_back(
    world: World, ledger: LedgerAt, hosts: Hosts
) -> None:
    """The server is killed while a host works; its result arrives, and counts once."""
    role = await world.up()
    await hosts.start(world, "laptop")
    await world.agent(tools=("print_keyed",))
    ledger[0].holds.add("*")
    args = json.dumps({"url": ledger[1]})
    viewer = world.watch(await world.start(f"call print_keyed {args}\n---\nsay {{result}}"))
    await until("the first mark", lambda: ledger[0].held == 1)

    role.kill()
    ledger[0].holds.clear()
    ledger[0].released.set()
    await world.up()

    assert await viewer.ends() == "run_done"
    assert viewer.count("tool_result", status="succeeded") == 1
    await world.check(effects=ledger[0])


async def test_a_tool_that_does_not_know_leaves_it_to_a_person(
    world: World, ledger: LedgerAt, hosts: Hosts
) -> None:
    await world.up()
    await hosts.start(world, "laptop")
    await world.agent(tools=("print_and_raise",))
    args = json.dumps({"url": ledger[1]})
    viewer = world.watch(await world.start(f"call print_and_raise {args}\n---\nsay {{result}}"))

    await viewer.sees("outcome_unknown")

    (call,) = (await world.get(f"/v1/tool_calls?run_id={viewer.run_id}"))["tool_calls"]
    await world.send(
        "POST", f"/v1/tool_calls/{call['tool_call_id']}/resolve", {"outcome": "give_up"}
    )
    assert await viewer.ends() == "run_done"
    assert [effect.arrivals for effect in ledger[0].effects.values()] == [1]
    await world.check(effects=ledger[0])


async def test_a_clients_tool_is_called_by_hand(
    world: World, ledger: LedgerAt, hosts: Hosts
) -> None:
    """The command waits for the client, as it does for a tool that runs here."""
    await world.up()
    await hosts.start(world, "laptop")
    args = json.dumps({"url": ledger[1]})
    command = ["tools", "call", "print_unsafe", args, "--api-url", world.url]
    child = ForkedChild("tools-call", command, world.folder / "call.log")
    hosts.children.append(child)

    await until("the command ends", lambda: not child.is_running)

    assert child.wait(1) == 0, child.tail()
    assert child.tail().strip() == "1"
    await world.check(effects=ledger[0])


STEPS = ("asked", "claimed", "answered")


async def one_round(world: World, roles: dict[str, Role], rng: random.Random) -> None:
    """A run with a client; at each step of it something is killed and started again."""
    viewer, call_id = await parked(world)
    token, body = "", dict[str, Any]()
    for step in STEPS:
        if step == "claimed":
            token = await claim(world, call_id)
        if step == "answered":
            body = {"token": token, "result": f"r{rng.randrange(1000)}"}
            await world.send("POST", f"/v1/tool_calls/{call_id}/submit", body)
        victim = rng.choice(("api", "worker", "none"))
        if victim != "none":
            roles[victim].kill()
            roles[victim] = await (world.api() if victim == "api" else world.worker())
    assert await viewer.ends() == "run_done"
    assert viewer.count("tool_result", status="succeeded") == 1
    assert (await told(world, call_id, body))[0] == 200
    forged = {"token": token[:-1] + "!", "result": "forged"}
    assert (await told(world, call_id, forged))[0] == 403


@pytest.mark.parametrize(
    "rounds",
    [2, pytest.param(None, marks=[pytest.mark.heavy, pytest.mark.timeout(3600)])],
    ids=["short", "loop"],
)
async def test_a_seeded_loop_of_kills_over_a_client_tool(
    world: World, seed: int, rounds: int | None
) -> None:
    """API and worker apart, killed between the steps of the flow."""
    rng = random.Random(seed)
    api, (worker,) = await world.apart()
    roles = {"api": api, "worker": worker}
    count = rounds or int(os.environ.get("FAULT_ROUNDS", "50"))
    for _ in range(count):
        await one_round(world, roles, rng)
    await world.check()
    if rounds is None:
        record("client_tool_kills", seed, cases=count)


async def test_temporal_is_killed_while_a_client_works(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = TemporalServer(tmp_path_factory.mktemp("own")).start()
    async with World(tmp_path / "world", server.address) as world:
        await world.apart()
        viewer, call_id = await parked(world)
        token = await claim(world, call_id)
        server.child.kill()

        body = {"token": token, "result": "done meanwhile"}
        done = await world.send("POST", f"/v1/tool_calls/{call_id}/submit", body)
        assert done["status"] == "succeeded"
        server.start()

        assert await viewer.ends() == "run_done"
        await world.check()
    server.close()
