"""One run at a time in a session, in the order in which they were accepted."""

import asyncio

from temporalio.client import WorkflowExecutionStatus

from domain.event import EventType
from domain.run import RunState, WaitingOn
from domain.step import Finish
from tests.workflows.conftest import Make
from tests.workflows.stage import ANN, Stage


async def transcript(stage: Stage, session_id: str) -> list[tuple[str, str]]:
    rows = await stage.rows(
        "SELECT role, content FROM messages WHERE session_id = :s ORDER BY seq", s=session_id
    )
    return [(row["role"], row["content"].removeprefix("[offline] ")) for row in rows]


async def test_runs_of_a_session_take_turns_in_order(stage: Stage) -> None:
    runs = [await stage.start(f"say answer {n}\nfirst_ms=20", session_id="s") for n in range(5)]

    ended = [await stage.ended(run.run_id) for run in runs]

    assert [run.state for run in ended] == [RunState.DONE] * 5
    expected = [
        message
        for n in range(5)
        for message in (("user", f"say answer {n}\nfirst_ms=20"), ("assistant", f"answer {n}"))
    ]
    assert await transcript(stage, "s") == expected
    ends = [run.ended_at for run in ended]
    assert ends == sorted(ends, key=lambda at: at or 0)


async def test_a_queued_run_says_that_it_waits_and_goes_on_by_a_signal(stage: Stage) -> None:
    holder = await stage.start("say first\nfirst_ms=200", session_id="s")
    queued = await stage.start("say second", session_id="s")
    await stage.seen(queued.run_id, EventType.RUN_WAITING)
    waiting = await stage.get(queued.run_id)

    await stage.ended(holder.run_id)
    await stage.ended(queued.run_id)

    assert (waiting.state, waiting.waiting_on) == (RunState.RUNNING, WaitingOn.SESSION)
    assert await stage.kinds(queued.run_id) == [
        *("user_input", "run_started", "run_waiting", "run_resumed"),
        *("agent_invoke_started", "llm_call_started", "agent_stream_delta", "llm_call_done"),
        *("agent_invoke_done", "run_done"),
    ]
    await stage.closed(queued.run_id)
    entries = await stage.entries(queued.run_id)
    assert entries.count("WORKFLOW_EXECUTION_SIGNALED") == 1
    assert entries.count("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES") == 2, "WaitingOn set and taken back"


async def test_a_hand_over_before_the_workflow_began_is_not_missed(make_stage: Make) -> None:
    """The holder ends before the queued run's workflow reads its row: nobody signals later."""
    async with make_stage(works=False) as stage:
        holder = await stage.start("say first", session_id="s")
        queued = await stage.start("say second", session_id="s")
        finished = await stage.storage.steps.finalize(holder.run_id, Finish(RunState.FAILED))
        assert finished.woken_run_id == queued.run_id

        await stage.work()

        assert (await stage.ended(queued.run_id)).state is RunState.DONE
        assert "run_waiting" not in await stage.kinds(queued.run_id)
        assert await stage.closed(holder.run_id) is WorkflowExecutionStatus.FAILED


async def test_a_run_that_fails_hands_its_session_on(stage: Stage) -> None:
    first = await stage.start("fail bad_request", session_id="s")
    second = await stage.start("say still here", session_id="s")

    assert (await stage.ended(first.run_id)).state is RunState.FAILED
    assert (await stage.ended(second.run_id)).state is RunState.DONE


async def test_sessions_do_not_wait_for_each_other(stage: Stage) -> None:
    await stage.start("stall", session_id="blocked")

    others = [await stage.start("say hello", session_id=f"s{n}") for n in range(10)]

    async with asyncio.timeout(20):
        for run in others:
            assert (await stage.ended(run.run_id)).state is RunState.DONE


async def test_a_later_run_reads_what_was_said_before(stage: Stage) -> None:
    await stage.agent(models=("offline/assistant",))
    await stage.run("remember the blue door", session_id="s")

    run = await stage.run("what did I say?", session_id="s")

    assert run.output is not None
    assert "Said before in this conversation" in run.output["content"]
    assert "blue door" in run.output["content"]


async def test_a_cancel_that_came_before_the_workflow_ends_a_queued_run(make_stage: Make) -> None:
    """The engine does not know the run yet and forgets the cancel; the run must not wait on."""
    async with make_stage(passes=False) as stage:
        holder = await stage.start("stall", session_id="s")
        stage.gateway.mismatch = "nothing is started now"
        queued = await stage.start("say second", session_id="s")
        stage.gateway.mismatch = None
        await stage.intake.cancel(ANN, queued.run_id, "taken back")

        spec = await stage.storage.upkeep.spec_of(queued.run_id)
        await stage.gateway.start(queued, spec, queued=True)

        assert (await stage.ended(queued.run_id)).state is RunState.CANCELLED
        assert (await stage.get(holder.run_id)).state is RunState.RUNNING
