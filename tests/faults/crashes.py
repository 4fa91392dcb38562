"""A play with one process after another, each killed at its point."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path

from tests.faults.plays import ONCE, PLAYS
from tests.faults.scene import Play, Played, Scene
from tests.rig.roles import Role, was_killed
from tests.rig.temporal import TemporalServer
from tests.rig.world import World
from tests.stub.agent import StubAgent
from tests.stub.ledger import Ledger

AT_ONCE = 4
"""Worlds side by side: each waits most of its time."""
SETTINGS = {"ORCHESTRATOR_PROVIDER_FAILURES": "9"}
BOTH = ("before", "after")


async def crash(
    folder: Path,
    address: str,
    points: tuple[str, ...],
    play: Play,
    server: TemporalServer | None = None,
) -> None:
    """Play with one process after another, each killed at its point; the last one is healthy.

    With `server` it is killed too, whenever a process died: then nothing of the product lives.
    """
    ledger, agent = Ledger(), StubAgent()
    async with (
        ledger.serve() as books_of_bank,
        agent.serve() as far,
        World(folder, address, settings=SETTINGS) as world,
    ):
        role = await world.up(ORCHESTRATOR_CRASH_POINT=points[0])
        await world.agent(tools=("charge_keyed", "charge_and_raise"))
        scene = Scene(world, ledger, books_of_bank.url, far.url, role)
        client = asyncio.create_task(_named(play(scene), points))
        try:
            for place, point in enumerate((*points[1:], "")):
                await _died(scene.role, client, points, may_be_done=place > 0)
                if server is not None:
                    server.child.kill()
                    server.start()
                following = {"ORCHESTRATOR_CRASH_POINT": point} if point else {}
                scene.role = world.spawn("up", **following)
                await world.serving(scene.role)
            look = await client
        finally:
            client.cancel()
        look(await world.check(effects=ledger))


async def _named(play: Awaitable[Played], points: tuple[str, ...]) -> Played:
    try:
        return await play
    except AssertionError as error:
        raise AssertionError(f"at {points}: {error}") from error


async def _died(
    role: Role, client: "asyncio.Task[Played]", points: tuple[str, ...], *, may_be_done: bool
) -> None:
    """Wait for the crash; a client that fails or is done first says why there was none.

    After a first crash the commit of a second may be behind us: the play then ends without it.
    """
    dying = asyncio.create_task(role.died())
    await asyncio.wait({dying, client}, return_when=asyncio.FIRST_COMPLETED)
    if not dying.done() and client.done():
        if client.exception():
            dying.cancel()
            client.result()
        if may_be_done:
            role.kill()
    code = await dying
    assert was_killed(code), f"at {points}: the process ended with {code}: {role.tail()}"


async def crash_all(
    cases: list[tuple[str, ...]], address: str, folder: Path, play: Play | None = None
) -> None:
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, points: tuple[str, ...]) -> None:
        async with turn:
            place = folder / f"{number}-{points[0].replace(':', '-')}"
            await crash(place, address, points, play or PLAYS[points[0].split(":")[0]])

    results = await asyncio.gather(
        *(one(number, points) for number, points in enumerate(cases)), return_exceptions=True
    )
    failed = [error for error in results if isinstance(error, Exception)]
    if failed:
        raise ExceptionGroup(f"{len(failed)} of {len(cases)} crash points", failed)


def commits_in(text: str) -> set[str]:
    """Return the names of the commits that a module of the store makes."""
    return {
        part.lstrip().partition('"')[2].partition('"')[0]
        for part in text.split("self._commit(")[1:]
    }


def before_and_after(names: list[str]) -> list[tuple[str, ...]]:
    """Return both points of each commit in a row, where the second process comes by there too."""
    cases: list[tuple[str, ...]] = []
    for name in names:
        both = tuple(f"{name}:{when}" for when in BOTH)
        cases += [(point,) for point in both] if name in ONCE else [both]
    return cases
