"""What was learned, in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from domain.acceptance import Page
from domain.errors import NotFoundError
from domain.learning.books import Asker, Learnt, Reached, Remembered, Standing, Turns
from domain.learning.feedback import Feedback, FeedbackFilter
from domain.learning.lessons import RunFacts
from tests.fakes.listing import paged, sees
from tests.fakes.pins import FakePins
from tests.fakes.runs import FakeRuns


class FakeLearnBook:
    """A book in memory over the runs of a fake.

    `rivals` is how many writes meet another process's first; `standings` is how agents stand, and
    `asked` who wanted to know; `last_turns` are those of a session.
    """

    def __init__(self, runs: FakeRuns | None = None, pins: FakePins | None = None) -> None:
        self._runs = runs
        self._pins = pins or FakePins()
        self.asked: list[Asker] = []
        self.last_turns: dict[tuple[str, str], Turns] = {}
        self.parts: dict[tuple[str, str], Remembered] = {}
        self.taken_in: dict[str, float | None] = {}
        self.said: list[Feedback] = []
        self.facts_of: dict[str, RunFacts] = {}
        self.over: list[RunFacts] = []
        self.rivals = 0
        self.loads = 0
        self.standings = Standing()
        self.reaches = Reached()

    async def revisions(self, owner: str) -> Mapping[str, int]:
        return {name: part.revision for (who, name), part in self.parts.items() if who == owner}

    async def load(self, owner: str, names: Sequence[str]) -> Mapping[str, Remembered]:
        self.loads += 1
        return {name: self.parts[owner, name] for name in names}

    async def keep(self, owner: str, learnt: Learnt) -> bool:
        if self.rivals:
            self.rivals -= 1
            return False
        for name, part in learnt.parts.items():
            held = self.parts.get((owner, name), Remembered("", 0))
            if held.revision != part.revision:
                return False
        for name, part in learnt.parts.items():
            self.parts[owner, name] = Remembered(part.state, part.revision + 1)
        self.taken_in |= learnt.runs
        self.over = [facts for facts in self.over if facts.run_id not in learnt.runs]
        if learnt.feedback is not None:
            self.said.append(learnt.feedback)
        return True

    async def standing(self, asker: Asker) -> Standing:
        self.asked.append(asker)
        pin = self._pins.pins.get(asker.owner)
        return replace(self.standings, pinned=pin.agent_id if pin else None)

    async def turns(self, owner: str, session_id: str) -> Turns:
        return self.last_turns.get((owner, session_id), Turns())

    async def reached(self, owner: str, session_id: str) -> Reached:
        return self.reaches

    async def facts(self, owner: str | None, run_id: str, by: str) -> RunFacts:
        found = self.facts_of.get(run_id) or self._from_runs(run_id)
        if found is None or not sees(owner, found.owner):
            raise NotFoundError(f"there is no run {run_id}")
        rated = any((said.run_id, said.by) == (run_id, by) for said in self.said)
        return replace(found, is_rated=rated)

    async def ended(self, owner: str, limit: int) -> Sequence[RunFacts]:
        return [facts for facts in self.over if facts.owner == owner][:limit]

    async def list_feedback(
        self, owner: str | None, which: FeedbackFilter, page: Page
    ) -> tuple[Sequence[Feedback], str | None]:
        found = [
            said
            for said in reversed(self.said)
            if sees(owner, said.owner)
            and which.run_id in {None, said.run_id}
            and which.agent_id in {None, said.agent_id}
            and which.status in {None, said.status}
        ]
        return paged(found, page)

    def _from_runs(self, run_id: str) -> RunFacts | None:
        run = self._runs.runs.get(run_id) if self._runs else None
        if run is None or self._runs is None:
            return None
        new = next((new for new in self._runs.accepted if new.run_id == run_id), None)
        return RunFacts(run_id, run.owner, run.agent_id, new.content if new else "", run.state)
