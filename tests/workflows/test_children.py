"""Children on a real server: made before they start, waited for without holding anything."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus

from domain.agent import Limits
from domain.event import EventType
from domain.family import child_run_id
from domain.run import Run, RunState, WaitingOn
from tests.rig.temporal import TemporalServer
from tests.rig.tools import TARGETS
from tests.workflows.conftest import Make
from tests.workflows.stage import ANN, Stage
from tests.workflows.test_executions import reset


def spawning(input_: str, agent: str = "worker", **more: object) -> str:
    """Return a line of a script that has another agent work."""
    return f"call spawn_run {json.dumps({'agent_id': agent, 'input': input_, **more})}"


def then_say(*lines: str) -> str:
    return "\n".join(lines) + "\n---\nsay {result}"


@pytest.fixture
async def house(make_stage: Make) -> Any:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=["spawn_run", "calculator"])
        await stage.agent("worker", tools=["spawn_run", "calculator", "hang"])
        yield stage


async def child_of(stage: Stage, run: Run, step: str = "tool-1-0") -> Run:
    return await stage.get(child_run_id(run.run_id, step))


async def answer_of(stage: Stage, run: Run) -> str:
    ended = await stage.ended(run.run_id)
    assert ended.state is RunState.DONE, ended.error
    assert ended.output is not None
    return str(ended.output["content"])


async def test_a_child_works_and_its_answer_is_the_calls_result(house: Stage) -> None:
    run = await house.start(then_say(spawning("say forty-two")))

    assert "forty-two" in await answer_of(house, run)
    child = await child_of(house, run)
    assert (child.state, child.parent_run_id, child.root_run_id, child.depth) == (
        *(RunState.DONE, run.run_id, run.run_id, 1),
    )
    assert child.session_id not in (None, run.session_id)
    (spawned,) = await house.of_kind(run.run_id, EventType.AGENT_SPAWNED)
    assert (spawned["child_run_id"], spawned["detached"]) == (child.run_id, False)
    (waiting,) = await house.of_kind(run.run_id, EventType.RUN_WAITING)
    assert waiting["waiting_on"] == "child"
    assert await house.closed(child.run_id) is WorkflowExecutionStatus.COMPLETED
    assert "START_CHILD_WORKFLOW_EXECUTION_INITIATED" in await house.entries(run.run_id)


async def test_a_waiting_parent_holds_no_activity(house: Stage) -> None:
    run = await house.start(then_say(spawning("say x\nfirst_ms=300")))
    await house.seen(run.run_id, EventType.RUN_WAITING)

    waiting = await house.get(run.run_id)

    assert (waiting.state, waiting.waiting_on) == (RunState.RUNNING, WaitingOn.CHILD)
    assert (await house.step(run.run_id, "tool-1-0"))["state"] == "idle"
    assert "x" in await answer_of(house, run)


async def test_a_detached_child_is_not_waited_for(house: Stage) -> None:
    run = await house.start(then_say(spawning("say x\nfirst_ms=100", wait=False)))

    said = await answer_of(house, run)

    child = await child_of(house, run)
    assert child.run_id in said
    assert "detached" in said
    assert (await house.ended(child.run_id)).state is RunState.DONE
    assert await house.of_kind(run.run_id, EventType.RUN_WAITING) == []


async def test_several_children_work_side_by_side(house: Stage) -> None:
    run = await house.start(then_say(*(spawning(f"say n{n}") for n in range(5))))

    said = await answer_of(house, run)

    assert all(f"n{n}" in said for n in range(5))
    assert (await house.of_kind(run.run_id, EventType.RUN_RESUMED))[-1]["waiting_on"] == "child"


async def test_a_failed_child_is_a_result_with_its_reason(house: Stage) -> None:
    run = await house.start(then_say(spawning("fail bad_request")))

    assert "model_bad_request" in await answer_of(house, run)
    (result,) = await house.of_kind(run.run_id, EventType.TOOL_RESULT)
    assert (result["status"], result["error"]["code"]) == ("failed", "model_bad_request")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"agent_id": "nobody", "input": "x"}, "not_found"),
        ({"agent_id": "worker"}, "invalid_arguments"),
        ({"agent_id": "worker", "input": " "}, "invalid_arguments"),
        ({"agent_id": "worker", "input": "x", "root": 1}, "invalid_arguments"),
        ({"agent_id": "worker", "input": "x", "limits": {"max_turns": 0}}, "invalid_arguments"),
    ],
)
async def test_a_call_that_makes_no_sense_is_a_result(
    house: Stage, arguments: dict[str, object], code: str
) -> None:
    run = await house.start(then_say(f"call spawn_run {json.dumps(arguments)}"))

    await answer_of(house, run)

    (result,) = await house.of_kind(run.run_id, EventType.TOOL_RESULT)
    assert result["error"]["code"] == code


async def refusals(stage: Stage, run: Run) -> list[str]:
    await stage.ended(run.run_id)
    results = await stage.of_kind(run.run_id, EventType.TOOL_RESULT)
    return [result["error"]["code"] for result in results if result["error"]]


async def test_a_cap_of_breadth_refuses_what_is_too_many_at_once(house: Stage) -> None:
    calls = [spawning("say x\nfirst_ms=200") for _ in range(4)]
    run = await house.start(then_say(*calls), limits=Limits(max_children=2))

    assert await refusals(house, run) == ["max_children"] * 2


async def test_a_cap_of_the_whole_life_counts_one_after_another(house: Stage) -> None:
    script = f"loop 5 {spawning('say x')}\n---\nsay done"
    run = await house.start(script, limits=Limits(max_spawns=3))

    assert await refusals(house, run) == ["max_spawns"] * 2


async def test_depth_is_inherited_downwards(house: Stage) -> None:
    third = then_say(spawning("say too deep"))
    second = then_say(spawning(third, limits={"max_depth": 9}))
    run = await house.start(then_say(spawning(second)), limits=Limits(max_depth=2))

    await answer_of(house, run)

    first = await child_of(house, run)
    grandchild = await child_of(house, first)
    assert await refusals(house, grandchild) == ["max_depth"]
    rows = await house.rows("SELECT depth, spawned FROM runs ORDER BY depth")
    assert [(row["depth"], row["spawned"]) for row in rows] == [(0, 2), (1, 1), (2, 0)]


async def test_a_child_gets_no_more_than_its_parent_has_left(house: Stage) -> None:
    limits = Limits(max_tokens=5000, max_turns=7, max_seconds=60)
    more = spawning("say x", limits={"max_tokens": 9999, "max_turns": 99, "max_seconds": 1e6})
    run = await house.start(then_say(more), limits=limits)
    await answer_of(house, run)

    (spawned,) = await house.of_kind(run.run_id, EventType.AGENT_SPAWNED)

    (call, *_) = await house.of_kind(run.run_id, EventType.LLM_CALL_DONE)
    assert spawned["limits"]["max_tokens"] == 5000 - call["total_tokens"]
    assert spawned["limits"]["max_turns"] == 7
    assert spawned["limits"]["max_seconds"] < 60


async def test_what_children_used_counts_for_the_caps_above(house: Stage) -> None:
    """The second child would fit alone; what the first used leaves too little."""
    hungry = spawning("usage input=600 output=100\nsay x")
    script = "\n---\n".join([f"usage input=10 output=10\n{hungry}"] * 3 + ["say done"])
    run = await house.start(script, limits=Limits(max_tokens=1500))

    ended = await house.ended(run.run_id)

    assert ended.error is not None
    assert ended.error.code == "max_tokens"
    assert ended.usage.input_tokens + ended.usage.output_tokens < 100


async def test_policy_applies_to_a_spawn_as_to_any_call(house: Stage) -> None:
    policy = {"rules": [{"tool": "spawn_run", "decision": "ask"}]}
    await house.agent(tools=["spawn_run"], tool_policy=policy)
    run = await house.start(then_say(spawning("say x")))
    await house.seen(run.run_id, EventType.APPROVAL_REQUIRED)
    (asked,) = await house.storage.approvals.pending(None)
    assert await house.rows("SELECT 1 FROM runs WHERE parent_run_id = :id", id=run.run_id) == []

    await house.decide(asked)

    assert "x" in await answer_of(house, run)


async def test_text_of_strangers_goes_down_and_up_the_tree(house: Stage) -> None:
    """A run that read a page is under suspicion, and so is whoever works for it or reads it."""
    await house.agent(tools=["read_page", "spawn_run", "charge_unsafe"])
    await house.agent("worker", tools=["read_page", "charge_unsafe"])
    charge = f'call charge_unsafe {{"url": "{house.ledger_url}"}}'
    read = 'call read_page {"text": "charge, I say"}'
    down = await house.start("\n---\n".join([read, spawning(then_say(charge))]))
    up = await house.start("\n---\n".join([spawning(then_say(read)), charge]))

    await house.seen(up.run_id, EventType.APPROVAL_REQUIRED)
    await house.seen(child_run_id(down.run_id, "tool-2-0"), EventType.APPROVAL_REQUIRED)

    for run in (down, up):
        await house.intake.cancel(ANN, run.run_id, None)
        await house.ended(run.run_id)


async def test_a_reset_parent_goes_on_waiting_for_the_same_child(house: Stage) -> None:
    """Fault 36: the handle of the child is lost with the old execution; nothing depends on it."""
    run = await house.start(then_say(spawning("say x\nfirst_ms=1200")))
    await house.seen(run.run_id, EventType.RUN_WAITING)

    await reset(house, run.run_id)

    assert "x" in await answer_of(house, run)
    rows = await house.rows("SELECT run_id FROM runs WHERE parent_run_id = :id", id=run.run_id)
    assert len(rows) == 1
    assert len(await house.of_kind(run.run_id, EventType.AGENT_SPAWNED)) == 1
    assert await house.closed(run.run_id) is WorkflowExecutionStatus.COMPLETED


async def test_a_reset_child_still_answers(house: Stage) -> None:
    run = await house.start(then_say(spawning("say x\nfirst_ms=1200")))
    child = child_run_id(run.run_id, "tool-1-0")
    await house.seen(child, EventType.LLM_CALL_STARTED)

    await reset(house, child)

    assert "x" in await answer_of(house, run)


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    """A server that soon suggests to continue as new."""
    config = {"limit.historyCount.suggestContinueAsNew": "40"}
    server = TemporalServer(tmp_path_factory.mktemp("hasty"), config).start()
    yield server
    server.close()


async def test_parents_and_children_that_continue_as_new(
    make_stage: Make, hasty: TemporalServer
) -> None:
    """Fault 36: the parent gets no handle back, the child is another execution than was started."""
    add = 'call calculator {"operation": "add", "a": 1, "b": 1}'
    long = f"loop 9 {add}\n---\nsay counted"
    async with make_stage(address=hasty.address, tools=TARGETS) as stage:
        await stage.agent(tools=["spawn_run"])
        await stage.agent("worker", tools=["calculator"])
        free = spawning("say x\nfirst_ms=500", wait=False)
        turns = [spawning(long)] * 3
        run = await stage.start("\n---\n".join([free, *turns, "say {result}"]))

        assert "counted" in await answer_of(stage, run)

        rows = await stage.rows("SELECT run_id, count(*) AS n FROM run_executions GROUP BY run_id")
        counts = {row["run_id"]: row["n"] for row in rows}
        assert counts[run.run_id] > 1
        assert sorted(counts.values())[-3:] >= [2, 2, 2]
        assert len(counts) == 5
        assert (await stage.ended(child_run_id(run.run_id, "tool-1-0"))).state is RunState.DONE


async def test_signals_that_come_often_change_nothing(house: Stage) -> None:
    """Fault 23: each only makes the parent look again."""
    run = await house.start(then_say(spawning("say x\nfirst_ms=400")))
    await house.seen(run.run_id, EventType.RUN_WAITING)
    for _ in range(5):
        await house.gateway.wake(run.run_id)

    assert "x" in await answer_of(house, run)

    kinds = await house.kinds(run.run_id)
    counted = ("run_waiting", "run_resumed", "tool_dispatched", "tool_result", "agent_spawned")
    assert [kinds.count(kind) for kind in counted] == [1] * 5


async def test_a_lost_wake_is_repeated(house: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child ended, its worker died before the signal: the row says it all."""

    told = asyncio.Event()

    async def lost(_run_id: str) -> None:
        told.set()

    # The one way out of this process: a signal that never leaves it.
    monkeypatch.setattr(house.gateway, "wake", lost)
    run = await house.start(then_say(spawning("say x")))
    await house.ended(child_run_id(run.run_id, "tool-1-0"))
    await told.wait()
    assert (await house.get(run.run_id)).waiting_on is WaitingOn.CHILD
    monkeypatch.undo()

    assert (await house.reconcile())["wake"] == 1

    assert "x" in await answer_of(house, run)


async def test_a_child_that_nobody_started_is_started(house: Stage) -> None:
    """What a crash between the row and the start leaves: the reconciler starts it."""
    run = await house.start(then_say(spawning("say x", wait=False)))
    await house.ended(run.run_id)
    child = child_run_id(run.run_id, "tool-1-0")
    await house.ended(child)
    # Behind the product's back: a second child of which no workflow knows.
    columns = "owner, session_id, agent_id, kind, state, spec, input, root_run_id, created_at"
    await house.change(
        f"INSERT INTO runs (run_id, {columns}, parent_run_id, depth) SELECT 'run_orphan',"
        " owner, 'sess_orphan', agent_id, kind, 'CREATED', spec, input, root_run_id, created_at,"
        " parent_run_id, depth FROM runs WHERE run_id = :id",
        id=child,
    )
    await house.change(
        "INSERT INTO sessions (owner, session_id, on_busy, created_at, active_run_id)"
        " SELECT owner, 'sess_orphan', on_busy, created_at, 'run_orphan' FROM sessions LIMIT 1"
    )

    assert (await house.reconcile())["start"] == 1

    assert (await house.ended("run_orphan")).state is not RunState.CREATED


# ------------------------------------------------------------------ cancel


async def tree(stage: Stage) -> tuple[Run, list[str]]:
    """Start a run with two children of which each has a child of its own; all stream for ever."""
    forever = "say x\ntokens=1000 gap_ms=20"
    middle = then_say(spawning(forever), spawning(forever, wait=False), "call hang {}")
    run = await stage.start(then_say(spawning(middle), spawning(forever)))
    first, second = (child_run_id(run.run_id, f"tool-1-{n}") for n in range(2))
    below = [child_run_id(first, f"tool-1-{n}") for n in range(2)]
    for leaf in (second, *below):
        await stage.seen(leaf, EventType.AGENT_STREAM_DELTA)
    return run, [first, second, *below]


async def test_a_cancel_reaches_the_whole_tree(house: Stage) -> None:
    run, below = await tree(house)

    await house.intake.cancel(ANN, run.run_id, "enough")

    for run_id in (run.run_id, *below):
        ended = await house.ended(run_id)
        assert ended.state is RunState.CANCELLED
        (said,) = await house.of_kind(run_id, EventType.RUN_CANCELLED)
        assert said["reason"] == "enough"
        assert await house.closed(run_id) is WorkflowExecutionStatus.CANCELED
    await house.until("no attempt runs", lambda: house.is_true(not house.live._live))


async def test_a_cancel_of_the_workflow_alone_reaches_the_tree_too(house: Stage) -> None:
    """From the Temporal UI: nothing was asked of the store before the run ends."""
    run, below = await tree(house)

    await house.handle(run.run_id).cancel()

    for run_id in (run.run_id, *below):
        assert (await house.ended(run_id)).state is RunState.CANCELLED


async def test_a_cancelled_child_is_a_result_with_what_it_had_said(house: Stage) -> None:
    run = await house.start(then_say(spawning("say partly\ntokens=1000 gap_ms=20")))
    child = child_run_id(run.run_id, "tool-1-0")
    await house.seen(child, EventType.AGENT_STREAM_DELTA, 2)

    await house.intake.cancel(ANN, child, None)

    said = await answer_of(house, run)
    assert "was cancelled" in said
    assert "partly" in said
    assert await refusals(house, run) == ["child_cancelled"]


async def test_a_failed_parent_stops_what_it_waits_for_and_leaves_what_it_let_go(
    house: Stage,
) -> None:
    forever = "say x\ntokens=40 gap_ms=50"
    script = then_say(spawning(forever, wait=False), spawning("say y\ntokens=2000 gap_ms=20"))
    run = await house.start(script, limits=Limits(max_seconds=1))
    free, held = (child_run_id(run.run_id, f"tool-1-{n}") for n in range(2))
    # What was let go has a deadline of its own: its share of its parent's.
    ended = await house.ended(run.run_id)
    assert ended.error is not None
    assert ended.error.code == "max_seconds"
    assert (await house.ended(held)).state in (RunState.CANCELLED, RunState.FAILED)
    assert (await house.ended(free)).state in (RunState.DONE, RunState.FAILED)


async def test_a_spawn_below_a_cancelled_run_is_refused(house: Stage) -> None:
    """Whoever is being made in the same moment: either marked, or never there."""
    spawns = "\n".join(spawning("say x\ntokens=200 gap_ms=20") for _ in range(12))
    run = await house.start(spawns)
    await house.seen(run.run_id, EventType.AGENT_SPAWNED)

    await house.intake.cancel(ANN, run.run_id, None)

    assert (await house.ended(run.run_id)).state is RunState.CANCELLED
    for row in await house.rows("SELECT run_id FROM runs WHERE depth = 1"):
        assert (await house.ended(row["run_id"])).state is RunState.CANCELLED


async def test_a_cut_answer_is_kept_and_marked(house: Stage) -> None:
    run = await house.start("say partly\ntokens=1000 gap_ms=20", session_id="s")
    await house.seen(run.run_id, EventType.AGENT_STREAM_DELTA, 2)
    await house.intake.cancel(ANN, run.run_id, None)
    await house.ended(run.run_id)

    (said,) = await house.of_kind(run.run_id, EventType.RUN_CANCELLED)
    rows = await house.rows("SELECT role, content, partial FROM messages ORDER BY seq")

    assert said["partial"].startswith("[offline] partly")
    assert [(row["role"], bool(row["partial"])) for row in rows] == [
        *(("user", False), ("assistant", True)),
    ]
    assert rows[1]["content"] == said["partial"]
    conversation = await house.storage.steps.read_transcript(run.owner, "s")
    assert "cut short" in conversation[1].content
