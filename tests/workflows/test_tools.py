"""Tools as steps: effects happen once, and what nobody knows waits for a person."""

import asyncio
import os
from pathlib import Path

import pytest

from domain.event import EventType
from domain.run import RunState, WaitingOn
from tests.rig.tools import TARGETS
from tests.workflows.conftest import Make
from tests.workflows.stage import Stage


def call(stage: Stage, tool: str) -> str:
    return f'call {tool} {{"url": "{stage.ledger_url}"}}\n---\nsay it said {{result}}'


def arrivals(stage: Stage, tool: str) -> list[int]:
    """Return how often each key of a tool has arrived."""
    return [e.arrivals for e in stage.ledger.effects.values() if e.tool == tool]


async def parked(stage: Stage, run_id: str) -> str:
    """Wait until a run waits for a person, and return the call."""
    await stage.seen(run_id, EventType.RUN_WAITING)
    run = await stage.get(run_id)
    assert (run.state, run.waiting_on) == (RunState.RUNNING, WaitingOn.APPROVAL)
    (row,) = await stage.rows("SELECT * FROM tool_calls WHERE status = 'outcome_unknown'")
    return str(row["tool_call_id"])


@pytest.mark.parametrize("tool", ["charge_brief", "charge_and_raise"])
async def test_an_unsafe_tool_that_is_cut_waits_for_a_person(make_stage: Make, tool: str) -> None:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=[tool])
        if tool == "charge_brief":
            stage.ledger.holds.add("*")
        run = await stage.start(call(stage, tool))
        call_id = await parked(stage, run.run_id)
        assert arrivals(stage, tool) == [1]

        await stage.resolve(call_id, "happened", "paid 5")

        ended = await stage.ended(run.run_id)
        assert ended.state is RunState.DONE
        assert ended.output is not None
        assert "it said paid 5" in ended.output["content"]
        assert arrivals(stage, tool) == [1], "it was not run again"
        kinds = await stage.kinds(run.run_id)
        assert (
            kinds.index("outcome_unknown") < kinds.index("run_waiting") < kinds.index("run_resumed")
        )


async def test_what_did_not_happen_is_run_again(make_stage: Make) -> None:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=["charge_brief"])
        stage.ledger.holds.add("*")
        run = await stage.start(call(stage, "charge_brief"))
        call_id = await parked(stage, run.run_id)
        stage.ledger.holds.clear()

        await stage.resolve(call_id, "not_happened")

        assert (await stage.ended(run.run_id)).state is RunState.DONE
        assert arrivals(stage, "charge_brief") == [2]
        dispatched = await stage.of_kind(run.run_id, EventType.TOOL_DISPATCHED)
        assert [d["attempt"] for d in dispatched] == [1, 2]


async def test_giving_up_is_an_error_that_the_model_reads(make_stage: Make) -> None:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=["charge_and_raise"])
        run = await stage.start(call(stage, "charge_and_raise"))

        await stage.resolve(await parked(stage, run.run_id), "give_up")

        ended = await stage.ended(run.run_id)
        assert ended.state is RunState.DONE
        assert ended.output is not None
        assert "gave up" in ended.output["content"]


async def test_an_unknown_outcome_can_be_unknown_twice(make_stage: Make) -> None:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=["charge_and_raise"])
        run = await stage.start(call(stage, "charge_and_raise"))
        call_id = await parked(stage, run.run_id)
        await stage.resolve(call_id, "not_happened")
        await stage.seen(run.run_id, EventType.RUN_WAITING, 2)

        await stage.resolve(call_id, "happened", "paid")

        assert (await stage.ended(run.run_id)).state is RunState.DONE
        assert arrivals(stage, "charge_and_raise") == [2]


async def test_of_two_unknown_calls_each_is_resolved_on_its_own(make_stage: Make) -> None:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=["charge_and_raise"])
        line = f'call charge_and_raise {{"url": "{stage.ledger_url}"}}'
        run = await stage.start(f"{line}\n{line}\n---\nsay {{result}}")
        await stage.seen(run.run_id, EventType.OUTCOME_UNKNOWN, 2)
        first, second = await stage.rows("SELECT tool_call_id FROM tool_calls ORDER BY step_id")

        await stage.resolve(first["tool_call_id"], "happened", "one")
        still = await stage.get(run.run_id)
        await stage.resolve(second["tool_call_id"], "happened", "two")

        ended = await stage.ended(run.run_id)
        assert (still.state, still.waiting_on) == (RunState.RUNNING, WaitingOn.APPROVAL)
        assert ended.output is not None
        assert ended.output["content"] == "[offline] one, two"


async def test_an_unsafe_tool_whose_attempt_vanished_is_not_run_again(make_stage: Make) -> None:
    """Its worker is lost after the effect; the next attempt only looks at the row."""
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=["charge_unsafe"])
        stage.ledger.holds.add("*")
        run = await stage.start(call(stage, "charge_unsafe"))
        await stage.until("the charge", lambda: stage.is_true(stage.ledger.held == 1))
        step = await stage.step(run.run_id, "tool-1-0")

        assert await stage.gateway.fail_attempt(bytes(step["task_token"]))

        await parked(stage, run.run_id)
        assert arrivals(stage, "charge_unsafe") == [1]


async def test_a_late_end_of_a_lost_attempt_changes_nothing(make_stage: Make) -> None:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=["charge_unsafe"])
        stage.ledger.holds.add("*")
        run = await stage.start(call(stage, "charge_unsafe"))
        await stage.until("the charge", lambda: stage.is_true(stage.ledger.held == 1))
        step = await stage.step(run.run_id, "tool-1-0")
        await stage.gateway.fail_attempt(bytes(step["task_token"]))
        call_id = await parked(stage, run.run_id)

        await release(stage)
        await stage.until(
            "the late attempt's end",
            lambda: stage.is_true(not stage.live.runs(run.run_id, "tool-1-0")),
        )

        (row,) = await stage.rows("SELECT status FROM tool_calls")
        assert row["status"] == "outcome_unknown"
        await stage.resolve(call_id, "happened", "paid 7")
        assert (await stage.ended(run.run_id)).state is RunState.DONE


async def test_a_keyed_tool_whose_attempt_vanished_runs_again_under_its_key(
    make_stage: Make,
) -> None:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=["charge_keyed"])
        stage.ledger.holds.add("*")
        run = await stage.start(call(stage, "charge_keyed"))
        await stage.until("the charge", lambda: stage.is_true(stage.ledger.held == 1))
        step = await stage.step(run.run_id, "tool-1-0")
        stage.ledger.holds.clear()

        assert await stage.gateway.fail_attempt(bytes(step["task_token"]))

        assert (await stage.ended(run.run_id)).state is RunState.DONE
        (key,) = stage.ledger.effects
        (row,) = await stage.rows("SELECT tool_call_id FROM tool_calls")
        assert key == f"{run.run_id}:{row['tool_call_id']}"


async def test_a_declared_refusal_goes_to_the_model(make_stage: Make) -> None:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=["charge_and_refuse"])

        run = await stage.run(call(stage, "charge_and_refuse"))

        assert run.output is not None
        assert "nothing was charged" in run.output["content"]


async def test_a_declared_accident_is_tried_again(make_stage: Make) -> None:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=["charge_flaky"])

        run = await stage.run(call(stage, "charge_flaky"))

        assert run.state is RunState.DONE
        assert arrivals(stage, "charge_flaky") == [1]
        step = await stage.step(run.run_id, "tool-1-0")
        assert (step["failures"], step["attempt"]) == (2, 3)


async def test_a_tool_that_hangs_is_cut(make_stage: Make) -> None:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=["hang"])

        run = await stage.run("call hang {}\n---\nsay {result}")

        (row,) = await stage.rows("SELECT status FROM tool_calls")
        assert row["status"] == "timeout"
        assert run.output is not None
        assert "cut after" in run.output["content"]


async def test_a_blocking_tool_that_hangs_loses_its_process(
    make_stage: Make, tmp_path: Path
) -> None:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=["hang_blocking"])
        note = tmp_path / "pid"

        run = await stage.run(f'call hang_blocking {{"path": "{note}"}}\n---\nsay next')

        assert run.state is RunState.DONE
        with pytest.raises(ProcessLookupError):
            os.kill(int(note.read_text()), 0)


async def test_tools_of_one_reply_run_side_by_side(make_stage: Make) -> None:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=["read_only"])
        stage.ledger.holds.add("*")
        line = f'call read_only {{"url": "{stage.ledger_url}"}}'
        run = await stage.start("\n".join([line] * 8) + "\n---\nsay done")

        await stage.until("all eight", lambda: stage.is_true(stage.ledger.held == 8))

        await release(stage)
        assert (await stage.ended(run.run_id)).usage.tool_calls == 8


async def test_arguments_that_are_no_json_are_an_error_that_the_model_reads(
    stage: Stage,
) -> None:
    await stage.agent(models=("openai/stub",), tools=["calculator"])

    run = await stage.run('[[tool=calculator args="{broken"]] hello')

    assert run.state is RunState.DONE
    (row,) = await stage.rows("SELECT status, error FROM tool_calls")
    assert row["status"] == "failed"
    assert "invalid_arguments" in row["error"]


async def release(stage: Stage) -> None:
    """Let every held reply of the ledger go."""
    stage.ledger.holds.clear()
    stage.ledger.released.set()
    stage.ledger.released = asyncio.Event()


async def test_an_answer_that_is_an_error_counts_as_a_failure_of_its_slot(stage: Stage) -> None:
    await stage.agent(tools=["calculator"])
    run = await stage.run('call calculator {"expression": "1/0"}\n---\nsay well')

    assert run.state is RunState.DONE
    figures = stage.live.slots()
    assert sum(slot.failed for slot in figures) == 1
    assert sum(slot.succeeded for slot in figures) == 2


async def test_what_a_tool_raised_is_told_in_words(make_stage: Make) -> None:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=["charge_and_raise", "raise_blocking"])
        run = await stage.start(call(stage, "charge_and_raise"))
        await parked(stage, run.run_id)
        failed = await stage.run("call raise_blocking {}\n---\nsay {result}")

        said = "tool charge_and_raise raised ConnectionResetError: the reply was lost"
        [unknown] = await stage.of_kind(run.run_id, EventType.OUTCOME_UNKNOWN)
        assert unknown["reason"] == said
        [result] = await stage.of_kind(failed.run_id, EventType.TOOL_RESULT)
        assert result["error"]["message"] == "tool raise_blocking raised LookupError: no such thing"
