"""Whatever is refused says where it stands: what our own rules refuse as well as the schemas."""

from datetime import UTC, datetime

import httpx2
import pytest

from domain.errors import InvalidRequestError
from tests.fakes.world import World

AGENT = {"agent_id": "x", "name": "X"}
PAST = datetime(2020, 1, 1, tzinfo=UTC).isoformat()


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/v1/agents", {**AGENT, "kind": "http"}, "body.endpoint"),
        ("/v1/agents", {**AGENT, "endpoint": "http://localhost:1"}, "body.endpoint"),
        (
            "/v1/agents",
            {**AGENT, "kind": "http", "endpoint": "http://169.254.169.254"},
            "body.endpoint",
        ),
        (
            "/v1/agents",
            {**AGENT, "kind": "http", "endpoint": "http://localhost:1?"},
            "body.endpoint",
        ),
        ("/v1/agents", {**AGENT, "tools": ["teleport"]}, "body.tools"),
        ("/v1/agents", {**AGENT, "models": ["nobody/gpt"]}, "body.models"),
        ("/v1/agents", {**AGENT, "models": ["noslash"]}, "body.models"),
        ("/v1/runs", {"input": "x", "start_delay": 5, "on_busy": "steer"}, "body.on_busy"),
        ("/v1/keys", {"name": "k", "scopes": ["admin"], "expires_at": PAST}, "body.expires_at"),
    ],
)
async def test_a_refused_body_names_the_field(
    client: httpx2.AsyncClient, path: str, body: dict[str, object], place: str
) -> None:
    answer = await client.post(path, json=body)

    assert answer.status_code == 422
    (found,) = answer.json()["errors"]
    assert found == {"field": place, "message": answer.json()["detail"]}


async def test_what_the_store_refuses_names_its_field_too(
    client: httpx2.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fake store has no such rule."""

    async def accept(_new: object) -> None:
        raise InvalidRequestError("the deadline is over", field="deadline")

    monkeypatch.setattr(world.runs, "accept", accept)

    answer = await client.post("/v1/runs", json={"input": "x"})

    assert [one["field"] for one in answer.json()["errors"]] == ["body.deadline"]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/v1/runs?waiting_on=x", "query.waiting_on"),
        ("/v1/runs?limit=1&limit=2", "query.limit"),
        ("/v1/runs?state=DONE&limit=2&state=DONE", "query.state"),
        ("/v1/runs?limit=1_0", "query.limit"),
        ("/v1/runs?limit=%2010", "query.limit"),
        ("/v1/agents?limit=10.0", "query.limit"),
        ("/v1/runs/run_1/events?after_seq=1_0", "query.after_seq"),
        ("/v1/runs/run_1/events?after_seq=%2B1", "query.after_seq"),
        ("/v1/runs/run_1/events?after_ts=1_0", "query.after_ts"),
    ],
)
async def test_a_refused_query_names_the_parameter(
    client: httpx2.AsyncClient, path: str, place: str
) -> None:
    answer = await client.get(path)

    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == [place]
