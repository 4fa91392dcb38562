"""Every way through the workflows: each goes it for real, on a stage."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable

from activities.schedules import ASK
from adapters.schedules import TemporalSchedules
from domain.acceptance import Page
from domain.agent import AgentKind, Degradation, Limits
from domain.budget import Budget, BudgetScope
from domain.clients import Claim, Dispatching, Submission
from domain.event import EventType
from domain.family import child_run_id
from domain.fork import Edits, Forking
from domain.intake import InvokeTool, StartRun
from domain.principal import LOCAL_OWNER
from domain.schedule import SchedulePolicy, ScheduleSpec, workflow_of
from domain.scheduling import NewSchedule, Scheduling
from domain.tool import Audience, ClientSide, ToolOutcome, ToolSpec
from tests.rig.late_cancel import cancel_and_lose_the_worker, cancel_when_a_call_begins_to_wait
from tests.rig.resets import reset
from tests.rig.scripts import hand_down
from tests.stub.agent import StubAgent
from tests.workflows.stage import ANN, Stage

ASK_ALL = {"tool": "*", "decision": "ask"}
ADD = 'call calculator {"expression": "6*7"}'

Way = Callable[[Stage], Awaitable[str]]
"""Goes one way through a workflow and returns the run, or the firing's workflow."""


async def simple(stage: Stage) -> str:
    """One model call."""
    return (await stage.run("say hello")).run_id


async def tools(stage: Stage) -> str:
    """A turn with a tool, then the answer."""
    return (await stage.run(f"{ADD}\n---\nsay {{result}}")).run_id


async def parallel_tools(stage: Stage) -> str:
    """More tools at once than are started eagerly, one of them unknown."""
    script = "\n".join([ADD] * 5 + ["call no_such_tool {}"])
    return (await stage.run(f"{script}\n---\nsay done")).run_id


async def unusable_arguments(stage: Stage) -> str:
    """Calls whose arguments do not fit, until there is no other repair."""
    return (await stage.run('loop 9 call calculator {"expression": 6}')).run_id


async def fallback(stage: Stage) -> str:
    """The second model of the chain answers."""
    stage.provider.controls = {"down": "[[status=500]]"}
    await stage.agent(models=("openai/down", "offline/script"))
    return (await stage.run("say hello")).run_id


async def failed(stage: Stage) -> str:
    """Every model fails."""
    return (await stage.run("fail bad_request")).run_id


async def capped(stage: Stage) -> str:
    """A cap ends the run."""
    return (await stage.run(f"loop 9 {ADD}", limits=Limits(max_turns=2, max_seconds=60))).run_id


async def cancelled(stage: Stage) -> str:
    """A person cancels in mid-stream."""
    run = await stage.start("say hello tokens=500\ngap_ms=10")
    await stage.seen(run.run_id, EventType.AGENT_STREAM_DELTA)
    await stage.intake.cancel(ANN, run.run_id, None)
    await stage.ended(run.run_id)
    return run.run_id


async def cancelled_tool(stage: Stage) -> str:
    """A person cancels while one of two tools hangs."""
    run = await stage.start(f"{ADD}\ncall hang {{}}")
    await stage.seen(run.run_id, EventType.TOOL_RESULT)
    await stage.intake.cancel(ANN, run.run_id, None)
    await stage.ended(run.run_id)
    return run.run_id


async def queued(stage: Stage) -> str:
    """Waits for its session and is woken."""
    first = await stage.start("say first\nfirst_ms=200", session_id="s")
    second = await stage.start("say second", session_id="s")
    await stage.seen(second.run_id, EventType.RUN_WAITING)
    await stage.ended(first.run_id)
    await stage.ended(second.run_id)
    return second.run_id


async def outcome_unknown(stage: Stage) -> str:
    """An unsafe tool is cut; a person resolves it, the second time for good."""
    url = stage.ledger_url
    run = await stage.start(f'call charge_and_raise {{"url": "{url}"}}\n---\nsay {{result}}')
    await stage.seen(run.run_id, EventType.RUN_WAITING)
    (call,) = await stage.rows("SELECT tool_call_id FROM tool_calls")
    await stage.resolve(call["tool_call_id"], "not_happened")
    await stage.seen(run.run_id, EventType.RUN_WAITING, 2)
    await stage.resolve(call["tool_call_id"], "happened", "paid")
    await stage.ended(run.run_id)
    return run.run_id


async def approval(stage: Stage) -> str:
    """One call is approved, one rejected, one expires after it was passed on."""
    asking = {"expires_in_seconds": 1, "on_timeout": "escalate", "escalate_to": ["boss"]}
    policy = {"rules": [ASK_ALL], "approval": asking}
    await stage.agent(tools=("calculator",), tool_policy=policy)
    run = await stage.start("\n".join([ADD] * 3) + "\n---\nsay done")
    await stage.seen(run.run_id, EventType.APPROVAL_REQUIRED, 3)
    first, second, _ = await stage.storage.approvals.pending(None)
    await stage.decide(first)
    await stage.decide(second, False)
    await stage.ended(run.run_id)
    return run.run_id


async def side_by_side(stage: Stage) -> str:
    """Three calls wait: one decision is heard alone, then a wake for nothing, then two at once."""
    await stage.agent(tools=("calculator",), tool_policy={"rules": [ASK_ALL]})
    run = await stage.start("\n".join([ADD] * 3) + "\n---\nsay done")
    await stage.seen(run.run_id, EventType.APPROVAL_REQUIRED, 3)
    first, second, third = await stage.storage.approvals.pending(None)
    await stage.decide(first)
    await stage.seen(run.run_id, EventType.TOOL_RESULT)
    await stage.gateway.wake(run.run_id)
    await asyncio.gather(stage.decide(second, False), stage.decide(third))
    await stage.ended(run.run_id)
    return run.run_id


async def approval_by_signal(stage: Stage) -> str:
    """An answer is sent to the workflow itself, by update and by signal."""
    await stage.agent(tools=("calculator",), tool_policy={"rules": [ASK_ALL]})
    run = await stage.start(f"{ADD}\n{ADD}\n---\nsay done")
    await stage.seen(run.run_id, EventType.APPROVAL_REQUIRED, 2)
    first, second = await stage.storage.approvals.pending(None)
    handle = stage.handle(run.run_id)
    await handle.execute_update("decide_approval", {"approval_id": first, "decision": "approve"})
    await handle.signal("decide", {"approval_id": second, "decision": "reject"})
    await stage.ended(run.run_id)
    return run.run_id


async def child(stage: Stage) -> str:
    """Waits for two children, one of which fails, and lets a third go."""
    await stage.agent(tools=("spawn_run",))
    slow = "say x\nfirst_ms=200"
    lines = [hand_down(slow), hand_down("fail bad_request"), hand_down(slow, wait=False)]
    return (await stage.run("\n".join(lines) + "\n---\nsay done")).run_id


async def child_cancelled(stage: Stage) -> str:
    """A tree is cancelled while its root waits."""
    await stage.agent(tools=("spawn_run",))
    run = await stage.start(hand_down("say x\nstall"))
    await stage.seen(child_run_id(run.run_id, "tool-1-0"), EventType.LLM_CALL_STARTED)
    await stage.intake.cancel(ANN, run.run_id, None)
    await stage.ended(run.run_id)
    return run.run_id


async def client_tools(stage: Stage) -> str:
    """One call is answered by a client, one is approved first, one times out."""
    names = ("print_page", "print_map", "print_late")
    specs = tuple(
        ToolSpec(
            name=name,
            description="Print.",
            parameters={"type": "object"},
            source="client",
            timeout_seconds=1 if name == "print_late" else 60,
            client=ClientSide(audience=Audience.OWNER),
        )
        for name in names
    )
    await stage.agent(tool_policy={"rules": [{"tool": "print_map", "decision": "ask"}]})
    script = "\n".join(f"call {name} {{}}" for name in names)
    run = await stage.start(f"{script}\n---\nsay done", client_tools=specs)
    await stage.seen(run.run_id, EventType.TOOL_REQUEST, 2)
    await stage.seen(run.run_id, EventType.APPROVAL_REQUIRED)
    (asked,) = await stage.storage.approvals.pending(None)
    await stage.decide(asked)
    await stage.seen(run.run_id, EventType.TOOL_REQUEST, 3)
    await _answer(stage, "print_page")
    await _answer(stage, "print_map")
    await stage.ended(run.run_id)
    return run.run_id


async def later(stage: Stage) -> str:
    """Begins later, is woken before its time, and then waits for its session."""
    soon = int(time.time() * 1000) + 400
    run = await stage.start("say late", session_id="s", start_at=soon)
    await stage.seen(run.run_id, EventType.RUN_WAITING)
    holder = await stage.start("say first\nfirst_ms=700", session_id="s")
    await stage.gateway.wake(run.run_id)
    await stage.ended(holder.run_id)
    await stage.ended(run.run_id)
    return run.run_id


async def child_adopted(stage: Stage) -> str:
    """A reset parent finds its child at work."""
    await stage.agent(tools=("spawn_run",))
    run = await stage.start(f"{hand_down('say x' + chr(10) + 'first_ms=1000')}\n---\nsay done")
    await stage.seen(run.run_id, EventType.RUN_WAITING)
    await reset(stage.client, run.run_id)
    await stage.ended(run.run_id)
    return run.run_id


async def _answer(stage: Stage, name: str) -> None:
    rows = await stage.rows("SELECT tool_call_id FROM tool_calls WHERE tool_name = :n", n=name)
    who = Claim(owner=ANN.owner, caller=ANN.owner, name=ANN.name)
    taken = await stage.storage.clients.claim(who, rows[0]["tool_call_id"])
    said = Submission(taken.token, ToolOutcome(ok=True, content="printed"), ANN.name)
    dispatching = Dispatching(stage.storage.clients, stage.gateway)
    await dispatching.submit(ANN.owner, taken.request.tool_call_id, said)


async def deadline(stage: Stage) -> str:
    """The deadline passes while a model is silent."""
    soon = int(time.time() * 1000) + 300
    return (await stage.run("stall", deadline_at=soon)).run_id


async def cancelled_as_it_began_to_wait(stage: Stage) -> str:
    """The cancel arrives while the answer, that a call waits for a person, is on its way."""
    cancel_when_a_call_begins_to_wait(stage)
    return (await stage.run(f'call charge_and_raise {{"url": "{stage.ledger_url}"}}')).run_id


async def cancelled_and_lost(stage: Stage) -> str:
    """The worker of a step is lost after the run was asked to stop, and before it heard of it."""
    return await cancel_and_lose_the_worker(stage)


async def forked(stage: Stage) -> str:
    """Two turns are kept; more is said after the answer."""
    first = await stage.run(f"{ADD}\n---\nsay done")
    ports, settings = stage.intake._ports, stage.intake._settings
    forking = Forking(ports, stage.storage.forks, stage.storage.dead_letters, settings)
    made = await forking.fork(ANN, first.run_id, 2, Edits(content="say more"))
    await stage.ended(made.run.run_id)
    return made.run.run_id


async def fired(stage: Stage) -> str:
    """A time of a schedule comes, and its run ends."""
    return workflow_of(await _fire(stage, "say hello"))


async def fired_and_cancelled(stage: Stage) -> str:
    """A firing is cancelled while its run goes on."""
    firing_id = await _fire(stage, "tokens=5000 gap_ms=50")
    found = await stage.storage.schedules.fired(firing_id)
    assert found is not None
    await stage.seen(found.run.run_id, EventType.AGENT_STREAM_DELTA)
    await stage.client.get_workflow_handle(workflow_of(firing_id)).cancel()
    await stage.ended(found.run.run_id)
    return workflow_of(firing_id)


async def _fire(stage: Stage, content: str) -> str:
    """Trigger a new schedule and return its firing."""
    ask = ASK.dump_json(StartRun(content=content, agent_id="helper")).decode()
    spec = ScheduleSpec(cron=("0 0 1 1 *",))
    names = {"uid": uuid.uuid4().hex, "owner": ANN.owner, "created_by": ANN.name}
    new = NewSchedule(
        **names,
        schedule_id="s",
        run="{}",
        ask=ask,
        spec=spec,
        policy=SchedulePolicy(),
        paused=False,
        note="",
    )
    book = stage.storage.schedules
    scheduling = Scheduling(book, TemporalSchedules(stage.gateway))
    schedule = await scheduling.create(new)
    await scheduling.trigger(ANN.owner, "s", None)

    async def has_fired() -> bool:
        return bool((await book.firings(schedule.uid, Page(1)))[0])

    await stage.until("a firing", has_fired)
    (firing,) = (await book.firings(schedule.uid, Page(1)))[0]
    return firing.firing_id


async def continued(stage: Stage) -> str:
    """Long enough to continue as new."""
    return (await stage.run(f"loop 7 {ADD}\n---\nsay done")).run_id


async def tool_run(stage: Stage) -> str:
    """A run that is one tool call."""
    ask = InvokeTool(name="calculator", args={"expression": "6*7"})
    run = (await stage.intake.invoke_tool(ANN, ask)).run
    await stage.ended(run.run_id)
    return run.run_id


async def external_agent(stage: Stage) -> str:
    """An agent of kind http answers."""
    async with StubAgent().serve() as server:
        await stage.agent(kind=AgentKind.HTTP, endpoint=server.url, models=(), tools=())
        return (await stage.run("hello")).run_id


async def asks_for_money(stage: Stage) -> str:
    """Waits until a person raises a budget."""
    sql = "INSERT INTO prices VALUES ('offline/script', '1000', '1000', '1000', 'test', 1)"
    await stage.change(sql)
    budget = Budget(
        budget_id="budget_1",
        owner=LOCAL_OWNER,
        scope=BudgetScope.AGENT,
        scope_id="helper",
        limit_usd="0.2",
        created_at=1,
        updated_at=1,
    )
    await stage.storage.budgets.put_budget(budget)
    run = await stage.start("say hello")
    await stage.seen(run.run_id, EventType.RUN_WAITING)
    (question,) = await stage.of_kind(run.run_id, EventType.APPROVAL_REQUIRED)
    await stage.decide(question["approval_id"])
    await stage.ended(run.run_id)
    return run.run_id


async def escalated(stage: Stage) -> str:
    """A weak answer goes up, the model above fails, and a written answer is not needed."""
    stage.provider.controls = {"small": "[[finish=length say=half]]", "large": "[[status=400]]"}
    await stage.agent(models=("openai/small", "openai/large"), escalate=True)
    return (await stage.run("hello")).run_id


async def degraded(stage: Stage) -> str:
    """No model answers, so what was written for that does."""
    stage.provider.controls = {"down": "[[status=400]]"}
    written = Degradation(keywords={"hours": "at nine"}, static="sorry")
    await stage.agent(models=("openai/down",), degradation=written)
    return (await stage.run("hello")).run_id


PATHS: dict[str, Way] = {
    path.__name__: path
    for path in (
        *(simple, tools, parallel_tools, unusable_arguments),
        *(fallback, failed, capped),
        *(cancelled, cancelled_tool, cancelled_as_it_began_to_wait, cancelled_and_lost),
        *(queued, outcome_unknown, continued, tool_run, external_agent),
        *(child, child_cancelled, child_adopted),
        *(approval, approval_by_signal, client_tools, side_by_side),
        *(later, deadline, forked),
        *(fired, fired_and_cancelled),
        *(asks_for_money, escalated, degraded),
    )
}
"""Every way through the workflows."""
