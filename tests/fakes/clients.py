"""Tool hosts and requests in memory, without the rules: those are tested over the store."""

from collections.abc import Mapping, Sequence

from domain.acceptance import Page
from domain.clients import (
    Beat,
    Claim,
    Dispatch,
    RequestStatus,
    Submission,
    Submitted,
    ToolHost,
    ToolRequest,
)
from domain.errors import DispatchRefusedError, NotFoundError, RequestTakenError
from domain.tool import Audience, Effect, ToolCall, ToolSpec

TOKEN = "dt_fake"


class FakeClients:
    """The `ClientBook` in memory."""

    def __init__(self) -> None:
        self.hosts: dict[tuple[str, str], ToolHost] = {}
        self.requests: dict[str, ToolRequest] = {}
        self.calls: dict[str, ToolCall] = {}

    def ask(self, call: ToolCall) -> None:
        """Ask whoever comes to run a call."""
        self.calls[call.tool_call_id] = call
        self.requests[call.tool_call_id] = ToolRequest(
            tool_call_id=call.tool_call_id,
            owner=call.owner,
            run_id=call.run_id,
            tool_name=call.tool_name,
            args=call.args,
            effect=Effect.NONE,
            audience=Audience.OWNER,
            host_id=None,
            status=RequestStatus.WAITING,
            dispatch=0,
            holder=None,
            lease_until=None,
            expires_at=call.created_at + 60_000,
            idempotency_key=call.idempotency_key,
        )

    async def put_host(self, host: ToolHost, *, may_replace: bool) -> ToolHost:
        self.hosts[host.owner, host.host_id] = host
        return host

    async def get_host(self, owner: str, host_id: str) -> ToolHost:
        if (owner, host_id) not in self.hosts:
            raise NotFoundError(f"there is no tool host {host_id}")
        return self.hosts[owner, host_id]

    async def list_hosts(self, owner: str, page: Page) -> tuple[Sequence[ToolHost], str | None]:
        found = [host for (held_by, _), host in self.hosts.items() if held_by == owner]
        return found[: page.limit], None

    async def drop_host(self, owner: str, host_id: str) -> None:
        await self.get_host(owner, host_id)
        del self.hosts[owner, host_id]

    async def tools(self, owner: str) -> Mapping[str, ToolSpec]:
        return {
            tool.name: tool
            for (held_by, _), host in self.hosts.items()
            for tool in host.tools
            if held_by == owner
        }

    async def beat(self, who: Claim, held: Sequence[str]) -> Beat:
        return Beat(await self.get_host(who.owner, who.host_id or ""), (), tuple(held))

    async def waiting(self, who: Claim) -> Sequence[ToolRequest]:
        await self.get_host(who.owner, who.host_id or "")
        return [one for one in self.requests.values() if one.status is RequestStatus.WAITING]

    async def get_request(self, owner: str | None, tool_call_id: str) -> ToolRequest:
        found = self.requests.get(tool_call_id)
        if found is None or owner not in {None, found.owner}:
            raise NotFoundError(f"no client is asked to run a tool call {tool_call_id}")
        return found

    async def claim(self, who: Claim, tool_call_id: str) -> Dispatch:
        found = await self.get_request(who.owner, tool_call_id)
        if found.status is not RequestStatus.WAITING:
            raise RequestTakenError(f"{found.holder} runs it")
        changes = {"status": RequestStatus.TAKEN, "dispatch": 1, "holder": who.name}
        self.requests[tool_call_id] = found.model_copy(update=changes)
        return Dispatch(self.requests[tool_call_id], TOKEN)

    async def submit(self, owner: str, tool_call_id: str, said: Submission) -> Submitted:
        await self.get_request(owner, tool_call_id)
        if said.token != TOKEN:
            raise DispatchRefusedError("the token is not one of it")
        return Submitted(self.calls[tool_call_id], replayed=False)

    async def sweep(self) -> Sequence[str]:
        return []
