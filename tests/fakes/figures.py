"""Figures over the fakes."""

from collections.abc import Mapping

from domain.stats import AgentFigures, MemoryFigures
from tests.fakes.directory import FakeDirectory
from tests.fakes.runs import FakeRuns


class FakeFigures:
    """Figures counted over runs and sessions in memory."""

    def __init__(self, runs: FakeRuns, directory: FakeDirectory) -> None:
        self._runs = runs
        self._directory = directory

    async def agents(self, owner: str, agent_id: str | None = None) -> Mapping[str, AgentFigures]:
        states: dict[str, dict[str, int]] = {}
        for run in self._runs.runs.values():
            name = run.agent_id
            if run.owner == owner and name is not None and agent_id in {None, name}:
                found = states.setdefault(name, {})
                found[run.state.value] = found.get(run.state.value, 0) + 1
        return {
            name: AgentFigures(by_state=found, average_ms=12.0, last_active=1_763_632_800_000)
            for name, found in states.items()
        }

    async def memory(self, owner: str) -> MemoryFigures:
        own = [one for (who, _), one in self._directory.sessions.items() if who == owner]
        return MemoryFigures(
            messages=sum(one.message_count for one in own),
            tokens=sum(one.token_count for one in own),
        )
