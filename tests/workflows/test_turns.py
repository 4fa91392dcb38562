"""Messages that come while a run is on: they steer it, or stop it and take its turn."""

from typing import Any

from domain.agent import AgentKind, Limits
from domain.event import EventType
from domain.run import RunState
from domain.session import OnBusy
from tests.rig.resets import reset
from tests.rig.tools import TARGETS
from tests.stub.agent import StubAgent
from tests.workflows.conftest import Make
from tests.workflows.stage import Stage

LONG = "tokens=300 gap_ms=10"


async def transcript(stage: Stage, session_id: str = "s") -> list[tuple[str, str]]:
    rows = await stage.rows(
        "SELECT role, content FROM messages WHERE session_id = :s AND seq IS NOT NULL ORDER BY seq",
        s=session_id,
    )
    return [(row["role"], row["content"].removeprefix("[offline] ")) for row in rows]


async def working(stage: Stage, content: str, **fields: Any) -> str:
    """Start a run in session `s` and wait until its model speaks."""
    run = await stage.start(content, session_id="s", **fields)
    await stage.seen(run.run_id, EventType.AGENT_STREAM_DELTA)
    return run.run_id


async def steer(stage: Stage, content: str) -> str:
    return (await stage.start(content, session_id="s", on_busy=OnBusy.STEER)).run_id


async def test_a_message_during_the_last_answer_is_answered_by_the_same_run(stage: Stage) -> None:
    run_id = await working(stage, "say one\ntokens=30 gap_ms=10")

    steered = await steer(stage, "say two")
    ended = await stage.ended(run_id)

    assert steered == run_id
    assert (ended.state, ended.usage.turns) == (RunState.DONE, 2)
    roles = [role for role, _ in await transcript(stage)]
    assert roles == ["user", "assistant", "user", "assistant"]
    assert (await transcript(stage))[-2:] == [("user", "say two"), ("assistant", "two")]
    assert len(await stage.of_kind(run_id, EventType.AGENT_INVOKE_DONE)) == 2
    await stage.closed(run_id)


async def test_a_run_whose_caps_leave_no_other_turn_is_done_all_the_same(stage: Stage) -> None:
    """Its answer is whole; a message that came too late for it must not make it a failure."""
    caps = Limits(max_turns=1)
    run_id = await working(stage, "say one\ntokens=30 gap_ms=10", limits=caps)

    await steer(stage, "say two")
    ended = await stage.ended(run_id)
    await stage.run("say three", session_id="s")

    assert (ended.state, ended.usage.turns) == (RunState.DONE, 1)
    said = [content for role, content in await transcript(stage) if role == "user"]
    assert said[1:] == ["say two", "say three"]


async def test_a_message_during_a_tool_is_seen_behind_its_result(make_stage: Make) -> None:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent(tools=["charge_keyed"])
        stage.ledger.holds.add("*")
        call = f'call charge_keyed {{"url": "{stage.ledger_url}"}}'
        run = await stage.start(f"{call}\n---\nsay plain", session_id="s")
        await stage.until("the charge", lambda: stage.is_true(stage.ledger.held == 1))

        await steer(stage, "say steered")
        stage.ledger.holds.clear()
        stage.ledger.released.set()

        assert (await stage.ended(run.run_id)).state is RunState.DONE
        said = await transcript(stage)
    assert [role for role, _ in said] == ["user", "assistant", "tool", "user", "assistant"]
    assert said[-1] == ("assistant", "steered")


async def test_a_reset_repeats_no_answer_and_forgets_no_message(stage: Stage) -> None:
    run_id = await working(stage, "say one\ntokens=30 gap_ms=10")
    await steer(stage, f"say two\n{LONG}")
    await stage.seen(run_id, EventType.LLM_CALL_STARTED, 2)

    await reset(stage.client, run_id)

    assert (await stage.ended(run_id)).state is RunState.DONE
    said = await transcript(stage)
    assert [role for role, _ in said] == ["user", "assistant", "user", "assistant"]
    assert said[-1][1].startswith("two")


async def test_an_agent_of_ones_own_is_called_again_with_what_steered_it(stage: Stage) -> None:
    stub = StubAgent()
    async with stub.serve() as server:
        await stage.agent("own", kind=AgentKind.HTTP, models=(), endpoint=server.url)
        run_id = await working(stage, "[[tokens=30 gap_ms=10]]", agent_id="own")

        await steer(stage, "and one more thing")
        ended = await stage.ended(run_id)

    assert (ended.state, ended.usage.turns) == (RunState.DONE, 2)
    asked = [entry["input_message"]["content"] for entry in stub.log]
    assert asked == ["[[tokens=30 gap_ms=10]]", "and one more thing"]


async def test_an_interrupt_stops_who_works_and_who_waits(stage: Stage) -> None:
    first = await working(stage, f"say one\n{LONG}")
    second = await stage.start("say two", session_id="s")

    third = await stage.start("say three", session_id="s", on_busy=OnBusy.INTERRUPT)

    assert (await stage.ended(third.run_id)).state is RunState.DONE
    for run_id in (first, second.run_id):
        assert (await stage.ended(run_id)).state is RunState.CANCELLED
        (end,) = await stage.of_kind(run_id, EventType.RUN_CANCELLED)
        assert end["reason"] == f"interrupted by run {third.run_id}"
    users = [text for role, text in await transcript(stage) if role == "user"]
    assert users == [f"say one\n{LONG}", "say two", "say three"]


async def test_an_interrupt_finds_a_free_session_free(stage: Stage) -> None:
    run = await stage.start("say one", session_id="s", on_busy=OnBusy.INTERRUPT)

    assert (await stage.ended(run.run_id)).state is RunState.DONE
