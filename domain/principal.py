"""Who asks: the credential behind a request, and what it may do. Knows no HTTP."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from domain.errors import ForbiddenError


class Scope(StrEnum):
    """What a key may do."""

    READ = "read"
    INVOKE = "invoke"
    """Start and cancel runs."""
    APPROVE = "approve"
    """Decide approvals and resolve unknown outcomes."""
    ADMIN = "admin"
    """Register agents, manage keys. Implies every other scope."""
    PROXY = "proxy"
    """Call models through the OpenAI-compatible gateway."""


LOCAL_OWNER = "local"
"""The owner of everything made while authentication is off."""
SHARED_OWNER = ""
"""The owner on the token of an agent that every owner sees."""


class Principal(BaseModel):
    """An authenticated caller. `name` is what its key is called, and anybody may choose that.

    `agent_id` is set for an external agent that shows its token. It has no scope: it may do what
    routes let agents do, about the runs that it works on. Its owner is `SHARED_OWNER` when every
    owner's runs may be among them.
    """

    model_config = ConfigDict(frozen=True)

    owner: str
    name: str
    scopes: frozenset[Scope]
    key_id: str | None = None
    agent_id: str | None = None

    @property
    def signature(self) -> str:
        """What is put on record for its decisions: no name alone can be taken for it."""
        return self.name if self.key_id is None else f"{self.name} ({self.key_id})"

    def may(self, scope: Scope) -> bool:
        """Say whether the caller has `scope`."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def require(self, scope: Scope) -> None:
        """Refuse a caller without `scope`.

        Raises:
            ForbiddenError: names the scope that is missing.
        """
        if self.agent_id is not None:
            raise ForbiddenError(
                f"the token of agent {self.agent_id} is for its heartbeat and for the runs that it"
                " works on; this needs an API key"
            )
        if not self.may(scope):
            raise ForbiddenError(f"key {self.name!r} lacks the scope {scope}")


class ApiKey(BaseModel):
    """A key as it is listed; the secret itself is shown once and never stored.

    With `agent_id` it is the token of that external agent, and has no scope.
    """

    model_config = ConfigDict(frozen=True)

    key_id: str
    owner: str
    name: str
    prefix: str
    """The first characters of the key, to recognise it by."""
    scopes: tuple[Scope, ...]
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    agent_id: str | None = None
