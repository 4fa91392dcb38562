"""Agents, sessions and transcripts in memory."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from domain.acceptance import IdempotencyKey, Page
from domain.agent import Agent
from domain.errors import ConflictError, NotFoundError, SessionBusyError
from domain.session import Message, OnBusy, Session
from tests.fakes.clock import FakeClock
from tests.fakes.listing import paged, sees


class FakeDirectory:
    """Agents, sessions and transcripts in memory."""

    def __init__(self, clock: FakeClock) -> None:
        self.agents: dict[tuple[str | None, str], Agent] = {}
        self.sessions: dict[tuple[str, str], Session] = {}
        self.session_keys: dict[IdempotencyKey, str] = {}
        self.messages: dict[tuple[str, str], list[Message]] = defaultdict(list)
        self._clock = clock

    def make(self, owner: str, session_id: str) -> Session:
        session = Session(
            session_id=session_id,
            owner=owner,
            agent_id=None,
            on_busy=OnBusy.ENQUEUE,
            message_count=0,
            token_count=0,
            active_run_id=None,
            queued_run_ids=(),
            created_at=self._clock.now_ms(),
            metadata={},
        )
        self.sessions[owner, session_id] = session
        return session

    def add_message(self, owner: str, message: Message) -> None:
        key = (owner, message.session_id)
        seq = len(self.messages[key]) + 1
        self.messages[key].append(message.model_copy(update={"seq": seq}))
        session = self.sessions[key]
        tokens = session.token_count + message.tokens
        self.sessions[key] = session.model_copy(
            update={"message_count": seq, "token_count": tokens}
        )

    async def put_agent(self, agent: Agent, *, replace: bool) -> Agent:
        key = (agent.owner, agent.agent_id)
        if key in self.agents and not replace:
            raise ConflictError(f"agent {agent.agent_id} exists")
        self.agents[key] = agent
        return agent

    async def get_agent(self, owner: str | None, agent_id: str) -> Agent:
        for key in ((owner, agent_id), (None, agent_id)):
            if key in self.agents:
                return self.agents[key]
        raise NotFoundError(f"there is no agent {agent_id}")

    async def list_agents(
        self, owner: str | None, page: Page
    ) -> tuple[Sequence[Agent], str | None]:
        found = [agent for agent in self.agents.values() if sees(owner, agent.owner)]
        return paged(sorted(found, key=lambda agent: agent.agent_id), page)

    async def delete_agent(self, owner: str | None, agent_id: str) -> None:
        if (owner, agent_id) not in self.agents:
            raise NotFoundError(f"there is no agent {agent_id}")
        del self.agents[owner, agent_id]

    async def create_session(
        self, session: Session, key: IdempotencyKey | None = None
    ) -> tuple[Session, bool]:
        if key is not None and key in self.session_keys:
            return await self.get_session(session.owner, self.session_keys[key]), True
        place = (session.owner, session.session_id)
        if place in self.sessions:
            raise ConflictError(f"session {session.session_id} exists")
        self.sessions[place] = session
        if key is not None:
            self.session_keys[key] = session.session_id
        return session, False

    async def get_session(self, owner: str | None, session_id: str) -> Session:
        for (held_by, known), session in self.sessions.items():
            if known == session_id and sees(owner, held_by):
                return session
        raise NotFoundError(f"there is no session {session_id}")

    async def list_sessions(
        self, owner: str | None, page: Page
    ) -> tuple[Sequence[Session], str | None]:
        found = [held for held in reversed(self.sessions.values()) if sees(owner, held.owner)]
        return paged(found, page)

    async def update_session(
        self, owner: str | None, session_id: str, changes: dict[str, Any]
    ) -> Session:
        session = await self.get_session(owner, session_id)
        fresh = session.model_copy(update=changes)
        self.sessions[session.owner, session_id] = fresh
        return fresh

    async def delete_session(self, owner: str | None, session_id: str) -> None:
        session = await self._free(owner, session_id)
        del self.sessions[session.owner, session_id]
        self.messages.pop((session.owner, session_id), None)

    async def list_messages(
        self, owner: str | None, session_id: str, page: Page, *, newest_first: bool = False
    ) -> tuple[Sequence[Message], str | None]:
        session = await self.get_session(owner, session_id)
        found = self.messages[session.owner, session_id]
        if not newest_first:
            return paged(found, page)
        before = int(page.cursor) if page.cursor and page.cursor.isdigit() else 2**60
        older = [item for item in reversed(found) if (item.seq or 0) < before]
        shown = older[: page.limit]
        return shown, str(shown[-1].seq) if len(older) > len(shown) else None

    async def clear_messages(self, owner: str | None, session_id: str) -> int:
        session = await self._free(owner, session_id)
        return len(self.messages.pop((session.owner, session_id), []))

    async def _free(self, owner: str | None, session_id: str) -> Session:
        session = await self.get_session(owner, session_id)
        if session.active_run_id is not None:
            raise SessionBusyError(f"session {session_id} is held")
        return session
