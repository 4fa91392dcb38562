"""Forks and retries on the engine: what is kept is neither asked for nor done again."""

import json
from typing import Any

import pytest

from domain.acceptance import Page
from domain.agent import AgentKind, Limits
from domain.errors import ForkRefusedError
from domain.event import EventType
from domain.fork import Edits, Forking
from domain.run import Run, RunState
from domain.session import OnBusy
from tests.rig.tools import TARGETS
from tests.stub.agent import StubAgent
from tests.workflows.conftest import Make
from tests.workflows.stage import ANN, Stage

TURNS = 3


def forking(stage: Stage) -> Forking:
    ports, settings = stage.intake._ports, stage.intake._settings
    return Forking(ports, stage.storage.forks, stage.storage.dead_letters, settings)


async def fork(stage: Stage, run_id: str, turn: int, **edits: Any) -> Run:
    """Fork a run and wait for the end of the new one."""
    accepted = await forking(stage).fork(ANN, run_id, turn, Edits(**edits))
    return await stage.ended(accepted.run.run_id)


async def retry(stage: Stage, run_id: str, **edits: Any) -> Run:
    accepted = await forking(stage).retry(ANN, run_id, Edits(**edits))
    return await stage.ended(accepted.run.run_id)


async def charged(stage: Stage) -> Run:
    """A run that charges in each of its turns but the last."""
    await stage.agent(tools=["charge_keyed"])
    charge = f"call charge_keyed {json.dumps({'url': stage.ledger_url})}"
    script = "\n---\n".join([charge] * TURNS) + "\n---\nsay all charged"
    run = await stage.run(script)
    assert run.state is RunState.DONE
    return run


async def test_a_fork_at_each_turn_repeats_no_side_effect(make_stage: Make) -> None:
    async with make_stage(tools=TARGETS) as stage:
        run = await charged(stage)
        for turn in range(TURNS + 1):
            before = set(stage.ledger.effects)

            forked = await fork(stage, run.run_id, turn)

            assert forked.state is RunState.DONE
            assert forked.output is not None
            assert "all charged" in forked.output["content"]
            assert len(set(stage.ledger.effects) - before) == TURNS - turn
            assert forked.usage.turns == TURNS + 1 - turn
            assert forked.usage.model_calls == TURNS + 1 - turn
            assert forked.usage.tool_calls == TURNS - turn
            kinds = await stage.kinds(forked.run_id)
            assert kinds.count("agent_invoke_started") == 1
        assert {effect.arrivals for effect in stage.ledger.effects.values()} == {1}


async def test_another_model_goes_on_where_the_first_one_stood(make_stage: Make) -> None:
    async with make_stage(tools=TARGETS) as stage:
        run = await charged(stage)

        forked = await fork(stage, run.run_id, 2, models=("offline/echo",), content="what now?")

        assert forked.output is not None
        assert "what now?" in forked.output["content"]
        (asked,) = await stage.of_kind(forked.run_id, EventType.LLM_CALL_STARTED)
        assert (asked["model"], asked["step"]) == ("offline/echo", "llm-3-1")
        assert len(stage.ledger.effects) == TURNS


async def test_more_is_said_after_the_answer(make_stage: Make) -> None:
    async with make_stage(tools=TARGETS) as stage:
        run = await stage.run("say one")

        forked = await fork(stage, run.run_id, 1, content="say two")

        assert forked.output is not None
        assert forked.output["content"] == "[offline] two"
        messages, _ = await stage.storage.directory.list_messages(
            None, str(forked.session_id), Page()
        )
        assert [message.content for message in messages] == [
            *("say one", "[offline] one", "say two", "[offline] two")
        ]


async def test_an_external_agent_is_asked_again_after_more_was_said(make_stage: Make) -> None:
    agent = StubAgent()
    async with agent.serve() as far, make_stage() as stage:
        await stage.agent("far", kind=AgentKind.HTTP, models=(), endpoint=far.url)
        run = await stage.run('[[say="hello there"]]', "far")
        assert run.state is RunState.DONE, run.error

        forked = await fork(stage, run.run_id, 1, content='[[say="hello again"]]')

        assert forked.output is not None
        assert forked.output["content"] == "hello again"


async def test_a_retry_goes_on_from_the_last_good_step(make_stage: Make) -> None:
    """The second model call failed; the first one and its charge stand."""
    async with make_stage(tools=TARGETS, provider_failures=1) as stage:
        await stage.agent(tools=["charge_keyed"])
        charge = f"call charge_keyed {json.dumps({'url': stage.ledger_url})}"
        run = await stage.run(f"{charge}\n---\nfail unavailable times=1 id=r1\nsay paid")
        assert run.state is RunState.FAILED

        retried = await retry(stage, run.run_id)

        assert retried.state is RunState.DONE
        assert retried.forked_from is not None
        assert (retried.forked_from.run_id, retried.forked_from.turn) == (run.run_id, 1)
        assert [effect.arrivals for effect in stage.ledger.effects.values()] == [1]


@pytest.mark.parametrize(("most", "state"), [(2, RunState.FAILED), (9, RunState.DONE)])
async def test_a_cap_is_raised_up_to_what_the_agent_allows_now(
    make_stage: Make, most: int, state: RunState
) -> None:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=["read_only"], limits=Limits(max_turns=2))
        call = f"call read_only {json.dumps({'url': stage.ledger_url})}"
        run = await stage.run("\n---\n".join([call] * 2) + "\n---\nsay read")
        assert run.error is not None
        assert run.error.code == "max_turns"
        await stage.agent(tools=["read_only"], limits=Limits(max_turns=most))

        retried = await retry(stage, run.run_id, limits=Limits(max_turns=20))

        assert retried.state is state


@pytest.mark.parametrize("turn", [0, 1])
async def test_a_run_that_was_steered_is_forked_before_and_after_that(
    stage: Stage, turn: int
) -> None:
    """What was said after its first answer belongs to the turn that it followed."""
    run = await stage.start("say one\ntokens=30 gap_ms=10", session_id="s")
    await stage.seen(run.run_id, EventType.AGENT_STREAM_DELTA)
    await stage.start("say two", session_id="s", on_busy=OnBusy.STEER)
    ended = await stage.ended(run.run_id)
    assert ended.usage.turns == 2

    forked = await fork(stage, run.run_id, turn)

    messages, _ = await stage.storage.directory.list_messages(None, str(forked.session_id), Page())
    roles = [message.role for message in messages]
    assert roles == ["user", "assistant", *(["user", "assistant"] if turn else [])]
    assert forked.usage.turns == 1
    assert forked.output is not None
    assert ("two" in forked.output["content"]) == bool(turn)
    with pytest.raises(ForkRefusedError):
        await forking(stage).fork(ANN, run.run_id, 2, Edits())


async def test_a_fork_is_steered_like_any_run(stage: Stage) -> None:
    run = await stage.run("say one")
    made = await forking(stage).fork(ANN, run.run_id, 1, Edits(content="tokens=60 gap_ms=10"))
    await stage.seen(made.run.run_id, EventType.AGENT_STREAM_DELTA)
    session_id = made.run.session_id

    await stage.start("say two", session_id=session_id, on_busy=OnBusy.STEER)

    ended = await stage.ended(made.run.run_id)
    assert ended.output is not None
    assert ended.output["content"] == "[offline] two"
