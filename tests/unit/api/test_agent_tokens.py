"""Tokens of external agents: shown once, good for little, and no stranger's (attack 31)."""

from typing import Any

import httpx2
import pytest
from fastapi.routing import APIRoute

from api.app import create_app
from domain.acceptance import NewRun
from domain.agent import AgentKind
from domain.principal import LOCAL_OWNER, Scope
from domain.run import Run, RunKind, RunSpec, RunState
from tests.fakes.clock import NOW
from tests.fakes.tools import WIRE
from tests.fakes.world import World, fake_config
from tests.unit.api.conftest import Connect

URL = "http://agents.test"
DEMO: dict[str, Any] = {"agent_id": "demo", "name": "Demo", "endpoint": URL}
OPEN_TO_AGENTS = {"ask_agent", "beat_agent", "create_chat_completion", "invoke_tool"}
"""What a token may do at all; each of these asks further."""


class Scene:
    """An app that needs keys, an administrator, and an external agent with its token."""

    def __init__(self, world: World, connect: Connect) -> None:
        self.world = world
        self.connect = connect
        self.app = create_app(world.ports(), fake_config())
        self.admin = connect(self.app, world.add_key(Scope.ADMIN))

    async def register(self, agent_id: str = "demo", **fields: object) -> httpx2.AsyncClient:
        """Register an agent and return it as a client."""
        answer = await self.admin.post(
            "/v1/agents/register", json={**DEMO, "agent_id": agent_id, **fields}
        )
        assert answer.is_success, answer.text
        return self.connect(self.app, answer.json()["token"])

    async def run(self, agent_id: str = "demo", owner: str = LOCAL_OWNER, **fields: object) -> Run:
        """Put a run on record that an agent works on."""
        number = len(self.world.runs.runs) + 1
        new = NewRun(
            run_id=f"run_{number}",
            owner=owner,
            kind=RunKind.AGENT,
            spec=RunSpec(agent_kind=AgentKind.HTTP, endpoint=URL),
            agent_id=agent_id,
            session_id=f"sess_{number}",
            message_id=f"msg_{number}",
            content="x",
            max_open_runs=100,
        )
        run = (await self.world.runs.accept(new)).run
        changed = run.model_copy(update={"state": RunState.RUNNING, **fields})
        self.world.runs.runs[run.run_id] = changed
        return changed


@pytest.fixture
def scene(world: World, connect: Connect) -> Scene:
    return Scene(world, connect)


async def test_a_registration_is_answered_with_a_token_that_nobody_keeps(scene: Scene) -> None:
    answer = await scene.admin.post(
        "/v1/agents/register",
        json={**DEMO, "capabilities": ["echo"], "description": "d", "tools": ["calculator"]},
    )
    made = answer.json()

    assert answer.status_code == 201
    assert made["token"].startswith("orch_")
    assert (made["capabilities"], made["description"], made["tools"]) == (
        ["echo"],
        "d",
        ["calculator"],
    )
    assert made["health"] == {
        "status": "unknown",
        "circuit": "closed",
        "last_seen": None,
        "checked_at": None,
        "error": None,
        "version": None,
        "capabilities": [],
    }
    shown = (await scene.admin.get("/v1/agents/demo")).text + (
        await scene.admin.get("/v1/keys")
    ).text
    assert made["token"] not in shown
    assert made["token"] not in repr(scene.world.keys.by_digest)


async def test_registering_again_changes_what_was_sent_and_makes_a_new_token(scene: Scene) -> None:
    first = await scene.register(capabilities=["echo"], description="d")
    second = await scene.admin.post("/v1/agents/register", json={**DEMO, "name": "New"})

    assert second.status_code == 200
    assert (second.json()["name"], second.json()["capabilities"]) == ("New", ["echo"])
    assert (await first.post("/v1/agents/demo/heartbeat")).status_code == 401
    again = scene.connect(scene.app, second.json()["token"])
    assert (await again.post("/v1/agents/demo/heartbeat")).status_code == 200


async def test_a_token_can_be_made_anew_and_ends_when_it_is_revoked(scene: Scene) -> None:
    first = await scene.register()
    made = await scene.admin.post("/v1/agents/demo/token")
    second = scene.connect(scene.app, made.json()["token"])

    assert made.status_code == 201
    assert made.json()["token"].startswith(made.json()["prefix"])
    assert (await first.post("/v1/agents/demo/heartbeat")).status_code == 401
    assert (await second.post("/v1/agents/demo/heartbeat")).status_code == 200

    keys = (await scene.admin.get("/v1/keys")).json()["keys"]
    held = [key for key in keys if key["agent_id"] == "demo" and key["revoked_at"] is None]
    await scene.admin.delete(f"/v1/keys/{held[0]['key_id']}")
    assert (await second.post("/v1/agents/demo/heartbeat")).status_code == 401


async def test_an_agent_that_runs_here_has_no_token(scene: Scene) -> None:
    answer = await scene.admin.post("/v1/agents/assistant/token")
    unknown = await scene.admin.post("/v1/agents/nobody/token")

    assert (answer.status_code, unknown.status_code) == (409, 404)


async def test_registering_and_tokens_need_the_scope_admin(scene: Scene) -> None:
    others = (Scope.READ, Scope.INVOKE, Scope.APPROVE, Scope.PROXY)
    client = scene.connect(scene.app, scene.world.add_key(*others))

    for path, body in (("/v1/agents/register", DEMO), ("/v1/agents/assistant/token", None)):
        assert (await client.post(path, json=body)).status_code == 403


@pytest.mark.parametrize("keyless", [False, True])
async def test_a_token_opens_what_is_for_agents_and_nothing_else(
    world: World, connect: Connect, keyless: bool
) -> None:
    """Every route there is: also where nobody else needs a key."""
    scene = Scene(world, connect)
    agent = await scene.register()
    if keyless:
        del world.keys.by_digest[next(iter(world.keys.by_digest))]
    scene.app.state.services.authenticator.forget()
    routes = [route for route in scene.app.routes if isinstance(route, APIRoute)]
    refused = set()

    for route in routes:
        if route.path in {"/", "/health", "/livez", "/readyz", "/static/{name}"}:
            continue
        path = route.path.replace("{name}", "calculator").replace("{slot_id:path}", "x")
        method = next(iter(route.methods or ()))
        answer = await agent.request(method, path, json={})
        if answer.status_code == 403:
            refused.add(route.operation_id)
        else:
            assert route.operation_id in OPEN_TO_AGENTS, (route.path, answer.status_code)

    assert len(refused) >= len(routes) - 5 - len(OPEN_TO_AGENTS)


async def test_a_token_restricts_its_bearer_where_nobody_needs_a_key(
    world: World, connect: Connect
) -> None:
    app = create_app(world.ports(), fake_config())
    anybody = connect(app)
    made = await anybody.post("/v1/agents/register", json=DEMO)
    token = made.json()["token"]
    agent = connect(app, token)

    assert (await anybody.get("/v1/agents")).status_code == 200
    assert (await agent.get("/v1/agents")).status_code == 403
    assert (await agent.post("/v1/agents/demo/heartbeat")).status_code == 200
    assert (await anybody.post("/v1/agents/demo/heartbeat")).status_code == 200
    assert (await connect(app, "orch_" + "A" * 43).get("/v1/agents")).status_code == 200

    await anybody.post("/v1/agents/demo/token")
    assert (await agent.post("/v1/agents/demo/heartbeat")).status_code == 401


async def test_a_heartbeat_is_taken_from_the_agent_itself_only(scene: Scene) -> None:
    demo, other = await scene.register(), await scene.register("other")

    answer = await demo.post(
        "/v1/agents/demo/heartbeat", json={"version": "2", "capabilities": ["sums"]}
    )

    assert answer.status_code == 200
    assert answer.json()["next_in_seconds"] == 30.0
    assert answer.json()["health"]["status"] == "healthy"
    shown = (await scene.admin.get("/v1/agents/demo")).json()
    assert shown["health"]["version"] == "2"
    assert shown["health"]["capabilities"] == ["sums"]
    assert shown["health"]["last_seen"] is not None
    assert shown["capabilities"] == []  # what it says of itself is not what it was registered as
    assert (await other.post("/v1/agents/demo/heartbeat")).status_code == 403
    assert (await other.post("/v1/agents/assistant/heartbeat")).status_code == 403
    assert (await scene.admin.post("/v1/agents/assistant/heartbeat")).status_code == 404


async def test_an_agent_that_says_it_drains_is_not_chosen_any_more(scene: Scene) -> None:
    demo = await scene.register(description="juggling with seven balls", capabilities=["juggling"])
    asked = {"input": "juggling with seven balls"}
    before = await scene.admin.post("/v1/runs", json=asked)

    await demo.post("/v1/agents/demo/heartbeat", json={"status": "draining"})
    meanwhile = await scene.admin.post("/v1/runs", json=asked)
    named = await scene.admin.post("/v1/runs", json={**asked, "agent_id": "demo"})
    await demo.post("/v1/agents/demo/heartbeat")
    after = await scene.admin.post("/v1/runs", json=asked)

    chosen = [answer.json()["agent_id"] for answer in (before, meanwhile, named, after)]
    assert chosen == ["demo", "assistant", "demo", "demo"]


async def test_when_every_agent_is_unhealthy_a_run_without_one_is_refused(scene: Scene) -> None:
    demo = await scene.register()
    del scene.world.directory.agents[None, "assistant"]
    await demo.post("/v1/agents/demo/heartbeat", json={"status": "down"})

    answer = await scene.admin.post("/v1/runs", json={"input": "x"})

    assert answer.status_code == 502
    assert answer.json()["code"] == "agent_unavailable"


async def test_a_shared_agent_beats_with_a_token_that_the_operator_makes(scene: Scene) -> None:
    scene.world.add_agent("shared", kind=AgentKind.HTTP, endpoint=URL)
    bob = scene.connect(scene.app, scene.world.add_key(Scope.ADMIN, owner="bob"))

    refused = await bob.post("/v1/agents/shared/token")
    made = await scene.admin.post("/v1/agents/shared/token")
    agent = scene.connect(scene.app, made.json()["token"])

    assert refused.status_code == 403
    assert (await agent.post("/v1/agents/shared/heartbeat")).status_code == 200
    assert (await bob.post("/v1/agents/shared/heartbeat")).status_code == 403


async def test_a_card_says_what_an_agent_can_do_and_not_how_or_where(scene: Scene) -> None:
    await scene.register(capabilities=["echo"], tools=["calculator"], limits={"max_turns": 3})
    scene.world.add_agent("tutor", instructions="Be kind.", tools=("calculator", "gone"))

    card = (await scene.admin.get("/v1/agents/demo/card")).json()
    ours = (await scene.admin.get("/v1/agents/tutor/card")).json()

    assert (card["name"], card["capabilities"], card["kind"]) == ("Demo", ["echo"], "http")
    assert card["limits"]["max_turns"] == 3
    assert card["health"]["status"] == "unknown"
    assert card["links"] == {"invoke": "/v1/agents/demo:invoke", "runs": "/v1/runs"}
    assert [tool["name"] for tool in card["tools"]] == ["calculator"]
    assert "endpoint" not in card
    assert URL not in str(card)
    assert ours["health"] is None
    assert [tool["name"] for tool in ours["tools"]] == ["calculator"]
    assert "Be kind." not in str(ours)
    assert (await scene.admin.get("/v1/agents/nobody/card")).status_code == 404


async def test_an_agent_calls_its_tools_inside_a_run_that_it_works_on(scene: Scene) -> None:
    demo = await scene.register(tools=["wire"])
    run = await scene.run()

    answer = await demo.post(
        "/v1/tools/wire/invoke",
        json={"args": {}, "run_id": run.run_id, "idempotency_key": "k", "timeout_ms": 1},
    )

    assert answer.status_code == 200, answer.text
    child = scene.world.runs.accepted[-1]
    assert (child.parent_run_id, child.owner, child.spec.tools[0].name) == (
        run.run_id,
        LOCAL_OWNER,
        WIRE.name,
    )


async def test_an_agent_calls_no_tool_it_does_not_have_nor_in_a_run_of_others(
    scene: Scene,
) -> None:
    """Attack 31: tool requests it may not make. What is refused does not tell what there is."""
    demo = await scene.register(tools=["wire"])
    await scene.register("other")
    mine = await scene.run()
    runs = [
        await scene.run("other"),
        await scene.run(owner="bob"),
        await scene.run(state=RunState.DONE),
        await scene.run(state=RunState.CREATED),
        await scene.run("assistant"),
    ]
    said = set()

    for run_id in [*(run.run_id for run in runs), "run_nobody"]:
        answer = await demo.post("/v1/tools/wire/invoke", json={"run_id": run_id})
        assert answer.status_code == 403, run_id
        said.add(answer.json()["detail"].replace(run_id, "RUN"))
    assert said == {"agent demo does not work on run RUN"}

    without = await demo.post("/v1/tools/wire/invoke", json={})
    other_tool = await demo.post("/v1/tools/calculator/invoke", json={"run_id": mine.run_id})
    assert (without.status_code, other_tool.status_code) == (403, 403)


async def test_the_token_of_a_shared_agent_acts_for_the_owner_of_the_run(scene: Scene) -> None:
    scene.world.add_agent("shared", kind=AgentKind.HTTP, endpoint=URL, tools=("wire",))
    made = await scene.admin.post("/v1/agents/shared/token")
    agent = scene.connect(scene.app, made.json()["token"])
    bobs = await scene.run("shared", owner="bob")
    body = {"run_id": bobs.run_id, "timeout_ms": 1}

    answer = await agent.post("/v1/tools/wire/invoke", json=body)
    assert answer.status_code == 200, answer.text
    assert scene.world.runs.accepted[-1].owner == "bob"

    # Bob's own agent of that id takes its place: the run is not the shared one's any more.
    scene.world.add_agent("shared", owner="bob", kind=AgentKind.HTTP, endpoint=URL)
    assert (await agent.post("/v1/tools/wire/invoke", json=body)).status_code == 403


async def test_an_agent_that_became_one_of_ours_has_no_use_of_its_token(scene: Scene) -> None:
    demo = await scene.register(tools=["wire"])
    run = await scene.run()
    held = scene.world.directory.agents[LOCAL_OWNER, "demo"]
    ours = held.model_copy(update={"kind": AgentKind.LLM, "endpoint": None, "updated_at": NOW})
    scene.world.directory.agents[LOCAL_OWNER, "demo"] = ours

    answer = await demo.post("/v1/tools/wire/invoke", json={"run_id": run.run_id})
    beat = await demo.post("/v1/agents/demo/heartbeat")

    assert (answer.status_code, beat.status_code) == (403, 404)


async def test_a_token_asks_for_models_for_the_run_that_it_works_on(scene: Scene) -> None:
    agent = await scene.register()
    run = await scene.run()
    body = {"model": "offline/echo", "messages": [{"role": "user", "content": "hi"}]}
    path = "/v1/chat/completions"

    nowhere = await agent.post(path, json=body)
    elsewhere = await agent.post(path, json=body, headers={"x-run-id": "run_99"})
    an_agent = await agent.post(
        path, json=body | {"model": "agent:assistant"}, headers={"x-run-id": run.run_id}
    )
    answered = await agent.post(path, json=body, headers={"x-run-id": run.run_id})

    assert [answer.status_code for answer in (nowhere, elsewhere, an_agent)] == [403] * 3
    assert answered.status_code == 200
    (call,) = scene.world.calls.opened.values()
    assert (call.owner, call.run_id) == (run.owner, run.run_id)
