"""The `ClientBook` over a database: each method is one transaction."""

import secrets
from collections.abc import Mapping, Sequence

from adapters.store.clients import claiming, hosts, ruling_again
from adapters.store.database.commits import Commits, CrashPoint, no_crash
from adapters.store.database.tx import Engine
from domain.acceptance import Page
from domain.clients import Beat, Claim, Dispatch, Submission, Submitted, ToolHost, ToolRequest
from domain.ports import Clock
from domain.tool import ToolSpec

TOKEN_BYTES = 32


class SqlClientBook:
    """Tool hosts and requests on record. Source of every promise: `domain.clients.ClientBook`."""

    def __init__(self, engine: Engine, clock: Clock, crash: CrashPoint = no_crash) -> None:
        self._engine = engine
        self._clock = clock
        self._commit = Commits(engine, crash)

    async def put_host(self, host: ToolHost, *, may_replace: bool) -> ToolHost:
        return await self._commit("put_host", lambda tx: hosts.put(tx, host, may_replace))

    async def get_host(self, owner: str, host_id: str) -> ToolHost:
        return await self._engine.read(lambda tx: hosts.read(tx, owner, host_id))

    async def list_hosts(self, owner: str, page: Page) -> tuple[Sequence[ToolHost], str | None]:
        return await self._engine.read(lambda tx: hosts.listed(tx, owner, page))

    async def drop_host(self, owner: str, host_id: str) -> None:
        now = self._clock.now_ms()
        await self._commit("drop_host", lambda tx: hosts.drop(tx, owner, host_id, now))

    async def tools(self, owner: str) -> Mapping[str, ToolSpec]:
        return await self._engine.read(lambda tx: hosts.tools_of(tx, owner))

    async def beat(self, who: Claim, held: Sequence[str]) -> Beat:
        now = self._clock.now_ms()
        return await self._commit("beat", lambda tx: claiming.beat(tx, who, tuple(held), now))

    async def waiting(self, who: Claim) -> Sequence[ToolRequest]:
        now = self._clock.now_ms()
        return await self._engine.read(lambda tx: claiming.waiting(tx, who, now))

    async def get_request(self, owner: str | None, tool_call_id: str) -> ToolRequest:
        row = await self._engine.read(lambda tx: claiming.read(tx, owner, tool_call_id))
        return claiming.request_from(row)

    async def claim(self, who: Claim, tool_call_id: str) -> Dispatch:
        now = self._clock.now_ms()
        token = f"dt_{secrets.token_urlsafe(TOKEN_BYTES)}"
        return await self._commit(
            "claim", lambda tx: claiming.claim(tx, who, tool_call_id, token, now)
        )

    async def submit(self, owner: str, tool_call_id: str, said: Submission) -> Submitted:
        now = self._clock.now_ms()
        return await self._commit(
            "submit", lambda tx: claiming.submit(tx, owner, tool_call_id, said, now)
        )

    async def sweep(self) -> Sequence[str]:
        now = self._clock.now_ms()
        late = await self._engine.read(lambda tx: claiming.late(tx, now))
        found = [await self._give_up(tool_call_id, now) for tool_call_id in late]
        for tool_call_id in await self._engine.read(ruling_again.outdated):
            found.append(await self._rule_again(tool_call_id, now))
        return sorted({run_id for run_id in found if run_id is not None})

    async def _give_up(self, tool_call_id: str, now: int) -> str | None:
        return await self._commit("give_up", lambda tx: claiming.give_up(tx, tool_call_id, now))

    async def _rule_again(self, tool_call_id: str, now: int) -> str | None:
        return await self._commit(
            "rule_again", lambda tx: ruling_again.rule_again(tx, tool_call_id, now)
        )
