"""API keys as rows: a digest and what the key may do. The secret never comes here."""

import json
from collections.abc import Sequence

from adapters.store.database.pages import newest_first, where
from adapters.store.database.tx import Row, Tx
from domain.acceptance import Page
from domain.errors import NotFoundError
from domain.event import encode_json
from domain.principal import ApiKey, Scope


def add_key(tx: Tx, key: ApiKey, digest: str) -> None:
    """Store a key under the SHA-256 hex digest of its secret."""
    tx.run(
        "INSERT INTO api_keys (key_id, owner, name, prefix, hash, scopes, created_at, expires_at,"
        " revoked_at, agent_id) VALUES (:key_id, :owner, :name, :prefix, :hash, :scopes,"
        " :created_at, :expires_at, :revoked_at, :agent_id)",
        key_id=key.key_id,
        owner=key.owner,
        name=key.name,
        prefix=key.prefix,
        hash=digest,
        scopes=encode_json([scope.value for scope in key.scopes]),
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        agent_id=key.agent_id,
    )


def issue_token(tx: Tx, key: ApiKey, digest: str) -> tuple[str, ...]:
    """Store the token of an agent, revoke those it had before, and return the ids of these."""
    assert key.agent_id is not None
    revoked = revoke_tokens(tx, key.owner, key.agent_id, key.created_at)
    add_key(tx, key, digest)
    return revoked


def revoke_tokens(tx: Tx, owner: str, agent_id: str, now: int) -> tuple[str, ...]:
    """Revoke every token of an agent and return their ids."""
    rows = tx.all(
        "UPDATE api_keys SET revoked_at = :now WHERE owner = :owner AND agent_id = :agent_id"
        " AND revoked_at IS NULL RETURNING key_id",
        now=now,
        owner=owner,
        agent_id=agent_id,
    )
    return tuple(row["key_id"] for row in rows)


def find_key(tx: Tx, digest: str) -> ApiKey | None:
    """Return the key with this digest, revoked or expired ones too, or None."""
    row = tx.one("SELECT * FROM api_keys WHERE hash = :hash", hash=digest)
    return _key_from(row) if row else None


def list_keys(tx: Tx, owner: str | None, page: Page) -> tuple[Sequence[ApiKey], str | None]:
    """Return keys, newest first, and the cursor of the next page or None.

    Raises:
        InvalidRequestError: the cursor is malformed.
    """
    rows, cursor = newest_first(tx, "api_keys", {"owner": owner}, page, "key_id")
    return [_key_from(row) for row in rows], cursor


def revoke_key(tx: Tx, owner: str | None, key_id: str, now: int) -> ApiKey:
    """Revoke a key, for good; again changes nothing.

    Raises:
        NotFoundError: no such key for this owner.
    """
    clause, params = where({"key_id": key_id, "owner": owner})
    row = tx.one(
        f"UPDATE api_keys SET revoked_at = coalesce(revoked_at, :now){clause} RETURNING *",
        **params,
        now=now,
    )
    if row is None:
        raise NotFoundError(f"there is no key {key_id}")
    return _key_from(row)


def has_keys(tx: Tx) -> bool:
    """Whether any key is not revoked.

    An expired key counts: the day the last key expires must not open the door to everyone. The
    token of an agent does not: with it alone nobody could do anything any more.
    """
    sql = "SELECT 1 FROM api_keys WHERE revoked_at IS NULL AND agent_id IS NULL LIMIT 1"
    return tx.one(sql) is not None


def _key_from(row: Row) -> ApiKey:
    return ApiKey(
        key_id=row["key_id"],
        owner=row["owner"],
        name=row["name"],
        prefix=row["prefix"],
        scopes=tuple(Scope(scope) for scope in json.loads(row["scopes"])),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        agent_id=row["agent_id"],
    )
