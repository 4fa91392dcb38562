"""API keys: how one is minted, recognised and judged. Keeps nothing and reads no clock."""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass

from domain.errors import UnauthorizedError
from domain.principal import LOCAL_OWNER, ApiKey, Principal, Scope

KEY_BYTES = 32
"""Entropy of a key: 256 bits, so that its plain SHA-256 digest cannot be reversed by guessing."""
_PREFIX_CHARS = 12
_KEY = re.compile(r"orch_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A new key. `secret` is shown once; only `digest` and `prefix` are kept."""

    secret: str
    digest: str
    prefix: str


def mint_key(entropy: bytes) -> MintedKey:
    """Make a key of fresh random bytes.

    Raises:
        ValueError: there are fewer than 32 bytes.
    """
    if len(entropy) < KEY_BYTES:
        raise ValueError(f"a key needs {KEY_BYTES} random bytes, not {len(entropy)}")
    text = urlsafe_b64encode(entropy[:KEY_BYTES]).decode("ascii").rstrip("=")
    secret = f"orch_{text}"
    return MintedKey(secret, digest_of(secret), secret[:_PREFIX_CHARS])


def digest_of(secret: str) -> str:
    """Return the SHA-256 hex digest under which a key is kept."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_key(text: str) -> bool:
    """Say whether `text` has the form of a key; what has not is refused without a look-up."""
    return _KEY.fullmatch(text) is not None


def check_key(key: ApiKey | None, secret: str, now_ms: int) -> ApiKey:
    """Return the key that was found for `secret`, if it may be used now.

    Raises:
        UnauthorizedError: there is none, or it was revoked or has expired.
    """
    if key is None or not hmac.compare_digest(key.prefix.encode(), secret[:_PREFIX_CHARS].encode()):
        raise UnauthorizedError("the API key is not known")
    check_usable(key, now_ms)
    return key


def check_usable(key: ApiKey, now_ms: int) -> None:
    """Refuse a key that was revoked or has expired.

    Raises:
        UnauthorizedError: says which of the two.
    """
    if key.revoked_at is not None:
        raise UnauthorizedError(f"API key {key.prefix}... was revoked")
    if key.expires_at is not None and key.expires_at <= now_ms:
        raise UnauthorizedError(f"API key {key.prefix}... has expired")


def principal_of(key: ApiKey) -> Principal:
    """Return who asks when a request carries `key`."""
    return Principal(
        owner=key.owner,
        name=key.name,
        scopes=frozenset() if key.agent_id is not None else frozenset(key.scopes),
        key_id=key.key_id,
        agent_id=key.agent_id,
    )


LOCAL = Principal(owner=LOCAL_OWNER, name=LOCAL_OWNER, scopes=frozenset(Scope))
"""Who asks while authentication is off."""


def sees_every_owner(who: Principal) -> bool:
    """Say whether `who` runs the place: it may manage shared agents and keys of every owner."""
    return who.owner == LOCAL_OWNER and Scope.ADMIN in who.scopes
