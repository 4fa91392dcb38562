"""API keys straight in the store, without a server. Heavy: imported when a command needs it."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import ValidationError

from api.requests import KeyBody
from api.views import key_view
from bootstrap.commands.failure import CommandError
from bootstrap.commands.wire import Json
from bootstrap.identity import SortableIds
from bootstrap.settings import Settings
from bootstrap.storage import Storage, open_storage
from domain.acceptance import Page
from domain.auth import KEY_BYTES, mint_key
from domain.principal import LOCAL_OWNER, ApiKey

T = TypeVar("T")


def create_key(settings: Settings, body: Json) -> Json:
    """Make a key as `POST /v1/keys` does; `is_first` says that authentication is on from now on.

    Raises:
        CommandError: a field is not usable.
        SetupError, StoreUnavailableError: the store cannot be opened.
    """
    try:
        asked = KeyBody.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CommandError(f"{where}: {first['msg']}", code=2) from error
    minted = mint_key(secrets.token_bytes(KEY_BYTES))

    async def add(storage: Storage) -> Json:
        is_first = not await storage.keys.has_keys()
        key = ApiKey(
            key_id=SortableIds().new("key"),
            owner=asked.owner or LOCAL_OWNER,
            name=asked.name,
            prefix=minted.prefix,
            scopes=tuple(dict.fromkeys(asked.scopes)),
            created_at=storage.clock.now_ms(),
            expires_at=round(asked.expires_at.timestamp() * 1000) if asked.expires_at else None,
            revoked_at=None,
        )
        await storage.keys.add_key(key, minted.digest)
        return {**key_view(key), "key": minted.secret, "is_first": is_first}

    return _in_store(settings, add)


def list_keys(settings: Settings, limit: int) -> list[Json]:
    """Return the keys of every owner, newest first."""

    async def read(storage: Storage) -> list[Json]:
        found, _ = await storage.keys.list_keys(None, Page(limit=limit))
        return [key_view(key) for key in found]

    return _in_store(settings, read)


def revoke_key(settings: Settings, key_id: str) -> Json:
    """Revoke a key and return it; `is_last`: none is left that keeps anybody out.

    Raises:
        NotFoundError: there is no such key.
    """

    async def revoke(storage: Storage) -> Json:
        key = await storage.keys.revoke_key(None, key_id, storage.clock.now_ms())
        return {**key_view(key), "is_last": not await storage.keys.has_keys()}

    return _in_store(settings, revoke)


def _in_store(settings: Settings, work: Callable[[Storage], Awaitable[T]]) -> T:
    async def open_and_work() -> T:
        storage = await open_storage(settings)
        try:
            return await work(storage)
        finally:
            await storage.close()

    return asyncio.run(open_and_work())
