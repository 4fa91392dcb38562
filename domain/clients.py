"""Tools that clients run: who hosts them, what is asked of whom, and what comes back.

The pattern of approvals: a request is a row, and a signal only wakes. Whoever takes a request gets
a token that no one else has; only its digest is kept, and only with it a result counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from domain.acceptance import Page
from domain.handover import HandOver, Spawn
from domain.ports import RunGateway
from domain.tool import Audience, Effect, ToolCall, ToolOutcome, ToolSpec

MAX_RESULT_BYTES = 512 * 1024
"""Of a client's result as JSON; a larger one is refused."""


UNKNOWN_CODE = "outcome_unknown"
"""The error by which a client says that it does not know whether an unsafe tool acted."""


class RequestStatus(StrEnum):
    """Where a request stands."""

    WAITING = "waiting"
    """Nobody has taken it yet, or whoever had it died and another may have it."""
    TAKEN = "taken"
    UNKNOWN = "unknown"
    """Whoever took it did not answer, and it may have acted: a person resolves the call."""
    CLOSED = "closed"
    """The call has an outcome, or its run has ended."""


class ToolHost(BaseModel):
    """A client that runs tools for any run of its owner. Times in milliseconds.

    `keeper` is the credential that registered it, the only one that may speak for it. It is there
    while it is heard of: until `alive_until`.
    """

    model_config = ConfigDict(frozen=True)

    host_id: str
    owner: str
    keeper: str
    tools: tuple[ToolSpec, ...]
    lease_ms: int
    alive_until: int
    created_at: int
    updated_at: int


class ToolRequest(BaseModel):
    """A call that a client is asked to run. Times in milliseconds.

    `dispatch` counts how often it was handed out; `holder` is who has it now, until `lease_until`
    (None: until `expires_at`).
    """

    model_config = ConfigDict(frozen=True)

    tool_call_id: str
    owner: str
    run_id: str
    tool_name: str
    args: str
    effect: Effect
    audience: Audience
    host_id: str | None
    status: RequestStatus
    dispatch: int
    holder: str | None
    lease_until: int | None
    expires_at: int
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class Claim:
    """Who wants to run calls. `key` makes a repeat after a lost answer the same claim.

    `host_id` None: a client that is no host, and holds what it takes until the deadline.
    """

    owner: str
    caller: str
    name: str
    host_id: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A request that was handed out, with the token that its result needs."""

    request: ToolRequest
    token: str


@dataclass(frozen=True, slots=True)
class Beat:
    """What a host is told: how long it counts as there, and what became of what it holds."""

    host: ToolHost
    kept: tuple[str, ...]
    lost: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Submission:
    """A result as a client sends it: as data, and as the model will read it.

    `by` is the credential.
    """

    token: str
    outcome: ToolOutcome
    by: str
    value: object = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """The call after a result; `replayed` when the same result was taken before."""

    call: ToolCall
    replayed: bool


class HostedTools(Protocol):
    """The tools that tool hosts have registered."""

    async def tools(self, owner: str) -> Mapping[str, ToolSpec]:
        """Return the tools of an owner's hosts by name, as registered last."""
        ...


class ClientBook(HostedTools, Protocol):
    """Tool hosts and requests on record. A row of another owner is not found."""

    async def put_host(self, host: ToolHost, *, may_replace: bool) -> ToolHost:
        """Register a host, or replace what it registered before.

        Raises:
            ForbiddenError: another credential keeps the host, or a tool of that name elsewhere, and
                `may_replace` is False.
        """
        ...

    async def get_host(self, owner: str, host_id: str) -> ToolHost:
        """Return one host.

        Raises:
            NotFoundError: no such host for this owner.
        """
        ...

    async def list_hosts(self, owner: str, page: Page) -> tuple[Sequence[ToolHost], str | None]:
        """Return hosts, newest first, and the cursor of the next page or None."""
        ...

    async def drop_host(self, owner: str, host_id: str) -> None:
        """Forget a host. What it holds is treated as if it had died.

        Raises:
            NotFoundError: no such host for this owner.
        """
        ...

    async def beat(self, who: Claim, held: Sequence[str]) -> Beat:
        """Note that a host is there and still works on the calls `held`.

        Raises:
            NotFoundError, ForbiddenError: no such host, or another credential's.
        """
        ...

    async def waiting(self, who: Claim) -> Sequence[ToolRequest]:
        """Return what a host could take now, and what the same claim took, oldest first.

        Raises:
            NotFoundError, ForbiddenError: no such host, or another credential's.
        """
        ...

    async def get_request(self, owner: str | None, tool_call_id: str) -> ToolRequest:
        """Return one request.

        Raises:
            NotFoundError: no such request for this owner.
        """
        ...

    async def claim(self, who: Claim, tool_call_id: str) -> Dispatch:
        """Hand a request out, with a token of its own.

        Raises:
            NotFoundError, ForbiddenError: no such request, or not for this host.
            RequestTakenError, RequestExpiredError, ToolCallSettledError, RunTerminalError: it is
                not to be had; nothing changed.
            ConflictError: the policy was changed since and does not allow it; nothing changed.
        """
        ...

    async def submit(self, owner: str, tool_call_id: str, said: Submission) -> Submitted:
        """Take the result of a call, once.

        Raises:
            NotFoundError: no such request for this owner.
            DispatchRefusedError, DispatchSupersededError: the token is not, or no longer, the one.
            ToolCallSettledError, RequestExpiredError, RunTerminalError: it is too late.
            InvalidRequestError: the result does not fit the tool's schema.
        """
        ...

    async def sweep(self) -> Sequence[str]:
        """Settle what nobody answers any more, or a changed policy does not allow.

        Returns the runs that have to look.
        """
        ...


class Dispatching:
    """The one way in for what clients say, whoever brings it.

    `spawn` wakes the run behind the answer; without it the caller waits.
    """

    def __init__(self, book: ClientBook, gateway: RunGateway, spawn: Spawn | None = None) -> None:
        self.book = book
        self._gateway = gateway
        self._hand_over = HandOver(spawn)

    async def submit(self, owner: str, tool_call_id: str, said: Submission) -> Submitted:
        """Take a result and wake its run.

        Raises:
            as `ClientBook.submit`; nothing changed then.
        """
        done = await self.book.submit(owner, tool_call_id, said)
        if not done.replayed:
            await self._wake(done.call.run_id)
        return done

    async def sweep(self) -> int:
        """Settle what nobody is to answer any more; return how many runs that concerns."""
        runs = await self.book.sweep()
        for run_id in runs:
            await self._wake(run_id)
        return len(runs)

    async def _wake(self, run_id: str) -> None:
        await self._hand_over(run_id, "wake", self._gateway.wake(run_id))


def digest_of_token(token: str) -> str:
    """Return the SHA-256 hex digest under which a token is kept."""
    return sha256(token.encode("utf-8", "replace")).hexdigest()


def digest_of_result(outcome: ToolOutcome) -> str:
    """Return what tells whether two results are the same."""
    return sha256(outcome.model_dump_json().encode()).hexdigest()
