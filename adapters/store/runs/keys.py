"""Idempotency keys: what the first request with a key stands for, so that a repeat finds it."""

from adapters.store.database.tx import Tx
from domain.acceptance import IdempotencyKey
from domain.errors import IdempotencyKeyConflictError

_MINE = " WHERE owner = :owner AND scope = :scope AND key = :key"


def claim(tx: Tx, owner: str, key: IdempotencyKey, stands_for: str, now: int) -> str | None:
    """Keep what a key stands for, and return None; or return what it stood for before.

    Raises:
        IdempotencyKeyConflictError: the key was used with another body.
    """
    inserted = tx.run(
        "INSERT INTO idempotency (owner, scope, key, fingerprint, run_id, created_at) VALUES"
        " (:owner, :scope, :key, :print, :run_id, :now) ON CONFLICT (owner, scope, key) DO NOTHING",
        owner=owner,
        scope=key.scope,
        key=key.key,
        print=key.fingerprint,
        run_id=stands_for,
        now=now,
    )
    if inserted:
        return None
    return find(tx, owner, key)


def find(tx: Tx, owner: str, key: IdempotencyKey) -> str | None:
    """Return what a key stands for, None when it was not used.

    Raises:
        IdempotencyKeyConflictError: the key was used with another body.
    """
    known = tx.one(
        f"SELECT fingerprint, run_id FROM idempotency{_MINE}",
        owner=owner,
        scope=key.scope,
        key=key.key,
    )
    if known is None:
        return None
    if known["fingerprint"] != key.fingerprint:
        raise IdempotencyKeyConflictError(
            f"Idempotency-Key {key.key!r} was used with another body; send the same body or a new"
            " key"
        )
    stood_for: str = known["run_id"]
    return stood_for


def change(tx: Tx, owner: str, key: IdempotencyKey, stands_for: str) -> None:
    """Let a key stand for something else from now on."""
    tx.run(
        f"UPDATE idempotency SET run_id = :run_id{_MINE}",
        run_id=stands_for,
        owner=owner,
        scope=key.scope,
        key=key.key,
    )
