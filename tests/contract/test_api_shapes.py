"""The shapes of protocols 4.1b whose resources are served: a promise, field by field."""

import re
from typing import Any

import httpx2
import pytest

from api.app import create_app
from api.shapes.asking import ApprovalList, ApprovalOut, DecidedOut
from api.shapes.catalog import (
    AgentList,
    AgentOut,
    KeyList,
    KeyOut,
    ModelList,
    NewKeyOut,
    ToolList,
    ToolOut,
)
from api.shapes.faults import OpenAiErrorOut, ProblemOut, SeedErrorOut
from api.shapes.learning import PinOut
from api.shapes.money import BudgetList, BudgetOut, GoalList, GoalOut
from api.shapes.operations import HealthOut, ReadyOut, VersionOut
from api.shapes.scheduling import ScheduleList, ScheduleOut
from api.shapes.seeds import (
    PoolAnswerOut,
    PoolStatsOut,
    PoolToolList,
    SeedInvokedOut,
    SlotList,
    SlotOut,
)
from api.shapes.talk import ClearedOut, MessageList, SessionList, SessionOut
from api.shapes.work import EventList, InvokedOut, RunList, RunOut, ToolCallList, ToolCallOut
from domain.chat import ToolCallRequest
from domain.principal import Scope
from tests.fakes.world import World, fake_config

LIST = {"has_more", "next_cursor"}
FIELDS = {
    "run": "run_id session_id agent_id kind state waiting_on output error usage goal_id priority"
    " parent_run_id root_run_id depth created_at started_at ended_at links metadata"
    " forked_from start_at deadline",
    "usage": "input_tokens output_tokens cached_tokens cost_usd model_calls tool_calls turns",
    "event": "event_id run_id seq ts type data root_run_id parent_run_id depth",
    "session": "session_id agent_id on_busy message_count token_count active_run_id"
    " queued_run_ids created_at metadata",
    "message": "message_id session_id run_id seq role content agent_id tokens created_at",
    "agent": "agent_id kind name description instructions models tools endpoint capabilities"
    " limits degradation escalate tool_policy status metadata created_at updated_at",
    "limits": "max_turns max_tool_calls max_tokens max_cost_usd max_seconds"
    " max_depth max_children max_spawns",
    "tool": "name description parameters effect timeout_seconds source",
    "tool_call": "tool_call_id run_id step tool_name args status result error effect"
    " idempotency_key created_at ended_at",
    "approval": "approval_id run_id tool_call_id tool_name args args_summary args_digest risk"
    " requested_at expires_at on_timeout status decided_by decided_at reason edited_args",
    "schedule": "schedule_id run spec policy paused note next_runs recent_runs",
    "spec": "cron intervals calendars timezone jitter_seconds start_at end_at",
    "policy": "overlap catchup_window_seconds pause_on_failure",
    "key": "key_id name prefix owner scopes created_at expires_at revoked_at",
    "goal": "goal_id title description state priority success_criteria limits parent_goal_id"
    " progress",
    "goal_limits": "max_agents max_concurrent max_cost_usd_per_day",
    "budget": "budget_id scope scope_id limit_usd period on_exhausted reserved_usd spent_usd"
    " warnings",
    "pin": "agent_id pinned_by pinned_at",
    "problem": "type title status detail code request_id",
}
"""The words of the reference, copied: not taken from the code that is tested."""
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def fields(name: str) -> set[str]:
    return set(FIELDS[name].split())


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def client(world: World) -> httpx2.AsyncClient:
    await world.furnish()
    transport = httpx2.ASGITransport(create_app(world.ports(), fake_config()))
    key = world.add_key(Scope.ADMIN)
    headers = {"authorization": f"Bearer {key}"}
    return httpx2.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)


async def _get(client: httpx2.AsyncClient, path: str) -> Any:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_run(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/runs?wait=5", json={"input": "hi"})
    run = answer.json()
    listed = await _get(client, "/v1/runs")

    assert set(run) == fields("run")
    assert set(run["usage"]) == fields("usage")
    assert set(run["links"]) == {"events", "temporal_ui"}
    assert run["output"] == {"role": "assistant", "content": "Hello"}
    assert run["usage"]["cost_usd"] == "0"
    assert all(TIME.fullmatch(run[name]) for name in ("created_at", "started_at", "ended_at"))
    assert set(listed) == {"runs"} | LIST
    RunOut.model_validate(run)
    RunList.model_validate(listed)


async def test_events_in_pages_and_as_a_stream(client: httpx2.AsyncClient) -> None:
    page = await _get(client, "/v1/runs/run_01k9/events?limit=2")
    stream = await client.get(
        "/v1/runs/run_01k9/events?after_seq=1", headers={"accept": "text/event-stream"}
    )
    block = stream.text.split("\n\n")[1].split("\n")

    assert set(page) == {"events"} | LIST
    assert set(page["events"][0]) == fields("event")
    assert isinstance(page["events"][0]["ts"], int)
    assert [line.split(":")[0] for line in block] == ["id", "event", "data"]
    assert stream.text.startswith("retry: 2000\n\n")
    EventList.model_validate(page)


async def test_session_and_messages(client: httpx2.AsyncClient, world: World) -> None:
    session = await _get(client, "/v1/sessions/sess_01k9")
    listed = await _get(client, "/v1/sessions")
    key = ("local", "sess_01k9")
    (message,) = world.directory.messages[key]
    call = ToolCallRequest(call_id="c1", name="calculator", arguments="{}")
    changes = {"role": "assistant", "tool_calls": (call,), "tool_call_id": "c0"}
    world.directory.messages[key].append(message.model_copy(update=changes))
    messages = await _get(client, "/v1/sessions/sess_01k9/messages")
    cleared = await client.delete("/v1/sessions/sess_01k9/messages")

    assert set(session) == fields("session")
    assert set(listed) == {"sessions"} | LIST
    assert set(messages) == {"messages"} | LIST
    assert set(messages["messages"][0]) == fields("message")
    assert set(messages["messages"][1]) == fields("message") | {"tool_calls", "tool_call_id"}
    SessionOut.model_validate(session)
    SessionList.model_validate(listed)
    MessageList.model_validate(messages)
    ClearedOut.model_validate(cleared.json())


async def test_agent(client: httpx2.AsyncClient) -> None:
    agent = await _get(client, "/v1/agents/assistant")
    listed = await _get(client, "/v1/agents")

    assert set(agent) == fields("agent") | {"health", "degradation", "escalate"}
    assert set(agent["limits"]) == fields("limits")
    assert set(listed) == {"agents"} | LIST
    AgentOut.model_validate(agent)
    AgentList.model_validate(listed)


async def test_tool_tool_call_and_tool_invoke(client: httpx2.AsyncClient) -> None:
    listed = await _get(client, "/v1/tools")
    calls = await _get(client, "/v1/tool_calls")
    call = await _get(client, "/v1/tool_calls/tc_01k9")
    answers = [
        (await client.post(f"/v1/tools/{name}/invoke", json={"args": args})).json()
        for name, args in (("calculator", {}), ("wire", {}), ("calculator", {"a": "boom"}))
    ]

    common = {"status", "tool_call_id", "run_id"}
    assert set(listed) == {"tools"} | LIST
    assert set(listed["tools"][0]) == fields("tool")
    assert set(calls) == {"tool_calls"} | LIST
    assert set(call) >= fields("tool_call")
    assert set(call) - fields("tool_call") == {"resolution", "resolved_by"}
    assert [set(answer) - common for answer in answers] == [{"result"}, {"reason"}, {"error"}]
    assert [answer["status"] for answer in answers] == ["succeeded", "pending", "failed"]
    ToolOut.model_validate(await _get(client, "/v1/tools/wire"))
    ToolList.model_validate(listed)
    ToolCallList.model_validate(calls)
    ToolCallOut.model_validate(call)
    for answer in answers:
        InvokedOut.model_validate(answer)


async def test_approval_and_decision(client: httpx2.AsyncClient) -> None:
    """Seed B's spelling of the decision is taken, and who it says decided is not."""
    listed = await _get(client, "/v1/approvals?status=pending")
    approval = await _get(client, "/v1/approvals/ap_01k9")
    body = {"decision": "APPROVED", "reason": "agreed", "decided_by": "mallory"}
    decided = (await client.post("/v1/approvals/ap_01k9/decide", json=body)).json()

    assert set(listed) == {"approvals"} | LIST
    assert set(approval) >= fields("approval")
    added = "session_id agent_id why asker asks edited_digest remember may_remember kind budget_id"
    assert set(approval) - fields("approval") == set(added.split())
    assert set(decided) == set(approval) | {"tool_call_status"}
    assert (decided["status"], decided["decided_by"]) == ("approved", "key 2 (key_2)")
    ApprovalList.model_validate(listed)
    ApprovalOut.model_validate(approval)
    DecidedOut.model_validate(decided)


async def test_key(client: httpx2.AsyncClient) -> None:
    body = {"name": "ci", "scopes": ["read", "invoke"], "expires_at": "2030-01-01T00:00:00Z"}
    made = (await client.post("/v1/keys", json=body)).json()
    listed = await _get(client, "/v1/keys")
    revoked = (await client.delete(f"/v1/keys/{made['key_id']}")).json()

    assert set(made) == fields("key") | {"agent_id", "key"}
    assert made["expires_at"] == "2030-01-01T00:00:00.000Z"
    assert set(listed) == {"keys"} | LIST
    assert set(listed["keys"][0]) == fields("key") | {"agent_id"}
    assert TIME.fullmatch(revoked["revoked_at"])
    NewKeyOut.model_validate(made)
    KeyList.model_validate(listed)
    KeyOut.model_validate(revoked)


async def test_models_in_openais_list(client: httpx2.AsyncClient) -> None:
    listed = await _get(client, "/v1/models")

    assert listed["object"] == "list"
    assert {"id", "object", "created", "owned_by"} <= set(listed["data"][0])
    real = [model for model in listed["data"] if model["owned_by"] not in ("orchestrator", "agent")]
    assert all("/" in model["id"] for model in real)
    choices = {model["id"] for model in listed["data"]} - {model["id"] for model in real}
    assert {"auto", "tier:critical", "agent:assistant"} <= choices
    ModelList.model_validate(listed)


async def test_failures(client: httpx2.AsyncClient) -> None:
    native = (await client.get("/v1/runs/run_unknown")).json()
    wrong = (await client.post("/v1/runs", json={})).json()
    seed = (await client.post("/internal/invoke", json={})).json()
    openai = (await client.get("/v1/models", headers={"authorization": "Bearer x"})).json()

    assert set(native) == fields("problem")
    assert set(wrong) == fields("problem") | {"errors"}
    assert set(seed) == {"error"}
    assert set(seed["error"]) == {"code", "message"}
    assert set(openai["error"]) == {"message", "type", "param", "code"}
    ProblemOut.model_validate(native)
    ProblemOut.model_validate(wrong)
    SeedErrorOut.model_validate(seed)
    OpenAiErrorOut.model_validate(openai)


async def test_probes_and_version(client: httpx2.AsyncClient) -> None:
    HealthOut.model_validate(await _get(client, "/health"))
    ReadyOut.model_validate(await _get(client, "/readyz"))
    VersionOut.model_validate(await _get(client, "/version"))


async def test_seed_bs_and_seed_cs_paths(client: httpx2.AsyncClient) -> None:
    message = {"role": "user", "content": "Hello, how are you?"}
    ids = {"session_id": "sess_001", "agent_id": "assistant"}
    invoked = await client.post("/internal/invoke", json={**ids, "input_message": message})
    body = {"tool_name": "calculator", "params": {"operation": "add", "a": 2, "b": 3}}
    answer = await client.post("/api/v1/request", json=body)

    assert {name: invoked.json()[name] for name in ids} == ids
    SeedInvokedOut.model_validate(invoked.json())
    PoolAnswerOut.model_validate(answer.json())
    SlotList.model_validate(await _get(client, "/api/v1/agents"))
    SlotOut.model_validate(await _get(client, "/api/v1/agents/worker-1/0"))
    PoolToolList.model_validate(await _get(client, "/api/v1/tools"))
    PoolStatsOut.model_validate(await _get(client, "/api/v1/stats"))


async def test_schedule(client: httpx2.AsyncClient) -> None:
    schedule = await _get(client, "/v1/schedules/morning-report")
    listed = await _get(client, "/v1/schedules")

    assert set(schedule) >= fields("schedule")
    assert set(schedule["spec"]) >= fields("spec")
    assert set(schedule["policy"]) == fields("policy")
    assert set(listed) == {"schedules"} | LIST
    ScheduleOut.model_validate(schedule)
    ScheduleList.model_validate(listed)


async def test_goal_and_budget(client: httpx2.AsyncClient) -> None:
    goal = await _get(client, "/v1/goals/goal_01k9")
    goals = await _get(client, "/v1/goals")
    budget = await _get(client, "/v1/budgets/budget_01k9")
    budgets = await _get(client, "/v1/budgets")

    assert set(goal) >= fields("goal")
    assert set(goal["limits"]) == fields("goal_limits")
    assert set(goals) == {"goals"} | LIST
    assert set(budget) >= fields("budget")
    assert set(budgets) == {"budgets"} | LIST
    GoalOut.model_validate(goal)
    GoalList.model_validate(goals)
    BudgetOut.model_validate(budget)
    BudgetList.model_validate(budgets)


async def test_pin(client: httpx2.AsyncClient) -> None:
    pin = await _get(client, "/v1/preferences/agent")
    made = await client.put("/v1/preferences/agent", json={"agent_id": "assistant"})

    assert set(pin) == set(made.json()) == fields("pin")
    assert TIME.fullmatch(pin["pinned_at"])
    PinOut.model_validate(made.json())
