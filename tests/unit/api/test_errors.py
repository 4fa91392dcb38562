"""Failures as answers."""

import gc
import json
from datetime import timedelta

import httpx2
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.errors import STATUS, STATUS_TITLES, Problem, problem_of, respond
from domain import errors
from domain.errorlist import leaves
from domain.errors import (
    ApprovalDecidedError,
    LimitReachedError,
    OrchestratorError,
    StepRefusedError,
)
from domain.refusal import FirstAnswer
from tests.fakes.world import World, fake_config
from tests.rig.serving import serving
from tests.unit.api.conftest import Connect


def _make(cls: type[OrchestratorError]) -> OrchestratorError:
    if cls in {LimitReachedError, StepRefusedError}:
        return cls("a sentence", reason="max_turns")
    if cls is ApprovalDecidedError:
        return ApprovalDecidedError("ap_1", FirstAnswer("approved", "eve", 1))
    return cls("a sentence")


@pytest.mark.parametrize("cls", [OrchestratorError, *leaves()])
def test_every_error_has_a_status_and_its_code_in_the_body(cls: type[OrchestratorError]) -> None:
    if cls.__module__ != errors.__name__:
        pytest.skip("made by another test")

    problem = problem_of(_make(cls))

    assert cls in STATUS
    assert problem.status in STATUS_TITLES
    assert problem.code == cls.code


def test_an_error_that_is_not_listed_takes_its_parents_status() -> None:
    class VeryBusyError(errors.SessionBusyError):
        code = "very_busy"

    assert problem_of(VeryBusyError("a sentence")).status == 409
    del VeryBusyError
    gc.collect()  # the page of errors, for one, is made of every class there is


@pytest.mark.parametrize(
    ("wait", "shown"),
    [(None, "1"), (timedelta(seconds=0.2), "1"), (timedelta(seconds=2.1), "3")],
)
def test_a_wait_is_told_in_whole_seconds(wait: timedelta | None, shown: str) -> None:
    problem = problem_of(errors.QueueFullError("full", retry_after=wait))

    assert problem.headers["retry-after"] == shown


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/runs", {"type", "title", "status", "detail", "code", "request_id", "errors"}),
        ("/v1/models", {"error"}),
        ("/internal/invoke", {"error"}),
        ("/api/v1/request", {"error"}),
    ],
)
def test_every_family_of_paths_has_its_shape(path: str, shape: set[str]) -> None:
    where = ({"field": "body.input", "message": "missing"},)
    problem = Problem(422, "invalid_request", "wrong", where)

    answer = respond(problem, path, "req_1")

    assert set(json.loads(bytes(answer.body))) == shape


def test_a_seeds_answer_names_the_wrong_fields_in_its_sentence() -> None:
    where = ({"field": "body.input", "message": "missing"},)

    answer = respond(Problem(422, "invalid_request", "wrong", where), "/api/x", "req_1")

    error = json.loads(bytes(answer.body))["error"]
    assert error == {"code": "invalid_request", "message": "wrong: body.input: missing"}


def test_an_openai_answer_names_the_wrong_parameter() -> None:
    where = ({"field": "body.model", "message": "missing"},)

    answer = respond(Problem(422, "invalid_request", "wrong", where), "/v1/models", "req_1")

    error = json.loads(bytes(answer.body))["error"]
    assert error["param"] == "model"
    assert error["type"] == "invalid_request_error"


async def test_paths_and_methods_that_are_not_there_get_a_problem(
    client: httpx2.AsyncClient,
) -> None:
    nowhere = await client.get("/v1/nowhere")
    wrong = await client.put("/v1/runs")

    assert nowhere.status_code == 404
    assert nowhere.headers["content-type"] == "application/problem+json"
    assert nowhere.json()["code"] == "not_found"
    assert wrong.status_code == 405
    assert wrong.json()["code"] == "method_not_allowed"
    assert "POST" in wrong.headers["allow"]


async def test_a_bug_answers_500_without_a_word_of_what_it_was(
    app: FastAPI, connect: Connect, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    world.runs.get_run = broken  # type: ignore[method-assign, assignment]
    answer = await connect(app).get("/v1/runs/run_1")

    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    assert "secret" not in answer.text
    assert answer.json()["request_id"] in caplog.text
    assert answer.headers["x-request-id"] == answer.json()["request_id"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/runs", "GET, HEAD, POST"),
        ("PUT", "/v1/agents/assistant", "DELETE, GET, HEAD, PATCH"),
        ("DELETE", "/livez", "GET, HEAD"),
        ("HEAD", "/internal/invoke", "POST"),
        ("HEAD", "/v1/logs/stream", "GET"),
        ("HEAD", "/v1/runs/run_1/events", "GET"),
    ],
)
async def test_a_method_that_is_refused_is_told_every_one_that_is_not(
    client: httpx2.AsyncClient, method: str, path: str, allow: str
) -> None:
    answer = await client.request(method, path)

    assert answer.status_code == 405
    assert answer.headers["allow"] == allow


@pytest.mark.parametrize(
    "path", ["/", "/livez", "/readyz", "/health", "/v1/models", "/v1/runs", "/v1/agents/assistant"]
)
async def test_a_head_is_that_of_get_without_the_body(world: World, path: str) -> None:
    async with (
        serving(create_app(world.ports(), fake_config())) as (host, port),
        httpx2.AsyncClient(base_url=f"http://{host}:{port}") as client,
    ):
        whole = await client.get(path)
        head = await client.head(path)
        again = await client.head(path)

    assert head.status_code == again.status_code == 200
    assert head.content == b""
    for name in ("content-type", "content-length"):
        assert head.headers[name] == whole.headers[name]


async def test_a_head_fails_as_get_does(client: httpx2.AsyncClient) -> None:
    assert (await client.head("/nowhere")).status_code == 404
    assert (await client.head("/v1/runs/run_none")).status_code == 404
