"""`agent:<id>` over fakes: what is asked, how a run's end is told."""

import asyncio
import json
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.completions.talk import run_input
from domain.errors import InvalidRequestError, NotSupportedError
from domain.event import EventType
from domain.principal import Scope
from tests.fakes.world import World, fake_config
from tests.unit.api.conftest import Connect

PATH = "/v1/chat/completions"
USAGE = {"input_tokens": 3, "output_tokens": 2, "cached_tokens": 1}
FINAL = {"role": "assistant", "content": "a b", "stop_reason": "length"}


@pytest.fixture(autouse=True)
def held(world: World) -> None:
    """The engine leaves runs to the tests."""
    world.gateway.mode = "hold"


def ask(**fields: Any) -> dict[str, Any]:
    said = [{"role": "user", "content": "hi"}]
    return {"model": "agent:assistant", "messages": said, **fields}


async def started(world: World) -> str:
    while not world.runs.runs:
        await asyncio.sleep(0.001)
    return next(reversed(world.runs.runs))


def say(world: World, run_id: str, *texts: str) -> None:
    world.runs.emit(run_id, EventType.RUN_STARTED)
    for text in texts:
        data = {"text": text, "step": "llm-1-1", "attempt": 1}
        world.runs.emit(run_id, EventType.AGENT_STREAM_DELTA, data)


def end(world: World, run_id: str) -> None:
    world.runs.emit(run_id, EventType.RUN_DONE, {"final_message": FINAL, "usage": USAGE})


async def test_a_run_is_streamed_as_chunks(client: httpx2.AsyncClient, world: World) -> None:
    options = {"include_usage": True}
    asking = asyncio.create_task(client.post(PATH, json=ask(stream=True, stream_options=options)))
    run_id = await started(world)
    say(world, run_id, "a ", "b")
    end(world, run_id)
    answer = await asking

    *sent, last = lines(answer)
    chunks: list[Any] = [json.loads(line[6:]) for line in sent]
    texts = [c["choices"][0]["delta"].get("content") for c in chunks if c["choices"]]
    assert "".join(text or "" for text in texts) == "a b"
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["usage"]["total_tokens"] == 5
    assert last == "data: [DONE]"
    assert answer.headers["x-run-id"] == run_id
    assert answer.headers["location"] == f"/v1/runs/{run_id}"
    assert answer.headers["x-session-id"] == world.runs.runs[run_id].session_id


def lines(answer: httpx2.Response) -> list[str]:
    return [line for line in answer.text.split("\n\n") if line]


async def test_a_run_is_waited_for(client: httpx2.AsyncClient, world: World) -> None:
    asking = asyncio.create_task(client.post(PATH, json=ask()))
    run_id = await started(world)
    say(world, run_id, "a ", "b")
    end(world, run_id)
    answer = await asking

    choice = answer.json()["choices"][0]
    assert choice["message"]["content"] == "a b"
    assert choice["finish_reason"] == "length"
    assert answer.headers["x-run-id"] == run_id


FAILED = EventType.RUN_FAILED
ENDS: list[tuple[EventType, dict[str, Any], int, str]] = [
    (FAILED, {"code": "budget_exhausted", "message": "no money"}, 402, "budget_exhausted"),
    (FAILED, {"code": "poison_step", "message": "x"}, 502, "poison_step"),
    (EventType.RUN_CANCELLED, {"reason": None}, 409, "run_cancelled"),
]


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_run_that_fails_is_an_error(
    client: httpx2.AsyncClient,
    world: World,
    how: tuple[EventType, dict[str, Any], int, str],
    stream: bool,
) -> None:
    kind, data, status, code = how
    asking = asyncio.create_task(client.post(PATH, json=ask(stream=stream)))
    run_id = await started(world)
    say(world, run_id, "a ")
    world.runs.emit(run_id, kind, data)
    answer = await asking

    if stream:
        assert answer.status_code == 200
        error = json.loads(lines(answer)[-1][6:])["error"]
    else:
        assert answer.status_code == status
        assert answer.headers["x-run-id"] == run_id
        assert answer.headers["x-should-retry"] == "false", "a retry would make another run"
        error = answer.json()["error"]
    assert error["code"] == code


async def test_a_text_that_changes_ends_the_stream_with_an_error(
    client: httpx2.AsyncClient, world: World
) -> None:
    asking = asyncio.create_task(client.post(PATH, json=ask(stream=True)))
    run_id = await started(world)
    say(world, run_id, "a ", "b")
    reset = {"step": "llm-1-1", "attempt": 2}
    world.runs.emit(run_id, EventType.AGENT_STREAM_RESET, reset)
    data = {"text": "other", "step": "llm-1-1", "attempt": 2}
    world.runs.emit(run_id, EventType.AGENT_STREAM_DELTA, data)
    answer = await asking

    assert json.loads(lines(answer)[-1][6:])["error"]["code"] == "text_changed"


async def test_a_repeat_with_the_same_key_is_the_same_run(
    client: httpx2.AsyncClient, world: World
) -> None:
    headers = {"idempotency-key": "k1"}
    asking = asyncio.create_task(client.post(PATH, json=ask(), headers=headers))
    run_id = await started(world)
    say(world, run_id, "a b")
    end(world, run_id)
    await asking

    again = await client.post(PATH, json=ask(stream=True), headers=headers)
    same = await client.post(PATH, json=ask(), headers=headers)
    wrong = await client.post(PATH, json=ask(), headers={"idempotency-key": " "})

    assert same.headers["x-run-id"] == run_id
    assert same.headers["idempotency-replayed"] == "true"
    assert again.status_code == 409
    assert again.json()["error"]["code"] == "idempotency_key_conflict"
    assert wrong.status_code == 400


async def test_a_run_that_takes_long_goes_on(world: World, connect: Connect) -> None:
    client = connect(create_app(world.ports(), fake_config(max_wait_seconds=0.05)))

    answer = await client.post(PATH, json=ask())

    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "run_not_done"
    assert answer.headers["x-run-id"] in world.runs.runs


@pytest.mark.parametrize("stream", [False, True])
async def test_an_agent_that_is_asked_in_a_run_is_its_child(
    client: httpx2.AsyncClient, world: World, stream: bool
) -> None:
    made = await client.post("/v1/runs", json={"input": "x", "agent_id": "assistant"})
    parent = made.json()["run_id"]
    headers = {"x-run-id": parent}

    asking = asyncio.create_task(client.post(PATH, json=ask(stream=stream), headers=headers))
    while len(world.runs.runs) < 2:
        await asyncio.sleep(0.001)
    child = next(reversed(world.runs.runs))
    end(world, child)
    answer = await asyncio.wait_for(asking, 10)
    nobody = await client.post(PATH, json=ask(), headers={"x-run-id": "run_nope"})
    both = await client.post(PATH, json=ask(), headers={**headers, "x-session-id": "s"})

    assert answer.status_code == 200
    assert world.runs.runs[child].parent_run_id == parent
    assert nobody.status_code == 404
    assert both.status_code == 400


async def test_a_run_that_waits_for_money_is_not_waited_for(
    client: httpx2.AsyncClient, world: World
) -> None:
    asking = asyncio.create_task(client.post(PATH, json=ask()))
    run_id = await started(world)
    world.runs.emit(run_id, EventType.RUN_WAITING, {"waiting_on": "approval"})
    world.runs.emit(run_id, EventType.RUN_WAITING, {"waiting_on": "budget"})

    answer = await asyncio.wait_for(asking, 10)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (402, "budget_exhausted")
    assert f"/v1/approvals?run_id={run_id}" in error["message"]
    assert not world.runs.runs[run_id].is_terminal


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"n": 2}, "n"),
    ],
)
async def test_what_an_agent_cannot_do_for_its_caller_is_not_supported(
    client: httpx2.AsyncClient, world: World, fields: dict[str, Any], param: str
) -> None:
    answer = await client.post(PATH, json=ask(**fields))

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "not_supported"
    assert answer.json()["error"]["param"] == param
    assert world.runs.runs == {}


async def test_an_agent_needs_the_scope_invoke_and_has_to_be_there(
    world: World, connect: Connect, app: FastAPI
) -> None:
    proxy = connect(app, world.add_key(Scope.PROXY))
    invoke = connect(app, world.add_key(Scope.INVOKE))

    refused = await proxy.post(PATH, json=ask())
    nobody = await invoke.post(PATH, json=ask(model="agent:nobody"))
    odd = await invoke.post(PATH, json=ask(), headers={"x-stream": "maybe"})

    assert (refused.status_code, nobody.status_code, odd.status_code) == (403, 404, 400)


def test_what_was_said_before_stands_above_the_question() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "I am Ann."},
        {"role": "assistant", "content": [{"type": "text", "text": "Hello Ann."}]},
        {"role": "user", "content": "Who am I?"},
    ]

    assert run_input(messages, in_session=False) == (
        "Be brief.\n\nEarlier in this conversation:\n\nuser: I am Ann.\n\nassistant: Hello Ann.\n\n"
        "Now the user says:\n\nWho am I?"
    )
    assert run_input(messages, in_session=True) == "Who am I?"
    assert run_input(messages[-1:], in_session=False) == "Who am I?"
    assert run_input([messages[0], messages[-1]], in_session=False) == "Be brief.\n\nWho am I?"


def test_what_is_no_question_is_refused() -> None:
    wrong: list[dict[str, Any]] = [
        {"role": "assistant", "content": "x"},
        {"role": "user", "content": " "},
        {"role": "user", "content": 7},
    ]
    for last in wrong:
        with pytest.raises(InvalidRequestError):
            run_input([last], in_session=False)
    with pytest.raises(NotSupportedError):
        run_input([{"role": "user", "content": [{"type": "image_url"}]}], in_session=False)
