"""Chat completions over fakes: names, the ledger, chains, ends."""

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from api.app import create_app
from domain.chat import TokenUsage
from domain.errors import (
    BudgetExhaustedError,
    CircuitOpenError,
    ModelRateLimitedError,
    ModelRequestError,
    ModelUnavailableError,
    OrchestratorError,
    PriceUnknownError,
    StoreUnavailableError,
    StreamIncompleteError,
)
from domain.principal import Scope
from domain.refusal import ProviderRefusal
from domain.spending import PriceOverride
from domain.tiers import ModelTier
from tests.fakes.proxy import FakeReply
from tests.fakes.world import World, fake_config
from tests.rig.serving import Reader, serving
from tests.unit.api.conftest import Connect

PATH = "/v1/chat/completions"
USAGE = TokenUsage(input_tokens=10, output_tokens=5, cached_tokens=4)
Given = bytes | OrchestratorError | asyncio.Event


def ask(model: str = "raw/one", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}


def answering(*given: Given, usage: TokenUsage | None = USAGE) -> Callable[[], FakeReply]:
    return lambda: FakeReply(given, final_usage=usage)


async def chunks(client: httpx2.AsyncClient, **fields: Any) -> tuple[httpx2.Response, list[str]]:
    answer = await client.post(PATH, json=ask(stream=True, **fields))
    return answer, [line for line in answer.text.split("\n\n") if line]


# ---------------------------------------------------------------- the ledger


async def test_a_call_is_held_at_its_upper_bound_and_billed_by_its_usage(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.raw.answers["raw/one"] = answering(b"one", b"two")
    body = json.dumps(ask(stream=True, max_tokens=7, n=3)).encode()

    answer = await client.post(
        PATH,
        content=body,
        headers={"content-type": "application/json", "x-run-id": "run_7"},
    )

    (call,) = world.calls.opened.values()
    assert answer.text == "onetwo"
    assert (call.input_tokens, call.output_tokens) == (len(body), 21)
    assert call.pico == (len(body) + 2 * 21) * 10**6
    assert (call.run_id, call.owner, call.model) == ("run_7", "local", "raw/one")
    assert world.calls.bill.usage == USAGE
    assert world.calls.bill.cost_pico == (10 + 2 * 5) * 10**6
    assert not world.calls.bill.estimated


async def test_a_price_set_over_the_api_counts(client: httpx2.AsyncClient, world: World) -> None:
    world.calls.price = PriceOverride(Decimal(3), Decimal(6), Decimal(1))
    world.raw.answers["raw/one"] = answering(b"{}")

    await client.post(PATH, json=ask())

    assert world.calls.bill.cost_pico == (6 * 3 + 4 * 1 + 5 * 6) * 10**6


async def test_an_answer_without_usage_costs_what_was_held_and_its_tokens_are_guessed(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.raw.answers["raw/one"] = answering(b'{"a":""}', usage=None)

    await client.post(PATH, json=ask(max_completion_tokens=9))

    assert world.calls.bill.estimated
    (call,) = world.calls.opened.values()
    used = world.calls.bill.usage
    assert (used.input_tokens, used.output_tokens) == (-(-call.input_tokens // 4), 2)
    assert world.calls.bill.cost_pico == call.pico


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BudgetExhaustedError("no money"), 402, "budget_exhausted"),
        (PriceUnknownError("no price"), 422, "price_unknown"),
        (CircuitOpenError("it fails"), 503, "circuit_open"),
        (ModelRateLimitedError("slow down"), 429, "model_rate_limited"),
    ],
)
async def test_a_call_that_may_not_be_made_is_not_made(
    client: httpx2.AsyncClient,
    world: World,
    error: OrchestratorError,
    status: int,
    code: str,
) -> None:
    world.calls.refusals["raw/one"] = error

    answer = await client.post(PATH, json=ask())

    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert not any(reply.has_begun for reply in world.raw.replies)
    assert ("retry-after" in answer.headers) is (status == 503)


async def test_a_ledger_that_fails_at_the_end_does_not_take_the_answer_back(
    client: httpx2.AsyncClient, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.calls.trouble = StoreUnavailableError("away")
    world.raw.answers["raw/one"] = answering(b"one", b"two")

    answer, _ = await chunks(client)

    assert answer.text == "onetwo"
    assert "could not be billed" in caplog.text


async def test_a_refusal_costs_nothing_and_a_broken_answer_what_was_held(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.raw.answers["raw/one"] = answering(ModelUnavailableError("away"))
    await client.post(PATH, json=ask())
    refused = world.calls.bills.popitem()[1]

    world.raw.answers["raw/one"] = answering(StreamIncompleteError("broke"))
    await client.post(PATH, json=ask())
    broken = world.calls.bills.popitem()[1]

    assert (refused.cost_pico, refused.estimated) == (0, False)
    assert refused.error == {"code": "model_unavailable", "message": "away"}
    assert broken.estimated
    assert broken.cost_pico


async def test_a_stream_that_breaks_is_billed_and_ends_with_an_error_chunk(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.raw.answers["raw/one"] = answering(b"data: 1\n\n", StreamIncompleteError("broke"))

    answer, lines = await chunks(client)

    assert answer.status_code == 200
    assert lines[0] == "data: 1"
    error = json.loads(lines[1].removeprefix("data: "))["error"]
    assert (error["code"], error["type"]) == ("stream_incomplete", "server_error")
    assert len(lines) == 2
    (call,) = world.calls.opened.values()
    assert world.calls.bill.estimated
    assert world.calls.bill.usage.output_tokens == -(-len(b"data: 1\n\n") // 4)
    assert world.calls.bill.cost_pico == call.pico


@pytest.mark.parametrize("begins", [False, True])
async def test_a_caller_that_goes_away_is_billed_and_its_request_dropped(
    app: FastAPI, world: World, begins: bool
) -> None:
    given: list[Given] = [b"data: 1\n\n"] if begins else []
    world.raw.answers["raw/one"] = answering(*given, asyncio.Event())
    body = json.dumps(ask(stream=True)).encode()
    head = f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"

    async with serving(app) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        if begins:
            await reader.readuntil(b"data: 1")
        while not world.calls.opened:
            await asyncio.sleep(0.005)
        writer.transport.abort()
        await asyncio.wait_for(world.calls.closed.wait(), 10)

    assert world.raw.replies[0].is_closed
    assert world.calls.bill.estimated
    assert world.calls.bill.error == {
        "code": "client_closed",
        "message": "the caller went away",
    }


# ---------------------------------------------------------------- chains


async def test_a_chain_is_gone_through_until_a_model_begins(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.tiers[ModelTier.COMPLEX] = ("raw/down", "raw/open", "nobody/x", "raw/one", "raw/two")
    world.calls.refusals["raw/open"] = CircuitOpenError("it fails")
    world.raw.answers["raw/down"] = answering(ModelUnavailableError("away"))
    world.raw.answers["raw/one"] = answering(b"data: 1\n\n", b"data: 2\n\n")

    answer, lines = await chunks(client, model="tier:complex")

    assert lines == ["data: 1", "data: 2"]
    assert answer.headers["x-model"] == "raw/one"
    assert answer.headers["x-fallback-from"] == "raw/down,raw/open,nobody/x"
    assert [bill.model for bill in world.calls.bills.values()] == ["raw/down", "raw/one"]
    first, *others = [call.route for call in world.calls.opened.values()]
    assert first
    assert first["tier"] == "complex"
    assert others == [None], "a decision is told once"


async def test_a_chain_that_fails_whole_says_why_the_last_did(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.tiers[ModelTier.SIMPLE] = ("raw/one", "raw/two")
    world.raw.answers["raw/one"] = answering(ModelUnavailableError("away"))
    refused = ModelRequestError("raw answered 413")
    refused.refusal = ProviderRefusal(413, "too long", "invalid_request_error", "too_long", "n")
    world.raw.answers["raw/two"] = answering(refused)

    answer = await client.post(PATH, json=ask("tier:simple"))

    assert answer.status_code == 413
    assert answer.json()["error"] == {
        "message": "too long",
        "type": "invalid_request_error",
        "param": "n",
        "code": "too_long",
    }


async def test_a_budget_that_degrades_has_a_cheaper_model_asked(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.tiers[ModelTier.SIMPLE] = ("raw/dear", "raw/one")
    dear = BudgetExhaustedError("budget b leaves 0 USD")
    dear.degrades = True
    world.calls.refusals["raw/dear"] = dear

    answer = await client.post(PATH, json=ask("tier:simple"))

    assert answer.status_code == 200
    assert answer.headers["x-fallback-from"] == "raw/dear"


async def test_no_other_model_is_asked_where_the_money_is_gone(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.tiers[ModelTier.SIMPLE] = ("raw/one", "raw/two")
    world.calls.limit_pico = 1

    answer = await client.post(PATH, json=ask("tier:simple"))

    assert answer.status_code == 402
    assert [request.model for request in world.raw.asked] == ["raw/one"]


async def test_after_the_first_content_no_other_model_is_asked(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.tiers[ModelTier.SIMPLE] = ("raw/one", "raw/two")
    world.raw.answers["raw/one"] = answering(b"data: 1\n\n", ModelUnavailableError("away"))

    _, lines = await chunks(client, model="tier:simple")

    assert "away" in lines[-1]
    assert len(world.raw.asked) == 1


# ---------------------------------------------------------------- names and rights


async def test_a_bare_name_is_one_that_only_one_provider_has(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.raw.answers["raw/one"] = answering(b"{}")

    known = await client.post(PATH, json=ask("one"))
    unknown = await client.post(PATH, json=ask("many"))

    assert known.headers["x-model"] == "raw/one"
    assert unknown.status_code == 404
    assert unknown.json()["error"]["param"] == "model"


async def test_the_scope_proxy_is_needed(world: World, connect: Connect) -> None:
    app = create_app(world.ports(), fake_config())
    without = connect(app, world.add_key(Scope.INVOKE, Scope.READ))
    given = connect(app, world.add_key(Scope.PROXY))

    assert (await without.post(PATH, json=ask("offline/echo"))).status_code == 403
    answer = await given.post(PATH, json=ask("offline/echo"))
    assert answer.status_code == 200
    (call,) = world.calls.opened.values()
    assert call.key_id == "key_2"


async def test_an_image_is_held_at_more_than_its_bytes(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.raw.answers["raw/one"] = answering(b"{}")
    image = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    content = [{"type": "text", "text": "what?"}, image]

    await client.post(PATH, json=ask(messages=[{"role": "user", "content": content}]))

    (call,) = world.calls.opened.values()
    assert call.input_tokens > 50_000


async def test_streams_end_with_an_error_when_the_process_stops(app: FastAPI, world: World) -> None:
    world.raw.answers["raw/one"] = answering(b"data: 1\n\n", asyncio.Event())
    body = json.dumps(ask(stream=True)).encode()
    headers = {"content-type": "application/json"}
    async with serving(app) as address:
        reader = await Reader.request(address, PATH, method="POST", headers=headers, body=body)
        first = (await reader.take(1))[0]
        await app.state.services.keeper.drain(2)
        rest = await reader.all()

    assert first.data == "1"
    assert json.loads(rest[-1].data)["error"]["code"] == "draining"
    assert reader.retry is None, "the official client would take it for a chunk"


async def test_a_stream_whose_key_is_revoked_says_so(
    app: FastAPI, world: World, connect: Connect
) -> None:
    world.raw.answers["raw/one"] = answering(b"data: 1\n\n", asyncio.Event())
    operator = connect(app, world.add_key(Scope.ADMIN))
    caller = world.add_key(Scope.PROXY)
    body = json.dumps(ask(stream=True)).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {caller}"}
    async with serving(app) as address:
        reader = await Reader.request(address, PATH, method="POST", headers=headers, body=body)
        await reader.take(1)
        await operator.delete("/v1/keys/key_2")
        rest = await reader.all()

    assert json.loads(rest[-1].data)["error"]["code"] == "unauthorized"


async def test_a_redirect_is_the_providers_failure(
    client: httpx2.AsyncClient, world: World
) -> None:
    moved = ModelRequestError("raw answered 307")
    moved.refusal = ProviderRefusal(307, "moved")
    world.raw.answers["raw/one"] = answering(moved)

    assert (await client.post(PATH, json=ask())).status_code == 502
