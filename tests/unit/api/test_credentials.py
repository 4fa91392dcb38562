"""Keys: which are taken, for how long they are remembered, and whose things they show."""

import httpx2
import pytest

from api.access import bearer_of
from api.app import create_app
from api.errors import RefusedError
from api.ports import RateConfig
from domain.errors import UnauthorizedError
from domain.principal import Scope
from tests.fakes.clock import NOW
from tests.fakes.world import World, fake_config
from tests.unit.api.conftest import Connect


@pytest.mark.parametrize(
    "secret",
    ["", "x", "orch_short", "orch_" + "A" * 43, "orch_" + "A" * 44, "\x00", "orch_" + "é" * 43],
)
async def test_a_key_nobody_made_is_refused(world: World, connect: Connect, secret: str) -> None:
    world.add_key(Scope.ADMIN)
    client = connect(create_app(world.ports(), fake_config()))

    answer = await client.get("/v1/runs", headers=[(b"authorization", f"Bearer {secret}".encode())])

    assert answer.status_code == 401
    assert secret not in answer.text or not secret


async def test_a_key_with_a_known_prefix_is_still_refused(world: World, connect: Connect) -> None:
    real = world.add_key(Scope.ADMIN)
    client = connect(create_app(world.ports(), fake_config()), real[:-1] + "_")

    assert (await client.get("/v1/runs")).status_code == 401


def _key_with(world: World, field: str) -> str:
    if field == "revoked_at":
        return world.add_key(Scope.READ, revoked_at=NOW - 1)
    return world.add_key(Scope.READ, expires_at=NOW - 1)


@pytest.mark.parametrize("field", ["revoked_at", "expires_at"])
async def test_a_revoked_or_expired_key_is_refused(
    world: World, connect: Connect, field: str
) -> None:
    world.add_key(Scope.ADMIN)
    client = connect(create_app(world.ports(), fake_config()), _key_with(world, field))

    assert (await client.get("/v1/runs")).status_code == 401


async def test_a_key_that_expires_while_it_is_remembered_is_refused(
    world: World, connect: Connect
) -> None:
    app = create_app(world.ports(), fake_config())
    client = connect(app, world.add_key(Scope.READ, expires_at=NOW + 1000))
    before = await client.get("/v1/runs")

    world.clock.now += 1000
    after = await client.get("/v1/runs")

    assert (before.status_code, after.status_code) == (200, 401)


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ([("authorization", "Bearer {key}"), ("authorization", "Bearer other")], ""),
        ([("authorization", "Bearer {key}"), ("x-api-key", "other")], ""),
        ([("x-api-key", "{key}")], ""),
        ([("api-key", "{key}")], ""),
        ([("authorization", "Bearer {key}")], "?api_key=x"),
        ([], "?access_token={key}"),
        ([], "?Token={key}"),
    ],
)
async def test_a_credential_in_two_places_or_in_another_is_refused(
    world: World, connect: Connect, headers: list[tuple[str, str]], query: str
) -> None:
    """Attack 5: one extractor."""
    key = world.add_key(Scope.ADMIN)
    client = connect(create_app(world.ports(), fake_config()))
    sent = [(name, value.format(key=key)) for name, value in headers]

    answer = await client.get("/v1/runs" + query.format(key=key), headers=sent)

    assert answer.status_code == 400
    assert answer.json()["code"] == "conflicting_credentials"


def test_only_a_bearer_token_is_read() -> None:
    assert bearer_of([(b"authorization", b"bearer  orch_x ")], b"") == "orch_x"
    assert bearer_of([], b"limit=1") is None
    with pytest.raises(UnauthorizedError):
        bearer_of([(b"authorization", b"Basic abc")], b"")
    with pytest.raises(RefusedError):
        bearer_of([(b"x-api-key", b"")], b"")


async def test_without_any_key_loopback_is_open_and_another_address_is_not(
    world: World, connect: Connect
) -> None:
    """Attack 1, as far as the API itself decides."""
    open_app = create_app(world.ports(), fake_config(open_without_keys=True))
    closed = create_app(world.ports(), fake_config(open_without_keys=False))

    assert (await connect(open_app).get("/v1/runs")).status_code == 200
    assert (await connect(closed).get("/v1/runs")).status_code == 401


async def test_the_first_key_closes_the_door_for_everybody_without_one(
    client: httpx2.AsyncClient,
) -> None:
    before = await client.get("/v1/keys")
    made = await client.post("/v1/keys", json={"name": "me", "scopes": ["admin"]})
    after = await client.get("/v1/keys")
    headers = {"authorization": f"Bearer {made.json()['key']}"}
    with_key = await client.get("/v1/keys", headers=headers)

    assert [answer.status_code for answer in (before, made, after, with_key)] == [
        200,
        201,
        401,
        200,
    ]


async def test_guessing_keys_is_slowed_down(world: World, connect: Connect) -> None:
    """Attack 25: by address; the key that is there goes on working."""
    rate = RateConfig(failures_per_second=0.1, failures_burst=3)
    app = create_app(world.ports(), fake_config(rate=rate))
    real = connect(app, world.add_key(Scope.READ))
    guesser = connect(app, "orch_" + "A" * 43)

    statuses = [(await guesser.get("/v1/runs")).status_code for _ in range(5)]

    assert statuses == [401, 401, 401, 429, 429]
    assert (await real.get("/v1/runs")).status_code == 200


async def test_a_key_is_looked_up_once_a_moment_not_once_a_request(
    world: World, connect: Connect
) -> None:
    client = connect(create_app(world.ports(), fake_config()), world.add_key(Scope.READ))

    for _ in range(5):
        await client.get("/v1/runs")

    assert world.keys.lookups == 1


async def test_a_key_revoked_by_another_process_is_refused_when_the_moment_is_over(
    world: World, connect: Connect
) -> None:
    config = fake_config(key_cache_seconds=0.0, open_without_keys=False)
    app = create_app(world.ports(), config)
    client = connect(app, world.add_key(Scope.READ))
    before = await client.get("/v1/runs")

    ((digest, key),) = world.keys.by_digest.items()
    world.keys.by_digest[digest] = key.model_copy(update={"revoked_at": NOW})
    after = await client.get("/v1/runs")

    assert (before.status_code, after.status_code) == (200, 401)


async def test_what_belongs_to_another_owner_is_not_found(world: World, connect: Connect) -> None:
    """Attack 6: every route that takes an id, replays included; 404, never 403."""
    app = create_app(world.ports(), fake_config())
    everything = (Scope.READ, Scope.INVOKE, Scope.APPROVE, Scope.ADMIN)
    ann = connect(app, world.add_key(*everything, owner="ann"))
    bob = connect(app, world.add_key(*everything, owner="bob"))
    run = (await ann.post("/v1/runs?wait=5", json={"input": "x", "session_id": "s1"})).json()
    await ann.post("/v1/agents", json={"agent_id": "anns", "name": "Ann's"})
    call = (await ann.post("/v1/tools/wire/invoke", json={})).json()
    key_id = (await ann.get("/v1/keys")).json()["keys"][0]["key_id"]
    run_path, call_path = f"/v1/runs/{run['run_id']}", f"/v1/tool_calls/{call['tool_call_id']}"
    routes: list[tuple[str, str, object]] = [
        ("GET", run_path, None),
        ("POST", f"{run_path}/cancel", None),
        ("GET", f"{run_path}/events", None),
        ("GET", "/v1/sessions/s1", None),
        ("PATCH", "/v1/sessions/s1", {"metadata": {}}),
        ("DELETE", "/v1/sessions/s1", None),
        ("GET", "/v1/sessions/s1/messages", None),
        ("DELETE", "/v1/sessions/s1/messages", None),
        ("GET", "/v1/agents/anns", None),
        ("PATCH", "/v1/agents/anns", {"name": "Mine"}),
        ("DELETE", "/v1/agents/anns", None),
        ("POST", "/v1/runs", {"input": "x", "agent_id": "anns"}),
        ("GET", call_path, None),
        ("POST", f"{call_path}/resolve", {"outcome": "happened"}),
        ("POST", "/v1/tools/calculator/invoke", {"run_id": call["run_id"]}),
        ("DELETE", f"/v1/keys/{key_id}", None),
    ]

    for method, path, body in routes:
        answer = await bob.request(method, path, json=body)
        assert answer.status_code == 404, (method, path, answer.text)
    stream = await bob.get(
        f"{run_path}/events", headers={"accept": "text/event-stream", "last-event-id": "1"}
    )
    lists = [(await bob.get(f"/v1/{name}")).json()[name] for name in ("runs", "tool_calls")]

    assert stream.status_code == 404
    assert lists == [[], []]
    assert (await bob.get("/v1/agents")).json()["agents"][0]["agent_id"] == "assistant"
    assert len((await bob.get("/v1/agents")).json()["agents"]) == 1
    assert (await ann.get(run_path)).status_code == 200


async def test_two_owners_may_each_have_a_session_of_the_same_name(
    world: World, connect: Connect
) -> None:
    app = create_app(world.ports(), fake_config())
    everything = (Scope.READ, Scope.INVOKE)
    ann = connect(app, world.add_key(*everything, owner="ann"))
    bob = connect(app, world.add_key(*everything, owner="bob"))

    await ann.post("/v1/runs?wait=5", json={"input": "secret", "session_id": "main"})
    await bob.post("/v1/runs?wait=5", json={"input": "hello", "session_id": "main"})
    seen = (await bob.get("/v1/sessions/main/messages")).json()["messages"]

    assert [message["content"] for message in seen] == ["hello"]


async def test_the_keys_remembered_are_bounded(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.access._REMEMBERED", 2)
    app = create_app(world.ports(), fake_config())
    secrets = [world.add_key(Scope.READ) for _ in range(3)]
    for secret in [*secrets, *secrets]:
        assert (await connect(app, secret).get("/v1/runs")).status_code == 200

    assert len(app.state.services.authenticator._known) == 2
