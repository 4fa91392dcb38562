"""A crash at every commit boundary: before the commit, after it, then a process without a fault."""

import asyncio
import json
import os
import random
import secrets
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from domain.family import child_run_id
from tests.faults.check import Books
from tests.faults.report import record
from tests.rig.temporal import TemporalServer
from tests.rig.world import Role, Viewer, World, was_killed
from tests.stub.agent import StubAgent
from tests.stub.ledger import Ledger

AT_ONCE = 2
"""Worlds side by side: as many as there are cores."""
SETTINGS = {"ORCHESTRATOR_PROVIDER_FAILURES": "9"}
BOTH = ("before", "after")


@dataclass
class Scene:
    """A world with one process after another, and the stubs around it."""

    world: World
    ledger: Ledger
    ledger_url: str
    agent_url: str
    role: Role

    @property
    def url_args(self) -> str:
        return json.dumps({"url": self.ledger_url})


Played = Callable[[Books], None]
"""Looks at the books once all is at rest."""
Play = Callable[[Scene], Awaitable[Played]]
"""A client's part: runs beside the crashes, and only waits where a client would."""


def content(books: Books, run_id: str) -> str:
    return str(json.loads(books.run(run_id)["output"])["content"])


async def play_session(scene: Scene) -> Played:
    """Two turns and a tool, and a second message that waits for the session meanwhile."""
    world, ledger = scene.world, scene.ledger
    ledger.holds.add("*")
    script = f"say first\ncall charge_keyed {scene.url_args}\n---\ntokens=5"
    first = await world.start(script, key="first", session_id="s")
    viewer = world.watch(first)
    second = await world.start("say second", key="second", session_id="s")
    # Not before: the second message shall find the session busy, whoever crashes when.
    ledger.holds.clear()
    ledger.released.set()
    assert await viewer.ends() == "run_done"
    await world.ended(second)

    def look(books: Books) -> None:
        assert len(books.runs) == 2
        assert content(books, first) == "[offline] t0 t1 t2 t3 t4"
        assert content(books, second) == "[offline] second"
        assert [effect.tool for effect in ledger.effects.values()] == ["charge_keyed"]
        spoken = sorted(books.tables["messages"], key=lambda row: row["seq"])
        assert [row["role"] for row in spoken] == [
            *("user", "assistant", "tool", "assistant"),
            *("user", "assistant"),
        ]
        assert [row["run_id"] for row in spoken] == [first] * 4 + [second] * 2
        assert viewer.events[-1]["data"]["final_message"]["content"] == content(books, first)

    return look


async def play_cancel(scene: Scene) -> Played:
    run_id = await scene.world.start("say x\nstall")
    viewer = scene.world.watch(run_id)
    await viewer.sees("llm_call_started")
    await scene.world.send("POST", f"/v1/runs/{run_id}/cancel", {"reason": "enough"})
    assert await viewer.ends() == "run_cancelled"

    def look(books: Books) -> None:
        assert books.run(run_id)["state"] == "CANCELLED"

    return look


async def play_unknown(scene: Scene) -> Played:
    """An unsafe tool loses its reply; a person says what happened, again if not answered."""
    world = scene.world
    script = f"call charge_and_raise {scene.url_args}\n---\nsay {{result}}"
    run_id = await world.start(script)
    viewer = world.watch(run_id)
    await viewer.sees("outcome_unknown")
    (call,) = (await world.get(f"/v1/tool_calls?run_id={run_id}"))["tool_calls"]
    said = {"outcome": "happened", "result": "paid"}
    await world.send("POST", f"/v1/tool_calls/{call['tool_call_id']}/resolve", said, allowed=(409,))
    assert await viewer.ends() == "run_done"

    def look(books: Books) -> None:
        assert content(books, run_id) == "[offline] paid"
        assert [effect.arrivals for effect in scene.ledger.effects.values()] == [1]
        assert viewer.count("outcome_unknown") == 1
        (row,) = books.tables["tool_calls"]
        assert row["resolution"] == "happened"

    return look


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


def handing_down(script: str, **more: object) -> str:
    """Return the line with which a run has another agent work."""
    return f"call spawn_run {json.dumps({'agent_id': 'helper', 'input': script, **more})}"


async def play_child(scene: Scene) -> Played:
    """A run waits for one child, which charges, and lets another one go."""
    tools = ["spawn_run", "charge_keyed"]
    await scene.world.send("PATCH", "/v1/agents/helper", {"tools": tools})
    held = handing_down(f"call charge_keyed {scene.url_args}\n---\nsay paid")
    free = handing_down("say free", wait=False)
    run_id = await scene.world.start(f"{held}\n{free}\n---\nsay {{result}}")
    viewer = scene.world.watch(run_id)
    children = [child_run_id(run_id, f"tool-1-{n}") for n in range(2)]
    assert await viewer.ends() == "run_done"
    await scene.world.ended(children[1])

    def look(books: Books) -> None:
        assert "paid" in content(books, run_id)
        assert {row["run_id"] for row in books.runs} == {run_id, *children}
        assert [books.run(one)["state"] for one in children] == ["DONE"] * 2
        assert viewer.count("agent_spawned") == 2
        assert [effect.tool for effect in scene.ledger.effects.values()] == ["charge_keyed"]
        assert books.run(run_id)["spawned"] == 2

    return look


async def play_child_cancelled(scene: Scene) -> Played:
    """A whole tree is told to stop, again if not answered."""
    await scene.world.send("PATCH", "/v1/agents/helper", {"tools": ["spawn_run"]})
    below = handing_down("say x\nstall")
    run_id = await scene.world.start(f"{handing_down(below)}\n{handing_down('say y', wait=False)}")
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


async def play_failing(scene: Scene) -> Played:
    """A provider fails once in every process; the retry answers."""
    run_id = await scene.world.start(f"fail unavailable times=1 id={secrets.token_hex(4)}\nsay ok")
    await scene.world.ended(run_id)

    def look(books: Books) -> None:
        assert content(books, run_id) == "[offline] ok"

    return look


async def play_http_agent(scene: Scene) -> Played:
    """An agent elsewhere tells its state, which goes into the log by itself."""
    world = scene.world
    body: dict[str, Any] = {"agent_id": "far", "name": "far", "endpoint": scene.agent_url}
    await world.send("POST", "/v1/agents/register", body)
    run_id = await world.start('[[state=thinking say="hello there"]]', "far")
    viewer = world.watch(run_id)
    assert await viewer.ends() == "run_done"

    def look(books: Books) -> None:
        assert content(books, run_id) == "hello there"
        assert viewer.count("agent_state", state="thinking") >= 1

    return look


async def play_drained(scene: Scene) -> Played:
    """Whoever works is asked to stop in mid-stream, each time it serves."""
    world = scene.world
    run_id = await world.start("tokens=60 gap_ms=20")
    viewer = world.watch(run_id)
    for attempt in (1, 2):
        await viewer.sees("agent_stream_delta", 3, attempt=attempt)
        scene.role.send(signal.SIGTERM)
    assert await viewer.ends() == "run_done"

    def look(books: Books) -> None:
        assert content(books, run_id) == "[offline] " + " ".join(f"t{n}" for n in range(60))

    return look


async def play_fork(scene: Scene) -> Played:
    """A run charges; a fork keeps that and goes on, asked for again if not answered."""
    world = scene.world
    first = await world.start(f"call charge_keyed {scene.url_args}\n---\nsay paid")
    await world.ended(first)
    body = {"from_turn": 1, "input": "say more"}
    made = await world.send("POST", f"/v1/runs/{first}/fork", body, key="fork")
    viewer = world.watch(made["run_id"])
    assert await viewer.ends() == "run_done"

    def look(books: Books) -> None:
        assert len(books.runs) == 2
        assert content(books, first) == "[offline] paid"
        assert content(books, viewer.run_id) == "[offline] more"
        keys = [row["idempotency_key"] for row in books.tables["tool_calls"]]
        assert len(keys) == 2
        assert set(keys) == set(scene.ledger.effects), "both rows are the one charge"

    return look


async def play_delayed(scene: Scene) -> Played:
    """A run begins later, when a process is there to begin it."""
    run_id = await scene.world.start("say late", session_id="s", start_delay=0.2)
    await scene.world.ended(run_id)

    def look(books: Books) -> None:
        assert content(books, run_id) == "[offline] late"
        assert books.kinds(run_id).count("run_started") == 1

    return look


async def play_discard(scene: Scene) -> Played:
    """A person discards a dead letter, and says so again if not answered."""
    world = scene.world
    run_id = await world.start("fail bad_request")
    await world.ended(run_id)
    put_letter(world, run_id)
    await world.send("POST", "/v1/dead_letters/dl_1/discard", {"note": "a test"})

    def look(books: Books) -> None:
        (row,) = books.tables["dead_letters"]
        assert (row["status"], row["note"], row["settled_by"]) == ("discarded", "a test", "local")

    return look


def put_letter(world: World, run_id: str) -> None:
    """List a run behind the product's back."""
    with closing(sqlite3.connect(world.store, timeout=30)) as connection, connection:
        connection.execute(
            "INSERT INTO dead_letters (dead_letter_id, owner, run_id, code, reason, step_id, input,"
            " status, created_at) SELECT 'dl_1', owner, run_id, 'poison_step', '', 'llm-1-1',"
            " input, 'waiting', created_at FROM runs WHERE run_id = ?",
            (run_id,),
        )


MAIN = ("accept", "open_step", "append_delta", "close_step", "close_tool", "finalize", "read_turn")
SMALL: dict[str, Play] = {
    "ask_cancel": play_cancel,
    "resolve": play_unknown,
    "decide": play_approval,
    "revisit": play_relaxed,
    "spawn": play_child,
    "mark_unknown": play_unknown,
    "fail_attempt": play_failing,
    "append_events": play_http_agent,
    "release_attempt": play_drained,
    "begin": play_delayed,
    "discard": play_discard,
}
ONCE = ("mark_unknown",)
"""After a crash before it, opening the step says the same, and this commit is not made."""
PLAYS: dict[str, Play] = dict.fromkeys(MAIN, play_session) | SMALL


async def crash(folder: Path, address: str, points: tuple[str, ...], play: Play) -> None:
    """Play with one process after another, each killed at its point; the last one is healthy."""
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


def before_and_after(names: list[str]) -> list[tuple[str, ...]]:
    """Return both points of each commit in a row, where the second process comes by there too."""
    cases: list[tuple[str, ...]] = []
    for name in names:
        both = tuple(f"{name}:{when}" for when in BOTH)
        cases += [(point,) for point in both] if name in ONCE else [both]
    return cases


@pytest.mark.timeout(300)
@pytest.mark.parametrize("names", [MAIN[:4], MAIN[4:]], ids=["head", "tail"])
async def test_a_session_crashed_at_every_commit(
    names: tuple[str, ...], temporal: TemporalServer, tmp_path: Path
) -> None:
    await crash_all(before_and_after(list(names)), temporal.address, tmp_path)


@pytest.mark.timeout(300)
async def test_rarer_commits_crashed(temporal: TemporalServer, tmp_path: Path) -> None:
    await crash_all(before_and_after(list(SMALL)), temporal.address, tmp_path)


@pytest.mark.timeout(300)
async def test_an_approval_crashed_at_every_commit(
    temporal: TemporalServer, tmp_path: Path
) -> None:
    """Asked, waiting, decided, run, ended: whoever dies between any two, the tool runs once."""
    cases = before_and_after(["close_step", "open_step", "close_tool", "finalize"])
    cases += [tuple(f"open_step:{when}:{nth}" for when in BOTH) for nth in (2, 3)]
    await crash_all(cases, temporal.address, tmp_path, play=play_approval)


@pytest.mark.timeout(300)
async def test_a_fork_crashed_at_its_commits(temporal: TemporalServer, tmp_path: Path) -> None:
    """Whatever dies between any two, there is one fork and one charge."""
    cases: list[tuple[str, ...]] = [
        ("accept:before:2", "accept:after"),
        ("open_step:before:4", "open_step:after:2"),
        ("close_step:before:3", "close_step:after"),
        ("finalize:before:2", "finalize:after"),
    ]
    await crash_all(cases, temporal.address, tmp_path, play=play_fork)


@pytest.mark.timeout(300)
async def test_a_run_with_children_crashed_at_every_commit(
    temporal: TemporalServer, tmp_path: Path
) -> None:
    """Made, started, waited for, ended, read: whoever dies in between, there is one of each."""
    cases = before_and_after(["close_step", "spawn", "finalize"])
    cases.append(("open_step:after:3", "close_tool:before"))
    await crash_all(cases, temporal.address, tmp_path, play=play_child)


@pytest.mark.timeout(300)
async def test_a_tree_that_is_cancelled_crashed_at_every_commit(
    temporal: TemporalServer, tmp_path: Path
) -> None:
    cases = before_and_after(["ask_cancel", "finalize"])
    await crash_all(cases, temporal.address, tmp_path, play=play_child_cancelled)


def test_every_commit_has_a_play() -> None:
    """The names stand in the code once: a new commit needs a place here."""
    named = set()
    for book in ("stepbook", "runbook", "approvalbook", "deadletters", "familybook"):
        text = next(Path("adapters/store").rglob(f"{book}.py")).read_text()
        named |= {
            part.lstrip().partition('"')[2].partition('"')[0]
            for part in text.split("self._commit(")[1:]
        }
    assert named == set(PLAYS)


@pytest.mark.parametrize("point", ["close_step:after", "close_tool:after"])
async def test_an_end_that_was_not_reported_is_handed_on(
    temporal: TemporalServer, tmp_path: Path, ledger: tuple[Ledger, str], point: str
) -> None:
    """A heartbeat's timeout would outlast the test."""
    patient = {"ORCHESTRATOR_HEARTBEAT_SECONDS": "300"}
    async with World(tmp_path / "world", temporal.address, settings=patient) as world:
        first = await world.up(ORCHESTRATOR_CRASH_POINT=point)
        agent = await world.agent("clerk", tools=("charge_keyed",))
        args = json.dumps({"url": ledger[1]})
        run_id = await world.start(f"call charge_keyed {args}\n---\nsay paid", agent)
        assert was_killed(await first.died())

        await world.up()

        assert (await world.ended(run_id, 60))["state"] == "DONE"
        assert [effect.arrivals for effect in ledger[0].effects.values()] == [1]
        await world.check()


@pytest.mark.heavy
@pytest.mark.timeout(3600)
async def test_a_seeded_loop_over_all_crash_points(
    temporal: TemporalServer, tmp_path: Path, seed: int
) -> None:
    """Each point by itself, at its first or a later time; then random pairs."""
    rng = random.Random(seed)
    cases: list[tuple[str, ...]] = [
        (f"{n}:{when}",) for n in PLAYS if n != "release_attempt" for when in BOTH
    ]
    cases += [
        (f"{name}:{when}:2",)
        for name in ("open_step", "append_delta", "close_step")
        for when in BOTH
    ]
    for _ in range(int(os.environ.get("FAULT_ROUNDS", "40"))):
        names = [rng.choice(MAIN) for _ in range(rng.randint(1, 3))]
        cases.append(tuple(f"{name}:{rng.choice(BOTH)}" for name in names))
    await crash_all(cases, temporal.address, tmp_path)
    record("crash_points", seed, cases=len(cases))


@pytest.mark.heavy
@pytest.mark.timeout(3600)
async def test_a_seeded_loop_over_children(
    temporal: TemporalServer, tmp_path: Path, seed: int
) -> None:
    """Every process dies at a random commit of a run with children, the next one at another."""
    rng = random.Random(seed)
    names = ("open_step", "append_delta", "close_step", "spawn", "close_tool", "finalize")
    cases: list[tuple[str, ...]] = []
    for _ in range(int(os.environ.get("FAULT_ROUNDS", "50"))):
        points = range(rng.randint(1, 3))
        cases.append(
            tuple(f"{rng.choice(names)}:{rng.choice(BOTH)}:{rng.randint(1, 4)}" for _ in points)
        )
    await crash_all(cases, temporal.address, tmp_path, play=play_child)
    record("child_crash_points", seed, cases=len(cases))


@pytest.mark.heavy
@pytest.mark.timeout(3600)
async def test_a_seeded_loop_over_an_approval(
    temporal: TemporalServer, tmp_path: Path, seed: int
) -> None:
    """Every process dies at a random step of the flow, sometimes the next one at another too."""
    rng = random.Random(seed)
    names = ("open_step", "close_step", "decide", "close_tool", "finalize")
    cases: list[tuple[str, ...]] = []
    for _ in range(int(os.environ.get("FAULT_ROUNDS", "50"))):
        # In the order of the flow, so that the second process comes by its point as well.
        places = sorted(rng.sample(range(2, len(names)), rng.randint(1, 2)))
        cases.append(tuple(f"{names[place]}:{rng.choice(BOTH)}" for place in places))
    cases += [(f"{name}:{when}",) for name in names[:2] for when in BOTH]
    await crash_all(cases, temporal.address, tmp_path, play=play_approval)
    record("approval_crash_points", seed, cases=len(cases))


@pytest.mark.heavy
@pytest.mark.timeout(3600)
async def test_a_seeded_loop_over_a_fork(
    temporal: TemporalServer, tmp_path: Path, seed: int
) -> None:
    """Each commit of the fork by itself, then random ones before a second crash."""
    rng = random.Random(seed)
    times = {"accept": (2,), "open_step": (4, 5, 6), "close_step": (3,), "finalize": (2,)}
    points = [
        f"{name}:{when}:{nth}" for name, nths in times.items() for nth in nths for when in BOTH
    ]
    cases: list[tuple[str, ...]] = [(point,) for point in points]
    for _ in range(int(os.environ.get("FAULT_ROUNDS", "40"))):
        second = f"{rng.choice(list(times))}:{rng.choice(BOTH)}"
        cases.append((rng.choice(points), second))
    await crash_all(cases, temporal.address, tmp_path, play=play_fork)
    record("crash_points_fork", seed, cases=len(cases))
