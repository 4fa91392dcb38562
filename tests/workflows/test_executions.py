"""Runs that are more than one Temporal execution: continued as new, or reset."""

from collections.abc import AsyncIterator, Iterator

import pytest
from temporalio.client import WorkflowExecutionStatus

from adapters.temporal import workflow_id
from domain.agent import Limits
from domain.event import EventType
from domain.run import RunState
from domain.session import OnBusy
from tests.rig.resets import reset
from tests.rig.temporal import TemporalServer
from tests.rig.tools import TARGETS
from tests.workflows.conftest import Make
from tests.workflows.stage import Stage, connect

ADD = 'call calculator {"operation": "add", "a": 1, "b": 1}'
SUGGESTED_AT = 40
"""Events after which this server suggests to continue as new; 4,096 by default."""


@pytest.fixture(scope="module")
def eager_to_continue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    config = {"limit.historyCount.suggestContinueAsNew": str(SUGGESTED_AT)}
    server = TemporalServer(tmp_path_factory.mktemp("continue"), config).start()
    yield server
    server.close()


@pytest.fixture
async def short(make_stage: Make, eager_to_continue: TemporalServer) -> AsyncIterator[Stage]:
    async with make_stage(address=eager_to_continue.address, tools=TARGETS) as stage:
        await stage.agent(tools=["calculator", "charge_keyed", "charge_unsafe"])
        yield stage


async def executions(stage: Stage, run_id: str) -> list[str]:
    rows = await stage.rows(
        "SELECT temporal_run_id FROM run_executions WHERE run_id = :run ORDER BY ordinal",
        run=run_id,
    )
    return [row["temporal_run_id"] for row in rows]


async def test_a_long_run_continues_as_new_and_repeats_nothing(short: Stage) -> None:
    run = await short.run(f"loop 12 {ADD}\n---\nsay that was long")

    assert run.state is RunState.DONE
    assert run.usage.turns == 13
    known = await executions(short, run.run_id)
    assert len(known) >= 3
    for temporal_run_id in known:
        handle = short.client.get_workflow_handle(workflow_id(run.run_id), run_id=temporal_run_id)
        assert len((await handle.fetch_history()).events) < SUGGESTED_AT + 24
    attempts = await short.rows("SELECT step_id, attempt FROM steps")
    assert {row["attempt"] for row in attempts} == {1}
    assert len(attempts) == 13 + 12
    assert await short.closed(run.run_id) is WorkflowExecutionStatus.COMPLETED


async def test_caps_count_over_all_executions(short: Stage) -> None:
    run = await short.run(f"loop 99 {ADD}", limits=Limits(max_turns=11))

    assert run.error is not None
    assert run.error.code == "max_turns"
    assert run.usage.turns == 11
    assert len(await executions(short, run.run_id)) >= 2


async def test_a_queued_run_continues_as_new_too(short: Stage) -> None:
    first = await short.start("say first\nfirst_ms=100", session_id="s")
    second = await short.start(f"loop 8 {ADD}\n---\nsay done", session_id="s")

    assert (await short.ended(first.run_id)).state is RunState.DONE
    assert (await short.ended(second.run_id)).state is RunState.DONE
    assert len(await executions(short, second.run_id)) >= 2


async def test_messages_at_every_continuation_are_handled_once(short: Stage) -> None:
    """Fault 25: each comes as another execution begins; none is lost, and none counts twice."""
    run = await short.start(f"loop 6 {ADD}\n---\nsay first", session_id="s")
    runs, sent = [run.run_id], 4
    for number in range(sent):
        before = len(await executions(short, runs[-1]))
        await short.until("another execution", lambda n=before: _is_beyond(short, runs[-1], n))
        said = f"loop 6 {ADD}\n---\nsay {number}"
        steered = await short.start(said, session_id="s", on_busy=OnBusy.STEER)
        if steered.run_id != runs[-1]:
            runs.append(steered.run_id)

    for run_id in runs:
        assert (await short.ended(run_id)).state is RunState.DONE
        await short.closed(run_id)
    rows = await short.rows(
        "SELECT role, content FROM messages WHERE session_id = 's' AND seq IS NOT NULL ORDER BY seq"
    )
    asked = [row["content"].rpartition("say ")[2] for row in rows if row["role"] == "user"]
    assert asked == ["first", *map(str, range(sent))]
    assert rows[-1]["content"].endswith(str(sent - 1)), "the last one was answered"
    assert sum([len(await executions(short, run_id)) for run_id in runs]) > sent


async def _is_beyond(stage: Stage, run_id: str, count: int) -> bool:
    """Whether a run has gone on in another execution, or has ended."""
    if len(await executions(stage, run_id)) > count:
        return True
    return bool(await stage.rows("SELECT 1 FROM runs WHERE run_id = :r AND ended_at > 0", r=run_id))


async def test_a_reset_run_takes_its_finished_steps_over(make_stage: Make) -> None:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(models=("openai/stub",), tools=["charge_keyed"])
        stage.ledger.holds.add("*")
        args = f'{{"url": "{stage.ledger_url}"}}'
        run = await stage.start(f"[[tool=charge_keyed args={args}]] go")
        await stage.until("the charge", lambda: stage.is_true(stage.ledger.held == 1))
        stage.ledger.holds.clear()

        later = await reset(stage.client, run.run_id)

        assert (await stage.ended(run.run_id)).state is RunState.DONE
        assert (await executions(stage, run.run_id))[-1] == later
        assert len(stage.provider.log) == 2, "the first model call was not made again"
        assert len(stage.ledger.effects) == 1
        assert await stage.closed(run.run_id) is WorkflowExecutionStatus.COMPLETED


async def test_the_execution_before_a_reset_may_not_open_steps_any_more(stage: Stage) -> None:
    await stage.agent(models=("openai/stub",))
    run = await stage.start("[[tokens=3 gap_ms=10 stall_after=2]] hello")
    await stage.seen(run.run_id, EventType.AGENT_STREAM_DELTA)
    stage.provider.controls = {"stub": "[[say=again]]"}

    later = await reset(stage.client, run.run_id)
    await stage.until(
        "an attempt of the later execution",
        lambda: stage.rows("SELECT 1 FROM steps WHERE temporal_run_id = :later", later=later),
    )

    before, after = await executions(stage, run.run_id)
    assert after == later
    step = await stage.step(run.run_id, "llm-1-1")
    assert (step["temporal_run_id"], step["attempt"]) == (later, 2)
    assert before != later


async def test_a_reset_of_a_run_that_has_ended_ends_at_its_first_step(stage: Stage) -> None:
    await stage.agent(models=("openai/stub",))
    run = await stage.run("hello")
    await stage.closed(run.run_id)
    before = await stage.events(run.run_id)

    later = await reset(stage.client, run.run_id)

    handle = stage.client.get_workflow_handle(workflow_id(run.run_id), run_id=later)
    assert (await handle.result())["state"] == "DONE"
    assert len(stage.provider.log) == 1
    assert await stage.events(run.run_id) == before


async def test_a_reset_of_a_cancelled_run_ends_cancelled_again(stage: Stage) -> None:
    run = await stage.start("stall")
    await stage.seen(run.run_id, EventType.LLM_CALL_STARTED)
    await stage.storage.runs.ask_cancel(None, run.run_id, None)
    await stage.gateway.cancel(run.run_id)
    await stage.ended(run.run_id)
    await stage.closed(run.run_id)

    await reset(stage.client, run.run_id)

    assert await stage.closed(run.run_id) is WorkflowExecutionStatus.CANCELED
    assert (await stage.kinds(run.run_id)).count("run_cancelled") == 1


async def test_a_client_of_another_process_starts_runs_too(stage: Stage) -> None:
    """As an API apart from its worker does: the start is not eager, all else is the same."""
    client = await connect(stage.client.service_client.config.target_host)
    stage.gateway._client = client

    run = await stage.run("say hello")

    assert run.state is RunState.DONE
    await stage.closed(run.run_id)
    assert len(await stage.entries(run.run_id)) == 12
