"""A model that asks for nothing that can run may mend its reply twice, whichever tool it means."""

import json

import pytest

from domain.event import EventType
from domain.run import Run, RunState
from domain.tool import Effect
from tests.rig.resets import reset
from tests.workflows.stage import Stage
from tests.workflows.test_clients import printer

BROKEN = '{"expression": "6*7"'
"""Arguments that end too early."""


def insists(tool: str, args: str) -> str:
    """Return a prompt for a model that asks for this call, and for nothing else."""
    return f"[[tool={tool} tool_turns=99 args={json.dumps(args)}]] hello"


async def ends_after_two_repairs(stage: Stage, run: Run, tool: str) -> None:
    assert run.state is RunState.FAILED
    assert run.error is not None
    assert run.error.code == "malformed_reply"
    assert f"3 times in a row for what cannot run, at last for {tool} with" in run.error.message
    assert "tool-3-0" in run.error.message
    assert len(stage.provider.log) == 3
    results = await stage.of_kind(run.run_id, EventType.TOOL_RESULT)
    assert [result["error"]["code"] for result in results] == ["invalid_arguments"] * 3


@pytest.mark.parametrize("args", [BROKEN, "[1]", '{"expression": 6}'])
async def test_a_model_that_insists_on_arguments_that_do_not_fit_ends_after_two_repairs(
    stage: Stage, args: str
) -> None:
    await stage.agent(models=("openai/stub",), tools=["calculator"])

    run = await stage.run(insists("calculator", args))

    await ends_after_two_repairs(stage, run, "calculator")


@pytest.mark.parametrize("args", ["{broken", '{"text": 1}'])
async def test_arguments_that_no_client_is_asked_with_are_bounded_too(
    stage: Stage, args: str
) -> None:
    await stage.agent(models=("openai/stub",))

    run = await stage.run(insists("print_page", args), client_tools=(printer(Effect.UNSAFE),))

    await ends_after_two_repairs(stage, run, "print_page")


async def test_children_that_cannot_be_made_are_bounded_too(stage: Stage) -> None:
    await stage.agent(models=("openai/stub",), tools=["spawn_run"])

    run = await stage.run(insists("spawn_run", '{"agent_id": "helper"}'))

    await ends_after_two_repairs(stage, run, "spawn_run")


async def test_a_call_that_ran_makes_the_count_begin_anew(stage: Stage) -> None:
    await stage.agent(tools=["calculator"])
    bad = 'call calculator {"expression": 6}'
    good = 'call calculator {"expression": "6*7"}'
    turns = [bad, bad, f"{bad}\n{good}", bad, "call no_such_tool {}", good, "say done"]

    run = await stage.run("\n---\n".join(turns))

    assert (run.state, run.usage.turns) == (RunState.DONE, len(turns))


async def test_unknown_tools_and_arguments_that_do_not_fit_count_together(stage: Stage) -> None:
    await stage.agent(tools=["calculator"])
    bad, unknown = 'call calculator {"expression": 6}', "call no_such_tool {}"

    run = await stage.run("\n---\n".join([bad, f"{bad}\n{unknown}", unknown, "say done"]))

    assert (run.state, run.error and run.error.code) == (RunState.FAILED, "malformed_reply")
    assert run.error is not None
    assert run.error.message.endswith("at last for unknown tools")
    assert run.usage.turns == 3


async def test_a_tool_that_fails_is_no_repair_nor_is_a_call_that_is_blocked(stage: Stage) -> None:
    policy = {"rules": [{"tool": "time", "decision": "block"}]}
    await stage.agent(tools=["calculator", "time"], tool_policy=policy)
    failing, blocked = 'call calculator {"expression": "1/0"}', "call time {}"

    run = await stage.run("\n---\n".join([failing, blocked] * 2 + [failing, "say done"]))

    assert run.state is RunState.DONE
    statuses = {
        result["status"] for result in await stage.of_kind(run.run_id, EventType.TOOL_RESULT)
    }
    assert statuses == {"failed", "rejected"}


async def test_a_call_whose_end_is_read_again_counts_as_it_did(stage: Stage) -> None:
    """What a worker that died committed, and what a reset run reads, is the stored end."""
    await stage.agent(models=("openai/stub",), tools=["calculator"])
    run = await stage.start(insists("calculator", BROKEN) + " [[first_ms=300]]")
    await stage.seen(run.run_id, EventType.TOOL_RESULT, 2)

    await reset(stage.client, run.run_id)
    ended = await stage.ended(run.run_id)

    assert ended.error is not None
    assert (ended.error.code, ended.usage.turns) == ("malformed_reply", 3)
