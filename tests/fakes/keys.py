"""API keys in memory."""

from collections.abc import Sequence

from domain.acceptance import Page
from domain.errors import NotFoundError
from domain.principal import ApiKey
from tests.fakes.listing import paged, sees


class FakeKeys:
    """API keys in memory."""

    def __init__(self) -> None:
        self.by_digest: dict[str, ApiKey] = {}
        self.lookups = 0

    async def add_key(self, key: ApiKey, digest: str) -> None:
        self.by_digest[digest] = key

    async def find_key(self, digest: str) -> ApiKey | None:
        self.lookups += 1
        return self.by_digest.get(digest)

    async def list_keys(self, owner: str | None, page: Page) -> tuple[Sequence[ApiKey], str | None]:
        found = [key for key in self.by_digest.values() if sees(owner, key.owner)]
        return paged(found[::-1], page)

    async def revoke_key(self, owner: str | None, key_id: str, now_ms: int) -> ApiKey:
        for digest, key in self.by_digest.items():
            if key.key_id == key_id and sees(owner, key.owner):
                at = key.revoked_at or now_ms
                self.by_digest[digest] = key.model_copy(update={"revoked_at": at})
                return self.by_digest[digest]
        raise NotFoundError(f"there is no key {key_id}")

    async def has_keys(self) -> bool:
        return any(
            key.revoked_at is None and key.agent_id is None for key in self.by_digest.values()
        )

    async def issue_token(self, key: ApiKey, digest: str) -> tuple[str, ...]:
        revoked = []
        for known, held in self.by_digest.items():
            is_its = (held.owner, held.agent_id) == (key.owner, key.agent_id)
            if is_its and held.revoked_at is None:
                self.by_digest[known] = held.model_copy(update={"revoked_at": key.created_at})
                revoked.append(held.key_id)
        self.by_digest[digest] = key
        return tuple(revoked)
