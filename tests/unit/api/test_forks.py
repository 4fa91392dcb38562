"""Forks, retries and dead letters over HTTP."""

from typing import Any

import httpx2
import pytest

from api.app import create_app
from domain.event import EventType
from domain.principal import Scope
from domain.tiers import Cascade
from tests.fakes.world import World, fake_config
from tests.unit.api.conftest import Connect

FORK = "/v1/runs/run_01k9/fork"
RETRY = "/v1/runs/run_01k9/retry"
LETTER = "/v1/dead_letters/dl_01k9"


@pytest.fixture
async def furnished(world: World) -> World:
    await world.furnish()
    world.keys.by_digest.clear()
    world.runs.emit("run_01k9", EventType.RUN_FAILED, {"code": "poison_step", "message": "x"})
    return world


@pytest.fixture
def client(furnished: World, connect: Connect) -> httpx2.AsyncClient:
    return connect(create_app(furnished.ports(), fake_config()))


async def test_a_fork_is_a_run_of_its_own(client: httpx2.AsyncClient, furnished: World) -> None:
    body = {"from_turn": 2, "input": "in French", "models": ["offline/echo"], "priority": 1}

    answer = await client.post(FORK, json=body)

    run = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/runs/{run['run_id']}")
    assert run["forked_from"] == {"run_id": "run_01k9", "turn": 2}
    assert run["session_id"] not in {None, "sess_01k9"}
    new = furnished.runs.accepted[-1]
    assert new.fork is not None
    assert (new.fork.from_turn, new.fork.says_more, new.fork.by) == (2, True, "local")
    assert (new.content, new.spec.models, new.priority) == ("in French", ("offline/echo",), 1)
    listed = (await client.get("/v1/runs?forked_from=run_01k9")).json()["runs"]
    assert [one["run_id"] for one in listed] == [run["run_id"]]


async def test_a_fork_with_other_models_climbs_through_these(
    client: httpx2.AsyncClient, furnished: World
) -> None:
    spec = furnished.runs.specs["run_01k9"]
    climbing = {"models": ("a/small", "a/big"), "rungs": (1,), "cascade": Cascade()}
    furnished.runs.specs["run_01k9"] = spec.model_copy(update=climbing)

    await client.post(FORK, json={"from_turn": 2, "models": ["offline/echo"]})

    new = furnished.runs.accepted[-1].spec
    assert (new.models, new.rungs, new.cascade) == (("offline/echo",), (), None)


async def test_a_retry_needs_no_body(client: httpx2.AsyncClient, furnished: World) -> None:
    answer = await client.post(RETRY)

    assert answer.status_code == 202
    new = furnished.runs.accepted[-1]
    assert new.fork is not None
    assert (new.fork.from_turn, new.fork.says_more) == (None, False)
    assert new.content == "what was asked"


async def test_a_repeat_with_the_same_key_is_the_same_fork(client: httpx2.AsyncClient) -> None:
    headers = {"idempotency-key": "k"}
    first = await client.post(FORK, json={"from_turn": 1}, headers=headers)
    again = await client.post(FORK, json={"from_turn": 1}, headers=headers)
    other = await client.post(FORK, json={"from_turn": 2}, headers=headers)
    elsewhere = await client.post(RETRY, json={}, headers=headers)

    assert first.json()["run_id"] == again.json()["run_id"]
    assert again.headers["idempotency-replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_conflict")
    assert elsewhere.json()["run_id"] != first.json()["run_id"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"from_turn": -1},
        {"from_turn": "1"},
        {"from_turn": True},
        {"from_turn": 1, "input": " "},
        {"from_turn": 1, "models": []},
        {"from_turn": 1, "models": ["nosuch/model"]},
        {"from_turn": 1, "priority": 6},
        {"from_turn": 1, "session_id": "s"},
        {"from_turn": 1, "limits": {"max_turns": 0}},
    ],
)
async def test_a_fork_that_makes_no_sense_is_refused(
    client: httpx2.AsyncClient, furnished: World, body: dict[str, Any]
) -> None:
    before = len(furnished.runs.accepted)

    assert (await client.post(FORK, json=body)).status_code == 422

    assert len(furnished.runs.accepted) == before


async def test_a_retry_takes_no_message(client: httpx2.AsyncClient) -> None:
    assert (await client.post(RETRY, json={"input": "x"})).status_code == 422


async def test_caps_never_go_past_what_the_agent_allows(
    client: httpx2.AsyncClient, furnished: World
) -> None:
    await client.post(RETRY, json={"limits": {"max_turns": 9000, "max_tokens": 5}})

    limits = furnished.runs.accepted[-1].spec.limits
    assert (limits.max_turns, limits.max_tokens) == (50, 5)


async def test_a_tool_run_has_no_message_and_no_models(client: httpx2.AsyncClient) -> None:
    for body in ({"from_turn": 0, "input": "x"}, {"from_turn": 0, "models": ["offline/echo"]}):
        assert (await client.post("/v1/runs/run_02k9/fork", json=body)).status_code == 422


async def test_a_dead_letter_is_listed_and_shown(client: httpx2.AsyncClient) -> None:
    (listed,) = (await client.get("/v1/dead_letters?status=waiting")).json()["dead_letters"]

    assert (await client.get(LETTER)).json() == listed
    assert (listed["run_id"], listed["step"], listed["code"]) == (
        *("run_01k9", "tool-1-0"),
        "poison_step",
    )
    assert listed["input"] == {"role": "user", "content": "what was asked"}
    assert (await client.get("/v1/dead_letters?status=discarded")).json()["dead_letters"] == []
    assert (await client.get("/v1/dead_letters?status=nonsense")).status_code == 422


async def test_a_dead_letter_is_redriven_with_another_message(
    client: httpx2.AsyncClient, furnished: World
) -> None:
    answer = await client.post(f"{LETTER}/redrive", json={"input": "smaller"})

    assert answer.status_code == 202
    new = furnished.runs.accepted[-1]
    assert new.fork is not None
    assert (new.fork.dead_letter_id, new.fork.from_turn, new.content) == ("dl_01k9", 0, "smaller")
    await client.post(f"{LETTER}/redrive")
    new = furnished.runs.accepted[-1]
    assert new.fork is not None
    assert new.fork.from_turn is None


async def test_a_dead_letter_is_discarded(client: httpx2.AsyncClient) -> None:
    answer = await client.post(f"{LETTER}/discard", json={"note": "a test"})

    said = answer.json()
    assert (said["status"], said["note"], said["settled_by"]) == ("discarded", "a test", "local")


async def test_another_owner_finds_nothing(furnished: World, connect: Connect) -> None:
    key = furnished.add_key(Scope.READ, Scope.INVOKE, owner="eve")
    client = connect(create_app(furnished.ports(), fake_config()))
    client.headers["authorization"] = f"Bearer {key}"

    codes = {
        path: (await client.post(path, json={"from_turn": 0} if path == FORK else {})).status_code
        for path in (FORK, RETRY, f"{LETTER}/redrive", f"{LETTER}/discard")
    }

    assert set(codes.values()) == {404}
    assert (await client.get(LETTER)).status_code == 404
    assert (await client.get("/v1/dead_letters")).json()["dead_letters"] == []


async def test_caps_of_a_tool_run_are_held_to_the_defaults(
    client: httpx2.AsyncClient, furnished: World
) -> None:
    furnished.runs.emit("run_02k9", EventType.RUN_FAILED, {"code": "x", "message": "x"})

    await client.post("/v1/runs/run_02k9/retry", json={"limits": {"max_turns": 9000}})

    assert furnished.runs.accepted[-1].spec.limits.max_turns == 50


async def test_caps_of_a_run_whose_agent_is_gone_are_never_raised(
    client: httpx2.AsyncClient, furnished: World
) -> None:
    await client.post(RETRY, json={"limits": {"max_turns": 7}})
    seven = furnished.runs.accepted[-1].run_id
    furnished.directory.agents.clear()

    await client.post(f"/v1/runs/{seven}/retry", json={"limits": {"max_turns": 9000}})

    assert furnished.runs.accepted[-1].spec.limits.max_turns == 7
