"""Agent to agent over HTTP: who may ask, what is read, what a repeat finds. Source: seed B."""

import asyncio
import json
from typing import Any

import httpx2
import pytest

from adapters.llm.sse import SseParser
from api.asked import frame_of
from domain.event import StoredEvent
from domain.principal import Scope
from domain.run import RunState
from tests.fakes.world import World
from tests.unit.api.conftest import Connect
from tests.unit.api.test_agent_tokens import Scene

MESSAGE = {"role": "user", "content": "What is 6 * 7?"}


@pytest.fixture
def scene(world: World, connect: Connect) -> Scene:
    return Scene(world, connect)


async def ask(
    client: httpx2.AsyncClient,
    parent_id: str,
    agent_id: str = "assistant",
    key: str = "",
    **more: Any,
) -> httpx2.Response:
    body = {"parent_run_id": parent_id, "input_message": MESSAGE, **more}
    headers = {"idempotency-key": key} if key else {}
    return await asyncio.wait_for(
        client.post(f"/v1/agents/{agent_id}:invoke", json=body, headers=headers), 10
    )


def read(answer: httpx2.Response) -> list[tuple[str, dict[str, Any]]]:
    parser = SseParser()
    return [(event.event, json.loads(event.data)) for event in parser.feed(answer.content)]


async def test_an_agent_asks_another_inside_the_run_it_works_on(scene: Scene) -> None:
    demo = await scene.register()
    run = await scene.run()

    answer = await ask(demo, run.run_id, context={"why": "x"})

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream"
    child = scene.world.runs.accepted[-1]
    assert answer.headers["location"] == f"/v1/runs/{child.run_id}"
    assert (child.parent_run_id, child.agent_id, child.content) == (
        run.run_id,
        "assistant",
        MESSAGE["content"],
    )
    assert child.spec.context == {"why": "x"}
    told = read(answer)
    assert {data["run_id"] for _, data in told} == {child.run_id}
    assert told[-1][0] == "done"
    deltas = "".join(data["text"] for name, data in told if name == "delta")
    assert told[-1][1]["final_message"] == deltas


async def test_the_same_key_reads_the_same_child_from_its_beginning(scene: Scene) -> None:
    demo = await scene.register()
    run = await scene.run()
    first = await ask(demo, run.run_id, key="k1")
    demo = await scene.register()  # with a new token, as after a restart of the agent

    again = await ask(demo, run.run_id, key="k1")
    other = await ask(demo, run.run_id, key="k1", context={"x": 1})

    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotency-replayed"] == "true"
    assert read(again) == read(first)
    assert other.status_code == 409


async def test_an_agent_asks_nobody_inside_a_run_of_others(scene: Scene) -> None:
    demo = await scene.register()
    await scene.register("other")
    for run in (
        await scene.run("other"),
        await scene.run(owner="bob"),
        await scene.run(state=RunState.DONE),
    ):
        answer = await ask(demo, run.run_id)
        assert answer.status_code == 403
        assert answer.json()["detail"] == f"agent demo does not work on run {run.run_id}"


async def test_a_key_with_invoke_asks_inside_any_run_of_its_owner(scene: Scene) -> None:
    invoker = scene.connect(scene.app, scene.world.add_key(Scope.INVOKE))
    reader = scene.connect(scene.app, scene.world.add_key(Scope.READ))
    run, bobs = await scene.run("assistant"), await scene.run(owner="bob")

    assert (await ask(invoker, run.run_id)).status_code == 200
    assert (await ask(invoker, bobs.run_id)).status_code == 404
    assert (await ask(reader, run.run_id)).status_code == 403
    assert (await ask(invoker, run.run_id, "nobody")).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"parent_run_id": "run_1"},
        {"input_message": MESSAGE},
        {"parent_run_id": "x", "input_message": MESSAGE},
        {"parent_run_id": "run_1", "input_message": "text"},
        {"parent_run_id": "run_1", "input_message": MESSAGE, "model": "x"},
    ],
)
async def test_a_body_of_another_shape_is_refused(scene: Scene, body: dict[str, Any]) -> None:
    answer = await scene.admin.post("/v1/agents/assistant:invoke", json=body)

    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("kind", "data", "told"),
    [
        ("run_started", {"agent_id": "a"}, ("state", {"state": "started", "detail": "a"})),
        (
            "run_waiting",
            {"waiting_on": "approval"},
            ("state", {"state": "waiting", "detail": "approval"}),
        ),
        ("run_resumed", {}, ("state", {"state": "resumed", "detail": ""})),
        ("agent_state", {"state": "s", "detail": "d"}, ("state", {"state": "s", "detail": "d"})),
        ("tool_call_created", {"tool_name": "t"}, ("state", {"state": "tool", "detail": "t"})),
        ("agent_stream_delta", {"text": "x\n"}, ("delta", {"text": "x\n"})),
        (
            "agent_stream_reset",
            {"step": "llm-1-1", "attempt": 2},
            ("state", {"state": "reset", "detail": "forget the text so far"}),
        ),
        (
            "run_done",
            {
                "final_message": {"role": "assistant", "content": "42"},
                "usage": {"input_tokens": 3, "output_tokens": 4},
            },
            (
                "done",
                {
                    "final_message": "42",
                    "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
                },
            ),
        ),
        (
            "run_done",
            {"final_message": None, "usage": None},
            ("done", {"final_message": "", "usage": {"total_tokens": 0}}),
        ),
        (
            "run_failed",
            {"code": "max_turns", "message": "m"},
            ("error", {"code": "max_turns", "message": "m"}),
        ),
        (
            "run_cancelled",
            {"reason": None},
            ("error", {"code": "cancelled", "message": "the run was cancelled"}),
        ),
        (
            "run_cancelled",
            {"reason": "enough"},
            ("error", {"code": "cancelled", "message": "enough"}),
        ),
        ("llm_call_done", {"cost_usd": "1"}, None),
        ("user_input", {"content": "x"}, None),
    ],
)
def test_events_of_a_run_as_the_agent_protocol_has_them(
    kind: str, data: dict[str, Any], told: tuple[str, dict[str, Any]] | None
) -> None:
    envelope = json.dumps({"run_id": "run_2", "seq": 1, "type": kind, "data": data})

    frame = frame_of(StoredEvent("run_2", 1, kind, envelope))

    found = [(event.event, json.loads(event.data)) for event in SseParser().feed(frame)]
    assert found == ([] if told is None else [(told[0], {**told[1], "run_id": "run_2"})])
