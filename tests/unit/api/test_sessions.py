"""Sessions and transcripts over HTTP."""

import httpx2
import pytest

from tests.fakes.world import World


async def _talk(client: httpx2.AsyncClient, count: int) -> None:
    for number in range(1, count + 1):
        body = {"input": f"message {number}", "session_id": "s"}
        await client.post("/v1/runs?wait=5", json=body)


async def test_a_session_is_made_changed_and_removed(
    client: httpx2.AsyncClient, world: World
) -> None:
    made = await client.post("/v1/sessions", json={"session_id": "s", "metadata": {"a": 1}})
    changed = await client.patch(
        "/v1/sessions/s", json={"agent_id": "assistant", "on_busy": "reject", "metadata": {"b": 2}}
    )
    kept = await client.patch("/v1/sessions/s", json={})
    freed = await client.patch("/v1/sessions/s", json={"agent_id": None})
    removed = await client.delete("/v1/sessions/s")
    gone = await client.get("/v1/sessions/s")

    assert made.status_code == 201
    assert made.headers["location"] == "/v1/sessions/s"
    assert made.json()["on_busy"] == "enqueue"
    assert changed.json()["agent_id"] == "assistant"
    assert kept.json() == changed.json()
    assert kept.json()["metadata"] == {"b": 2}
    assert freed.json()["agent_id"] is None
    assert removed.status_code == 204
    assert gone.status_code == 404


async def test_a_session_gets_an_id_when_it_is_given_none(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/sessions", json={})

    assert answer.json()["session_id"].startswith("sess_")


async def test_an_id_that_is_taken_is_a_conflict(client: httpx2.AsyncClient) -> None:
    await client.post("/v1/sessions", json={"session_id": "s"})

    assert (await client.post("/v1/sessions", json={"session_id": "s"})).status_code == 409


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_session_wants_an_agent_that_is_there(
    client: httpx2.AsyncClient, method: str
) -> None:
    await client.post("/v1/sessions", json={"session_id": "s"})
    path = "/v1/sessions/s" if method == "PATCH" else "/v1/sessions"

    answer = await client.request(method, path, json={"agent_id": "nobody"})

    assert answer.status_code == 404


async def test_a_session_has_its_policy_for_messages(client: httpx2.AsyncClient) -> None:
    made = await client.post("/v1/sessions", json={"session_id": "s", "on_busy": "steer"})
    changed = await client.patch("/v1/sessions/s", json={"on_busy": "interrupt"})

    assert made.json()["on_busy"] == "steer"
    assert changed.json()["on_busy"] == "interrupt"


async def test_sessions_are_listed_newest_first(client: httpx2.AsyncClient) -> None:
    for name in "abc":
        await client.post("/v1/sessions", json={"session_id": name})

    page = (await client.get("/v1/sessions?limit=2")).json()

    assert [session["session_id"] for session in page["sessions"]] == ["c", "b"]
    assert page["has_more"] is True


async def test_a_transcript_comes_in_order_and_in_pages(client: httpx2.AsyncClient) -> None:
    await _talk(client, 5)

    first = (await client.get("/v1/sessions/s/messages?limit=3")).json()
    rest = (await client.get(f"/v1/sessions/s/messages?cursor={first['next_cursor']}")).json()

    texts = [message["content"] for message in first["messages"] + rest["messages"]]
    assert texts == [f"message {number}" for number in range(1, 6)]
    assert rest["has_more"] is False


async def test_a_transcript_is_read_back_from_a_place(client: httpx2.AsyncClient) -> None:
    """Seed B's `before`: a seq, a message id, or where the page before ended."""
    await _talk(client, 7)
    path = "/v1/sessions/s/messages?limit=3&before="
    every = (await client.get("/v1/sessions/s/messages")).json()["messages"]

    newest = (await client.get(f"{path}999999")).json()
    older = (await client.get(path + newest["next_cursor"])).json()
    by_id = (await client.get(path + every[4]["message_id"])).json()
    oldest = (await client.get(f"{path}2")).json()
    nothing = (await client.get(f"{path}msg_unknown")).json()

    def seqs(page: dict[str, list[dict[str, int]]]) -> list[int]:
        return [message["seq"] for message in page["messages"]]

    assert seqs(newest) == [5, 6, 7]
    assert newest["has_more"] is True
    assert seqs(older) == [2, 3, 4]
    assert seqs(by_id) == [2, 3, 4]
    assert seqs(oldest) == [1]
    assert oldest["next_cursor"] is None
    assert seqs(nothing) == []


async def test_the_cursor_of_a_store_leads_further_back_too(
    client: httpx2.AsyncClient, world: World
) -> None:
    await _talk(client, 3)
    asked: list[str | None] = []
    plain = world.directory.list_messages

    async def watched(owner, session_id, page, *, newest_first=False):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        asked.append(page.cursor)
        fresh = type(page)(page.limit, None)
        return await plain(owner, session_id, fresh, newest_first=newest_first)

    world.directory.list_messages = watched  # type: ignore[method-assign]

    page = (await client.get("/v1/sessions/s/messages?before=WyJvcGFxdWUiXQ&limit=2")).json()

    assert asked == ["WyJvcGFxdWUiXQ"]
    assert [message["seq"] for message in page["messages"]] == [2, 3]


async def test_a_transcript_is_emptied_unless_a_run_holds_the_session(
    client: httpx2.AsyncClient, world: World
) -> None:
    await _talk(client, 2)
    cleared = await client.delete("/v1/sessions/s/messages")
    world.gateway.mode = "hold"
    await client.post("/v1/runs", json={"input": "x", "session_id": "s"})

    busy = await client.delete("/v1/sessions/s/messages")
    held = await client.delete("/v1/sessions/s")

    assert cleared.json() == {"deleted": 2}
    assert busy.status_code == held.status_code == 409
    assert busy.json()["code"] == "session_busy"
