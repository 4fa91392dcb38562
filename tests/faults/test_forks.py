"""Faults 2, 30 and 35 around forks, dead letters and later starts: killed workers, kept effects."""

import asyncio
import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.faults.conftest import LedgerAt
from tests.rig.roles import was_killed
from tests.rig.viewer import Viewer
from tests.rig.waiting import until
from tests.rig.world import World

pytestmark = pytest.mark.timeout(300)
TURNS = 3


async def fork(world: World, run_id: str, turn: int, **fields: Any) -> str:
    body = {"from_turn": turn, **fields}
    made = await world.send("POST", f"/v1/runs/{run_id}/fork", body, key=f"fork-{turn}")
    return str(made["run_id"])


async def test_forks_at_each_turn_with_the_worker_killed_in_the_middle(
    world: World, ledger: LedgerAt
) -> None:
    """What was kept is charged once, ever; each fork charges the rest under keys of its own."""
    books, url = ledger
    _, (worker,) = await world.apart()
    await world.agent(tools=("charge_keyed",))
    charge = f"call charge_keyed {json.dumps({'url': url})}"
    first = await world.start("\n---\n".join([charge] * TURNS) + "\n---\nsay all charged")
    assert (await world.ended(first))["state"] == "DONE"
    kept = set(books.effects)
    assert len(kept) == TURNS

    books.holds.add("*")
    forks = [await fork(world, first, turn) for turn in range(TURNS + 1)]
    await until("the forks charge", lambda: books.held == TURNS)
    worker.kill()
    books.holds.clear()
    books.released.set()
    await world.worker()

    ended = [await world.ended(run_id) for run_id in forks]
    assert [run["state"] for run in ended] == ["DONE"] * len(forks)
    assert [run["usage"]["turns"] for run in ended] == [TURNS + 1 - turn for turn in range(4)]
    assert {books.effects[key].arrivals for key in kept} == {1}
    assert len(books.effects) == TURNS + sum(range(TURNS + 1))
    await world.check(effects=books)


async def test_a_fork_asks_no_client_for_what_one_has_done(world: World) -> None:
    """Unsafe calls of two turns, answered once each; all is killed before the forks go on."""
    role = await world.up()
    await world.agent()
    tool = {"name": "print_page", "description": "P.", "effect": "unsafe", "untrusted": False}
    calls = "call print_page {}\n---\n" * 2 + "say {result}"
    first = world.watch(await world.start(calls, client_tools=[tool]))
    for count in (1, 2):
        await print_page(world, first, count)
    assert await first.ends() == "run_done"

    forks = [world.watch(await fork(world, first.run_id, turn)) for turn in (1, 2)]
    await forks[0].sees("tool_request")
    role.kill()
    await world.up()
    await print_page(world, forks[0], 1)

    assert [await viewer.ends() for viewer in forks] == ["run_done"] * 2
    assert [viewer.count("tool_request") for viewer in forks] == [1, 0]
    assert forks[1].events[-1]["data"]["final_message"]["content"] == "[offline] printed 2"
    await world.check()


async def print_page(world: World, viewer: Viewer, count: int) -> None:
    """Do what the `count`-th request that a viewer sees asks for."""
    requests: list[Any] = []

    def is_asked() -> bool:
        requests[:] = [event for event in viewer.events if event["type"] == "tool_request"]
        return len(requests) >= count

    await until(f"request {count}", is_asked)
    path = f"/v1/tool_calls/{requests[count - 1]['data']['tool_call_id']}"
    token = (await world.send("POST", f"{path}/claim", {}, key=path[-9:]))["token"]
    await world.send("POST", f"{path}/submit", {"token": token, "result": f"printed {count}"})


async def test_a_retry_after_a_kill_repeats_the_call_under_its_first_key(
    world: World, ledger: LedgerAt
) -> None:
    """Fault 2: the tool acted, its worker died, the run was cancelled before anybody knew."""
    books, url = ledger
    api, (worker,) = await world.apart()
    await world.agent(tools=("charge_keyed",))
    books.holds.add("*")
    run_id = await world.start(f"call charge_keyed {json.dumps({'url': url})}\n---\nsay paid")
    await until("the tool acts", lambda: books.held == 1)
    worker.kill()
    await world.send("POST", f"/v1/runs/{run_id}/cancel", {})
    books.holds.clear()
    books.released.set()
    await world.worker()
    assert (await world.ended(run_id))["state"] == "CANCELLED"

    made = await world.send("POST", f"/v1/runs/{run_id}/retry", {}, key="retry")

    retried = await world.ended(made["run_id"])
    assert retried["state"] == "DONE"
    (effect,) = books.effects.values()
    assert effect.key.startswith(f"{run_id}:")
    assert api.is_running
    await world.check(effects=books)


async def test_a_message_that_kills_its_worker_becomes_a_dead_letter(world: World) -> None:
    """Fault 30: the next message of the session and other sessions go on; a person re-drives it."""
    first = await world.up()
    await world.agent(tools=("kill_worker",))
    poison = await world.start("call kill_worker {}\n---\nsay never", session_id="s")
    assert was_killed(await first.died())
    with closing(sqlite3.connect(world.store, timeout=30)) as connection, connection:
        # As if nine workers had died of it before.
        connection.execute("UPDATE steps SET abandoned = 9 WHERE step_id = 'tool-1-0'")
    await world.up()
    following = await world.start("say next", session_id="s")
    elsewhere = await world.start("say else", session_id="t")

    ended = await world.ended(poison)
    assert (ended["state"], ended["error"]["code"]) == ("FAILED", "poison_step")
    assert (await world.ended(following))["output"]["content"] == "[offline] next"
    assert (await world.ended(elsewhere))["state"] == "DONE"
    (letter,) = (await world.get("/v1/dead_letters?status=waiting"))["dead_letters"]
    assert (letter["run_id"], letter["step"], letter["code"]) == (
        *(poison, "tool-1-0"),
        "poison_step",
    )
    path = f"/v1/dead_letters/{letter['dead_letter_id']}/redrive"
    made = await world.send("POST", path, {"input": "say mended"}, key="again")
    assert (await world.ended(made["run_id"]))["output"]["content"] == "[offline] mended"
    late = await world.send("POST", path, {}, allowed=(409,))
    assert made["run_id"] in late["detail"]
    books = await world.check()
    assert books.kinds(poison)[-2:] == ["run_dead_lettered", "run_failed"]


async def test_a_later_start_survives_the_death_of_everything(world: World) -> None:
    """Fault 35, as far as a start goes: the time comes while nothing runs."""
    role = await world.up()
    await world.agent()
    run_id = await world.start("say late", session_id="s", start_delay=0.5)
    viewer = world.watch(run_id)
    await viewer.sees("run_waiting", waiting_on="timer")
    role.kill()
    await asyncio.sleep(0.5)  # the time is what passes here; nothing is waited for
    await world.up()

    assert await viewer.ends() == "run_done"
    assert viewer.count("run_resumed", waiting_on="timer") == 1
    books = await world.check()
    assert [row["seq"] for row in books.tables["messages"]] == [1, 2]
