"""Who asks: the one place where a credential becomes a principal.

Everything but the public paths needs one. A key is looked up by its SHA-256 digest and remembered
for a moment, so that a revocation by another process is noticed within `key_cache_seconds`.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl

from api.errors import RefusedError, refuse
from api.ports import ApiConfig
from domain.auth import LOCAL, check_key, check_usable, digest_of, is_key, principal_of
from domain.errors import UnauthorizedError
from domain.ports import Clock
from domain.principal import ApiKey, Principal
from domain.records import KeyRing

PROBES = frozenset({"/livez", "/readyz"})
"""What an orchestrator of containers asks; whoever else comes from its address is no reason to
answer that this process is dead."""
PUBLIC = frozenset({"/", "/health"}) | PROBES
"""Answered without a credential: the probes, and a page that says nothing but links."""
PUBLIC_PREFIX = "/static/"
_REMEMBERED = 1000
_OTHER_FORMS = frozenset({"api_key", "apikey", "access_token", "key", "token"})

Headers = Iterable[tuple[bytes, bytes]]


def is_public(path: str) -> bool:
    """Say whether `path` is answered to anyone."""
    return path in PUBLIC or path.startswith(PUBLIC_PREFIX)


@dataclass(frozen=True, slots=True)
class Access:
    """Who asks, and the digest of the key it was seen by (None while everybody may)."""

    who: Principal
    digest: str | None = None

    @property
    def caller(self) -> str:
        """Return what a caller's shares, and what it repeats, are counted under.

        An agent stays the same caller when it has a new token.
        """
        if self.who.agent_id is not None:
            return f"agent:{self.who.owner}:{self.who.agent_id}"
        return self.who.key_id or self.who.owner


def bearer_of(headers: Headers, query: bytes) -> str | None:
    """Return the key that a request carries, from its one place, or None.

    Raises:
        RefusedError: there are two, or one in another place.
        UnauthorizedError: the Authorization header is not a bearer token.
    """
    found: list[bytes] = []
    for name, value in headers:
        if name == b"authorization":
            found.append(value)
        elif name in {b"x-api-key", b"api-key"}:
            raise _conflict("send the API key as `Authorization: Bearer` only")
    asked = parse_qsl(query.decode("latin-1")) if query else ()
    if any(name.lower() in _OTHER_FORMS for name, _ in asked):
        raise _conflict("an API key in a URL is not read; send it as a header")
    if not found:
        return None
    if len(found) > 1:
        raise _conflict("there are two Authorization headers; send one")
    scheme, _, token = found[0].decode("latin-1").partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthorizedError("the Authorization header is not `Bearer orch_...`")
    return token.strip()


def _conflict(detail: str) -> RefusedError:
    return refuse(400, "conflicting_credentials", detail)


class Authenticator:
    """Turns a request's key into who asks."""

    def __init__(self, keys: KeyRing, clock: Clock, config: ApiConfig) -> None:
        self._keys = keys
        self._clock = clock
        self._config = config
        self._known: OrderedDict[str, tuple[ApiKey, float]] = OrderedDict()
        self._any_until = 0.0
        self._any = False

    async def access(self, headers: Headers, query: bytes) -> Access:
        """Return who asks.

        Raises:
            UnauthorizedError: no key, or one that may not be used.
            RefusedError: more than one credential.
        """
        secret = bearer_of(headers, query)
        if await self.is_open():
            return await self._anybody(secret)
        if secret is None:
            raise UnauthorizedError("send an API key as `Authorization: Bearer orch_...`")
        if not is_key(secret):
            raise UnauthorizedError("the API key is not known")
        digest = digest_of(secret)
        return Access(principal_of(await self._find(secret, digest)), digest)

    async def _anybody(self, secret: str | None) -> Access:
        """Return who asks where nobody needs a key: the local owner, or an agent by its token."""
        if secret is None or not is_key(secret):
            return Access(LOCAL)
        digest = digest_of(secret)
        key = await self._keys.find_key(digest)
        if key is None or key.agent_id is None:
            return Access(LOCAL)
        return Access(principal_of(await self._find(secret, digest)), digest)

    async def is_open(self) -> bool:
        """Say whether everybody is the local owner now."""
        return self._config.open_without_keys and not await self._has_keys()

    async def still_allowed(self, access: Access) -> bool:
        """Say whether who began a stream may go on reading; asks the key ring."""
        if access.digest is None:
            return await self.is_open()
        key = await self._keys.find_key(access.digest)
        if key is None:
            return False
        try:
            check_usable(key, self._clock.now_ms())
        except UnauthorizedError:
            self.forget()
            return False
        return True

    def forget(self) -> None:
        """Drop what is remembered: a key was added or revoked here."""
        self._known.clear()
        self._any_until = 0.0

    async def _find(self, secret: str, digest: str) -> ApiKey:
        now = asyncio.get_running_loop().time()
        held = self._known.get(digest)
        if held is not None and held[1] > now:
            check_usable(held[0], self._clock.now_ms())
            return held[0]
        key = check_key(await self._keys.find_key(digest), secret, self._clock.now_ms())
        self._known[digest] = (key, now + self._config.key_cache_seconds)
        self._known.move_to_end(digest)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return key

    async def _has_keys(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now >= self._any_until:
            self._any = await self._keys.has_keys()
            self._any_until = now + self._config.key_cache_seconds
        return self._any
