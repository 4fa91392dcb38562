"""Streams of a key last as long as its rights (attack 7)."""

import asyncio

import pytest

from domain.errors import StoreUnavailableError
from domain.event import EventType
from domain.principal import Scope
from tests.fakes.world import World
from tests.rig.serving import Reader, serving
from tests.unit.api.stream_scenes import app_of, start_run, watch


async def test_a_key_revoked_here_ends_its_streams_at_once(world: World) -> None:
    """Attack 7."""
    admin, reader = world.add_key(Scope.ADMIN), world.add_key(Scope.READ, Scope.INVOKE)
    world.gateway.mode = "hold"
    async with serving(app_of(world)) as address:
        run_id = await start_run(address, world, reader)
        answer = await watch(address, run_id, reader)
        await answer.take(2)

        revoked = await Reader.request(
            address,
            "/v1/keys/key_2",
            method="DELETE",
            headers={"authorization": f"Bearer {admin}"},
        )

        assert revoked.status == 200
        assert [each.event for each in await asyncio.wait_for(answer.all(), 1)] == ["revoked"]


@pytest.mark.parametrize("how", ["revoked_at", "expires_at"])
async def test_a_key_that_lost_its_rights_elsewhere_loses_its_streams_at_the_next_look(
    world: World, how: str
) -> None:
    """Attack 7: another process revoked it, or it expired."""
    secret = world.add_key(Scope.READ, Scope.INVOKE)
    world.gateway.mode = "hold"
    async with serving(app_of(world, recheck_seconds=0.1)) as address:
        run_id = await start_run(address, world, secret)
        answer = await watch(address, run_id, secret)
        await answer.take(2)

        ((digest, key),) = world.keys.by_digest.items()
        world.keys.by_digest[digest] = key.model_copy(update={how: world.clock.now - 1})

        assert [each.event for each in await asyncio.wait_for(answer.all(), 2)] == ["revoked"]


async def test_streams_opened_while_no_key_was_needed_end_when_the_first_key_is_made(
    world: World,
) -> None:
    world.gateway.mode = "hold"
    async with serving(app_of(world)) as address:
        run_id = await start_run(address, world)
        answer = await Reader.stream(address, f"/v1/runs/{run_id}/events")
        await answer.take(2)

        await Reader.request(
            address,
            "/v1/keys",
            method="POST",
            headers={"content-type": "application/json"},
            body=b'{"name":"first","scopes":["admin"]}',
        )

        assert [each.event for each in await asyncio.wait_for(answer.all(), 1)] == ["revoked"]


async def test_a_look_at_a_key_that_fails_does_not_end_the_stream(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    secret = world.add_key(Scope.READ, Scope.INVOKE)
    world.gateway.mode = "hold"
    async with serving(app_of(world, recheck_seconds=0.05)) as address:
        run_id = await start_run(address, world, secret)
        answer = await watch(address, run_id, secret)
        await answer.take(2)

        async def broken(digest: str) -> None:
            raise StoreUnavailableError("the store is locked")

        world.keys.find_key = broken  # type: ignore[method-assign]
        await asyncio.sleep(0.2)
        world.runs.emit(run_id, EventType.RUN_DONE, {"final_message": None})
        frames = await answer.all()

    assert [frame.event for frame in frames] == ["run_done"]
    assert "could not be looked after" in caplog.text


async def test_a_key_that_was_removed_altogether_loses_its_streams(world: World) -> None:
    secret = world.add_key(Scope.READ, Scope.INVOKE)
    world.gateway.mode = "hold"
    async with serving(app_of(world, recheck_seconds=0.1)) as address:
        run_id = await start_run(address, world, secret)
        answer = await watch(address, run_id, secret)
        await answer.take(2)
        world.keys.by_digest.clear()

        assert [each.event for each in await asyncio.wait_for(answer.all(), 2)] == ["revoked"]


async def test_a_stream_without_a_key_goes_on_while_none_is_needed(world: World) -> None:
    world.gateway.mode = "hold"
    async with serving(app_of(world, recheck_seconds=0.05)) as address:
        run_id = await start_run(address, world)
        answer = await Reader.stream(address, f"/v1/runs/{run_id}/events")
        await answer.take(2)
        await asyncio.sleep(0.2)
        world.runs.emit(run_id, EventType.RUN_DONE, {"final_message": None})

        assert [frame.event for frame in await answer.all()] == ["run_done"]
