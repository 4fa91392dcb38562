"""The events of a whole tree over HTTP."""

import json

import httpx2

from domain.event import EventType
from domain.run import RunState
from tests.fakes.world import World

SSE = {"accept": "text/event-stream"}


async def family(client: httpx2.AsyncClient, world: World, *, over: bool = True) -> list[str]:
    """A run with a child, all over unless told otherwise."""
    root = (await client.post("/v1/runs?wait=5", json={"input": "x"})).json()["run_id"]
    child = world.runs.runs[root].model_copy(
        update={
            "run_id": "run_child",
            "parent_run_id": root,
            "depth": 1,
            "state": RunState.RUNNING,
            "last_seq": 0,
        }
    )
    world.runs.runs["run_child"] = child
    for kind in (EventType.RUN_STARTED, EventType.AGENT_STREAM_DELTA):
        world.runs.emit("run_child", kind, {"text": "x"})
    if over:
        world.runs.emit("run_child", EventType.RUN_DONE)
    return [root, "run_child"]


def frames(text: str) -> list[tuple[str, dict[str, object]]]:
    blocks = [block.split("\n") for block in text.split("\n\n") if "data: " in block]
    return [
        (next(line for line in b if line.startswith("id: "))[4:], json.loads(b[-1][6:]))
        for b in blocks
    ]


async def test_a_tree_is_streamed_to_the_end_of_its_last_run(
    client: httpx2.AsyncClient, world: World
) -> None:
    root, child = await family(client, world)

    answer = await client.get(f"/v1/runs/{root}/events?tree=1", headers=SSE)

    found = [(event["run_id"], event["seq"]) for _, event in frames(answer.text)]
    assert [seq for run, seq in found if run == child] == [1, 2, 3]
    assert len(found) == len(world.events.logs[root]) + 3


async def test_the_stream_of_a_tree_is_resumed_by_the_id_of_any_event(
    client: httpx2.AsyncClient, world: World
) -> None:
    root, _ = await family(client, world)
    path = f"/v1/runs/{root}/events?tree=1"
    whole = frames((await client.get(path, headers=SSE)).text)

    for place, (cursor, _) in enumerate(whole):
        rest = await client.get(path, headers={**SSE, "last-event-id": cursor})
        assert frames(rest.text) == whole[place + 1 :]
        assert rest.status_code == (204 if place == len(whole) - 1 else 200)


async def test_pages_of_a_tree_are_read_with_its_cursor(
    client: httpx2.AsyncClient, world: World
) -> None:
    root, _ = await family(client, world, over=False)
    path = f"/v1/runs/{root}/events?tree=true&limit=2"
    found, cursor, more = [], "", True
    while more:
        page = (await client.get(path + cursor)).json()
        assert len(page["events"]) <= 2
        found += page["events"]
        cursor, more = f"&cursor={page['next_cursor']}", page["has_more"]

    assert len(found) == len(world.events.logs[root]) + 2
    assert (await client.get(path + cursor)).json()["events"] == []
    world.runs.emit("run_child", EventType.RUN_DONE)
    (last,) = (await client.get(path + cursor)).json()["events"]
    assert (last["run_id"], last["type"]) == ("run_child", "run_done")


async def test_a_filter_by_type_leaves_the_ends_in_a_stream(
    client: httpx2.AsyncClient, world: World
) -> None:
    root, _ = await family(client, world)
    path = f"/v1/runs/{root}/events?tree=1&types=agent_stream_delta"

    streamed = frames((await client.get(path, headers=SSE)).text)
    page = (await client.get(path)).json()

    assert {event["type"] for _, event in streamed} == {"agent_stream_delta", "run_done"}
    assert {event["type"] for event in page["events"]} == {"agent_stream_delta"}
    assert page["has_more"] is False


async def test_nonsense_is_refused(client: httpx2.AsyncClient, world: World) -> None:
    root, _ = await family(client, world)
    path = f"/v1/runs/{root}/events"

    for query, status in (
        ("tree=1&cursor=abc", 422),
        ("tree=1&after_seq=3", 422),
        ("tree=1&after_ts=3", 422),
        ("tree=maybe", 422),
        ("cursor=abc", 422),
    ):
        answer = await client.get(f"{path}?{query}")
        assert (query, answer.status_code) == (query, status)
        assert answer.json()["code"] == "invalid_request"
    bad = await client.get(f"{path}?tree=1", headers={**SSE, "last-event-id": "12"})
    assert (bad.status_code, bad.json()["code"]) == (400, "invalid_last_event_id")


async def test_children_are_listed(client: httpx2.AsyncClient, world: World) -> None:
    root, child = await family(client, world)

    listed = (await client.get(f"/v1/runs/{root}/children")).json()
    filtered = (await client.get(f"/v1/runs?root_run_id={root}")).json()
    by_parent = (await client.get(f"/v1/runs?parent_run_id={root}")).json()

    assert [run["run_id"] for run in listed["runs"]] == [child]
    assert {run["run_id"] for run in filtered["runs"]} == {root, child}
    assert by_parent == listed
    assert (await client.get("/v1/runs/run_none/children")).status_code == 404
    assert (await client.get("/v1/runs?parent_run_id=%20")).status_code == 422
