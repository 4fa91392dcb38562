"""Children on a real server: made before they start, waited for without holding anything."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from temporalio.client import WorkflowExecutionStatus

from domain.event import EventType
from domain.family import child_run_id
from domain.run import RunState, WaitingOn
from tests.rig.resets import reset
from tests.rig.temporal import TemporalServer
from tests.rig.tools import TARGETS
from tests.workflows.conftest import Make
from tests.workflows.family import answer_of, child_of, spawning, then_say
from tests.workflows.stage import Stage


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


async def test_a_reset_parent_goes_on_waiting_for_the_same_child(house: Stage) -> None:
    """Fault 36: the handle of the child is lost with the old execution; nothing depends on it."""
    run = await house.start(then_say(spawning("say x\nfirst_ms=1200")))
    await house.seen(run.run_id, EventType.RUN_WAITING)

    await reset(house.client, run.run_id)

    assert "x" in await answer_of(house, run)
    rows = await house.rows("SELECT run_id FROM runs WHERE parent_run_id = :id", id=run.run_id)
    assert len(rows) == 1
    assert len(await house.of_kind(run.run_id, EventType.AGENT_SPAWNED)) == 1
    assert await house.closed(run.run_id) is WorkflowExecutionStatus.COMPLETED


async def test_a_reset_child_still_answers(house: Stage) -> None:
    run = await house.start(then_say(spawning("say x\nfirst_ms=1200")))
    child = child_run_id(run.run_id, "tool-1-0")
    await house.seen(child, EventType.LLM_CALL_STARTED)

    await reset(house.client, child)

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
