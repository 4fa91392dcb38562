"""Every cap of a run stops it on its own, with its own reason."""

import pytest

from domain.agent import Limits
from domain.event import EventType
from domain.run import Run, RunState
from tests.workflows.stage import Stage

ADD = 'call calculator {"operation": "add", "a": 1, "b": 1}'
FOR_EVER = f"loop 1000 {ADD}"


def reason(run: Run) -> str | None:
    assert run.state is RunState.FAILED
    return run.error.code if run.error else None


async def capped(stage: Stage, content: str = FOR_EVER, **limits: object) -> Run:
    await stage.agent(tools=["calculator"])
    return await stage.run(content, limits=Limits.model_validate(limits))


async def test_turns(stage: Stage) -> None:
    run = await capped(stage, max_turns=3)

    assert reason(run) == "max_turns"
    assert run.usage.turns == 3


async def test_tool_calls(stage: Stage) -> None:
    run = await capped(stage, max_tool_calls=4)

    assert reason(run) == "max_tool_calls"
    done = await stage.rows("SELECT status, count(*) AS n FROM tool_calls GROUP BY status")
    assert {row["status"]: row["n"] for row in done} == {"succeeded": 4, "failed": 1}
    assert run.usage.tool_calls == 4, "the call that was not run is none"
    error = (await stage.of_kind(run.run_id, EventType.TOOL_RESULT))[-1]["error"]
    assert error["code"] == "max_tool_calls"
    assert error["message"] == "this call was not run: the run reached its cap of 4 tool calls"


async def test_no_tool_call_at_all(stage: Stage) -> None:
    assert reason(await capped(stage, max_tool_calls=0)) == "max_tool_calls"

    assert await stage.rows("SELECT 1 FROM steps WHERE step_id LIKE 'tool-%'") == []


async def test_tokens(stage: Stage) -> None:
    run = await capped(stage, max_tokens=200)

    assert reason(run) == "max_tokens"
    assert run.usage.input_tokens + run.usage.output_tokens >= 200


async def test_tokens_that_a_broken_answer_used_up(stage: Stage) -> None:
    """Nothing is asked for that the cap leaves no room for."""
    await stage.agent(models=("openai/first",))

    run = await stage.run("[[tokens=300 no_done]]", limits=Limits(max_tokens=150))

    assert reason(run) == "max_tokens"
    assert len(stage.provider.log) == 1


async def test_money(stage: Stage) -> None:
    """The cap is looked at before a call is made: what is under way may go past it."""
    await stage.agent(models=("openai/gpt-4o",), tools=["calculator"])
    stage.provider.controls = {
        "gpt-4o": "[[usage_input=1000 usage_output=1000 tool_turns=99 tool=calculator"
        ' args={"expression":"1+1"}]]'
    }

    run = await stage.run("spend", limits=Limits(max_cost_usd="0.03"))

    assert reason(run) == "max_cost_usd"
    assert run.usage.cost_usd is not None
    assert 0.03 <= float(run.usage.cost_usd) < 0.05
    calls = len(stage.provider.log)
    assert run.usage.model_calls == calls
    assert calls < 6


async def test_time_while_a_model_is_silent(stage: Stage) -> None:
    run = await capped(stage, "stall", max_seconds=0.4)

    assert reason(run) == "max_seconds"
    assert run.ended_at is not None
    assert run.ended_at - run.created_at < 5000


async def test_time_between_turns(stage: Stage) -> None:
    run = await capped(stage, f"loop 1000 {ADD}\nfirst_ms=30", max_seconds=0.4)

    assert reason(run) == "max_seconds"
    assert run.usage.turns > 1


async def test_time_while_another_run_holds_the_session(stage: Stage) -> None:
    holder = await stage.start("stall", session_id="s")

    run = await stage.run("say hello", session_id="s", limits=Limits(max_seconds=0.3))

    assert reason(run) == "max_seconds"
    assert await stage.kinds(run.run_id) == [
        *("user_input", "run_started", "run_waiting"),
        "run_failed",
    ]
    assert (await stage.get(holder.run_id)).state is RunState.RUNNING


async def test_the_model_is_not_asked_again_after_the_end(stage: Stage) -> None:
    await stage.agent(models=("openai/chatty",), tools=["calculator"])
    stage.provider.controls = {"chatty": "[[tool_turns=99 tool=calculator args={}]]"}

    run = await stage.run("go on for ever", limits=Limits(max_turns=4))
    await stage.closed(run.run_id)

    assert reason(run) == "max_turns"
    assert len(stage.provider.log) == 4
    assert len(await stage.of_kind(run.run_id, EventType.LLM_CALL_STARTED)) == 4


@pytest.mark.parametrize("cap", ["max_turns", "max_tool_calls", "max_tokens"])
async def test_the_session_goes_on_after_a_cap(stage: Stage, cap: str) -> None:
    await stage.agent(tools=["calculator"])
    limits = Limits.model_validate({cap: 2})

    first = await stage.start(FOR_EVER, session_id="s", limits=limits)
    second = await stage.start("say next", session_id="s")

    assert reason(await stage.ended(first.run_id)) == cap
    assert (await stage.ended(second.run_id)).state is RunState.DONE
