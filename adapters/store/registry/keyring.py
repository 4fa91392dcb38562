"""The `KeyRing` over a database: each method is one transaction."""

from collections.abc import Sequence

from adapters.store.database.tx import Engine
from adapters.store.registry import keys
from domain.acceptance import Page
from domain.principal import ApiKey


class SqlKeyRing:
    """API keys. Source of every promise: `domain.records.KeyRing`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def add_key(self, key: ApiKey, digest: str) -> None:
        """Store a key under the digest of its secret."""
        await self._engine.write(lambda tx: keys.add_key(tx, key, digest))

    async def find_key(self, digest: str) -> ApiKey | None:
        """Return the key with this digest, or None."""
        return await self._engine.look_up(lambda tx: keys.find_key(tx, digest))

    async def list_keys(self, owner: str | None, page: Page) -> tuple[Sequence[ApiKey], str | None]:
        """Return keys, newest first, and the next cursor."""
        return await self._engine.read(lambda tx: keys.list_keys(tx, owner, page))

    async def revoke_key(self, owner: str | None, key_id: str, now_ms: int) -> ApiKey:
        """Revoke a key, for good."""
        return await self._engine.write(lambda tx: keys.revoke_key(tx, owner, key_id, now_ms))

    async def has_keys(self) -> bool:
        """Whether authentication is on."""
        return await self._engine.look_up(keys.has_keys)

    async def issue_token(self, key: ApiKey, digest: str) -> tuple[str, ...]:
        """Store the token of an agent in place of those it had."""
        return await self._engine.write(lambda tx: keys.issue_token(tx, key, digest))
