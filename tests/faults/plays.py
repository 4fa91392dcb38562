"""Plays of one run or two that meet every commit: what a client does while processes crash."""

import secrets
import signal
import sqlite3
from contextlib import closing
from typing import Any

from tests.faults.approval_plays import play_approval, play_relaxed
from tests.faults.books import Books
from tests.faults.child_plays import play_asked, play_child
from tests.faults.scene import Play, Played, Scene
from tests.rig.world import World


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
        assert books.answer(first) == "[offline] t0 t1 t2 t3 t4"
        assert books.answer(second) == "[offline] second"
        assert [effect.tool for effect in ledger.effects.values()] == ["charge_keyed"]
        spoken = sorted(books.tables["messages"], key=lambda row: row["seq"])
        assert [row["role"] for row in spoken] == [
            *("user", "assistant", "tool", "assistant"),
            *("user", "assistant"),
        ]
        assert [row["run_id"] for row in spoken] == [first] * 4 + [second] * 2
        assert viewer.events[-1]["data"]["final_message"]["content"] == books.answer(first)

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
        assert books.answer(run_id) == "[offline] paid"
        assert [effect.arrivals for effect in scene.ledger.effects.values()] == [1]
        assert viewer.count("outcome_unknown") == 1
        (row,) = books.tables["tool_calls"]
        assert row["resolution"] == "happened"

    return look


async def play_failing(scene: Scene) -> Played:
    """A provider fails once in every process; the retry answers."""
    run_id = await scene.world.start(f"fail unavailable times=1 id={secrets.token_hex(4)}\nsay ok")
    await scene.world.ended(run_id)

    def look(books: Books) -> None:
        assert books.answer(run_id) == "[offline] ok"

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
        assert books.answer(run_id) == "hello there"
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
        assert books.answer(run_id) == "[offline] " + " ".join(f"t{n}" for n in range(60))

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
        assert books.answer(first) == "[offline] paid"
        assert books.answer(viewer.run_id) == "[offline] more"
        keys = [row["idempotency_key"] for row in books.tables["tool_calls"]]
        assert len(keys) == 2
        assert set(keys) == set(scene.ledger.effects), "both rows are the one charge"

    return look


async def play_delayed(scene: Scene) -> Played:
    """A run begins later, when a process is there to begin it."""
    run_id = await scene.world.start("say late", session_id="s", start_delay=0.2)
    await scene.world.ended(run_id)

    def look(books: Books) -> None:
        assert books.answer(run_id) == "[offline] late"
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
    "accept_child": play_asked,
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
