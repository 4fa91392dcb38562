"""API keys over HTTP."""

import httpx2
import pytest

from api.app import create_app
from domain.auth import digest_of
from domain.principal import Scope
from tests.fakes.world import World, fake_config
from tests.unit.api.conftest import Connect


async def test_a_key_is_shown_once_and_only_its_digest_is_kept(
    client: httpx2.AsyncClient, world: World
) -> None:
    """Attack 3."""
    made = await client.post("/v1/keys", json={"name": "me", "scopes": ["admin", "admin"]})
    secret = made.json()["key"]
    headers = {"authorization": f"Bearer {secret}"}

    listed = await client.get("/v1/keys", headers=headers)

    assert made.status_code == 201
    assert len(secret) == len("orch_") + 43
    assert secret.startswith(made.json()["prefix"])
    assert made.json()["scopes"] == ["admin"]
    assert secret not in listed.text
    assert list(world.keys.by_digest) == [digest_of(secret)]
    assert secret not in repr(world.keys.by_digest)


async def test_two_keys_are_never_alike(client: httpx2.AsyncClient) -> None:
    first = (await client.post("/v1/keys", json={"name": "a", "scopes": ["admin"]})).json()
    headers = {"authorization": f"Bearer {first['key']}"}
    second = await client.post("/v1/keys", json={"name": "a", "scopes": ["read"]}, headers=headers)

    assert first["key"] != second.json()["key"]


async def test_the_first_key_has_to_be_able_to_make_others(
    client: httpx2.AsyncClient, world: World
) -> None:
    answer = await client.post("/v1/keys", json={"name": "ci", "scopes": ["read"]})

    assert answer.status_code == 409
    assert world.keys.by_digest == {}


async def test_a_revoked_key_is_refused_at_once(world: World, connect: Connect) -> None:
    app = create_app(world.ports(), fake_config())
    admin = connect(app, world.add_key(Scope.ADMIN))
    reader = connect(app, world.add_key(Scope.READ))
    before = await reader.get("/v1/runs")

    revoked = await admin.delete("/v1/keys/key_2")
    after = await reader.get("/v1/runs")
    again = await admin.delete("/v1/keys/key_2")
    unknown = await admin.delete("/v1/keys/key_9")

    assert (before.status_code, after.status_code) == (200, 401)
    assert revoked.json()["revoked_at"] == again.json()["revoked_at"]
    assert unknown.status_code == 404


async def test_only_the_operator_makes_and_sees_keys_of_other_owners(
    world: World, connect: Connect
) -> None:
    app = create_app(world.ports(), fake_config())
    operator = connect(app, world.add_key(Scope.ADMIN))
    ann = connect(app, world.add_key(Scope.ADMIN, owner="ann"))
    body = {"name": "k", "scopes": ["read"], "owner": "bob"}

    by_operator = await operator.post("/v1/keys", json=body)
    by_ann = await ann.post("/v1/keys", json=body)
    own = await ann.post("/v1/keys", json={**body, "owner": "ann"})

    assert by_operator.json()["owner"] == "bob"
    assert by_ann.status_code == 403
    assert own.json()["owner"] == "ann"
    assert len((await operator.get("/v1/keys")).json()["keys"]) == 4
    assert len((await ann.get("/v1/keys")).json()["keys"]) == 2


@pytest.mark.parametrize(
    ("expires_at", "status"),
    [
        ("2030-01-01T00:00:00Z", 201),
        ("2030-01-01T00:00:00+02:00", 201),
        ("2020-01-01T00:00:00Z", 422),
        ("2030-01-01T00:00:00", 422),
        ("soon", 422),
    ],
)
async def test_a_key_may_expire_in_the_future(
    client: httpx2.AsyncClient, expires_at: str, status: int
) -> None:
    body = {"name": "k", "scopes": ["admin"], "expires_at": expires_at}

    answer = await client.post("/v1/keys", json=body)

    assert answer.status_code == status
    if status == 201:
        assert answer.json()["expires_at"].endswith("Z")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "k", "scopes": []},
        {"name": "k", "scopes": ["root"]},
        {"name": "", "scopes": ["read"]},
        {"name": "k", "scopes": ["admin"], "owner": "a b"},
        {"name": "k", "scopes": ["admin"], "key": "orch_mine"},
    ],
    ids=str,
)
async def test_a_key_that_makes_no_sense_is_refused(
    client: httpx2.AsyncClient, body: dict[str, object]
) -> None:
    assert (await client.post("/v1/keys", json=body)).status_code == 422


async def test_only_the_operator_follows_the_log(world: World, connect: Connect) -> None:
    """Attack 6: the log tells of every owner's runs."""
    app = create_app(world.ports(), fake_config())
    nobodys = await connect(app).get("/v1/logs/stream")
    tenant = connect(app, world.add_key(Scope.ADMIN, owner="tenant"))
    operator = connect(app, world.add_key(Scope.ADMIN))
    reader = connect(app, world.add_key(Scope.READ))
    app.state.services.authenticator.forget()

    refused = await tenant.get("/v1/logs/stream")
    unscoped = await reader.get("/v1/logs/stream")
    followed = await operator.get("/v1/logs/stream")

    assert nobodys.status_code == followed.status_code == 200
    assert "started" in followed.text
    assert refused.status_code == unscoped.status_code == 403
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "forbidden"
    assert "started" not in refused.text
