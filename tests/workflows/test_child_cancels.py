"""Trees of runs that are cancelled, from above and from below."""

from temporalio.client import WorkflowExecutionStatus

from domain.agent import Limits
from domain.event import EventType
from domain.family import child_run_id
from domain.run import Run, RunState
from tests.workflows.family import answer_of, refusals, spawning, then_say
from tests.workflows.stage import ANN, Stage


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
