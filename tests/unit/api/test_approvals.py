"""Approvals over HTTP: seen, followed, answered once, by whoever the credential says."""

import asyncio
import json
from typing import Any

import httpx2
import pytest

from api.app import create_app
from api.pending import pending_frames
from api.ports import StreamConfig
from domain.approval import Answer, ApprovalStatus
from domain.principal import Scope
from tests.fakes.world import World, fake_config
from tests.unit.api.conftest import Connect

DECIDE = "/v1/approvals/ap_01k9/decide"


@pytest.fixture
async def furnished(world: World) -> World:
    await world.furnish()
    world.keys.by_digest.clear()
    return world


@pytest.fixture
def client(furnished: World, connect: Connect) -> httpx2.AsyncClient:
    return connect(create_app(furnished.ports(), fake_config()))


async def test_an_approval_shows_exactly_what_will_run(client: httpx2.AsyncClient) -> None:
    (listed,) = (await client.get("/v1/approvals?status=pending")).json()["approvals"]
    shown = (await client.get("/v1/approvals/ap_01k9")).json()

    assert shown == listed
    assert (shown["tool_name"], shown["args"], shown["status"]) == ("wire", {}, "pending")
    assert len(shown["args_digest"]) == 64


async def test_an_approval_wakes_its_run(client: httpx2.AsyncClient, furnished: World) -> None:
    body = {"decision": "approve", "edited_args": {"to": "bob"}, "remember": "session"}
    answer = await client.post(DECIDE, json=body)
    await asyncio.sleep(0)

    said = answer.json()
    assert answer.status_code == 200
    assert (said["status"], said["decided_by"]) == ("approved", "local")
    assert (said["edited_args"], said["remember"]) == ({"to": "bob"}, "session")
    assert furnished.gateway.woken == ["run_02k9"]
    assert (await client.get("/v1/approvals?status=pending")).json()["approvals"] == []


async def test_the_second_answer_learns_of_the_first(client: httpx2.AsyncClient) -> None:
    await client.post(DECIDE, json={"decision": "reject", "reason": "no"})

    late = await client.post(DECIDE, json={"decision": "approve"})

    assert (late.status_code, late.json()["code"]) == (409, "approval_decided")
    assert "rejected by local" in late.json()["detail"]
    first = (await client.get("/v1/approvals/ap_01k9")).json()
    for member in ("decided_by", "decided_at"):
        assert late.json()[member] == first[member]
    assert late.json()["decision"] == "rejected"


async def test_a_decision_whose_answer_was_lost_can_be_repeated(
    client: httpx2.AsyncClient, furnished: World
) -> None:
    body, key = {"decision": "approve", "remember": "session"}, {"idempotency-key": "dec-1"}
    first = await client.post(DECIDE, json=body, headers=key)
    await asyncio.sleep(0)

    again = await client.post(DECIDE, json=body, headers=key)
    other = await client.post(DECIDE, json={"decision": "reject"}, headers=key)
    without = await client.post(DECIDE, json=body)
    await asyncio.sleep(0)

    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_conflict")
    assert (without.status_code, without.json()["code"]) == (409, "approval_decided")
    assert furnished.gateway.woken == ["run_02k9"]


async def test_a_key_is_of_the_credential_that_sent_it(furnished: World, connect: Connect) -> None:
    app = create_app(furnished.ports(), fake_config())
    one, other = (connect(app, furnished.add_key(Scope.APPROVE)) for _ in range(2))
    body, key = {"decision": "approve"}, {"idempotency-key": "dec-1"}
    await one.post(DECIDE, json=body, headers=key)

    late = await other.post(DECIDE, json=body, headers=key)

    assert (late.status_code, late.json()["code"]) == (409, "approval_decided")


async def test_an_answer_after_the_expiry_is_gone(
    client: httpx2.AsyncClient, furnished: World
) -> None:
    rows = furnished.approvals.rows
    rows["ap_01k9"] = rows["ap_01k9"].model_copy(update={"status": ApprovalStatus.EXPIRED})

    late = await client.post(DECIDE, json={"decision": "approve"})

    assert (late.status_code, late.json()["code"]) == (410, "approval_expired")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"decision": "perhaps"}, 422),
        ({"decision": "approve", "by": "boss"}, 422),
        ({"decision": "approve", "edited_args": [1]}, 422),
        ({"decision": "approve", "remember": "ever"}, 422),
        ({"decision": "approve", "args_digest": "abc"}, 422),
        ({"decision": "approve", "args_digest": "0" * 64}, 409),
        ({"decision": "reject", "edited_args": {"to": "eve"}}, 422),
        ({"decision": "reject", "remember": "agent"}, 422),
    ],
)
async def test_an_answer_with_a_mistake_decides_nothing(
    client: httpx2.AsyncClient, body: dict[str, Any], status: int
) -> None:
    refused = await client.post(DECIDE, json=body)

    assert refused.status_code == status
    assert (await client.get("/v1/approvals/ap_01k9")).json()["status"] == "pending"


async def test_the_decider_is_the_credential_and_never_the_body(
    furnished: World, connect: Connect
) -> None:
    app = create_app(furnished.ports(), fake_config())
    reads = connect(app, furnished.add_key(Scope.READ, Scope.INVOKE))
    decides = connect(app, furnished.add_key(Scope.APPROVE))
    other = connect(app, furnished.add_key(Scope.APPROVE, owner="bob"))
    body = {"decision": "approve", "decided_by": "the boss"}

    refused = [(await one.post(DECIDE, json=body)).status_code for one in (reads, other)]
    said = (await decides.post(DECIDE, json=body)).json()

    assert refused == [403, 404]
    assert said["decided_by"] == "key 2 (key_2)"


async def test_a_list_can_be_filtered_and_paged(
    client: httpx2.AsyncClient, furnished: World
) -> None:
    call = furnished.runs.calls["tc_01k9"]
    for number in range(3):
        furnished.approvals.ask(call, f"ap_{number}", run_id=f"run_{number}")

    page = (await client.get("/v1/approvals?limit=3")).json()
    rest = (await client.get(f"/v1/approvals?limit=3&cursor={page['next_cursor']}")).json()
    one = (await client.get("/v1/approvals?run_id=run_1")).json()

    assert [a["approval_id"] for a in page["approvals"]] == ["ap_2", "ap_1", "ap_0"]
    assert [a["approval_id"] for a in rest["approvals"]] == ["ap_01k9"]
    assert [a["approval_id"] for a in one["approvals"]] == ["ap_1"]


async def test_followers_see_what_comes_is_passed_on_and_is_settled(furnished: World) -> None:
    book, call = furnished.approvals, furnished.runs.calls["tc_01k9"]
    frames = pending_frames(book, "local", 0.001)
    seen = [await anext(frames)]

    book.ask(call, "ap_2")
    seen.append(await anext(frames))
    book.rows["ap_2"] = book.rows["ap_2"].model_copy(update={"asks": "boss", "revision": 1})
    seen.append(await anext(frames))
    gone = {"status": ApprovalStatus.REJECTED, "revision": 2}
    book.rows["ap_2"] = book.rows["ap_2"].model_copy(update=gone)
    seen.append(await anext(frames))
    await frames.aclose()

    events = [frame.decode().split("\n") for frame in seen]
    names = [name for name, *_ in events]
    shown = [json.loads(data.removeprefix("data: ")) for _, data, *_ in events]
    assert names == ["event: approval_required"] * 3 + ["event: approval_decision"]
    assert [one["approval_id"] for one in shown] == ["ap_01k9", "ap_2", "ap_2", "ap_2"]
    assert [one["asks"] for one in shown] == [None, None, "boss", "boss"]


async def test_a_question_that_is_settled_while_it_is_read_is_told_once(furnished: World) -> None:
    book = furnished.approvals
    pending = book.pending

    async def settled_meanwhile(owner: str | None) -> dict[str, int]:
        found = await pending(owner)
        gone = {"status": ApprovalStatus.EXPIRED, "revision": 1}
        book.rows = {k: v.model_copy(update=gone) for k, v in book.rows.items()}
        return found

    book.pending = settled_meanwhile  # type: ignore[method-assign]
    frames = pending_frames(book, "local", 0.001)
    first = await anext(frames)

    assert first.startswith(b"event: approval_expired")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await anext(frames)


async def test_what_comes_and_is_settled_between_two_looks_is_told_once(furnished: World) -> None:
    book, call = furnished.approvals, furnished.runs.calls["tc_01k9"]
    now = furnished.clock.now_ms()
    book.ask(call, "ap_before", created_at=now - 10, status=ApprovalStatus.REJECTED)
    frames = pending_frames(book, "local", 0.001)
    seen = [await anext(frames)]

    for number in range(5):
        book.ask(call, f"ap_{number}", created_at=now)
        await book.decide("local", f"ap_{number}", Answer(approved=number > 2, by="eve"))
    seen += [await anext(frames) for _ in range(5)]

    told = [json.loads(frame.decode().split("data: ")[1]) for frame in seen]
    assert [one["approval_id"] for one in told] == ["ap_01k9", *(f"ap_{n}" for n in range(5))]
    assert [one["status"] for one in told[1:]] == ["rejected"] * 3 + ["approved"] * 2
    assert all(b"event: approval_decision" in frame for frame in seen[1:])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await anext(frames)


async def test_the_stream_is_an_answer_of_the_list(furnished: World, connect: Connect) -> None:
    config = fake_config(stream=StreamConfig(approvals_seconds=0.01))
    app = create_app(furnished.ports(), config)
    client = connect(app)

    async def stop() -> None:
        await asyncio.sleep(0.05)
        await app.state.services.keeper.drain(1)

    stopping = asyncio.ensure_future(stop())
    answer = await client.get("/v1/approvals", headers={"accept": "text/event-stream"})
    await stopping

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.count("event: approval_required") == 1
    assert "ap_01k9" in answer.text


async def test_a_stream_is_of_approvals_that_wait(client: httpx2.AsyncClient) -> None:
    headers = {"accept": "text/event-stream"}

    answer = await client.get("/v1/approvals?status=approved", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_a_stream_may_be_of_one_run(furnished: World) -> None:
    frames = pending_frames(furnished.approvals, "local", 0.001, "run_of_somebody")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await anext(frames)

    mine = pending_frames(furnished.approvals, "local", 0.001, "run_02k9")
    assert b"ap_01k9" in await anext(mine)


async def test_how_long_people_took_is_a_metric(client: httpx2.AsyncClient) -> None:
    before = (await client.get("/metrics")).text

    await client.post(DECIDE, json={"decision": "approve"})
    await client.post(DECIDE, json={"decision": "approve"})

    assert "orchestrator_approval_wait_seconds_count 0.0" in before
    after = (await client.get("/metrics")).text
    assert "orchestrator_approval_wait_seconds_count 1.0" in after
