"""The event push over HTTP: what is sent, and what counts as taken."""

import asyncio
import json

import pytest

from adapters.ingress import HttpIngress
from domain.event import StoredEvent
from domain.push import NotTakenError
from tests.stub.http import Exchange, serving
from tests.stub.ingress import StubIngress

EVENT = StoredEvent(
    "run_1", 1, "user_input", json.dumps({"event_id": "evt_1_1", "run_id": "run_1", "type": "é"})
)


async def test_an_event_is_sent_as_seed_b_takes_it() -> None:
    stub = StubIngress()
    async with stub.serve() as server:
        receiver = HttpIngress(f"{server.url}/", "secret")
        await receiver.send('s"1', EVENT)
        await receiver.send('s"1', EVENT)
        await receiver.close()

    assert stub.taken["run_1"] == [json.loads(EVENT.envelope)] * 2
    assert stub.sessions == {"run_1": 's"1'}
    assert stub.headers["authorization"] == "Bearer secret"
    assert server.accepted == 1


@pytest.mark.parametrize("status", [199 + 101, 302, 400, 404, 410, 429, 500, 503])
async def test_all_but_2xx_is_not_taken(status: int) -> None:
    stub = StubIngress(status=status)
    async with stub.serve() as server:
        receiver = HttpIngress(server.url)
        with pytest.raises(NotTakenError, match=str(status)):
            await receiver.send("s", EVENT)
        await receiver.close()


async def test_a_receiver_may_ask_for_time() -> None:
    async def busy(exchange: Exchange) -> None:
        await exchange.reply_json({}, 429, {"retry-after": "7"})

    async with serving(busy, 0) as server:
        receiver = HttpIngress(server.url)
        with pytest.raises(NotTakenError) as caught:
            await receiver.send("s", EVENT)
        await receiver.close()

    assert caught.value.wait_ms == 7000


async def test_a_redirect_is_not_followed() -> None:
    stub = StubIngress()
    async with stub.serve() as other:

        async def elsewhere(exchange: Exchange) -> None:
            await exchange.reply_json({}, 307, {"location": f"{other.url}/internal/send"})

        async with serving(elsewhere, 0) as server:
            receiver = HttpIngress(server.url)
            with pytest.raises(NotTakenError):
                await receiver.send("s", EVENT)
            await receiver.close()

    assert stub.arrivals == []


async def test_a_receiver_that_hangs_or_is_not_there_is_left() -> None:
    async with StubIngress(hangs=True).serve() as server:
        receiver = HttpIngress(server.url, seconds=0.05)
        with pytest.raises(NotTakenError):
            await receiver.send("s", EVENT)
    with pytest.raises(NotTakenError):
        await receiver.send("s", EVENT)
    await receiver.close()


async def test_a_receiver_that_talks_without_end_is_not_listened_to() -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.start_stream()
        while True:
            await exchange.send(b"x" * 65_536)

    async with serving(endless, 0) as server:
        receiver = HttpIngress(server.url)
        async with asyncio.timeout(5):
            await receiver.send("s", EVENT)
        await receiver.close()
