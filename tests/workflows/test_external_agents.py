"""Calls to external agents: what they may send, what counts against them, who is asked again.

Faults 33 and 34 from the call to the end of the run: a typed reason, and a log that is whole.
"""

import asyncio
from typing import Any

import pytest

from domain.agent import AgentKind
from domain.agenthealth import AGENT_CHECKS, AgentHealth, Circuit, Health, Report
from domain.errors import AgentUnavailableError
from domain.event import EventType
from domain.intake import AskAgent, StartRun
from domain.principal import LOCAL_OWNER
from domain.run import Run, RunState
from tests.stub.agent import StubAgent
from tests.workflows.conftest import Make
from tests.workflows.stage import ANN, Stage

IMPATIENT: dict[str, Any] = {
    "idle_seconds": 0.3,
    "agent_timeout_ms": 1500,
    "provider_failures": 1,
}


async def health(stage: Stage, agent_id: str = "own") -> AgentHealth:
    return (await stage.storage.agent_health.health([(None, agent_id)]))[None, agent_id]


async def own(stage: Stage, endpoint: str, **fields: Any) -> str:
    return await stage.agent("own", kind=AgentKind.HTTP, models=(), endpoint=endpoint, **fields)


def why(run: Run) -> tuple[str, str, str]:
    assert run.error is not None
    return run.state.value, run.error.code, run.error.message


@pytest.mark.parametrize(
    ("marks", "code", "said"),
    [
        ("wrong_run", "agent_error", "of another run"),
        ("malformed=json", "agent_error", "not JSON"),
        ("malformed=types", "agent_error", "not text"),
        ("malformed=content_type", "agent_error", "application/json"),
        ("huge_line=20MB", "agent_error", "a line is longer than 1048576 bytes"),
        ("status=404", "agent_error", "answered 404"),
        ("error=quota", "agent_error", "reported quota"),
        ("status=500", "agent_unavailable", "answered 500"),
        ("no_done", "agent_unavailable", "ended without done"),
        ("malformed=no_blank_line no_done", "agent_unavailable", "ended without done"),
        ("reset_after=1", "agent_unavailable", "cannot be reached"),
        ("stall", "agent_unavailable", "sent nothing new for 0.3 s"),
        ("stall_after=1", "agent_unavailable", "sent nothing new for 0.3 s"),
        ("keepalive_only", "agent_unavailable", "sent nothing new for 0.3 s"),
        ("endless gap_ms=20", "agent_unavailable", "was not done within 1.5 s"),
    ],
)
async def test_whatever_an_agent_does_wrong_ends_the_run_with_its_reason(
    make_stage: Make, marks: str, code: str, said: str
) -> None:
    async with make_stage(**IMPATIENT) as stage, StubAgent().serve() as server:
        await own(stage, server.url)

        run = await stage.run(f"[[{marks}]]", "own")

        assert why(run)[:2] == ("FAILED", code), run.error
        assert said in why(run)[2]
        kinds = await stage.kinds(run.run_id)
        assert kinds.count("run_failed") == 1
        assert kinds[-1] == "run_failed"
        counts = (await health(stage)).record.failures
        assert counts == (0 if marks == "error=quota" else 1)


@pytest.mark.parametrize("marks", ["dones=2", "after_done", "bom crlf split=1", "no_final"])
async def test_what_the_protocol_allows_is_an_answer(stage: Stage, marks: str) -> None:
    async with StubAgent().serve() as server:
        await own(stage, server.url)

        run = await stage.run(f'[[say="all is well" {marks}]]', "own")

    assert run.state is RunState.DONE, run.error
    assert run.output is not None
    assert run.output["content"] == "all is well"
    assert (await health(stage)).status is Health.HEALTHY


async def test_an_answer_of_another_run_leaves_nothing_in_the_log(stage: Stage) -> None:
    """Fault 34: a delta that names another run is not shown to anybody."""
    async with StubAgent().serve() as server:
        await own(stage, server.url)

        run = await stage.run('[[say="of another run" wrong_run]]', "own")

    assert await stage.of_kind(run.run_id, EventType.AGENT_STREAM_DELTA) == []
    rows = await stage.rows("SELECT content FROM messages WHERE role = 'assistant'")
    assert list(rows) == []


async def test_an_agent_that_keeps_failing_is_asked_no_more_until_one_call_finds_it_well(
    make_stage: Make,
) -> None:
    """The circuit: runs fail fast, nobody knocks, and after the cool-down one call tries."""
    stub = StubAgent()
    changes = {"provider_failures": 1, "agent_failures": 3, "agent_cool_down_seconds": 1.0}
    async with make_stage(**changes) as stage, stub.serve() as server:
        await own(stage, server.url)
        for _ in range(3):
            assert why(await stage.run("[[status=500]]", "own"))[1] == "agent_unavailable"
        assert (await health(stage)).circuit is Circuit.OPEN
        assert await stage.storage.agent_health.unhealthy(LOCAL_OWNER) == {"own"}

        for _ in range(3):
            state, code, said = why(await stage.run("hello", "own"))
            assert (state, code) == ("FAILED", "circuit_open")
            assert "answered 500" in said
        assert len(stub.log) == 3

        await stage.until("the cool-down is over", lambda: _is_half_open(stage))
        tries = [await stage.start("[[first_ms=500]]", "own") for _ in range(3)]
        ended = [await stage.ended(run.run_id) for run in tries]

        assert sorted(run.state.value for run in ended) == ["DONE", "FAILED", "FAILED"]
        assert len(stub.log) == 4
        assert (await health(stage)).circuit is Circuit.CLOSED
        assert (await stage.run("hello", "own")).state is RunState.DONE


async def _is_half_open(stage: Stage) -> bool:
    return (await health(stage)).circuit is Circuit.HALF_OPEN


async def test_a_cancelled_call_says_nothing_of_its_agent_and_gives_the_try_back(
    make_stage: Make,
) -> None:
    changes = {"provider_failures": 1, "agent_failures": 1, "agent_cool_down_seconds": 0.1}
    async with make_stage(**changes) as stage, StubAgent().serve() as server:
        await own(stage, server.url)
        await stage.run("[[status=500]]", "own")
        await stage.until("the cool-down is over", lambda: _is_half_open(stage))
        run = await stage.start("[[tokens=1000 gap_ms=20]]", "own")
        await stage.seen(run.run_id, EventType.AGENT_STREAM_DELTA)

        await stage.intake.cancel(ANN, run.run_id, None)
        assert (await stage.ended(run.run_id)).state is RunState.CANCELLED
        await stage.closed(run.run_id)

        assert (await health(stage)).record.failures == 1
        assert (await stage.run("hello", "own")).state is RunState.DONE


async def test_an_unhealthy_agent_is_chosen_again_after_a_good_check(make_stage: Make) -> None:
    """Out of selection while it is gone, back in when the worker's own check finds it."""
    changes = {"agent_check_seconds": 0.05, "agent_unseen_seconds": 0.2}
    async with make_stage(**changes) as stage:
        async with StubAgent().serve() as server:
            port = int(server.url.rpartition(":")[2])
            await own(stage, server.url, capabilities=("juggling",))
            await stage.until("it is seen", lambda: _is(stage, Health.HEALTHY))
            assert (await health(stage)).record.capabilities == ("streaming",)
            assert (await _unnamed(stage)).agent_id == "own"
        await stage.until("it is missed", lambda: _is(stage, Health.UNHEALTHY))
        assert (await _unnamed(stage)).agent_id == "helper"

        async with StubAgent().serve(port):
            await stage.until("it is seen again", lambda: _is(stage, Health.HEALTHY))
            assert (await _unnamed(stage)).agent_id == "own"


async def _is(stage: Stage, status: Health) -> bool:
    return (await health(stage)).status is status


async def _unnamed(stage: Stage) -> Run:
    """Start a run that names no agent."""
    ask = StartRun(content="juggling, please")
    run = (await stage.intake.start_run(ANN, ask)).run
    return await stage.ended(run.run_id)


async def test_when_all_are_unhealthy_a_run_that_names_none_is_refused(stage: Stage) -> None:
    await own(stage, "http://127.0.0.1:8009")
    await stage.storage.directory.delete_agent(None, "helper")
    await stage.storage.agent_health.beat(None, "own", Report(error="it says that it is down"))

    with pytest.raises(AgentUnavailableError):
        await stage.intake.start_run(ANN, StartRun(content="x"))


async def test_a_worker_that_stops_leaves_the_checks_to_others(make_stage: Make) -> None:
    stub = StubAgent()
    async with make_stage(agent_check_seconds=0.05) as stage, stub.serve() as server:
        await own(stage, server.url)
        await stage.until("it is seen", lambda: _is(stage, Health.HEALTHY))
        leases = await stage.storage.upkeep.list_leases(AGENT_CHECKS)

        assert [lease.holder for lease in leases] == [stage.live.worker_id]
        await asyncio.wait_for(stage.rest(), 10)
        assert await stage.storage.upkeep.list_leases(AGENT_CHECKS) == []


@pytest.mark.parametrize("ends", ["cancelled", "failed"])
async def test_what_an_agent_asked_for_ends_with_the_run_that_asked(
    make_stage: Make, ends: str
) -> None:
    """Agent to agent: a durable child, started at once, stopped with a parent nobody reads for."""
    async with make_stage(provider_failures=1) as stage, StubAgent().serve() as server:
        await own(stage, server.url)
        words = (
            "[[tokens=1000 gap_ms=20]]"
            if ends == "cancelled"
            else "[[tokens=80 gap_ms=20 no_done]]"
        )
        parent = await stage.start(words, "own")
        await stage.seen(parent.run_id, EventType.AGENT_STREAM_DELTA)
        ask = AskAgent("helper", parent.run_id, "say x\ntokens=3000 gap_ms=10")
        child = (await stage.intake.ask_agent(ANN, ask)).run
        await stage.seen(child.run_id, EventType.AGENT_STREAM_DELTA)

        if ends == "cancelled":
            await stage.intake.cancel(ANN, parent.run_id, None)
        ended = await stage.ended(parent.run_id)
        below = await stage.ended(child.run_id)

        assert (ended.state.value.lower(), below.state) == (ends, RunState.CANCELLED)
        assert (below.parent_run_id, below.depth) == (parent.run_id, 1)
        await stage.closed(child.run_id)
