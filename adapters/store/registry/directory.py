"""The `Directory` over a database: each method is one transaction."""

from collections.abc import Sequence
from typing import Any

from adapters.store.database.tx import Engine
from adapters.store.registry import agents
from adapters.store.sessions import messages, sessions
from domain.acceptance import IdempotencyKey, Page
from domain.agent import Agent
from domain.ports import Clock
from domain.session import Message, Session


class SqlDirectory:
    """Agents, sessions and transcripts. Source of every promise: `domain.records.Directory`."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def put_agent(self, agent: Agent, *, replace: bool) -> Agent:
        """Store an agent."""
        return await self._engine.write(lambda tx: agents.put_agent(tx, agent, replace=replace))

    async def get_agent(self, owner: str | None, agent_id: str) -> Agent:
        """Return the owner's agent, else the shared one."""
        return await self._engine.look_up(lambda tx: agents.get_agent(tx, owner, agent_id))

    async def list_agents(
        self, owner: str | None, page: Page
    ) -> tuple[Sequence[Agent], str | None]:
        """Return agents by id, and the next cursor."""
        return await self._engine.read(lambda tx: agents.list_agents(tx, owner, page))

    async def delete_agent(self, owner: str | None, agent_id: str) -> None:
        """Remove an agent."""
        now = self._clock.now_ms()
        await self._engine.write(lambda tx: agents.delete_agent(tx, owner, agent_id, now))

    async def create_session(
        self, session: Session, key: IdempotencyKey | None = None
    ) -> tuple[Session, bool]:
        """Make a session, or return the one that the same key made before."""
        return await self._engine.write(lambda tx: sessions.create_session(tx, session, key))

    async def get_session(self, owner: str | None, session_id: str) -> Session:
        """Return one session with its holder and queue."""
        return await self._engine.read(lambda tx: sessions.get_session(tx, owner, session_id))

    async def list_sessions(
        self, owner: str | None, page: Page
    ) -> tuple[Sequence[Session], str | None]:
        """Return sessions, newest first, and the next cursor."""
        return await self._engine.read(lambda tx: sessions.list_sessions(tx, owner, page))

    async def update_session(
        self, owner: str | None, session_id: str, changes: dict[str, Any]
    ) -> Session:
        """Change `agent_id`, `on_busy` or `metadata`."""
        return await self._engine.write(
            lambda tx: sessions.update_session(tx, owner, session_id, changes)
        )

    async def delete_session(self, owner: str | None, session_id: str) -> None:
        """Remove a session and its transcript."""
        await self._engine.write(lambda tx: sessions.delete_session(tx, owner, session_id))

    async def list_messages(
        self, owner: str | None, session_id: str, page: Page, *, newest_first: bool = False
    ) -> tuple[Sequence[Message], str | None]:
        """Return a page of a transcript, and the next cursor."""
        return await self._engine.read(
            lambda tx: messages.list_messages(
                tx, owner, session_id, page, newest_first=newest_first
            )
        )

    async def clear_messages(self, owner: str | None, session_id: str) -> int:
        """Empty a transcript and return how many messages went."""
        return await self._engine.write(lambda tx: messages.clear_messages(tx, owner, session_id))
