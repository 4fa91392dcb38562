"""The same Idempotency-Key is the same run, over HTTP."""

import httpx2
import pytest

from tests.fakes.world import World


async def test_the_same_key_and_body_is_the_same_run(
    client: httpx2.AsyncClient, world: World
) -> None:
    """Fault 11: key order and blanks of the JSON do not matter."""
    headers = {"idempotency-key": "k1", "content-type": "application/json"}

    first = await client.post("/v1/runs", content=b'{"input":"x","priority":2}', headers=headers)
    again = await client.post(
        "/v1/runs", content=b'{ "priority": 2, "input": "x" }', headers=headers
    )

    assert first.json()["run_id"] == again.json()["run_id"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert len(world.runs.accepted) == 1


async def test_a_stream_asked_for_again_is_the_same_runs_from_its_first_event(
    client: httpx2.AsyncClient, world: World
) -> None:
    headers = {"idempotency-key": "k1", "accept": "text/event-stream"}

    first = await client.post("/v1/runs", json={"input": "x"}, headers=headers)
    again = await client.post("/v1/runs", json={"input": "x"}, headers=headers)

    assert again.headers["idempotency-replayed"] == "true"
    assert again.text == first.text
    assert world.events.followers == 0


async def test_the_same_key_with_another_body_is_a_conflict(
    client: httpx2.AsyncClient, world: World
) -> None:
    headers = {"idempotency-key": "k1"}
    await client.post("/v1/runs", json={"input": "x"}, headers=headers)

    for accept in ("application/json", "text/event-stream"):
        answer = await client.post(
            "/v1/runs", json={"input": "y"}, headers={**headers, "accept": accept}
        )
        assert answer.status_code == 409
        assert answer.json()["code"] == "idempotency_key_conflict"
    assert world.events.followers == 0


async def test_a_key_counts_per_session(client: httpx2.AsyncClient, world: World) -> None:
    for session in ("a", "b"):
        await client.post(
            "/v1/runs",
            json={"input": "x", "session_id": session},
            headers={"idempotency-key": "k1"},
        )

    assert len(world.runs.accepted) == 2


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "é", "a\tb"])
async def test_a_key_that_is_none_is_refused(client: httpx2.AsyncClient, key: str) -> None:
    headers = [(b"idempotency-key", key.encode("latin-1"))]

    answer = await client.post("/v1/runs", json={"input": "x"}, headers=headers)

    assert answer.status_code == 422
