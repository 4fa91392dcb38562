"""API keys: found by digest, revoked for good, and never an open door by accident."""

from typing import Any

import pytest

from domain.acceptance import Page
from domain.errors import NotFoundError
from domain.principal import ApiKey, Scope
from tests.contract.store_engines import StoreBox


def key(key_id: str, owner: str = "ann", **fields: Any) -> ApiKey:
    made = ApiKey(
        key_id=key_id,
        owner=owner,
        name="laptop",
        prefix="sk_abc",
        scopes=(Scope.READ, Scope.INVOKE),
        created_at=10,
        expires_at=None,
        revoked_at=None,
    )
    return made.model_copy(update=fields)


async def test_a_key_is_found_by_its_digest(store: StoreBox) -> None:
    await store.keys.add_key(key("key_1"), "d1")

    assert await store.keys.find_key("d1") == key("key_1")
    assert await store.keys.find_key("d2") is None


async def test_keys_are_listed_newest_first_per_owner(store: StoreBox) -> None:
    for number in range(3):
        await store.keys.add_key(key(f"key_{number}", created_at=number), f"d{number}")
    await store.keys.add_key(key("key_9", "bob"), "d9")

    first, cursor = await store.keys.list_keys("ann", Page(2))
    rest, end = await store.keys.list_keys("ann", Page(2, cursor))
    everyones, _ = await store.keys.list_keys(None, Page())

    assert [one.key_id for one in (*first, *rest)] == ["key_2", "key_1", "key_0"]
    assert end is None
    assert len(everyones) == 4


async def test_a_key_is_revoked_once_and_for_good(store: StoreBox) -> None:
    await store.keys.add_key(key("key_1"), "d1")

    first = await store.keys.revoke_key("ann", "key_1", 50)
    again = await store.keys.revoke_key(None, "key_1", 60)

    assert first.revoked_at == again.revoked_at == 50
    assert await store.keys.find_key("d1") == first


async def test_a_key_of_another_owner_cannot_be_revoked(store: StoreBox) -> None:
    await store.keys.add_key(key("key_1"), "d1")

    for owner, key_id in (("bob", "key_1"), ("ann", "key_2"), (None, "key_2")):
        with pytest.raises(NotFoundError):
            await store.keys.revoke_key(owner, key_id, 50)


async def test_authentication_is_on_while_a_key_is_not_revoked(store: StoreBox) -> None:
    assert not await store.keys.has_keys()
    await store.keys.add_key(key("key_1", expires_at=11), "d1")
    assert await store.keys.has_keys()

    await store.keys.revoke_key("ann", "key_1", 50)

    assert not await store.keys.has_keys()


async def test_a_digest_belongs_to_one_key(store: StoreBox) -> None:
    await store.keys.add_key(key("key_1"), "d1")

    with pytest.raises(Exception, match=r"(?i)unique"):
        await store.keys.add_key(key("key_2"), "d1")
    assert await store.keys.find_key("d1") == key("key_1")
