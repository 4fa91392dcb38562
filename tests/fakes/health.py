"""How external agents are, in memory."""

from collections.abc import Mapping, Sequence

from domain import agenthealth
from domain.agent import Agent, AgentKind
from domain.agenthealth import AgentHealth, Health, HealthRecord, HealthRules, Report
from domain.errors import NotFoundError
from tests.fakes.clock import FakeClock
from tests.fakes.directory import FakeDirectory


class FakeHealth:
    """How the agents of a directory are."""

    def __init__(self, directory: FakeDirectory, clock: FakeClock) -> None:
        self.records: dict[tuple[str | None, str], HealthRecord] = {}
        self._directory = directory
        self._clock = clock

    async def health(
        self, which: Sequence[tuple[str | None, str]]
    ) -> Mapping[tuple[str | None, str], AgentHealth]:
        found = {key: self._directory.agents.get(key) for key in which}
        return {key: self._judge(agent) for key, agent in found.items() if _is_http(agent)}

    async def unhealthy(self, owner: str) -> frozenset[str]:
        agents = [one for one in self._directory.agents.values() if one.owner in (owner, None)]
        return frozenset(
            agent.agent_id
            for agent in agents
            if _is_http(agent) and self._judge(agent).status is Health.UNHEALTHY
        )

    async def beat(self, owner: str | None, agent_id: str, report: Report) -> AgentHealth:
        key = (owner, agent_id)
        agent = self._directory.agents.get(key)
        if not _is_http(agent):
            raise NotFoundError(f"there is no external agent {agent_id}")
        held = self.records.get(key, HealthRecord())
        now = self._clock.now_ms()
        self.records[key] = agenthealth.after_report(held, report, now, is_check=False)
        return self._judge(agent)

    def _judge(self, agent: Agent | None) -> AgentHealth:
        assert agent is not None
        record = self.records.get((agent.owner, agent.agent_id), HealthRecord())
        now = self._clock.now_ms()
        return agenthealth.health_of(record, agent.created_at, now, HealthRules())


def _is_http(agent: Agent | None) -> bool:
    return agent is not None and agent.kind is AgentKind.HTTP
